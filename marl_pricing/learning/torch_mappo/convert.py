"""Parameters, optimiser states and batches, from JAX to PyTorch and back, without loss.

A kernel [in, out] of flax is the transposed weight [out, in] of torch; nothing else differs. So the training state, the
run folder's checkpoints and all that reads them are those of the flax learner.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch import Tensor

from marl_pricing.learning.mappo import Batch
from marl_pricing.learning.networks import Parameters
from marl_pricing.learning.torch_mappo.batch import TorchBatch
from marl_pricing.learning.torch_mappo.networks import Networks

Array = jax.Array

_DENSE = {"weight": ("kernel", True), "bias": ("bias", False)}
_NORM = {"weight": ("scale", False), "bias": ("bias", False)}
_CELL = {
    "weight_ih": ("kernel_in", True),
    "weight_hh": ("kernel_hidden", True),
    "bias_ih": ("bias", False),
    "bias_hh": ("bias_hidden", False),
}


def _leaves(layer: str) -> dict[str, tuple[str, bool]]:
    """Of each weight's name in torch its leaf in a layer of flax, and whether it is transposed."""
    if layer.startswith("cell"):
        return _CELL
    return _NORM if layer.endswith("_norm") else _DENSE


def _place(name: str) -> tuple[str, str, bool]:
    """(layer and leaf of a flax network, whether it is transposed) of a weight's name in torch."""
    layer, own = name.split(".")
    return layer, *_leaves(layer)[own]


def _names(layers: Parameters) -> list[str]:
    """Names in torch of the weights of a flax network: a cell without hidden kernels has two."""
    return [
        f"{layer}.{name}"
        for layer, leaves in layers.items()
        for name, (leaf, _) in _leaves(layer).items()
        if leaf in leaves
    ]


def to_torch(array: Array) -> Tensor:
    """A JAX array as a tensor: the same memory where torch can reach it (CPU, CUDA), a copy on the CPU elsewhere.

    An array that is split over devices is gathered, on the host or on the first of them. A shared tensor must not be
    written to: JAX takes its arrays to be constant.
    """
    device = min(array.devices(), key=lambda own: own.id)
    if array.is_fully_replicated:
        array = array.addressable_data(0)
    elif device.platform == "cpu":
        return torch.from_numpy(np.array(array))
    else:
        array = jax.device_put(array, device)
    if device.platform == "cpu" or (device.platform in ("gpu", "cuda", "rocm") and torch.cuda.is_available()):
        return torch.from_dlpack(array)
    return torch.from_numpy(np.array(array))


def to_jax(tensor: Tensor) -> Array:
    """A copy of a tensor as a JAX array, so that the tensor may be changed in place."""
    return jnp.from_dlpack(tensor.detach().clone(memory_format=torch.contiguous_format))


def device() -> torch.device:
    """Where tensors made by `to_torch` lie."""
    return to_torch(jnp.zeros(())).device


def weights_of(parameters: Parameters, stacked: bool) -> list[dict[str, Tensor]]:
    """A flax parameter tree as torch's weights by name, one dictionary a network (views, not to be written to)."""

    def one(name: str, number: int) -> Tensor:
        layer, leaf, transposed = _place(name)
        weight = to_torch(jnp.asarray(parameters[layer][leaf]))
        own = weight[number] if stacked else weight
        return own.t() if transposed else own

    count = parameters["out"]["bias"].shape[0] if stacked else 1
    return [{name: one(name, number) for name in _names(parameters)} for number in range(count)]


def parameters_of(weights: list[dict[str, Tensor]], stacked: bool) -> Parameters:
    """Weights by name, one dictionary a network, as a flax parameter tree; the inverse of `weights_of`."""
    tree: dict[str, dict[str, Array]] = {}
    for name in weights[0]:
        layer, leaf, transposed = _place(name)
        own = [network[name].t() if transposed else network[name] for network in weights]
        tree.setdefault(layer, {})[leaf] = to_jax(torch.stack(own) if stacked else own[0])
    return tree


def load(networks: Networks, parameters: Parameters) -> None:
    """Write a flax parameter tree into the networks of torch."""
    with torch.no_grad():
        for network, weights in zip(networks, weights_of(parameters, networks.spec.stacked), strict=True):
            for name, weight in network.named_parameters():
                weight.copy_(weights[name])


def dump(networks: Networks) -> Parameters:
    """The parameters of the networks as a flax tree."""
    return parameters_of([dict(network.named_parameters()) for network in networks], networks.spec.stacked)


def load_adam(optimiser: torch.optim.Optimizer, networks: Networks, state: optax.OptState) -> None:
    """Write the state of optax's clipping and Adam (see `mappo`) into what `torch.optim.Adam` keeps of the networks."""
    _, adam = state
    stacked = networks.spec.stacked
    counts = np.asarray(adam.count).reshape(-1)
    moments = (weights_of(adam.mu, stacked), weights_of(adam.nu, stacked))
    for network, count, first, second in zip(networks, counts, *moments, strict=True):
        for name, weight in network.named_parameters():
            optimiser.state[weight] = {
                "step": torch.tensor(float(count), device=weight.device),
                "exp_avg": torch.empty_like(weight).copy_(first[name]),
                "exp_avg_sq": torch.empty_like(weight).copy_(second[name]),
            }


def dump_adam(optimiser: torch.optim.Optimizer, networks: Networks) -> optax.OptState:
    """What `torch.optim.Adam` keeps of the networks as optax's state; the inverse of `load_adam`."""
    stacked = networks.spec.stacked

    def moments(kind: str) -> Parameters:
        own = [
            {name: optimiser.state[weight][kind] for name, weight in network.named_parameters()} for network in networks
        ]
        return parameters_of(own, stacked)

    steps = [int(optimiser.state[network.out.bias]["step"]) for network in networks]
    count = jnp.asarray(steps if stacked else steps[0], jnp.int32)
    return optax.EmptyState(), optax.ScaleByAdamState(count, moments("exp_avg"), moments("exp_avg_sq"))


def to_torch_batch(batch: Batch, central: bool, masks: list[Tensor] | None = None) -> TorchBatch:
    """A batch of the twin's, in the same memory where that can be.

    Args:
        central: the critic sees the global state.
        masks: [T, E, S, P, n] bool of each head; None for the market's own: any price, orders by its `order_mask`.
    """
    jax.block_until_ready(batch)
    segment, seen = batch.segment, batch.segment.observation
    allowed: list[Tensor | None] = [None, None if seen.order_mask is None else to_torch(seen.order_mask)]
    return TorchBatch(
        local=to_torch(seen.local),
        seen=to_torch(seen.state if central else seen.local),
        first=to_torch(segment.first),
        indices=[to_torch(index) for index in segment.indices],
        masks=list(masks) if masks is not None else allowed[: len(segment.indices)],
        log_prob=to_torch(segment.log_prob),
        advantage=to_torch(batch.advantage),
        value=to_torch(batch.value),
        target=to_torch(batch.target),
        live=to_torch(batch.live),
        actor_memory=to_torch(batch.actor_memory),
        critic_memory=to_torch(batch.critic_memory),
    )

"""Actor and critic: dense → recurrent cell (or a dense layer) → dense → output, one network or one per seller.

Everything outside speaks of sellers: observations [..., E, S, O], memories [E, S, M]. How rows are laid out for the
arithmetic (all sellers in one matrix, or a stack of networks) is known here only.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from marl_pricing.learning.price_laws import NUM_OUTPUTS
from marl_pricing.learning.products import dot_general
from marl_pricing.learning.recurrent import (
    GATES,
    CellParams,
    hidden_of,
    layers_sequence,
    layers_step,
    memory_size,
    reads_memory,
)
from marl_pricing.learning.settings import ActorCriticSettings, NetworkSettings
from marl_pricing.market import MarketShape

Array = jax.Array
Parameters = Any


class Cell(nnx.Module):
    """Weights of a recurrent cell: orthogonal hidden kernels, one block a gate, where gates read the memory."""

    def __init__(self, cell: str, in_size: int, hidden_size: int, *, rngs: nnx.Rngs) -> None:
        num_gates = GATES[cell]
        orthogonal, lecun = jax.nn.initializers.orthogonal(), jax.nn.initializers.lecun_normal()
        self.reads_memory = reads_memory(cell)
        keys = jax.random.split(rngs.params(), num_gates)
        self.kernel_in = nnx.Param(lecun(rngs.params(), (in_size, num_gates * hidden_size)))
        self.bias = nnx.Param(jnp.zeros((num_gates * hidden_size,)))
        if self.reads_memory:
            # One block after the other: the program then holds one QR, which compiles faster than one a gate.
            blocks = jax.lax.map(lambda key: orthogonal(key, (hidden_size, hidden_size)), keys)
            self.kernel_hidden = nnx.Param(jnp.concatenate(list(blocks), axis=1))
            self.bias_hidden = nnx.Param(jnp.zeros((hidden_size,)))

    def weights(self) -> CellParams:
        """The weights as the sequence functions take them."""
        if not self.reads_memory:
            return CellParams(self.kernel_in[...], None, self.bias[...], None)
        return CellParams(self.kernel_in[...], self.kernel_hidden[...], self.bias[...], self.bias_hidden[...])


def cell_names(num_layers: int) -> list[str]:
    """Names of a network's cells in its parameters, from the lowest: cell, cell_2, cell_3, …."""
    return ["cell", *(f"cell_{number}" for number in range(2, num_layers + 1))]


class RecurrentNetwork(nnx.Module):
    """Dense → cells → dense → output (the architecture of MAPPO's recurrent baseline), with layer norms or without."""

    def __init__(
        self,
        cell: str,
        in_size: int,
        hidden_size: int,
        out_size: int,
        out_gain: float,
        layer_norm: bool = False,
        num_layers: int = 1,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        gain = jax.nn.initializers.orthogonal(2.0**0.5)
        self.cell_name, self.hidden_size, self.num_layers = cell, hidden_size, num_layers
        # Another form of the gradient rounds otherwise: curves of the other cells stay what they were, to the bit.
        multiply = dot_general if cell == "mingru" else jax.lax.dot_general
        dense = partial(nnx.Linear, dot_general=multiply, rngs=rngs)
        self.embed = dense(in_size, hidden_size, kernel_init=gain)
        self.cell = Cell(cell, hidden_size, hidden_size, rngs=rngs)
        self.head = dense(hidden_size, hidden_size, kernel_init=gain)
        self.out = dense(hidden_size, out_size, kernel_init=jax.nn.initializers.orthogonal(out_gain))
        for name in cell_names(num_layers)[1:]:  # drawn last: one layer begins as it did before there were more
            setattr(self, name, Cell(cell, hidden_size, hidden_size, rngs=rngs))
        self.layer_norm = layer_norm
        if layer_norm:
            self.embed_norm, self.head_norm = (nnx.LayerNorm(hidden_size, rngs=rngs) for _ in range(2))

    def _embedded(self, inputs: Array) -> Array:
        embedded = self.embed(inputs)
        return nnx.relu(self.embed_norm(embedded) if self.layer_norm else embedded)

    def _layers(self) -> list[CellParams]:
        return [getattr(self, name).weights() for name in cell_names(self.num_layers)]

    def read(self, memory: Array) -> Array:
        """Output [..., A] from memories [..., M]."""
        inner = self.head(hidden_of(self.cell_name, memory, self.hidden_size, self.num_layers))
        return self.out(nnx.relu(self.head_norm(inner) if self.layer_norm else inner))

    def step(self, inputs: Array, memory: Array) -> tuple[Array, Array]:
        """One epoch. inputs [B, D], memory [B, M] → (output [B, A], memory [B, M])."""
        memory = layers_step(self.cell_name, self._layers(), self._embedded(inputs), memory)
        return self.read(memory), memory

    def sequence(self, inputs: Array, memory: Array, first: Array) -> tuple[Array, Array]:
        """A segment. inputs [T, B, D], memory [B, M], first [T, B] → (outputs [T, B, A], memories [T, B, M])."""
        memories = layers_sequence(self.cell_name, self._layers(), self._embedded(inputs), memory, first)
        return self.read(memories), memories


@dataclass(frozen=True)
class NetworkSpec:
    """One network of the learner, actor or critic, for all sellers.

    Attributes:
        cell: `gru`, `lstm`, `mingru` or `none`.  in_size, hidden_size, out_size: D, H, A.
        out_gain: gain of the last layer's orthogonal start.
        num_sellers: S.  stacked: one set of parameters a seller.
        central: the input is the global state, the same for all sellers; an unstacked network then answers for all.
        layer_norm: both dense layers are normalised before they are cut at zero (Ba et al. 2016).
        num_layers: cells on top of each other.
    """

    cell: str
    in_size: int
    hidden_size: int
    out_size: int
    out_gain: float
    num_sellers: int
    stacked: bool
    central: bool
    layer_norm: bool = False
    num_layers: int = 1

    def make(self, key: Array) -> RecurrentNetwork:
        """One network, freshly initialised."""
        return RecurrentNetwork(
            self.cell,
            self.in_size,
            self.hidden_size,
            self.out_size,
            self.out_gain,
            self.layer_norm,
            self.num_layers,
            rngs=nnx.Rngs(params=key),
        )

    @property
    def memory(self) -> int:
        """Width M of one memory."""
        return memory_size(self.cell, self.hidden_size, self.num_layers)

    @property
    def memory_sellers(self) -> int:
        """Memories kept for each market: one for an unstacked central critic, S otherwise."""
        return 1 if self.central and not self.stacked else self.num_sellers

    def init(self, key: Array) -> Parameters:
        """Parameters; a stack has a leading axis [S]."""

        def one(key: Array) -> Parameters:
            return nnx.to_pure_dict(nnx.split(self.make(key))[1])

        if not self.stacked:
            return one(key)
        # Not vmap: a batched QR inside jit can hang on CPU.
        return jax.lax.map(one, jax.random.split(key, self.num_sellers))

    def start(self, num_envs: int) -> Array:
        """Memories [E, S or 1, M] at the start of an episode."""
        return jnp.zeros((num_envs, self.memory_sellers, self.memory))

    def _bind(self, parameters: Parameters) -> RecurrentNetwork:
        graph, abstract = _abstract(self)
        state = jax.tree.map(lambda leaf: leaf, abstract)
        nnx.replace_by_pure_dict(state, parameters)
        return nnx.merge(graph, state)

    def _inputs(self, inputs: Array) -> Array:
        """[..., E, S, O] with the seller's number appended where one network serves several sellers."""
        if self.stacked or self.central or self.num_sellers == 1:
            return inputs
        number = jnp.broadcast_to(jnp.eye(self.num_sellers), (*inputs.shape[:-1], self.num_sellers))
        return jnp.concatenate([inputs, number], axis=-1)

    def step(self, parameters: Parameters, inputs: Array, memory: Array) -> tuple[Array, Array]:
        """One epoch.

        Args:
            inputs: [E, S, O], or [E, G] for a central critic.  memory: [E, S or 1, M].

        Returns:
            (outputs [E, S, A], memory).
        """
        outputs, memories = self.sequence(parameters, inputs[None], memory, None)
        return outputs[0], memories[0]

    def branches(self, parameters: Parameters, inputs: Array, memory: Array) -> Array:
        """Outputs of one epoch in each of K cases that all begin from the same memory, whose product is taken once.

        Args:
            inputs: [B, K, S, O], or [B, K, G] for a central critic.  memory: [B, S or 1, M].

        Returns:
            [B, K, S, A].
        """

        def one(parameters: Parameters, inputs: Array, memory: Array) -> Array:
            return self._bind(parameters).step(inputs, memory)[0]

        if self.stacked:
            seller_inputs = None if self.central else 2
            each = jax.vmap(one, in_axes=(0, seller_inputs, 2), out_axes=2)
            return each(*_arrays((parameters, inputs, memory[:, None])))
        if self.central:
            return one(parameters, inputs, memory)[..., None]
        return one(parameters, self._inputs(inputs), memory[:, None])

    def sequence(
        self, parameters: Parameters, inputs: Array, memory: Array, first: Array | None
    ) -> tuple[Array, Array]:
        """A segment.

        Args:
            inputs: [T, E, S, O], or [T, E, G] for a central critic.  memory: [E, S or 1, M] before the segment.
            first: [T, E] bool, step t begins an episode; None for a single step whose memory is already right.

        Returns:
            (outputs [T, E, S, A], memories [T, E, S or 1, M] after each step).
        """
        num_steps, num_envs = inputs.shape[:2]

        def one(parameters: Parameters, inputs: Array, memory: Array) -> tuple[Array, Array]:
            network = self._bind(parameters)
            if first is None:
                out, after = network.step(inputs[0], memory)
                return out[None], after[None]
            rows = inputs.shape[1] // num_envs
            return network.sequence(inputs, memory, jnp.repeat(first, rows, axis=1))

        if self.stacked:
            seller_inputs = None if self.central else 2
            each = jax.vmap(one, in_axes=(0, seller_inputs, 1), out_axes=2)
            out, after = each(*_arrays((parameters, inputs, memory)))
            return out, after
        if self.central:
            out, after = one(parameters, inputs, memory[:, 0])
            return out[..., None], after[:, :, None]
        wide = self._inputs(inputs)
        rows = num_envs * self.num_sellers
        out, after = one(parameters, wide.reshape(num_steps, rows, -1), memory.reshape(rows, -1))
        shape = (num_steps, num_envs, self.num_sellers, -1)
        return out.reshape(shape), after.reshape(shape)


class Acting(Hashable, Protocol):
    """What acts for all sellers: a network, or what takes a network's place."""

    @property
    def memory(self) -> int:
        """Width M of one memory."""

    @property
    def stacked(self) -> bool:
        """One set of parameters a seller."""

    def init(self, key: Array) -> Parameters:
        """Parameters before learning."""

    def start(self, num_envs: int) -> Array:
        """Memories [E, S, M] at the start of an episode."""

    def step(self, parameters: Parameters, inputs: Array, memory: Array) -> tuple[Array, Array]:
        """One epoch: inputs [E, S, O], memory [E, S, M] → (outputs [E, S, A], memory)."""


def unroll(
    spec: NetworkSpec, parameters: Parameters, seen: Array, following: Array, memory: Array, first: Array
) -> tuple[Array, Array, Array]:
    """A network over a segment, and what it says of the real next state of every step.

    The next states are one wide step from every memory of the segment: no second walk through time.

    Args:
        seen, following: [T, E, ...] before and after every step, as `NetworkSpec.sequence` takes them.
        memory: [E, S or 1, M] before the segment.  first: [T, E] bool, step t begins an episode.

    Returns:
        (outputs [T, E, S, A], outputs of the next states [T, E, S, A], memories [T, E, S or 1, M] after each step).
    """
    outputs, memories = spec.sequence(parameters, seen, memory, first)
    num_steps, num_envs = first.shape

    def flat(x: Array) -> Array:
        return x.reshape(num_steps * num_envs, *x.shape[2:])

    then, _ = spec.step(parameters, flat(following), flat(memories))
    return outputs, then.reshape(outputs.shape), memories


def _arrays(tree: Any) -> Any:
    """NumPy's as JAX's: a function with a gradient by hand cannot be mapped over the former inside jit."""
    return jax.tree.map(jnp.asarray, tree)


@lru_cache(maxsize=64)
def _abstract(spec: NetworkSpec) -> tuple[Any, Any]:
    """nnx's static half of a network, and the shapes of its parameters."""
    return nnx.split(nnx.eval_shape(lambda: spec.make(jax.random.key(0))))


def head_sizes(shape: MarketShape) -> tuple[int, ...]:
    """Outputs of each of a product's heads: K price levels or a law's numbers, and Q where orders are chosen."""
    price = shape.prices.num_levels if shape.discrete_prices else NUM_OUTPUTS
    return (price, *((shape.inventory.num_order_levels,) if shape.chooses_orders else ()))


def actor_spec(settings: NetworkSettings, num_sellers: int, local_size: int, num_logits: int) -> NetworkSpec:
    """The actor: local observation [O] → logits of every head."""
    return NetworkSpec(
        cell=settings.cell,
        in_size=local_size + _number_size(settings, num_sellers),
        hidden_size=settings.hidden_size,
        out_size=num_logits,
        out_gain=0.01,  # makes the first policy nearly uniform (Andrychowicz et al. 2021)
        num_sellers=num_sellers,
        stacked=settings.sharing == "per_seller",
        central=False,
        num_layers=settings.num_layers,
    )


def critic_spec(settings: ActorCriticSettings, num_sellers: int, local_size: int, state_size: int) -> NetworkSpec:
    """The critic: global state [G] → values of all sellers, or local observation [O] → one value."""
    central, stacked = settings.critic == "central", settings.sharing == "per_seller"
    return NetworkSpec(
        cell=settings.cell,
        in_size=state_size if central else local_size + _number_size(settings, num_sellers),
        hidden_size=settings.hidden_size,
        out_size=num_sellers if central and not stacked else 1,
        out_gain=1.0,
        num_sellers=num_sellers,
        stacked=stacked,
        central=central,
        num_layers=settings.num_layers,
    )


def _number_size(settings: NetworkSettings, num_sellers: int) -> int:
    """Width of the seller's number, which one network for several sellers is told."""
    return num_sellers if settings.sharing == "shared" and num_sellers > 1 else 0

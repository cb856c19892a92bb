"""Parameters, optimiser states and batches on their way between JAX and torch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from marl_pricing.learning.mappo import Mappo
from marl_pricing.learning.torch_mappo import convert
from marl_pricing.learning.torch_mappo.networks import Networks
from marl_pricing.learning.torch_mappo.recurrent import Cell, sequences
from tests.learning.helpers import learner_of, market_of
from tests.learning.torch_mappo.twins import apart, learnable, random_networks, twin_of

KINDS: list[dict[str, Any]] = [
    {"cell": cell, "num_layers": layers, "sharing": sharing, "critic": critic}
    for cell, layers, critic in (("gru", 2, "central"), ("lstm", 1, "local"), ("mingru", 1, "local"))
    for sharing in ("shared", "per_seller")
]


def ids(kind: dict[str, Any]) -> str:
    return "-".join(map(str, kind.values()))


@pytest.fixture(params=KINDS, ids=ids)
def learner(request: pytest.FixtureRequest) -> Mappo:
    return learner_of(market_of("own orders, two products"), **request.param)


def same_bits(one: Any, other: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_networks_go_to_torch_and_back_bit_for_bit(learner: Mappo) -> None:
    for spec, parameters in zip((learner.actor, learner.critic), random_networks(learner), strict=True):
        networks = Networks(spec)
        convert.load(networks, parameters)
        same_bits(parameters, convert.dump(networks))
        # and from torch's side: what is loaded is what was dumped
        other = Networks(spec)
        convert.load(other, convert.dump(networks))
        for name, weight in networks.state_dict().items():
            assert torch.equal(weight, other.state_dict()[name])


def test_optimiser_states_go_to_torch_and_back_bit_for_bit(learner: Mappo) -> None:
    state = jax.eval_shape(lambda: learnable(learner))
    noise = iter(range(1000))

    def filled(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        rng = np.random.default_rng(next(noise))
        return jnp.asarray(rng.uniform(1, 9, leaf.shape), leaf.dtype)

    state = jax.tree.map(filled, state)
    twin = twin_of(learner)
    twin.load(state)
    same_bits(state, twin.dump())


def test_a_network_says_in_torch_what_it_says_in_flax(learner: Mappo) -> None:
    rng = np.random.default_rng(1)
    first = rng.random((5, 4)) < 0.3
    for spec, parameters in zip((learner.actor, learner.critic), random_networks(learner), strict=True):
        networks = Networks(spec)
        convert.load(networks, parameters)
        number = spec.num_sellers if not (spec.stacked or spec.central) else 0
        shape = (5, 4, spec.in_size) if spec.central else (5, 4, 2, spec.in_size - number)
        inputs = rng.normal(size=shape).astype(np.float32)
        memory = rng.normal(size=(4, spec.memory_sellers, spec.memory)).astype(np.float32)
        expected = spec.sequence(parameters, jnp.asarray(inputs), jnp.asarray(memory), jnp.asarray(first))
        with torch.no_grad():
            own = [torch.from_numpy(x) for x in (inputs, memory, first)]
            after = sequences(networks.parts(*own))
            got = networks.read(after), networks.memories(after)
            single = networks.step(own[0][0], own[1])
        for a, b in zip((*expected, *spec.step(parameters, inputs[0], memory)), (*got, *single), strict=True):
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_gates_are_torchs_own(kind: str) -> None:
    """The weights of `torch.nn.GRUCell` and `LSTMCell` fit as they are."""
    torch.manual_seed(0)
    theirs = (torch.nn.GRUCell if kind == "gru" else torch.nn.LSTMCell)(3, 4)
    own = Cell(kind, 3, 4)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh"):
            getattr(own, name).copy_(getattr(theirs, name))
        second = theirs.bias_hh.clone()
        if kind == "gru":  # gate n's second bias stands inside the reset gate's product; the others only add up
            own.bias_hh.copy_(second[8:])
            second[8:] = 0.0
        own.bias_ih.copy_(theirs.bias_ih + second)
        inputs, memory = torch.randn(5, 3), torch.randn(5, 4 if kind == "gru" else 8)
        expected = theirs(inputs, memory) if kind == "gru" else torch.cat(theirs(inputs, memory.chunk(2, -1)), -1)
        torch.testing.assert_close(own.step(inputs, memory), expected, rtol=1e-6, atol=1e-6)


def test_torch_reads_jaxs_memory_and_jax_gets_its_own() -> None:
    for array in (jnp.arange(6.0).reshape(2, 3), jnp.array([True, False]), jnp.arange(4)):
        assert convert.to_torch(array).data_ptr() == array.unsafe_buffer_pointer()
    tensor = torch.arange(6.0).reshape(2, 3)
    for own in (tensor, tensor.t()):
        array = convert.to_jax(own)
        np.testing.assert_array_equal(array, own.numpy())
        assert array.unsafe_buffer_pointer() != own.data_ptr()
    tensor += 1.0
    assert apart(array, (tensor - 1.0).t().numpy()) == 0.0

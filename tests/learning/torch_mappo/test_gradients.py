"""Same parameters, same batch: the same loss terms and gradients in flax and in torch."""

from __future__ import annotations

import shutil
from typing import Any

import jax
import numpy as np
import pytest
import torch

from marl_pricing.learning import mappo, rollout
from marl_pricing.learning.rollout import Played, Player
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.state import TrainState
from marl_pricing.learning.torch_mappo import convert, gru
from marl_pricing.learning.torch_mappo.gru import GruSequences
from marl_pricing.learning.torch_mappo.learner import TorchLearner
from marl_pricing.learning.torch_mappo.recurrent import gru_step
from tests.learning.helpers import INDEX, QUICK, TINY
from tests.learning.test_replay import loud, rich
from tests.learning.test_robust import INTERVAL, a_market
from tests.learning.torch_mappo.twins import apart, flax_terms, random_networks, torch_terms
from tests.markets import make
from tests.sizes import at_once


def learner_in(world: str, **settings: Any) -> tuple[mappo.Mappo, Any]:
    """A learner in a market with masked orders and bankrupt sellers, or a robust one among sessions."""
    own = rich() if world == "plain" else a_market()
    ambiguity = None if world == "plain" else INTERVAL
    return mappo.make_learner(LearnerSettings(**(TINY | settings)), *own, ambiguity), own


@pytest.fixture(scope="module")
def segments() -> dict[tuple[str, str], Any]:
    """Segments by world and critic, each played once whatever the cells of those who learn from it."""
    return {}


def segment_of(segments: dict, world: str, critic: str) -> Any:
    if (world, critic) not in segments:
        learner, own = learner_in(world, critic=critic)
        state = loud(learner, own)

        def play(key: jax.Array, state: TrainState):
            played = Played(
                own.shape, own.params, ambiguity=learner.ambiguity, update=state.update, central=learner.central
            )
            player = Player(learner.actor, state.learnable.actor)
            return rollout.rollout(key, played, player, state.rollout, INDEX, 10)[1]

        segments[world, critic] = jax.jit(play, compiler_options=QUICK)(jax.random.key(5), state)
    return segments[world, critic]


def batch_of(learner: mappo.Mappo, own: Any, segment: Any, networks: Any, memory: float = 0.3) -> mappo.Batch:
    """What `learner` makes of a segment that begins in the middle of episodes."""
    state = loud(learner, own)
    state = state.replace(
        learnable=state.learnable.replace(actor=networks[0], critic=networks[1]),
        rollout=state.rollout.replace(
            actor_memory=memory + state.rollout.actor_memory, critic_memory=memory + state.rollout.critic_memory
        ),
    )
    segment = segment.replace(first=segment.first.at[0].set(False))
    return jax.jit(lambda *given: mappo.make_batch(learner, *given, lambda x: x)[0], compiler_options=QUICK)(
        state, segment
    )


@pytest.mark.parametrize("world", ["plain", "robust"])
@pytest.mark.parametrize("critic", at_once(["central", "local"]))
@pytest.mark.parametrize(("cell", "layers"), at_once([("gru", 1), ("lstm", 2), ("mingru", 2), ("none", 1)]))
def test_loss_terms_and_gradients_are_the_flax_learners(
    segments, cell: str, layers: int, critic: str, world: str
) -> None:
    # Each seller's own networks in one half of the cases, the shared ones in the other.
    sharing = "shared" if (cell == "gru") == (critic == "central") else "per_seller"
    units = "none" if cell == "lstm" else "running"  # without them the value is not clipped
    learner, own = learner_in(
        world, cell=cell, num_layers=layers, critic=critic, sharing=sharing, value_normalisation=units
    )
    networks = random_networks(learner)
    batch = batch_of(learner, own, segment_of(segments, world, critic), networks)
    # An older policy's probabilities and values, so that both clips bite.
    rng = np.random.default_rng(3)
    batch = batch.replace(
        segment=batch.segment.replace(log_prob=batch.segment.log_prob + rng.normal(0, 0.3, batch.live.shape)),
        value=batch.value + rng.normal(0, 0.5, batch.live.shape),
    )
    batch = jax.tree.map(lambda x: x.astype("float32") if x.dtype == "float64" else x, batch)
    terms, gradients = jax.jit(lambda n, b: flax_terms(learner, n, b), compiler_options=QUICK)(networks, batch)
    own_terms, own_gradients = torch_terms(learner, networks, batch)
    assert set(own_terms) == set(terms) == {"policy_loss", "kl", "clipped", "entropy", "value_loss"}
    for name, value in terms.items():
        assert own_terms[name] == pytest.approx(float(value), rel=1e-5), name
    assert 0 < float(terms["clipped"]) < float(batch.live.sum())
    assert apart(gradients, own_gradients) < 1e-5
    if world == "plain":
        assert float(batch.live.min()) == 0.0  # somebody was bankrupt


@pytest.mark.parametrize(("law", "price_map"), at_once([("beta", "range"), ("gaussian", "adjust")]))
def test_laws_of_continuous_prices_have_the_same_loss_and_gradient(law: str, price_map: str) -> None:
    prices = {"map": price_map, "low": [1.0, 1.0, 1.5, 1.2], "high": 2.2}
    own = make(num_products=2, prices=prices)
    learner = mappo.make_learner(LearnerSettings(**TINY, price_law=law), *own)
    networks = random_networks(learner)
    state = loud(learner, own)
    played = Played(own.shape, own.params)

    def play(key: jax.Array, state: TrainState):
        player = Player(learner.actor, state.learnable.actor, learner.heads)
        return rollout.rollout(key, played, player, state.rollout, INDEX, 10)[1]

    segment = jax.jit(play, compiler_options=QUICK)(jax.random.key(5), state)
    batch = batch_of(learner, own, segment, networks)
    terms, gradients = jax.jit(lambda n, b: flax_terms(learner, n, b), compiler_options=QUICK)(networks, batch)
    own_terms, own_gradients = torch_terms(learner, networks, batch)
    weight = float(np.abs(batch.advantage * batch.live).sum())  # the surrogate's terms are of both signs
    for name, value in terms.items():
        assert own_terms[name] == pytest.approx(float(value), rel=1e-5, abs=1e-5 * weight), name
    assert 0 < float(terms["clipped"]) < float(batch.live.sum())
    assert apart(gradients, own_gradients) < 1e-5


def test_a_batch_is_handed_over_in_the_same_memory_and_learnt_in_blocks(segments) -> None:
    learner, own = learner_in("plain")
    networks = random_networks(learner)
    batch = batch_of(learner, own, segment_of(segments, "plain", "central"), networks)
    handed = convert.to_torch_batch(batch, central=True)
    seen = batch.segment.observation
    pairs = [
        (handed.local, seen.local), (handed.seen, seen.state), (handed.first, batch.segment.first),
        *zip(handed.indices, batch.segment.indices, strict=True), (handed.masks[1], seen.order_mask),
        (handed.log_prob, batch.segment.log_prob), (handed.critic_memory, batch.critic_memory),
        *((getattr(handed, name), getattr(batch, name)) for name in ("advantage", "value", "target", "live")),
    ]  # fmt: skip
    for tensor, array in pairs:
        assert tensor.data_ptr() == array.unsafe_buffer_pointer()
    whole, gradients = torch_terms(learner, networks, batch)
    for rows in (2, 6):  # blocks of one environment; of three and one
        parts, same = torch_terms(learner, networks, batch, rows_per_block=rows)
        assert parts == pytest.approx(whole, rel=1e-5)
        assert apart(gradients, same) < 1e-5


@pytest.mark.parametrize(("set_before", "cores", "expected"), [(4, 2, 2), (4, 16, 4), (1, 3, 1)])
def test_torch_takes_no_more_threads_than_cores_may_be_used(monkeypatch, set_before, cores, expected) -> None:
    learner, _ = learner_in("plain")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(set_before)
        monkeypatch.setattr("marl_pricing.learning.torch_mappo.learner.usable_cores", lambda: cores)
        TorchLearner(learner.settings, learner.actor, learner.critic, 2, (15, 3))
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("steps", [18, 7])
def test_the_grus_gradient_is_the_right_one(monkeypatch, steps: int) -> None:
    """Two networks of different inputs and rows, a segment in one block or in three, episodes that begin within."""
    torch.manual_seed(0)
    monkeypatch.setattr(gru, "_idle", {})
    monkeypatch.setattr(gru, "_BLOCK", steps * 4 * 2)
    monkeypatch.setattr(gru, "_LEAST", 1)
    given, firsts = [], []
    for in_size, rows in ((5, 3), (2, 1)):
        shapes = ((18, rows, in_size), (6, in_size), (6,), (6, 2), (2,), (rows, 2))
        given += [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
        firsts.append(torch.rand(18, rows) < 0.15)
        assert firsts[-1].any()
    assert torch.autograd.gradcheck(lambda *own: GruSequences.apply(tuple(firsts), *own), given)
    for number, hiddens in enumerate(GruSequences.apply(tuple(firsts), *given)):
        inputs, weight_ih, bias_ih, weight_hh, bias_hh, hidden = given[6 * number : 6 * number + 6]
        expected = []
        for x, begins in zip(inputs, firsts[number], strict=True):
            hidden = hidden.masked_fill(begins[:, None], 0.0)
            hidden = gru_step(x @ weight_ih.t() + bias_ih, hidden @ weight_hh.t(), bias_hh, hidden)
            expected.append(hidden)
        torch.testing.assert_close(hiddens, torch.stack(expected))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_losses_are_the_same(segments) -> None:
    learner, own = learner_in("plain")
    networks = random_networks(learner)
    batch = batch_of(learner, own, segment_of(segments, "plain", "central"), networks)
    terms, gradients = torch_terms(learner, networks, batch)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled, same = torch_terms(learner, networks, batch, compile=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    assert compiled == pytest.approx(terms, rel=1e-5)
    assert apart(gradients, same) < 1e-5

"""What an update hands to its losses, seen from inside; and segments played again in the market by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.learning import actions, mappo, rollout
from marl_pricing.learning.actor_critic.learner import seen as seen_by_critic
from marl_pricing.learning.gradient import gradient
from marl_pricing.learning.measures import segment_measures
from marl_pricing.learning.state import TrainState
from marl_pricing.market import Action
from tests.learning.helpers import CHOSEN, INDEX, QUICK, batch_of, learner_of, rolled
from tests.markets import UNLIMITED, make, programs
from tests.sizes import at_once

RICH: dict[str, Any] = {
    "episode_length": 7, "num_products": 2, "inventory": CHOSEN,
    "reward": {"unit_cost": [1.7, 1.9], "stockout_penalty": 0.1, "omega": 0.7},
    "bankruptcy": {"initial_cash": [3.0, 3.0], "cash_limit": 0.0},
}  # fmt: skip


def rich(**traffic: Any):
    """Two sellers of two products that choose their orders, one on the way at most; both may go bankrupt any time."""
    return make(traffic, **RICH)


def loud(learner, own) -> TrainState:
    """A first state whose networks have large random weights, so that what they say is far from nothing."""
    rng = np.random.default_rng(0)

    def weights(leaf: Any) -> jax.Array:
        return jnp.asarray(rng.normal(0, 0.5, leaf.shape), leaf.dtype)

    abstract = jax.eval_shape(lambda: mappo.init(learner, jnp.int32(0), own.params, INDEX))
    networks = jax.tree.map(weights, (abstract.learnable.actor, abstract.learnable.critic))
    keys = jax.random.split(jax.random.key(0), 4)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), abstract.replace(rollout=None))
    return zeros.replace(
        learnable=zeros.learnable.replace(actor=networks[0], critic=networks[1]),
        rollout=jax.jit(
            lambda: rollout.start(keys, own.shape, own.params, learner.actor, learner.critic), compiler_options=QUICK
        )(),
    )


@pytest.mark.parametrize(
    ("cell", "num_layers", "sharing", "critic", "normalisation"),
    at_once(
        [
            ("gru", 1, "shared", "central", "running"),
            ("lstm", 2, "shared", "central", "popart"),
            ("mingru", 2, "per_seller", "local", "popart"),
            ("mingru", 1, "shared", "local", "popart"),
            ("none", 1, "per_seller", "central", "running"),
        ]
    ),
)
def test_before_the_first_step_the_losses_networks_say_what_the_batch_says(
    cell: str, num_layers: int, sharing: str, critic: str, normalisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three updates in a row, networks changed between them: memories cross the borders with episodes and the dead."""

    def look(learner, loss, batch, total, bonus, rate, learnable, index):
        batch = batch.select(index)
        segment = batch.segment
        logits, actor_memory = learner.actor.sequence(
            learnable.actor, segment.observation.local, batch.actor_memory, segment.first
        )
        heads = actions.split_heads(learner.shape, logits, segment.observation.order_mask)
        ratio = actions.log_prob(heads, segment.indices) - segment.log_prob
        value, critic_memory = learner.critic.sequence(
            learnable.critic, seen_by_critic(learner, segment.observation), batch.critic_memory, segment.first
        )
        # An update reports sums over live steps; a minibatch of all environments is one of them.
        sums = {
            "ratio": jnp.abs(ratio).max(), "value": jnp.abs(value[..., 0] - batch.value).max(),
            "actor_end": actor_memory[-1].sum(), "critic_end": critic_memory[-1].sum(),
            "dead": (1.0 - batch.live).max(),
            "ends": (segment.restarted.any(1) & ~segment.restarted.all(1)).any().astype(jnp.float32),
            "masked": (~segment.observation.order_mask).any().astype(jnp.float32),
        }  # fmt: skip
        return learnable, {name: x * batch.live.sum() for name, x in sums.items()} | {"live": batch.live.sum()}

    monkeypatch.setattr("marl_pricing.learning.mappo.learner.gradient_step", look)
    own = rich()
    learner = learner_of(
        own, cell=cell, num_layers=num_layers, sharing=sharing, critic=critic, value_normalisation=normalisation,
        num_epochs=1, num_minibatches=1,
    )  # fmt: skip
    # Not the program that other tests share: in this one the gradient step is another.
    update = jax.jit(lambda state: mappo.update(learner, state, own.params, INDEX), compiler_options=QUICK)
    state = loud(learner, own)
    for number in range(3):
        changed = jax.tree.map(lambda x, n=number: x * (1.0 + 0.1 * n), (state.learnable.actor, state.learnable.critic))
        state = state.replace(learnable=state.learnable.replace(actor=changed[0], critic=changed[1]))
        state, seen = update(state)
        assert float(seen["ratio"]) < 1e-4
        assert float(seen["value"]) < 1e-4
        assert all(float(seen[name]) == pytest.approx(1.0) for name in ("dead", "ends", "masked"))
        for name in ("actor", "critic"):  # what the next segment begins with
            memory = np.asarray(getattr(state.rollout, f"{name}_memory"))
            assert np.abs(memory).max() > 0.01
            assert float(seen[f"{name}_end"]) == pytest.approx(float(memory.sum()), abs=1e-3)


def test_a_segments_actions_give_the_same_epochs_when_the_market_is_played_by_hand() -> None:
    own = rich(random_orders=False)  # nothing is random here but the actions
    learner = learner_of(own, num_minibatches=1)
    _, segment = jax.tree.map(np.asarray, rolled(learner, own, loud(learner, own), num_steps=16))
    assert len(np.unique(segment.indices[0].reshape(16, -1), axis=1).T) > 4  # environments differ
    step = jax.jit(lambda state, action: market.step(jax.random.key(1), own.shape, state, action, own.params))
    fresh = programs.reset(jax.random.key(0), *own)
    deaths = restarts = 0
    assert (segment.restarted.any(1) & ~segment.restarted.all(1)).any()  # episodes end at times of their own
    for env in range(4):
        (state, seen), first = fresh, True
        for t in range(16):
            assert bool(segment.first[t, env]) == first
            for name in ("local", "state", "order_mask"):
                np.testing.assert_allclose(
                    getattr(segment.observation, name)[t, env], getattr(seen, name), rtol=1e-5, atol=1e-6
                )
            allowed = np.take_along_axis(np.asarray(seen.order_mask), segment.indices[1][t, env][..., None], -1)
            assert allowed.all()
            action = Action(*(jnp.asarray(index[t, env]) for index in segment.indices))
            state, seen, outcome = step(state, action)
            for name in ("prices", "demand", "sales", "ordered", "reward", "learning", "acted", "terminated"):
                want = np.asarray(getattr(outcome, name))
                np.testing.assert_allclose(getattr(segment.outcome, name)[t, env], want, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(segment.following.local[t, env], seen.local, rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(
                segment.done[t, env], np.asarray(outcome.terminated) | bool(outcome.truncated)
            )
            deaths += int(np.asarray(outcome.terminated).sum())
            over = bool(outcome.truncated) or not (np.asarray(outcome.acted) & ~np.asarray(outcome.terminated)).any()
            assert bool(segment.restarted[t, env]) == over
            first = over
            if over:
                state, seen = fresh
                restarts += 1
    assert deaths >= 4
    assert restarts >= 8


def loss_of(learner, which: str):
    if which == "actor":
        return lambda p, b: mappo.actor_loss(learner, p, b, jnp.float32(0.01))
    return lambda p, b: mappo.critic_loss(learner, p, b)


def gradient_of(learner, which: str, num_blocks: int = 1):
    loss = loss_of(learner, which)
    return jax.jit(lambda p, b, index: gradient(loss, p, b, index, num_blocks)[0], compiler_options=QUICK)


def assert_close(one: Any, other: Any, tolerance: float = 1e-5) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        scale = np.abs(np.asarray(a)).max() + 1e-12
        np.testing.assert_allclose(np.asarray(a) / scale, np.asarray(b) / scale, atol=tolerance)


@pytest.fixture(scope="module")
def stacked():
    """A learner with networks of each seller's own, local critics, and a batch in which a seller goes bankrupt."""
    own = rich()
    learner = learner_of(own, sharing="per_seller", critic="local")
    state = loud(learner, own)
    after, _ = rolled(learner, own, state)
    state = state.replace(rollout=after.replace(critic_memory=0.3 + after.critic_memory))
    after, segment = rolled(learner, own, state, seed=6)
    assert not np.asarray(segment.outcome.acted).all()
    return learner, state, segment, batch_of(learner, state, segment)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["actor", "critic"])
def test_a_minibatch_in_blocks_and_in_any_order_has_the_gradient_of_the_whole(stacked, which: str) -> None:
    learner, state, _, batch = stacked
    parameters = getattr(state.learnable, which)
    whole = gradient_of(learner, which)(parameters, batch, INDEX)
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(whole["cell"]["kernel_hidden"]))
    for count in (2, 3, 4):  # three: the last is filled up with an environment that does not count
        assert_close(whole, gradient_of(learner, which, count)(parameters, batch, INDEX))
    assert_close(whole, gradient_of(learner, which)(parameters, batch, jnp.array([3, 1, 0, 2])))


def test_sums_of_uneven_blocks_are_those_of_the_whole(stacked) -> None:
    learner, state, _, batch = stacked
    sums = [
        jax.jit(lambda p, b, count=count: gradient(loss_of(learner, "actor"), p, b, INDEX[:3], count)[1])(
            state.learnable.actor, batch
        )
        for count in (1, 2)
    ]
    assert set(sums[0]) == {"policy_loss", "kl", "clipped", "entropy"}
    assert_close(*sums)


@pytest.mark.parametrize("which", ["actor", "critic"])
def test_sellers_that_change_places_take_their_gradients_along_and_leave_the_loss(stacked, which: str) -> None:
    learner, state, _, batch = stacked
    parameters = getattr(state.learnable, which)

    def flipped(tree: Any, axis: int) -> Any:
        return jax.tree.map(lambda x: jnp.flip(x, axis), tree)

    seen = batch.segment.observation
    turned = batch.replace(
        segment=batch.segment.replace(
            observation=seen.replace(local=flipped(seen.local, 2), order_mask=flipped(seen.order_mask, 2)),
            indices=flipped(batch.segment.indices, 2),
            log_prob=flipped(batch.segment.log_prob, 2),
        ),
        **flipped({"actor_memory": batch.actor_memory, "critic_memory": batch.critic_memory}, 1),
        **flipped({name: getattr(batch, name) for name in ("value", "target", "advantage", "live")}, 2),
    )
    loss = jax.jit(loss_of(learner, which))
    other = flipped(parameters, 0)
    assert float(loss(other, turned)[0]) == pytest.approx(float(loss(parameters, batch)[0]), rel=1e-4)
    assert float(loss(parameters, turned)[0]) != pytest.approx(float(loss(parameters, batch)[0]), rel=1e-3)
    gradient = gradient_of(learner, which)
    assert_close(gradient(parameters, batch, INDEX), flipped(gradient(other, turned, INDEX), 0), 1e-4)


def test_what_a_bankrupt_seller_sees_does_and_earns_reaches_no_loss(stacked) -> None:
    learner, state, segment, batch = stacked
    gone = ~np.asarray(segment.outcome.acted)
    noise = jnp.asarray(np.random.default_rng(0).normal(0, 50, gone.shape), jnp.float32)
    dirt = jnp.where(gone, noise, 0.0)
    seen = segment.observation
    dirty = segment.replace(
        observation=seen.replace(local=seen.local + dirt[..., None]),
        indices=[jnp.where(gone[..., None], 1, index) for index in segment.indices],
        log_prob=segment.log_prob + 0.01 * dirt,
        outcome=segment.outcome.replace(learning=segment.outcome.learning + dirt),
    )
    other = batch_of(learner, state, dirty)
    alive = ~gone
    for name in ("advantage", "target", "value"):
        np.testing.assert_allclose(
            np.asarray(getattr(batch, name))[alive], np.asarray(getattr(other, name))[alive], rtol=1e-4, atol=1e-4
        )
    for which in ("actor", "critic"):
        gradient, parameters = gradient_of(learner, which), getattr(state.learnable, which)
        assert_close(gradient(parameters, batch, INDEX), gradient(parameters, other, INDEX), 1e-4)


def test_measures_of_stock_and_service_are_plain_averages_over_offers_of_those_in_the_market(stacked) -> None:
    segment, own = stacked[2], rich()
    got = jax.tree.map(np.asarray, segment_measures(own.shape, own.params, segment, lambda x: x))
    outcome = jax.tree.map(np.asarray, segment.outcome)
    by_offer = np.repeat(outcome.acted, 2, axis=-1)
    for seller in range(2):
        mine = slice(2 * seller, 2 * seller + 2)
        live = by_offer[..., mine]
        for name, values in (("stock_mean", outcome.stock), ("price_mean", outcome.prices)):
            assert got[name][seller] == pytest.approx(values[..., mine][live].mean(), rel=1e-5), name
        assert got["stockout_rate"][seller] == pytest.approx((outcome.unmet[..., mine][live] > 0).mean(), rel=1e-5)
        sold, wanted = (x[..., mine][live].sum() for x in (outcome.sales, outcome.demand))
        assert got["fill_rate"][seller] == pytest.approx(sold / wanted, rel=1e-5)
        assert got["price_counts"][seller].sum() == live.sum()
    assert got["price_counts"].shape == (2, 32)
    assert got["active"] == pytest.approx(outcome.acted.mean(), rel=1e-5)
    unlimited = make(**RICH | {"inventory": UNLIMITED}).shape
    assert "stock_mean" not in segment_measures(unlimited, own.params, segment, lambda x: x)

"""Sellers that learn continuous prices: what is drawn is what is learned from, and where they end."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from marl_pricing import config, market
from marl_pricing.learning import mappo
from marl_pricing.learning.held_out import CONSTANT_PLACES, _constants, play_deviations
from marl_pricing.learning.learner import init
from marl_pricing.learning.learners import make_learner, settings_class
from marl_pricing.learning.seats import Holder, seat_game, seat_params
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.policies import myopic
from tests.doors.compose import composed
from tests.learning.helpers import ANY_PRICE, INDEX, QUICK, TINY, learner_of, rolled, started, update_of
from tests.learning.test_bookkeeping import actor_log_prob
from tests.learning.test_robust import INTERVAL, a_market
from tests.markets import UNLIMITED, make
from tests.sizes import at_once


def louder(state):
    loud = jax.tree.map(lambda x: 3.0 * x, state.learnable.actor)
    return state.replace(learnable=state.learnable.replace(actor=loud))


@pytest.mark.parametrize(
    ("law", "cell", "sharing", "price_map"),
    at_once([("beta", "gru", "shared", "range"), ("gaussian", "lstm", "per_seller", "adjust")]),
)
def test_the_ratio_is_one_and_the_market_played_by_hand_gives_the_same_epochs(law, cell, sharing, price_map) -> None:
    own = make({"random_orders": False}, **ANY_PRICE | {"prices": ANY_PRICE["prices"] | {"map": price_map}})
    learner = learner_of(own, cell=cell, sharing=sharing, price_law=law)
    state = louder(started(learner, own))
    replay = jax.jit(partial(actor_log_prob, learner, state.learnable.actor), compiler_options=QUICK)
    after, segment = rolled(learner, own, state)
    np.testing.assert_allclose(replay(segment, state.rollout.actor_memory), segment.log_prob, atol=3e-4)
    _, second = rolled(learner, own, state.replace(rollout=after), seed=1)
    np.testing.assert_allclose(replay(second, after.actor_memory), second.log_prob, atol=3e-4)
    step = jax.jit(lambda state, action: market.step(jax.random.key(1), own.shape, state, action, own.params))
    share = special.expit(np.asarray(segment.indices[0], np.float64))
    low, high = -0.3, 0.3
    if price_map == "range":
        low, high = np.array([[1.1, 1.2], [1.3, 1.4]]), 2.5
    actions = low + (high - low) * share
    for env in range(4):
        by_hand, _ = market.reset(jax.random.key(0), *own)
        for time in range(7):
            action = market.Action(jnp.asarray(actions[time, env], jnp.float32))
            by_hand, _, outcome = step(by_hand, action)
            for name in ("prices", "demand", "reward", "learning"):
                want = np.asarray(getattr(outcome, name))
                np.testing.assert_allclose(getattr(segment.outcome, name)[time, env], want, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_sellers_may_change_places() -> None:
    """Networks of their own, exchanged with the sellers: the same losses, each in the other place."""
    own = make(**ANY_PRICE)
    learner = learner_of(own, sharing="per_seller", critic="local", normalise_advantage=False)
    state = louder(started(learner, own))
    _, segment = rolled(learner, own, state)

    def swapped(tree, axis):
        return jax.tree.map(lambda x: jnp.flip(x, axis), tree)

    replay = jax.jit(partial(actor_log_prob, learner), compiler_options=QUICK)
    memory = state.rollout.actor_memory
    there = segment.replace(
        observation=segment.observation.replace(local=swapped(segment.observation.local, 2)),
        indices=swapped(segment.indices, 2),
    )
    found = replay(swapped(state.learnable.actor, 0), there, swapped(memory, 1))
    np.testing.assert_allclose(found[..., ::-1], replay(state.learnable.actor, segment, memory), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("algorithm", at_once(["mappo", "a2c"]))
def test_an_update_moves_the_law_and_stays_finite(algorithm: str) -> None:
    own = make(**ANY_PRICE)
    known = settings_class(algorithm).model_fields
    settings = settings_class(algorithm)(
        algorithm=algorithm, **{name: value for name, value in TINY.items() if name in known}
    )
    learner = make_learner(settings, *own)
    state = jax.jit(lambda: init(learner, jnp.int32(0), own.params, INDEX), compiler_options=QUICK)()
    update = jax.jit(lambda state: learner.update(state, own.params, INDEX, lambda x: x), compiler_options=QUICK)
    after, seen = update(state)
    assert all(np.isfinite(value).all() for value in jax.tree.leaves((after.learnable, seen)))
    before, out = (np.asarray(own.learnable.actor["out"]["bias"]) for own in (state, after))
    assert out.shape == (4,) and (np.abs(out - before) > 0).all()
    assert -4.0 < float(seen["entropy"]) < 0.0  # of two products, and no law has more than the uniform one


@pytest.mark.slow
def test_a_robust_critic_looks_into_worlds_with_continuous_prices() -> None:
    own = a_market(prices={"map": "range", "low": 1.0, "high": 2.5})
    learner = mappo.make_learner(LearnerSettings(**TINY), *own, INTERVAL)
    state = started(learner, own)
    _, seen = update_of(learner, own)(state)
    assert np.isfinite(float(seen["pessimism"])) and float(seen["pessimism"]) >= 0.0
    weights = [float(value) for name, value in seen.items() if name.startswith("candidate_")]
    assert sum(weights) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
def test_rules_hold_seats_beside_sellers_that_learn() -> None:
    own = make(**ANY_PRICE)
    rule = myopic(*own)
    params = seat_params(own.params, [Holder(rule.parameters, jnp.array([True, False]))])
    learner = make_learner(LearnerSettings(**TINY), own.shape, params, game=seat_game([rule]))
    state = jax.jit(lambda: init(learner, jnp.int32(0), params, INDEX), compiler_options=QUICK)()
    update = jax.jit(lambda state: learner.update(state, params, INDEX, lambda x: x), compiler_options=QUICK)
    _, seen = update(state)
    assert np.isfinite(float(seen["policy_loss"])) and 1.1 <= float(seen["price_mean"][0]) <= 2.5


@pytest.mark.parametrize("price_map", ["range", "adjust"])
def test_a_deviation_to_a_constant_price_is_to_a_place_of_the_range(price_map: str) -> None:
    """In a market without chance the gains are the market's own, price by price; a relative change takes its time."""
    prices = {"map": price_map, "low": 1.1, "high": 2.5, **({"max_change": 0.2} if price_map == "adjust" else {})}
    own = make({"random_orders": False}, episode_length=3, inventory=UNLIMITED, prices=prices)
    learner = learner_of(own)
    actor = started(learner, own).learnable.actor
    numbers = jnp.arange(2)
    found = jax.jit(lambda: play_deviations(learner, actor, own.params, numbers, numbers), compiler_options=QUICK)()
    ahead = np.asarray(found["ahead"])  # [S, C, E]
    assert ahead.shape == (2, CONSTANT_PLACES, 2)
    wanted = 1.1 + 1.4 * special.expit(_constants(own.shape))
    posted, last = np.tile(wanted, (3, 1)), np.full(CONSTANT_PLACES, 1.8)
    for epoch in range(3 * (price_map == "adjust")):
        last = posted[epoch] = np.clip(wanted, 0.8 * last, 1.2 * last)
    # Fresh networks post the middle, so what a price is ahead by is a difference of two static profits.
    demand = np.exp((2.0 - posted) / 0.25)
    other = np.exp((2.0 - 1.8) / 0.25)
    profit = 10 * (posted - 1.0) * demand / (1.0 + demand + other)
    at_middle = 10 * 0.8 * other / (1.0 + 2 * other)
    np.testing.assert_allclose(ahead[0, :, 0], (profit - at_middle).sum(0), atol=0.3)
    assert int(found["chosen"][0]) == profit.sum(0).argmax()


@pytest.mark.parametrize("price_map", ["range", "adjust"])
@pytest.mark.parametrize("algorithm", ["pqn", "dqn", "qtable"])
def test_learners_of_values_refuse_continuous_prices_by_name(algorithm: str, price_map: str) -> None:
    with pytest.raises(config.ConfigError) as refused:
        composed(f"market/prices={price_map}", f"learner={algorithm}", "market.features=[own_price]")
    want = (
        f"market.prices.map='{price_map}': accepted is levels or scale with learner.algorithm={algorithm}, which values"
    )
    assert str(refused.value).startswith(want) and "\n" not in str(refused.value)

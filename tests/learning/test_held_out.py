"""Play on held-out shoppers beside episodes that the market plays step by step."""

from __future__ import annotations

from itertools import product
from math import sqrt
from statistics import mean, stdev
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.config import market_from
from marl_pricing.learning import held_out
from marl_pricing.learning.evaluations import Yardstick, better, yardstick_of
from marl_pricing.learning.held_out import HeldOut, figures_of, gain_of, has_one_objective, scores_of
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from tests.doors.compose import composed
from tests.learning.helpers import BANKRUPT, CHOSEN, learner_of, measured_of
from tests.markets import make, one_shot, programs

GRID = {"map": "levels", "low": 1.1, "high": 2.5, "num_price_levels": 3}
MARKETS: dict[str, dict[str, Any]] = {
    "stock": {"episode_length": 5, "prices": GRID},
    "own orders, two products": {"episode_length": 4, "num_products": 2, "inventory": CHOSEN, "prices": GRID},
    "bankruptcy": {"episode_length": 6, "prices": GRID} | BANKRUPT,
}


def loud(state: Any) -> Any:
    """Actors far from uniform, so that greedy play is not one price."""
    return jax.tree.map(lambda x: 4.0 * x, state.learnable.actor)


@pytest.fixture(scope="module", params=MARKETS)
def played(request):
    """(market, learner, actors, sums, deviations) of two seeds."""
    own = make(**MARKETS[request.param])
    program = Program(learner_of(own, num_seeds=2))
    params = program.stack(own.params)
    actors = loud(program.init(params))
    programs = HeldOut(program)
    sums = jax.device_get(programs.compile_play(actors, params)(actors, params))
    deviations = jax.device_get(programs.compile_deviations(actors, params)(actors, params))
    return own, program.learner, actors, sums, deviations


def by_hand(own: Any, policy: Any, number: int, price: dict[int, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """One episode of held-out shoppers, one market step after the other; some sellers at constant price indices."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(np.uint32(3_141_592_653)), 0), number)
    state, seen = programs.reset(jax.random.fold_in(key, 0), own.shape, own.params)
    memory, gone = policy.start(), np.zeros(own.shape.num_sellers, bool)
    found: dict[str, Any] = dict.fromkeys(("profit", "shaped", "price", "live", "sales", "demand"), 0.0)
    for time in range(own.shape.episode_length):
        action, memory = policy.act(policy.parameters, jax.random.key(0), memory, seen, state, own.params)
        for seller, index in price.items():
            action = action.replace(price=action.price.at[seller].set(jnp.array(index)))
        state, seen, outcome = programs.step(jax.random.fold_in(key, time + 1), own.shape, state, action, own.params)
        live = np.asarray(outcome.acted) & ~gone
        gone |= np.asarray(outcome.terminated)
        offers = {"sales": outcome.sales, "demand": outcome.demand}
        row = {name: np.asarray(x).reshape(live.size, -1).sum(1) for name, x in offers.items()}
        row |= {"profit": outcome.reward, "shaped": outcome.shaped, "live": np.ones(live.size)}
        row["price"] = np.asarray(outcome.prices).reshape(live.size, -1).mean(1)
        found = {name: found[name] + np.where(live, np.asarray(value), 0.0) for name, value in row.items()}
    return found


@pytest.mark.slow
def test_greedy_play_is_what_the_market_plays_step_by_step(played) -> None:
    own, learner, actors, sums, _ = played
    for seed, number in ((0, 0), (1, held_out.EPISODES - 1)):
        policy = learned_policy(learner, jax.tree.map(lambda x, s=seed: x[s], actors), greedy=True)
        expected = by_hand(own, policy, number, {})
        for name, value in expected.items():
            np.testing.assert_allclose(sums["greedy"][name][seed, number], value, rtol=1e-4, atol=1e-4, err_msg=name)
    assert not np.array_equal(sums["greedy"]["price"], sums["sampled"]["price"])


@pytest.mark.slow
def test_deviations_are_all_constant_prices_of_one_seller(played) -> None:
    own, learner, actors, sums, deviations = played
    grid = list(product(range(3), repeat=own.shape.num_products))
    choosing, measuring = held_out.CHOOSING_EPISODES, held_out.MEASURING_EPISODES
    ahead, measured = deviations["ahead"], deviations["measured"]
    assert ahead.shape == (2, 2, len(grid), choosing) and measured.shape == (2, 2, measuring)
    policy = learned_policy(learner, jax.tree.map(lambda x: x[1], actors), greedy=True)
    for seller, place in ((0, len(grid) - 1), (1, 1)):
        expected = by_hand(own, policy, 2, {seller: grid[place]})["shaped"] - by_hand(own, policy, 2, {})["shaped"]
        np.testing.assert_allclose(ahead[1, seller, place, 2], expected[seller], rtol=1e-4, atol=2e-4)
    figures = figures_of(own.shape, sums, deviations)["greedy"]
    for seed, seller in product(range(2), range(2)):
        chosen = max(range(len(grid)), key=lambda c, gains=ahead[seed, seller]: gains[c].sum())
        assert deviations["chosen"][seed, seller] == chosen
        gain, error = mean(measured[seed, seller].tolist()), stdev(measured[seed, seller].tolist()) / sqrt(24)
        for name, expected in (("deviation_gain", gain), ("deviation_error", error)):
            found = figures[name][seed, seller] * own.shape.episode_length
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # What is measured is the chosen price, on the shoppers that follow those who chose it.
    price = {0: grid[deviations["chosen"][1, 0]]}
    for episode in (0, measuring - 1):
        number = choosing + episode
        expected = by_hand(own, policy, number, price)["shaped"] - by_hand(own, policy, number, {})["shaped"]
        np.testing.assert_allclose(measured[1, 0, episode], expected[0], rtol=1e-4, atol=2e-4)


def test_the_best_of_many_equal_prices_gains_nothing() -> None:
    numbers = np.random.default_rng(0)
    base = 10.0 + numbers.normal(size=(4000, 32, 1))
    equal = base[:, None, None, :, 0] + numbers.normal(size=(4000, 1, 25, 32))
    equal -= base.transpose(0, 2, 1)[:, :, None]
    gain, error = (found[:, 0] for found in gain_of(measured_of(equal)))
    assert abs(gain.mean()) < 3 * gain.std() / np.sqrt(gain.size)
    np.testing.assert_allclose(np.sqrt((error**2).mean()), gain.std(), rtol=0.1)
    on_its_own = equal.mean(-1).max(-1)[:, 0]
    assert on_its_own.mean() > 0.3  # what is not said any more
    better = equal + np.where(np.arange(25) == 7, 3.0, 0.0)[:, None]
    np.testing.assert_allclose(gain_of(measured_of(better))[0].mean(), 3.0, atol=0.02)


@pytest.mark.slow
def test_figures_are_ratios_of_sums(played) -> None:
    own, _, _, sums, _ = played
    greedy = figures_of(own.shape, sums)["greedy"]
    total = {name: value.astype(float).sum(1) for name, value in sums["greedy"].items()}
    epochs = held_out.EPISODES * own.shape.episode_length
    np.testing.assert_allclose(greedy["profit"], total["profit"] / epochs)
    np.testing.assert_allclose(greedy["price"], total["price"] / total["live"])
    np.testing.assert_allclose(greedy["fill_rate"], total["sales"] / total["demand"])
    np.testing.assert_allclose(scores_of(own.shape, sums), greedy["profit"].sum(-1))
    assert "worst_world" not in greedy and "deviation_gain" not in greedy
    levels = own.shape.prices.num_levels
    assert (greedy["entropy"] > 0).all() and (greedy["entropy"] < 2 * own.shape.num_products * np.log(levels)).all()


def test_all_seeds_meet_the_same_shoppers_whoever_else_is_played() -> None:
    own = make(episode_length=5, prices=GRID)
    program = Program(learner_of(own, num_seeds=2))
    params = program.stack(own.params)
    one = jax.tree.map(lambda x: jnp.stack([x[1], x[1]]), loud(program.init(params)))
    first = jax.device_get(HeldOut(program).compile_play(one, params)(one, params))
    alone = Program(learner_of(own))
    single = jax.tree.map(lambda x: x[:1], one)
    other = jax.device_get(
        HeldOut(alone).compile_play(single, alone.stack(own.params))(single, alone.stack(own.params))
    )
    for kind in ("greedy", "sampled"):
        for name in first[kind]:
            np.testing.assert_array_equal(first[kind][name][0], first[kind][name][1])
            np.testing.assert_allclose(first[kind][name][0], other[kind][name][0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_robust_learner_is_also_played_in_every_candidate_world() -> None:
    """The share of agents held for whole episodes: the same as a market whose share it is."""
    shares = [0.0, 0.3, 0.9]
    experiment = composed(
        "market=default", "traffic=analytic", "market.episode_length=5", "learner.devices=1", "learner.num_envs=4",
        "learner.num_minibatches=2", "learner.hidden_size=8", "robust=kl",
        f"robust.worlds=[{{factor: agent_share, values: {shares}}}]",
    )  # fmt: skip
    program = Program(experiment.learner)
    params = program.stack(experiment.market.params)
    actors = loud(program.init(params))
    sums = jax.device_get(HeldOut(program).compile_play(actors, params)(actors, params))
    shape = experiment.market.shape
    assert sums["worlds"]["profit"].shape == (1, 3, held_out.EPISODES, shape.num_sellers)
    for number, share in enumerate(shares):
        own = experiment.market.params
        own = own.replace(traffic=own.traffic.replace(agent_share=jnp.float32(share)))
        plain = program.stack(own)
        nominal = jax.device_get(HeldOut(program).compile_play(actors, plain)(actors, plain))
        np.testing.assert_allclose(
            sums["worlds"]["profit"][:, number], nominal["greedy"]["profit"], rtol=1e-4, atol=1e-3
        )
    worst = figures_of(shape, sums)["greedy"]["worst_world"]
    each = sums["worlds"]["shaped"].mean(2) / shape.episode_length
    np.testing.assert_allclose(worst, each.min(1), rtol=1e-5)
    expected = (sums["worlds"]["profit"].sum(-1).mean(-1) / shape.episode_length).min(-1)
    np.testing.assert_allclose(scores_of(shape, sums), expected, rtol=1e-5)


def test_one_objective_is_one_seller_or_omega_zero() -> None:
    assert has_one_objective(one_shot(1).params)
    assert has_one_objective(one_shot(2, omega=0.0).params)
    assert not has_one_objective(one_shot(2, omega=1.0).params)
    assert not has_one_objective(one_shot(2, omega=[0.0, 0.5]).params)


def test_better_takes_each_seeds_own_best_and_the_earlier_of_equals() -> None:
    def networks(*values: float) -> dict[str, np.ndarray]:
        return {"w": np.array([[v, -v] for v in values], np.float32)}

    best = better(None, networks(1, 1, 1), np.array([1.0, 5.0, 2.0]), 4)
    best = better(best, networks(2, 2, 2), np.array([3.0, 4.0, 2.0]), 8)
    np.testing.assert_array_equal(best["networks"]["w"], [[2, -2], [1, -1], [1, -1]])
    np.testing.assert_array_equal(best["update"], [8, 4, 4])
    np.testing.assert_array_equal(best["score"], [3, 5, 2])
    assert best["update"].dtype == np.int32 and best["score"].dtype == np.float32


def test_the_yardstick_is_each_sellers_own() -> None:
    """Logit duopoly with costs 1.0 and 0.5: at its Nash profit a seller's gain is 0, at joint profit 1."""
    own = one_shot(2, cost=[1.0, 0.5])
    found = yardstick_of(*own)
    assert found.nash is not None and found.joint is not None and found.price is not None
    assert found.price[0] - found.price[1] > 0.1
    at_nash = found.figures(found.nash[None], found.price[None])
    np.testing.assert_allclose(at_nash["price_gap"], 0.0, atol=1e-9)
    middle = found.figures(0.5 * (found.nash + found.joint)[None], 1.1 * found.price[None])
    np.testing.assert_allclose(middle["price_gap"], 0.1)
    wide = (found.joint - found.nash) >= 0.02 * found.nash
    np.testing.assert_array_equal(np.isfinite(at_nash["profit_gain"][0]), wide)
    np.testing.assert_allclose(middle["profit_gain"][0][wide], 0.5)
    nothing = Yardstick(None, None, None).figures(np.ones((1, 2)), np.ones((1, 2)))
    assert all(np.isnan(value).all() for value in nothing.values())


def test_a_market_without_an_equilibrium_has_no_yardstick() -> None:
    power = market_from(
        {"num_sellers": 2, "demand": {"model": "power", "base": 0.1, "elasticity": -0.5, "reference_price": 1.5},
         "inventory": {"rule": "unlimited"}, "reward": {"unit_cost": 1.0}, "prices": GRID},
        {"sessions_per_epoch": 1},
    )  # fmt: skip
    assert yardstick_of(*power).joint is None

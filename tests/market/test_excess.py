"""Rows "volatility", "supra-competitive" and "COI level" of the methodology's table."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from marl_pricing import market
from marl_pricing.config import from_yaml
from marl_pricing.config.retired import translate
from marl_pricing.evaluation.metrics import MEASURES, Episodes
from marl_pricing.evaluation.play import play
from marl_pricing.market.reward import relative_movement
from marl_pricing.policies.constant import constant
from tests.doors.compose import settings
from tests.learning.helpers import QUICK
from tests.markets import UNLIMITED, make, programs

LEVELS = [0.25, 0.5, 1.0, 1.5, 2.0, 3.0]


def fines(indices: list[int], num_sellers: int = 1, **reward) -> tuple[np.ndarray, list]:
    """What is taken off the rewards [T, S] of an episode of these price levels, and the states after each epoch."""
    common = {"unit_cost": 0.1, "anchor": 1.5}
    base = {"num_sellers": num_sellers, "inventory": UNLIMITED, "prices": {"map": "levels", "levels": LEVELS}}
    worlds = [make({"random_orders": False}, **base, reward=common | own) for own in ({}, reward)]
    rewards: list[list] = [[], []]
    states = []
    for which, (shape, params) in enumerate(worlds):
        step = jax.jit(lambda k, s, a, shape=shape, params=params: market.step(k, shape, s, a, params), **{
            "compiler_options": QUICK
        })  # fmt: skip
        state, _ = programs.reset(jax.random.key(0), shape, params)
        for index in indices:
            action = market.Action(jnp.full((num_sellers, 1), index, jnp.int32))
            state, _, outcome = step(jax.random.key(1), state, action)
            rewards[which].append(np.asarray(outcome.reward))
            if which:
                states.append(state)
    return np.array(rewards[0]) - np.array(rewards[1]), states


def test_volatility_is_relative_to_a_price_of_at_least_1() -> None:
    """|Δp| / max(p, 1): a rise from 0.25 to 0.5 is 0.25, one from 2 to 3 is a half."""
    path = [0, 1, 0, 4, 5]
    prices = np.array([1.625, *np.array(LEVELS)[path]])  # the first price is the middle of the grid
    for floor, least in (({}, 1.0), ({"movement_floor": 1e-6}, 1e-6)):
        got, _ = fines(path, volatility=2.0, **floor)
        want = 2.0 * np.abs(np.diff(prices)) / np.maximum(prices[:-1], least)
        np.testing.assert_allclose(got[:, 0], want, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(relative_movement(jnp.array([0.5, 3.0]), jnp.array([0.25, 2.0])), [0.25, 0.5])


def test_volatility_of_an_older_run_has_no_floor() -> None:
    data = settings("market.reward.volatility=0.5")
    del data["market"]["reward"]["movement_floor"]
    data = {name: value for name, value in data.items() if name not in ("resume", "study")}

    def floor() -> float:
        return from_yaml(yaml.safe_dump(data), "config.yaml").market.reward.movement_floor

    assert floor() == 1e-6
    data["market"]["reward"]["volatility"] = 0.0
    assert floor() == 1.0
    change = {"market": {"reward": {"upward_volatility": 1.0}}}
    older = translate(data | {"study": {"runs": [{"name": "a", "change": change}]}}, "study.yaml")
    assert older["market"]["reward"]["movement_floor"] == 1e-6


def test_supra_competitive_excess_that_lasts() -> None:
    """A constant excess x counts x (1 − ρ^t); a spike counts (1 − ρ) of itself at once and all of itself in the end."""
    got, states = fines([5] * 8, supra_competitive=3.0, excess_memory=0.8)
    np.testing.assert_allclose(got[:, 0], 3.0 * (1.0 - 0.8 ** np.arange(1, 9)), rtol=1e-3)  # 3 is twice the anchor
    np.testing.assert_allclose(states[-1].excess, 1.0 - 0.8**8, rtol=1e-5)
    spike, _ = fines([5] + [2] * 40, supra_competitive=3.0, excess_memory=0.8)
    np.testing.assert_allclose(spike[:3, 0], 3.0 * 0.2 * 0.8 ** np.arange(3), rtol=1e-3)
    assert spike.sum() == pytest.approx(3.0, rel=1e-3)
    at_once, states = fines([5, 2, 5], supra_competitive=3.0)
    np.testing.assert_allclose(at_once[:, 0], [3.0, 0.0, 3.0], rtol=1e-4, atol=1e-5)
    assert states[-1].excess is None


def test_coi_level_posted_beside_paid() -> None:
    """Two offers at 1 and 3: what is paid is weighted by what is sold, E[P] is 2 whatever is sold."""
    shape, params = make(
        {"random_orders": False}, inventory=UNLIMITED, reward={"unit_cost": 0.5},
        prices={"map": "levels", "levels": LEVELS}, episode_length=3,
    )  # fmt: skip
    record = play(jax.random.key(0), shape, params, constant(shape, params, jnp.array([1.0, 3.0])), 2)
    own = Episodes(shape, params, record)
    posted, paid = (MEASURES[name].compute(own).value for name in ("coi_posted", "coi"))
    np.testing.assert_allclose(posted, [[0.5, 2.5]] * 2, rtol=1e-6)
    together = MEASURES["coi_posted"].compute(own)
    assert (together.top.sum() / together.bottom.sum()) == pytest.approx(1.5)
    sold = np.asarray(record.sales, float).sum((0, 1))
    everything = MEASURES["coi"].compute(own)
    assert everything.top.sum() / everything.bottom.sum() == pytest.approx((sold @ [0.5, 2.5]) / sold.sum(), rel=1e-5)
    np.testing.assert_allclose(paid, posted, rtol=1e-5)

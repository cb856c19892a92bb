"""Row "benchmarks" of the methodology's table: static benchmarks with what sessions pay beyond the posted price."""

from __future__ import annotations

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.evaluation.benchmarks import static_benchmarks
from marl_pricing.evaluation.play import play
from marl_pricing.policies.constant import constant
from marl_pricing.traffic import sessions
from tests.markets import UNLIMITED, make, within
from tests.traffic.visitors import AGENT

STRONG = {"markup": {"strength": 0.5}}


def visited(model: str = "bank", agent_share: float = 0.0, markup: dict | None = None, **settings):
    traffic = {"model": model, "sessions_per_epoch": 400, "agent_share": agent_share, "bank": {"size": 2048}}
    base = {"agent": AGENT, "inventory": UNLIMITED, "reward": {"unit_cost": 1.0}}
    return make(traffic | {"markup": {"strength": 0.5} | (markup or {})}, **(base | settings))


def factor(rows, strength: float = 0.5) -> float:
    """Mean factor that a bank's people pay for a unit, row by row."""
    shown, bought = np.asarray(rows.signal[0], float), np.asarray(rows.purchases[0], float).sum(-1)
    each = 1.0 + strength / (1.0 + np.exp(-(shown - 4.0) / 1.25))
    return float((each * bought).sum() / bought.sum())


@pytest.mark.slow
def test_benchmarks_of_people_who_pay_a_mark_up() -> None:
    """A factor F on every price is a cost of c / F: prices and profits are those of such a market, times F."""
    shape, params = visited()
    on_price = factor(params.traffic.sessions.bank)
    assert on_price > 1.3
    cheap = visited(markup={"strength": 0.0}, reward={"unit_cost": 1.0 / on_price})
    for solve in (static.nash, static.joint_profit):
        paid, plain = solve(shape, params), solve(*cheap)
        np.testing.assert_allclose(paid.prices, plain.prices, atol=2e-6)
        np.testing.assert_allclose(paid.profits, on_price * plain.profits, rtol=2e-6)
    assert not static_benchmarks(shape, params).ignores


@pytest.mark.slow
def test_benchmarks_where_a_mark_up_doubles_what_is_earned() -> None:
    """One seller, 400 people: without the mark-up 1.802 and 40.24; sessions pay 85.06 there, and most, 86.42, at 1.700.

    These two were simulated, in steps of 0.05; the mark-up's factor explains them to 0.2 %.
    """
    bare, (shape, params) = (
        make(
            {"model": "bank", "sessions_per_epoch": 400, "markup": {"strength": strength}},
            num_sellers=1, inventory=UNLIMITED, reward={"unit_cost": 1.0},
        )
        for strength in (0.0, 0.5)
    )  # fmt: skip
    bare = static.joint_profit(*bare)
    np.testing.assert_allclose([bare.prices[0], bare.profits[0]], [1.802, 40.24], atol=6e-3)
    steps = np.linspace(1.5, 2.0, 11)
    earned = np.array([static.profits_at(shape, params, np.array([price]))[0] for price in steps])
    assert steps[earned.argmax()] == pytest.approx(1.7)
    there = static.profits_at(shape, params, bare.prices)[0]
    np.testing.assert_allclose([there, earned.max()], [85.06, 86.42], rtol=3e-3)


@pytest.mark.slow
def test_benchmarks_in_the_market() -> None:
    """People and agents, a highest price that binds: what is simulated is what is computed, and no price beats it."""
    grid = [1.3, 1.45, 1.6, 2.0]
    shape, params = visited(agent_share=0.4, markup={"highest_price": 2.1}, prices={"map": "levels", "levels": grid})
    known, played = [], []
    for price in grid:
        at = jnp.full((2,), price)
        record = play(jax.random.key(1), shape, params, constant(shape, params, at), 64)
        played.append(np.asarray(record.reward_raw, np.float64).sum(-1).mean(1))
        known.append(static.profits_at(shape, params, np.full(2, price)).sum())
    means, errors = np.mean(played, 1), np.std(played, 1, ddof=1) / 8.0
    assert within(means, np.array(known), errors) and np.all(errors < 0.01 * means)
    best = static.joint_profit(shape, params)
    assert best.profits.sum() >= max(known) and best.residual < 1e-6
    # Without the mark-up's factor the benchmark was far too low.
    posted = static.profits_at(*visited(agent_share=0.4, markup={"strength": 0.0}), best.prices).sum()
    assert best.profits.sum() > 1.3 * posted


@pytest.mark.parametrize("length", [1, 4, 5])
def test_the_interest_of_sessions_that_walk(length: int) -> None:
    """Against all walks of so many events, one by one."""
    own = visited("chain", agent_share=0.4).params.traffic.sessions
    kernels, weights, purchase = (np.asarray(part, float) for part in (own.kernels, own.weights, own.purchase))
    inner = [state for state in range(1, len(weights)) if kernels[0, 0, :, state].any()]
    law = np.zeros((2, 2 * 4 * length + 1))
    for kind in (0, 1):
        for walk in product(inner, repeat=length):
            chance = np.prod([kernels[kind, 0, a, b] for a, b in zip((0, *walk), walk, strict=False)])
            states = list(walk)
            shown = sum(weights[s] * (1.0 - purchase[s]) for s in states)
            law[kind, int(2 * shown)] += chance * sum(purchase[s] for s in states)
    found = sessions.interest_of_kernels(own, length)
    total = law.sum(-1, keepdims=True)
    np.testing.assert_allclose(found, np.where(total > 0, law / np.where(total > 0, total, 1.0), 0.0), atol=1e-7)


@pytest.mark.slow
def test_grids_stay_where_posted_prices_put_them() -> None:
    around = {"map": "levels", "around_equilibrium": 0.5, "num_price_levels": 5}
    plain, marked = (
        visited(agent_share=0.4, markup={"strength": s}, prices=around).params.prices.levels for s in (0.0, 0.5)
    )
    np.testing.assert_allclose(plain, marked, rtol=1e-6)


def test_costs_that_prices_imply_are_refused() -> None:
    shape, params = visited()
    with pytest.raises(static.NoEquilibriumError, match=r"traffic\.markup"):
        static.implied_costs(shape, params, np.full(2, 1.5))

"""Equilibria of sellers that fear the worst world: known answers, brute force in plain NumPy, deviations."""

from __future__ import annotations

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog, minimize_scalar

from marl_pricing.config import Market, market_from
from marl_pricing.equilibrium import robust, static
from marl_pricing.equilibrium.robust import Worlds
from marl_pricing.equilibrium.static import NoEquilibriumError
from tests.markets import UNLIMITED
from tests.sizes import at_once

KNOWN = json.loads((Path(__file__).parents[1] / "known_answers" / "robust_equilibria.json").read_text())
SHARES = (0.0, 0.15, 0.3, 0.45, 0.6)
WEIGHTS = np.array([0.1, 0.3, 0.2, 0.25, 0.15])
DISTANCES = np.abs(np.subtract.outer(SHARES, SHARES))


def game(sellers: int = 2, levels: int = 45, **settings) -> Market:
    """The known answers' market: people with scale 0.25, agents with 0.1."""
    base = {
        "num_sellers": sellers,
        "demand": {"model": "logit", "quality": KNOWN["quality"], "scale": KNOWN["scale_people"]},
        "agent": {"scale": KNOWN["scale_agents"]},
        "inventory": UNLIMITED,
        "reward": {"unit_cost": KNOWN["unit_cost"]},
        "prices": {"map": "levels", "low": KNOWN["grid"][0], "high": KNOWN["grid"][1], "num_price_levels": levels},
    }
    return market_from(base | settings, {"sessions_per_epoch": 1, "random_orders": False, "agent_share": 0.3})


def worlds(own: Market, shares=SHARES, name: str = "interval", radius: float = 1.0, **changes) -> Worlds:
    params = tuple(
        own.params.replace(traffic=own.params.traffic.replace(agent_share=np.float64(share))) for share in shares
    )
    weights = changes.pop("weights", (1.0 / len(shares),) * len(shares))
    return Worlds(params, name, radius, tuple(weights), **changes)


def symmetric(shape, rows: np.ndarray, levels: int = 45) -> list[float]:
    grid = np.linspace(KNOWN["grid"][0], KNOWN["grid"][1], levels)
    return [round(float(grid[row[0]]), 6) for row in rows if (row == row[0]).all()]


@pytest.mark.parametrize("row", KNOWN["rows"], ids=lambda row: f"{row['sellers']}-{row['omega']}-{row['radius']}")
def test_grid_equilibria_are_the_known_ones(row: dict) -> None:
    own = game(row["sellers"], reward={"unit_cost": 1.0, "omega": row["omega"]})
    thought = worlds(own, row["shares"])
    assert symmetric(own.shape, robust.grid_equilibria(own.shape, thought)) == row["symmetric_equilibria"]
    if "joint_price" in row:
        alike = np.full(row["sellers"], row["joint_price"])
        assert robust.worst_payoffs(own.shape, thought, alike)[-1] == pytest.approx(row["joint_worst_profit"], abs=1e-6)
        _, best = robust.grid_joint(own.shape, thought)
        assert best >= row["joint_worst_profit"] - 1e-6
        # Where no equal prices are an equilibrium at omega 0, unequal ones are worth more; else none are.
        assert (best > row["joint_worst_profit"] + 1e-6) == (not row["symmetric_equilibria"])


# A brute force that shares nothing with the product.


def plain_profits(prices: np.ndarray, cost=1.0) -> np.ndarray:
    """Raw profits [K, S] of single-product sellers in the worlds of SHARES, written out."""

    def share(scale: float) -> np.ndarray:
        weight = np.exp((2.0 - prices) / scale)
        return weight / (1.0 + weight.sum())

    people, agents = share(0.25), share(0.1)
    return np.array([(prices - cost) * ((1 - alpha) * people + alpha * agents) for alpha in SHARES])


def worst_by_program(name: str, values: np.ndarray, radius: float) -> float:
    """The smallest expectation by a linear program or a one-dimensional dual."""
    p, count = WEIGHTS, len(values)
    if name == "interval":
        return float(values.min())
    if name == "contamination":
        return float((1 - radius) * p @ values + radius * values.min())
    if name == "kl":
        low = values.min()

        def dual(log_beta: float) -> float:
            beta = np.exp(log_beta)
            return -(low - beta * np.log(p @ np.exp(-(values - low) / beta)) - beta * radius)

        return -minimize_scalar(dual, bounds=(-25, 10), method="bounded", options={"xatol": 1e-12}).fun
    if name == "chi2":
        # sup over η of η − √((1 + R) E[(η − v)₊²]).
        def negative(eta: float) -> float:
            return -(eta - np.sqrt((1 + radius) * (p @ np.maximum(eta - values, 0.0) ** 2)))

        ends = (values.min(), values.min() + 100 * np.ptp(values) + 1e-9)
        return -minimize_scalar(negative, bounds=ends, method="bounded", options={"xatol": 1e-13}).fun
    if name == "total_variation":
        # q = p + up − down, Σ up = Σ down ≤ R.
        cost = np.concatenate([values, -values])
        equal = [np.concatenate([np.ones(count), -np.ones(count)])]
        rows = [np.concatenate([np.ones(count), np.zeros(count)])]
        found = linprog(cost, rows, [radius], equal, [0.0], [(0, None)] * count + [(0, w) for w in p])
        return float(p @ values + found.fun)
    moved = np.tile(values, count)  # plan[i, j]: mass from i to j
    equal = np.kron(np.eye(count), np.ones(count))
    found = linprog(moved, [DISTANCES.reshape(-1)], [radius], equal, p, [(0, None)] * count**2)
    return float(found.fun)


def plain_payoffs(prices: np.ndarray, name: str, radius: float, omega: float, cost=1.0) -> np.ndarray:
    raw = plain_profits(prices, cost)
    shaped = omega * raw + (1 - omega) * raw.sum(1, keepdims=True)
    return np.array([worst_by_program(name, column, radius) for column in shaped.T])


SETS = [
    ("interval", 1.0),
    ("contamination", 0.3),
    ("total_variation", 0.2),
    ("kl", 0.1),
    ("chi2", 0.2),
    ("wasserstein", 0.1),
]


@pytest.mark.parametrize(("name", "radius"), SETS)
@pytest.mark.parametrize("omega", [1.0, 0.4])
def test_every_set_and_omega_against_brute_force(name: str, radius: float, omega: float) -> None:
    cost = np.array([1.0, 1.15])
    own = game(2, 12, reward={"unit_cost": cost.tolist(), "omega": omega})
    thought = worlds(
        own, name=name, radius=radius, weights=WEIGHTS, metric=DISTANCES if name == "wasserstein" else None
    )
    grid = np.linspace(1.1, 2.2, 12)
    expected = np.array([[plain_payoffs(np.array([a, b]), name, radius, omega, cost) for b in grid] for a in grid])
    np.testing.assert_allclose(robust.grid_payoffs(own.shape, thought), expected, atol=2e-8)
    stable = [
        [i, j]
        for i in range(12)
        for j in range(12)
        if expected[i, j, 0] >= expected[:, j, 0].max() - 1e-7 and expected[i, j, 1] >= expected[i, :, 1].max() - 1e-7
    ]
    assert stable
    assert robust.grid_equilibria(own.shape, thought).tolist() == stable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "radius"),
    [pytest.param(*own, marks=[pytest.mark.slow] if own[0] == "wasserstein" else []) for own in SETS],
)
@pytest.mark.parametrize("omega", [1.0, 0.5])
def test_no_seller_gains_off_the_grid(name: str, radius: float, omega: float) -> None:
    own = game(2, reward={"unit_cost": 1.0, "omega": omega})
    thought = worlds(
        own, name=name, radius=radius, weights=WEIGHTS, metric=DISTANCES if name == "wasserstein" else None
    )
    ends = [robust.equilibrium(own.shape, thought, start=start) for start in ("low", "high")]
    assert (ends[0].prices <= ends[1].prices + 1e-5).all()
    for end in ends:
        assert end.residual < 1e-9
        here = plain_payoffs(end.prices, name, radius, omega)
        np.testing.assert_allclose(end.worst, here, atol=2e-8)
        np.testing.assert_allclose(
            (end.laws * end.profits).sum(0), (end.laws * plain_profits(end.prices)).sum(0), atol=1e-9
        )
        # Each price of the one set is a linear program of its own.
        far, near = (21, 7) if name == "wasserstein" else (81, 21)
        away = np.concatenate([np.linspace(1.0, 3.0, far), end.prices[0] + np.linspace(-0.01, 0.01, near)])
        for seller in (0, 1):
            for price in away:
                changed = end.prices.copy()
                changed[seller] = price
                assert plain_payoffs(changed, name, radius, omega)[seller] <= here[seller] + 1e-7


@pytest.mark.parametrize(("name", "radius"), at_once(SETS, 2))
def test_the_joint_profit_has_no_better_prices_near_or_far(name: str, radius: float) -> None:
    own = game(3)
    thought = worlds(
        own, name=name, radius=radius, weights=WEIGHTS, metric=DISTANCES if name == "wasserstein" else None
    )
    got = robust.joint_profit(own.shape, thought)
    best = worst_by_program(name, plain_profits(got.prices).sum(1), radius)
    assert got.worst[0] == pytest.approx(best, abs=2e-8)
    random = np.random.default_rng(1)
    others = np.concatenate(
        [got.prices + scale * random.standard_normal((60, 3)) for scale in (1e-3, 1e-2, 0.1)]
        + [random.uniform(1.0, 2.6, (60, 3)), np.linspace(1.5, 2.5, 81)[:, None] * np.ones(3)]
    )
    assert max(worst_by_program(name, plain_profits(point).sum(1), radius) for point in others) <= best + 1e-9


def test_one_world_is_the_plain_game() -> None:
    own = game(2, reward={"unit_cost": [1.0, 1.2]})
    alone = worlds(own, [0.3])
    for omega in (1.0, 0.3):
        plain = static.omega_equilibrium(*own, omega)
        for start in ("low", "high"):
            np.testing.assert_allclose(
                robust.equilibrium(own.shape, alone, omega, start).prices, plain.prices, atol=2e-6
            )
    np.testing.assert_allclose(
        robust.joint_profit(own.shape, alone).prices, static.joint_profit(*own).prices, atol=1e-5
    )
    np.testing.assert_array_equal(robust.grid_equilibria(own.shape, alone), static.grid_equilibria(*own))


@pytest.mark.slow
def test_worlds_that_are_alike_are_nothing_to_fear() -> None:
    own = game(2, agent={"scale": KNOWN["scale_people"]})
    for name, radius in SETS:
        thought = worlds(own, name=name, radius=radius, metric=DISTANCES if name == "wasserstein" else None)
        np.testing.assert_allclose(robust.nash(own.shape, thought).prices, static.nash(*own).prices, atol=2e-6)
        np.testing.assert_array_equal(robust.grid_equilibria(own.shape, thought), static.grid_equilibria(*own))


def test_the_interval_of_grid_prices_is_as_wide_as_the_grid_is_coarse() -> None:
    """Where both classes buy alike lies a little above the rival's price, so that a fine grid lets sellers climb.

    Off the grid one equilibrium is left, where people alone would have theirs: their world is the worst there.
    """
    sets = []
    for levels in (45, 89, 221):
        own = game(2, levels)
        sets.append(symmetric(own.shape, robust.grid_equilibria(own.shape, worlds(own)), levels))
    assert [(prices[0], prices[-1]) for prices in sets] == [(1.3, 1.475), (1.4625, 1.475), (1.47, 1.475)]
    own = game(2)
    alone = own.params.replace(traffic=own.params.traffic.replace(agent_share=jnp.float32(0.0)))
    exact = static.nash(own.shape, alone).prices
    for start in ("low", "high"):
        got = robust.nash(own.shape, worlds(own), start)
        np.testing.assert_allclose(got.prices, exact, atol=1e-5)
        assert not robust.between(own.shape, worlds(own), (np.full(2, 1.3), got.prices))


def test_where_classes_buy_alike_at_all_equal_prices_the_interval_is_one_off_the_grid_too() -> None:
    """Agents that only substitute more (one nest, their quality raised by what the nest takes) kink at equal prices.

    Just below its rival a seller fears few agents, just above it many: equal prices p are an equilibrium where neither
    world's slope tempts, from the Nash price with most agents to the one with fewest.
    """
    nesting = 0.6
    alike = {"scale": 0.25, "nesting": nesting, "quality": 2.0 + 0.25 * nesting * np.log(2.0)}
    own = game(2, agent=alike)
    thought = worlds(own)

    def nash_at(share: float) -> np.ndarray:
        traffic = own.params.traffic.replace(agent_share=jnp.float32(share))
        return static.nash(own.shape, own.params.replace(traffic=traffic)).prices

    low, high = (robust.nash(own.shape, thought, start).prices for start in ("low", "high"))
    np.testing.assert_allclose(low, nash_at(0.6), atol=2e-3)
    np.testing.assert_allclose(high, nash_at(0.0), atol=2e-3)
    assert high[0] - low[0] > 0.05
    assert robust.between(own.shape, thought, (low, high))
    assert not robust.between(own.shape, thought, (high, high + 0.1))
    grid = symmetric(own.shape, robust.grid_equilibria(own.shape, thought))
    assert low[0] - 0.025 <= grid[0] <= low[0] + 0.025 and high[0] - 0.025 <= grid[-1] <= high[0] + 0.025


@pytest.mark.slow
def test_sellers_of_several_products_change_all_of_them_at_once() -> None:
    own = game(2, num_products=2, reward={"unit_cost": [1.0, 0.8, 1.1, 0.7]})
    thought = worlds(own, (0.0, 0.3, 0.6))
    got = robust.nash(own.shape, thought)
    assert got.residual < 1e-8
    random = np.random.default_rng(0)
    for seller in (0, 1):
        tried = got.prices + np.where(np.arange(4) // 2 == seller, 1.0, 0.0) * random.normal(0, 0.05, (80, 4))
        values = [robust.worst_payoffs(own.shape, thought, point)[seller] for point in tried]
        assert max(values) <= got.worst[seller] + 1e-9
    plain = robust.nash(own.shape, worlds(own, [0.3]))
    np.testing.assert_allclose(plain.prices, static.nash(*own).prices, atol=1e-5)


def test_one_nature_against_all_is_a_game_of_its_own() -> None:
    own = game(2, 12, reward={"unit_cost": [1.0, 1.3]})
    thought = worlds(own, nature=True)
    grid = np.linspace(1.1, 2.2, 12)
    got = robust.grid_payoffs(own.shape, thought)
    for i, j in ((0, 5), (3, 3), (8, 2), (11, 6)):
        raw = plain_profits(np.array([grid[i], grid[j]]), np.array([1.0, 1.3]))
        np.testing.assert_allclose(got[i, j], raw[raw.sum(1).argmin()], atol=1e-9)
    with pytest.raises(NoEquilibriumError, match="one nature chooses"):
        robust.nash(own.shape, thought)
    own = game(2)
    same = [robust.equilibrium(own.shape, worlds(own, nature=nature), 0.0).prices for nature in (True, False)]
    np.testing.assert_allclose(*same, atol=1e-9)


def test_wasserstein_may_measure_by_demand() -> None:
    own = game(2, 12)
    prices = np.array([1.5, 1.8])
    demand = np.array([plain_profits(prices)[k] / (prices - 1.0) for k in range(5)])
    apart = np.abs(demand[:, None] - demand).sum(-1) / demand.sum(1).mean()
    got = robust.worst_payoffs(own.shape, worlds(own, name="wasserstein", radius=0.05, weights=WEIGHTS), prices)
    for seller in (0, 1):
        values = plain_profits(prices)[:, seller]
        equal = np.kron(np.eye(5), np.ones(5))
        found = linprog(np.tile(values, 5), [apart.reshape(-1)], [0.05], equal, WEIGHTS, [(0, None)] * 25)
        assert got[seller] == pytest.approx(found.fun, abs=1e-8)


@pytest.mark.slow
def test_joint_profit_where_distances_move_with_prices_is_above_all_others() -> None:
    own = game(2)
    thought = worlds(own, name="wasserstein", radius=0.05, weights=WEIGHTS)
    got = robust.joint_profit(own.shape, thought)
    random = np.random.default_rng(0)
    others = np.concatenate(
        [got.prices + scale * random.standard_normal((25, 2)) for scale in (1e-3, 1e-2, 0.1)]
        + [np.linspace(1.6, 2.3, 36)[:, None] * np.ones(2)]
    )
    assert max(robust.worst_payoffs(own.shape, thought, point)[-1] for point in others) <= got.worst[0] + 1e-9

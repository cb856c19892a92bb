"""One-shot benchmarks against the tables of known answers and closed forms."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from marl_pricing.config import market_from
from marl_pricing.equilibrium import static
from tests.markets import UNLIMITED, make, one_shot
from tests.sizes import at_once

TABLES = Path(__file__).parents[1] / "known_answers"


def table(name: str) -> list[dict[str, float]]:
    with (TABLES / name).open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("row", at_once(table("logit_static.csv"), 3), ids=lambda row: f"{row['n']:.0f} sellers")
def test_equal_logit_sellers(row: dict[str, float]) -> None:
    own = one_shot(int(row["n"]))
    nash, joint = static.nash(*own), static.joint_profit(*own)
    for got, name in ((nash, "nash"), (joint, "joint")):
        np.testing.assert_allclose(got.prices, row[f"p_{name}"], atol=1e-5)
        np.testing.assert_allclose(got.demand, row[f"share_{name}"], atol=1e-5)
        np.testing.assert_allclose(got.profits, row[f"profit_{name}"], atol=1e-5)
        assert got.residual < 1e-9


@pytest.mark.parametrize("row", table("logit_asymmetric.csv"))
def test_unequal_logit_sellers(row: dict[str, float]) -> None:
    own = one_shot(2, quality=[row["a1"], row["a2"]], cost=[row["c1"], row["c2"]])
    for got, name in ((static.nash(*own), "nash"), (static.joint_profit(*own), "joint")):
        np.testing.assert_allclose(got.prices, [row[f"p1_{name}"], row[f"p2_{name}"]], atol=1.1e-5)
        np.testing.assert_allclose(got.profits, [row[f"profit1_{name}"], row[f"profit2_{name}"]], atol=1.1e-5)


@pytest.mark.parametrize("row", table("omega_equilibrium.csv"), ids=lambda row: f"{row['n']:.0f}, {row['omega']}")
def test_equilibrium_at_any_omega(row: dict[str, float]) -> None:
    own = one_shot(int(row["n"]))
    got = static.omega_equilibrium(*own, row["omega"])
    np.testing.assert_allclose(got.prices, row["price"], atol=1.1e-5)
    nash, joint = static.nash(*own).profits.mean(), static.joint_profit(*own).profits.mean()
    assert (got.profits.mean() - nash) / (joint - nash) == pytest.approx(row["profit_gain"], abs=1.1e-5)
    at_market_omega = static.omega_equilibrium(*one_shot(int(row["n"]), omega=row["omega"]))
    np.testing.assert_allclose(at_market_omega.prices, got.prices, atol=1e-7)


@pytest.mark.parametrize("row", table("contaminated_logit.csv"), ids=lambda row: f"{row['agent_share']}")
def test_people_and_agents_mixed(row: dict[str, float]) -> None:
    own = one_shot(2, agent={"scale": row["mu_agent"]}, agent_share=row["agent_share"])
    for got, name in ((static.nash(*own), "nash"), (static.joint_profit(*own), "joint")):
        np.testing.assert_allclose(got.prices, row[f"p_{name}"], atol=1.1e-4)
        np.testing.assert_allclose(got.profits, row[f"profit_{name}"], atol=1.1e-5)


def test_linear_duopoly_has_its_closed_form() -> None:
    # Profit (p − c)(a − b p + g q): Nash p = (a + b c)/(2b − g); joint profit p = (a + (b − g) c)/(2 (b − g)).
    a, b, g, c = 2.0, 1.0, 0.4, 0.5
    demand = {"model": "linear", "intercept": a, "slope": b, "cross_slope": g}
    own = make({"random_orders": False, "sessions_per_epoch": 1}, demand=demand, reward={"unit_cost": c})
    np.testing.assert_allclose(static.nash(*own).prices, (a + b * c) / (2 * b - g), atol=1e-6)
    np.testing.assert_allclose(static.joint_profit(*own).prices, (a + (b - g) * c) / (2 * (b - g)), atol=1e-6)


def test_a_seller_of_several_logit_products_puts_one_markup_on_all() -> None:
    # Nevo (2001): p − c = μ / (1 − s_i), with s_i the sum of the seller's shares.
    quality = [2.0, 1.8, 2.1, 1.6]
    own = one_shot(2, num_products=2, quality=quality, cost=[1.0, 0.8, 1.1, 0.7])
    got = static.nash(*own)
    shares = got.demand.reshape(2, 2).sum(1)
    markup = got.prices - np.array([1.0, 0.8, 1.1, 0.7])
    np.testing.assert_allclose(markup.reshape(2, 2), (0.25 / (1 - shares))[:, None] * np.ones(2), atol=1e-6)


def test_constant_elasticity_has_its_markup() -> None:
    demand = {"model": "power", "base": 0.01, "elasticity": -2.5, "reference_price": 1.0, "cap": 5.0}
    own = make({"random_orders": False}, demand=demand, reward={"unit_cost": 1.2})
    np.testing.assert_allclose(static.nash(*own).prices, 1.2 * 2.5 / 1.5, rtol=1e-5)


def test_inelastic_demand_has_no_equilibrium_and_says_so() -> None:
    demand = {"model": "power", "base": 0.01, "elasticity": -0.6, "reference_price": 1.0}
    own = make({"random_orders": False}, demand=demand, reward={"unit_cost": 1.0})
    with pytest.raises(static.NoEquilibriumError, match="ever higher prices"):
        static.nash(*own)


@pytest.mark.parametrize("scale", [0.05, 0.01, 0.002])
def test_very_elastic_agents_give_an_equilibrium_or_an_error_but_never_a_false_one(scale: float) -> None:
    own = one_shot(2, agent={"scale": scale}, agent_share=0.5)
    try:
        got = static.nash(*own)
    except static.NoEquilibriumError as error:
        assert "gain" in str(error)
        return
    for seller, price in product(range(2), np.linspace(1.0, 2.2, 241)):
        other = got.prices.copy()
        other[seller] = price
        assert static.profits_at(*own, other)[seller] <= got.profits[seller] + 1e-6


@pytest.mark.parametrize(("num_sellers", "num_products", "levels", "omega"), at_once([
    (2, 1, 4, 1.0), (2, 1, 4, 0.3), (3, 1, 3, 0.6), (1, 2, 4, 1.0), (2, 2, 3, 1.0),
], 4))  # fmt: skip
def test_grid_equilibria_are_those_of_a_plain_search(num_sellers, num_products, levels, omega) -> None:
    rng = np.random.default_rng(num_sellers * 10 + levels)
    num = num_sellers * num_products
    prices = {"map": "levels", "levels": np.sort(rng.uniform(1.1, 2.2, levels)).tolist()}
    quality = rng.uniform(1.6, 2.4, num).tolist()
    own = one_shot(num_sellers, num_products=num_products, quality=quality, omega=omega, prices=prices)
    grid = np.asarray(own.params.prices.levels, np.float64)

    def payoffs(choice: tuple[int, ...]) -> np.ndarray:
        raw = static.profits_at(*own, grid[np.arange(num), list(choice)])
        return omega * raw + (1 - omega) * raw.sum()

    expected = []
    for choice in product(range(levels), repeat=num):
        here = payoffs(choice)
        better = False
        for seller in range(num_sellers):
            for own_choice in product(range(levels), repeat=num_products):
                other = list(choice)
                other[seller * num_products : (seller + 1) * num_products] = own_choice
                better |= payoffs(tuple(other))[seller] > here[seller] + 1e-12
        if not better:
            expected.append(choice)
    got = static.grid_equilibria(*own)
    assert sorted(map(tuple, got.tolist())) == sorted(expected)


def test_a_game_that_is_too_large_or_without_a_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="entries"):
        static.grid_equilibria(*one_shot(8, prices={"map": "levels", "low": 1.0, "high": 2.0, "num_price_levels": 15}))
    own = make(prices={"map": "scale", "low": 1.0, "high": 2.0}, inventory=UNLIMITED)
    with pytest.raises(ValueError, match="needs 'levels'"):
        static.grid_payoffs(*own)


@pytest.mark.slow
def test_joint_profit_is_the_best_of_many_local_maxima() -> None:
    """People and agents who like different sellers: profits have local maxima, one class served and the other not."""
    random = np.random.default_rng(1)
    for num_sellers, num_products in ((2, 1), (2, 2), (1, 3)):
        count = num_sellers * num_products
        own = market_from(
            {
                "num_sellers": num_sellers,
                "num_products": num_products,
                "demand": {"model": "logit", "quality": random.uniform(1.5, 2.8, count).tolist(), "scale": 0.25},
                "agent": {"scale": 0.1, "quality": random.uniform(1.2, 2.8, count).tolist()},
                "prices": {"map": "levels", "low": 1.0, "high": 3.0},
                "inventory": {"rule": "unlimited"},
                "reward": {"unit_cost": 1.0},
            },
            {"agent_share": 0.4, "sessions_per_epoch": 1},
        )
        together = static.joint_profit(*own).profits.sum()
        tried = random.uniform(1.0, 2.8, (3000, count))
        best = max(static.profits_at(*own, prices).sum() for prices in tried)
        assert together >= best - 1e-9
        assert together <= best + 0.1

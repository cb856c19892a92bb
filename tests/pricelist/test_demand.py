"""Units and outlooks against the formula, product by product."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from marl_pricing.pricelist.outlook import break_even, forecast
from tests.pricelist.test_choose import CROSS, OWN, TODAY, UNITS, demand


@pytest.mark.parametrize("follow", [False, True])
def test_units_answer_to_the_mean_of_all_others_of_the_category(follow: bool) -> None:
    """Two own products of the first category beside three of rivals; the third is alone in its own."""
    own = demand(category=[0, 0, 1], rivals=(3, 0), follow=follow)
    prices = TODAY * [1.1, 0.95, 1.2]
    first, second = np.log(1.1), np.log(0.95)
    theirs = [(first + second) / 2 if follow else 0.0] * 3
    found = own.at(prices)
    for n, (mine, other) in enumerate(((first, second), (second, first))):
        felt = np.mean([other, *theirs])
        np.testing.assert_allclose(found[:, n], UNITS[n] * np.exp(OWN * mine + CROSS * felt))
    np.testing.assert_allclose(found[:, 2], UNITS[2] * 1.2**OWN)
    for n in range(3):
        np.testing.assert_allclose(own.at_one(prices, n), found[:, n])


def test_rivals_that_move_by_themselves_move_units_at_todays_prices() -> None:
    moved = replace(demand(), moved=np.array([np.log(0.9) / 2]))
    np.testing.assert_allclose(moved.at(TODAY), UNITS * np.exp(CROSS * np.log(0.9) / 2)[:, None])


def test_intervals_and_probability_are_those_of_the_draws() -> None:
    own = np.random.default_rng(1).normal(-3.0, 0.5, 40_000)
    outlook = forecast(demand([2.0], [10.0], own, np.zeros(40_000)), np.array([1.5]), np.array([2.4]))
    low, high = norm.ppf([0.025, 0.975], -3.0, 0.5)
    np.testing.assert_allclose(
        [outlook.units.low[0], outlook.units.high[0]], 10 * 1.2 ** np.array([low, high]), rtol=0.01
    )
    even = np.log(0.5 / 0.9) / np.log(1.2)  # elasticity at which profit stays
    assert outlook.total_chance == pytest.approx(norm.sf(even, -3.0, 0.5), abs=0.01)
    np.testing.assert_allclose(outlook.gain.mean, outlook.profit.mean - outlook.profit_today.mean)


def test_prices_that_stay_are_no_rise() -> None:
    outlook = forecast(demand(), np.ones(3), TODAY)
    assert outlook.total_chance == 0.0 and float(outlook.total_gain.mean) == 0.0


def test_a_list_breaks_even_where_its_elasticity_makes_profits_equal() -> None:
    """A rise from 2 to 2.2 at a cost of 1.2 is worth it above the elasticity at which 0.8 = 1.0 · 1.1^β."""
    even = np.log(0.8 / 1.0) / np.log(1.1)
    raised = demand([2.0], [10.0], [-1.5], [0.0])
    below, above = break_even(raised, np.array([1.2]), np.array([2.2]))
    assert below == pytest.approx(even + 1.5, abs=1e-6) and above == np.inf
    lowered = demand([2.0], [10.0], [-4.0], [0.0])
    even = np.log(0.8 / 0.6) / np.log(0.9)
    below, above = break_even(lowered, np.array([1.2]), np.array([1.8]))
    assert above == pytest.approx(even + 4.0, abs=1e-6) and below == -np.inf
    assert break_even(raised, np.array([1.2]), np.array([2.0])) == (0.0, 0.0)

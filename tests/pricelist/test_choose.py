"""Prices against closed forms and against every combination of allowed prices."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from marl_pricing.pricelist.choose import Constraints, allowed_prices, choose_prices
from marl_pricing.pricelist.demand import Demand

TODAY, COST, UNITS = np.array([2.0, 3.0, 1.5]), np.array([1.1, 1.2, 1.0]), np.array([50.0, 20.0, 80.0])
OWN, CROSS = np.array([-2.0, -2.6, -2.3]), np.array([0.3, 0.5, 0.1])


def demand(
    today=TODAY, units=UNITS, own=OWN, cross=CROSS, category=None, rivals=(0,), follow=False, stock=None
) -> Demand:
    """Draws of elasticities [D] that all products share, or [D, N]; one category."""
    own = np.asarray(own, float)
    own = np.repeat(own[:, None], len(today), 1) if own.ndim == 1 else own
    category = np.zeros(len(today), int) if category is None else np.asarray(category)
    count = int(category.max()) + 1
    return Demand(
        np.asarray(today, float), np.repeat(np.asarray(units, float)[None], len(own), 0), own,
        np.repeat(np.asarray(cross, float)[:, None], count, 1), category, np.asarray(rivals), follow, np.zeros(count),
        np.full(len(today), np.inf) if stock is None else np.asarray(stock, float),
    )  # fmt: skip


def by_hand(row: tuple[float, ...], stock: tuple[float, ...] = (np.inf,) * 3) -> float:
    """Mean profit of the three products, the formula written out."""
    total = 0.0
    for own, cross in zip(OWN, CROSS, strict=True):
        for n in range(3):
            others = np.prod([(row[m] / TODAY[m]) ** (cross / 2) for m in range(3) if m != n])
            total += (row[n] - COST[n]) * min(UNITS[n] * (row[n] / TODAY[n]) ** own * others, stock[n]) / 3
    return total


def test_one_product_of_constant_elasticity_costs_its_markup() -> None:
    alone = demand([2.5], [10.0], [-3.0], [0.0])
    assert choose_prices(alone, np.array([1.2]), Constraints(largest_change=0.5)).prices[0] == pytest.approx(1.8)


RULES = {
    "endings": Constraints(endings=(9, 49, 99), largest_change=0.4),
    "floor": Constraints(floor=2.2, endings=(9, 49, 99), largest_change=0.4),
    "small": Constraints(endings=(5, 9, 49, 99), largest_change=0.1),
    "budget": Constraints(endings=(9, 49, 99), largest_change=0.4, budget=1),
    "two": Constraints(endings=(9, 49, 99), largest_change=0.4, budget=2),
    "held": Constraints(endings=(9, 49, 99), largest_change=0.4, held=frozenset({1})),
}


@pytest.mark.parametrize("name", RULES)
def test_constrained_prices_are_the_best_of_all_combinations(name: str) -> None:
    rules = RULES[name]
    ladders = [[t] if n in rules.held else allowed_prices(t, COST[n], rules) for n, t in enumerate(TODAY)]
    budget = 3 if rules.budget is None else rules.budget
    rows = [row for row in product(*ladders) if (np.array(row) != TODAY).sum() <= budget]
    chosen = choose_prices(demand(), COST, rules).prices
    assert by_hand(tuple(chosen)) == pytest.approx(max(map(by_hand, rows)))
    assert tuple(chosen) in {tuple(map(float, row)) for row in rows}


def test_prices_rise_to_what_stock_can_serve() -> None:
    """Of all combinations the best, with stock that binds for two products; alone it is the price that sells it out."""
    stock, rules = (30.0, np.inf, 55.0), Constraints(endings=(9, 49, 99), largest_change=0.4)
    rows = list(product(*(allowed_prices(t, COST[n], rules) for n, t in enumerate(TODAY))))
    chosen = choose_prices(demand(stock=stock), COST, rules).prices
    assert by_hand(tuple(chosen), stock) == pytest.approx(max(by_hand(row, stock) for row in rows))
    assert not np.array_equal(chosen, choose_prices(demand(), COST, rules).prices)
    scarce = demand([2.0], [40.0], [-2.0], [0.0], stock=[30.0])
    price = choose_prices(scarce, np.array([1.0]), Constraints(largest_change=0.4)).prices[0]
    assert price == pytest.approx(2.0 * (40 / 30) ** 0.5, abs=0.017)  # of a ladder of 101 prices
    assert scarce.sold(np.array([2.0]))[0, 0] == 30.0


def test_every_constraint_changes_the_prices() -> None:
    rules = [Constraints(largest_change=0.4), *RULES.values(), Constraints(largest_change=0.4, tied=((0, 1),))]
    assert len({tuple(choose_prices(demand(), COST, rule).prices) for rule in rules}) == len(rules)


def test_tied_products_change_by_one_factor() -> None:
    chosen = choose_prices(demand(), COST, Constraints(largest_change=0.4, tied=((0, 1),))).prices
    assert chosen[0] != TODAY[0]
    assert chosen[1] == pytest.approx(TODAY[1] * chosen[0] / TODAY[0], abs=0.0101)


def test_a_tied_pair_takes_the_budget_of_a_single_product_where_it_gains_more() -> None:
    equal = demand([2.0, 2.0, 2.0], [40.0, 40.0, 50.0], [-2.0], [0.0])
    rules = Constraints(endings=(49,), largest_change=0.4, tied=((0, 1),), budget=2)
    choice = choose_prices(equal, np.full(3, 1.5), rules)
    np.testing.assert_array_equal(choice.prices, [2.49, 2.49, 2.0])
    np.testing.assert_array_equal(choice.crowded_out, [False, False, True])


def test_prices_stay_where_none_is_allowed() -> None:
    np.testing.assert_array_equal(choose_prices(demand(), COST, Constraints(budget=0)).prices, TODAY)
    none = choose_prices(demand(), COST, Constraints(held=frozenset({0, 1, 2})))
    np.testing.assert_array_equal(none.prices, TODAY)
    assert np.isnan(none.chance).all()


def test_what_too_few_draws_speak_for_stays() -> None:
    """One draw of three wants a lower price, two a higher: a rise is as certain as 2/3."""
    torn = demand([2.0], [10.0], [-1.2, -1.4, -9.0], [0.0, 0.0, 0.0])
    cost = np.array([1.0])
    free = choose_prices(torn, cost, Constraints(largest_change=0.1))
    assert free.prices[0] < 2.0 and free.chance[0] == pytest.approx(1 / 3)  # the mean is that draw's
    held = choose_prices(torn, cost, Constraints(largest_change=0.1, certainty=0.5))
    assert held.prices[0] == 2.0 and held.unsure[0] and held.chance[0] == pytest.approx(1 / 3)


def test_a_price_is_the_best_of_those_that_are_certain_enough() -> None:
    """A smaller change may be certain where the best one is not."""
    random, smaller = np.random.default_rng(3), 0
    for _ in range(30):
        cost, own = random.uniform(0.8, 1.4), random.normal(random.uniform(-3, -1.6), 0.5, 60)
        ladder = allowed_prices(2.0, cost, Constraints(largest_change=0.3))
        gains = (ladder - cost) * (ladder / 2.0) ** own[:, None] - (2.0 - cost)
        mean, sure = gains.mean(0), (gains > 0).mean(0) >= 0.8
        sure[0] = True
        expected = ladder[np.where(sure, mean, -np.inf).argmax()]
        rules = Constraints(largest_change=0.3, certainty=0.8)
        found = choose_prices(demand([2.0], [1.0], own, np.zeros(60)), np.array([cost]), rules)
        assert found.prices[0] == expected and found.unsure[0] == (expected == 2.0 and bool((mean > 1e-12).any()))
        smaller += expected not in (2.0, ladder[mean.argmax()])
    assert smaller > 3


def test_without_cross_effects_each_product_is_priced_as_if_alone() -> None:
    random = np.random.default_rng(0)
    today, cost = random.uniform(1, 5, 12), random.uniform(0.5, 0.9, 12)
    own = random.normal(-2.0, 0.5, (40, 12))
    many = demand(today, np.full(12, 10.0), own, np.zeros(40), np.arange(12) % 3, (0, 0, 0))
    rules = Constraints(certainty=0.8)
    whole = choose_prices(many, cost, rules)
    for n in range(12):
        alone = choose_prices(demand(today[[n]], [10.0], own[:, [n]], np.zeros(40)), cost[[n]], rules)
        assert (whole.prices[n], whole.chance[n]) == (alone.prices[0], alone.chance[0])


def test_a_dear_product_has_at_most_101_prices_and_todays() -> None:
    dear = allowed_prices(1000.0, 1.0, Constraints())
    assert len(set(dear)) == len(dear) == 101 and dear[0] == 1000.0 and (dear.min(), dear.max()) == (800.0, 1200.0)
    np.testing.assert_allclose(
        allowed_prices(1.0, 0.0, Constraints(largest_change=0.02)), [1.0, 0.98, 0.99, 1.01, 1.02]
    )

"""Rivals that answer: where nobody gains by another allowed price, checked price by price."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from marl_pricing.config.errors import ConfigError
from marl_pricing.pricelist.choose import Constraints, allowed_prices
from marl_pricing.pricelist.files import leave
from marl_pricing.pricelist.rivals import settle
from tests.pricelist.test_choose import demand
from tests.pricelist.test_list import list_with, sales_of, settings


def test_nobody_gains_where_answers_have_settled() -> None:
    """Two sellers of two products each in one category; the owner's products make its best prices interdependent."""
    random = np.random.default_rng(0)
    today, cost = random.uniform(2, 4, 4), random.uniform(1, 1.6, 4)
    own, cross = random.normal(-2.4, 0.3, (5, 4)), random.uniform(0.2, 0.9, 5)
    everybody = demand(today, random.uniform(5, 20, 4), own, cross)
    seller, rules = np.array([0, 0, 1, 1]), [Constraints(endings=(9, 49, 99), largest_change=0.3)] * 2
    found = settle(everybody, cost, seller, 0, rules)
    assert found.rounds is not None and (found.prices != today).any()
    ladders = [allowed_prices(today[n], cost[n], rules[0]) for n in range(4)]

    def profit(prices: np.ndarray, whose: int) -> float:
        mine = seller == whose
        return float(((prices - cost) * everybody.at(prices))[:, mine].sum(1).mean())

    for whose in (0, 1):
        own_places, best = np.flatnonzero(seller == whose), profit(found.prices, whose)
        for pair in product(*(ladders[n] for n in own_places)):
            other = found.prices.copy()
            other[own_places] = pair
            assert profit(other, whose) <= best + 1e-9


def test_a_list_is_made_with_the_answers_and_counts_them(tmp_path) -> None:
    one, two = sales_of(seed=1).table, sales_of(seed=2).table.assign(seller="rival")
    both = pd.concat([one, two.assign(product="r" + two["product"])], ignore_index=True)
    own = {"cross": "category", "certainty": 0.0}
    stay, answered = list_with(both, **own), list_with(both, **own, rivals="best_response")
    assert len(answered.answers) == 10 and answered.rounds is not None and stay.rounds is None
    change = np.log(answered.answers["answer"].astype(float) / answered.answers["price"].astype(float))
    assert (change != 0).any() and change.abs().max() <= -np.log(0.9) + 1e-6
    np.testing.assert_array_equal(stay.answers["answer"], stay.answers["price"])
    # What the list says of units counts the answers: five of nine other offers in each category are rivals'.
    n = 0
    same = answered.answers["category"].eq(answered.table["category"][n])
    mine = np.log(answered.choice.prices / answered.demand.today)
    own_others = answered.table["category"].eq(answered.table["category"][n]).to_numpy() & (np.arange(10) != n)
    felt = (mine[own_others].sum() + change[same].sum()) / 9
    cross = answered.demand.cross[:, answered.demand.category[n]]
    units = answered.demand.units[:, n] * np.exp(answered.demand.own[:, n] * mine[n] + cross * felt)
    assert float(answered.outlook.units.mean[n]) == pytest.approx(units.mean(), rel=1e-9)
    # A shop that may change nothing gains nothing, whatever rivals do.
    held = list_with(both, **own, rivals="best_response", held=list(stay.table["product"]))
    assert float(held.outlook.total_gain.mean) == 0.0 and (held.answers["answer"] != held.answers["price"]).any()
    settled = settings(out=str(tmp_path), data=__file__, **own, rivals="best_response")
    leave(answered, settled, ["test"])
    assert len(pd.read_csv(tmp_path / "rivals.csv")) == 10
    page = (tmp_path / "pricelist.html").read_text()
    assert "What rivals answer" in page and "rounds nobody moves" in page


def test_without_rivals_nobody_answers() -> None:
    with pytest.raises(ConfigError, match=r"rivals='best_response': accepted is stay: the file has no rival"):
        list_with(sales_of().table, cross="category", rivals="best_response")
    with pytest.raises(ValueError, match=r"what_if=\['unit costs \+10%'\]: accepted is \[\] with rivals=best_response"):
        settings(cross="category", rivals="best_response", what_if=[{"cost": 0.1}])

"""Contracts in evaluations: profits by what units really cost, and each contract judged as it was played."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from marl_pricing import negotiation
from marl_pricing.evaluation import supply, tables
from marl_pricing.evaluation.benchmarks import static_benchmarks
from marl_pricing.evaluation.metrics import Episodes, measure
from marl_pricing.evaluation.play import play
from marl_pricing.evaluation.report import supply_figures
from marl_pricing.policies import random
from marl_pricing.presentation import bargain
from tests.market.test_contracts import CHOSEN, CONTRACT, SUPPLIERS, built
from tests.negotiation.protocol import Conceder
from tests.negotiation.protocol import play as by_hand


@pytest.fixture(scope="module")
def market():
    return built(CONTRACT)


@pytest.fixture(scope="module")
def record(market):
    return play(jax.random.key(1), *market, random(*market), 4)


def test_profits_count_what_units_have_cost(market, record) -> None:
    np.testing.assert_allclose(
        record.profit.reshape(*record.reward_raw.shape, -1).sum(-1), record.reward_raw, atol=1e-4
    )
    supplied = record.supplied
    by_hand_ = (
        record.price_paid * record.sales - supplied.cost_of_sales - 0.5 * record.unmet
        - 0.01 * (record.stock - record.sales) + supplied.fines
    )  # fmt: skip
    np.testing.assert_allclose(record.profit, by_hand_, atol=1e-4)
    # The first stock's cost, which the settings give, is what no unit costs later on.
    assert np.abs(supplied.cost_of_sales - record.sales)[:, 10:].max() > 0.1
    offers = tables.offers_table(record, "a run", "random", 0)
    assert offers["profit"].sum() == pytest.approx(float(record.reward_raw[record.live].sum()), rel=1e-5)


def test_measures_are_those_of_the_contracts(market, record) -> None:
    supplied, found = record.supplied, measure(Episodes(*market, record))
    signed = supplied.quantity > 0

    def whole(name: str) -> float:
        return float(found[name].top[:, 0].sum() / found[name].bottom[:, 0].sum())

    assert whole("agreements") == pytest.approx(signed.sum() / supplied.asked.sum())
    assert whole("agreed_cost") == pytest.approx(np.average(supplied.unit_cost, weights=supplied.quantity), rel=1e-5)
    assert whole("agreed_quantity") == pytest.approx(supplied.quantity[signed].mean())
    assert whole("agreed_lead_time") == pytest.approx(supplied.lead_time[signed].mean())
    costs, rushes = (np.array([own[name] for own in SUPPLIERS]) for name in ("unit_cost", "rush_cost"))
    of = supplied.supplier[signed]
    margin = supplied.unit_cost[signed] - costs[of] - rushes[of] / supplied.lead_time[signed]
    earned = (margin * supplied.quantity[signed]).sum() / record.live.any(-1).sum()
    assert whole("supplier_profit") == pytest.approx(earned, rel=1e-4)
    revenue, cost = (record.price_paid * record.sales).sum(), supplied.cost_of_sales.sum()
    assert whole("lerner") == pytest.approx((revenue - cost) / revenue, rel=1e-5)
    assert whole("coi") == pytest.approx((revenue - cost) / record.sales.sum(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["contract_chosen", "contract"])
def test_contracts_are_judged_in_the_situation_in_which_they_were_played(rule: str, market, record) -> None:
    if rule == "contract_chosen":
        market = built(CHOSEN)
        record = play(jax.random.key(2), *market, random(*market), 2)
    shape, params = market
    found = supply.contracts_table(shape, params, record, "a run", "random", 3)
    assert list(found) == list(supply.COLUMNS) and 20 < len(found) <= supply.MOST
    exponents = np.asarray(params.contracts.exponents)
    space, table = shape.contracts.space, params.contracts.table
    played = 0
    for row in found.iloc[:40].itertuples():
        assert row.seed == 3 and row.run == "a run"
        offer = row.seller
        expected, memory = float(params.contracts.first_forecast[offer]), 0.9
        for epoch in range(row.epoch + 1):
            expected = memory * expected + (1 - memory) * float(record.demand[row.episode, epoch, offer])
        assert row.forecast == pytest.approx(expected, rel=1e-4)
        grid = np.asarray(table.demands[offer])
        demand = grid[np.abs(grid - expected).argmin()]
        costs = jax.tree.map(lambda leaf, n=offer: leaf[n], params.contracts.buyer)
        buyer = negotiation.buyer_worth(space, shape.contracts.stock, row.price, demand, costs)
        utility, reserved = (np.asarray(side)[int(row.position)] for side in buyer)
        cost, rush = SUPPLIERS[row.supplier]["unit_cost"], SUPPLIERS[row.supplier]["rush_cost"]
        quantity, unit_cost, lead_time = (space.column(name) for name in ("quantity", "unit_cost", "lead_time"))
        theirs = (unit_cost - cost) * quantity - rush * quantity / lead_time
        assert row.supplier_gain == pytest.approx(
            (row.unit_cost - cost) * row.quantity - rush * row.quantity / row.lead_time, abs=1e-4
        )
        number = space.index((row.quantity, unit_cost[np.abs(unit_cost - row.unit_cost).argmin()], row.lead_time))
        assert row.seller_gain == pytest.approx(utility[number] - reserved, abs=1e-3)
        beaten = (utility[:, None] <= utility) & (theirs[:, None] <= theirs)
        beaten &= (utility[:, None] < utility) | (theirs[:, None] < theirs)
        on = ~beaten.any(1)
        assert row.to_frontier == pytest.approx(
            np.hypot(utility[on] - utility[number], theirs[on] - theirs[number]).min(), abs=1e-3
        )
        product = np.where((utility >= reserved) & (theirs >= 0), (utility - reserved) * theirs, -1)
        assert row.nash_seller_gain * row.nash_supplier_gain == pytest.approx(product.max(), rel=1e-3, abs=1e-3)
        # The protocol, turn by turn, comes to the same with this supplier.
        tough = float(SUPPLIERS[row.supplier].get("toughness", 1.0))
        agreed = {
            by_hand(Conceder(utility, reserved, own, 20), Conceder(theirs, 0.0, tough, 20))[0]
            for own in exponents[offer]
        }
        played += number in agreed
        if row.Index < 6:
            drawn = supply.bargain_of(shape, params, found.loc[row.Index])
            mine, other = Conceder(utility, reserved, row.exponent, 20), Conceder(theirs, 0.0, tough, 20)
            outcome, last, by_buyer = by_hand(mine, other)
            assert (drawn.agreement, len(drawn.trace)) == (outcome, 2 * last if by_buyer else 2 * last + 1)
            assert drawn.trace["by"].iloc[-1] == ("supplier" if by_buyer else "buyer")
            for offer_ in drawn.trace.itertuples():
                side = {"buyer": mine, "supplier": other}[offer_.by]
                assert getattr(offer_, offer_.by) == pytest.approx(side.utility[side.offers(offer_.round)], abs=1e-3)
            assert {text.get_text() for axes in bargain.picture(drawn).axes for text in [axes.title]} >= {""}
    assert played >= 38  # ties within rounding may be told apart otherwise


def test_static_benchmarks_say_that_they_take_the_first_stocks_cost(market) -> None:
    assert "what supply is bargained down to" in static_benchmarks(*market).label


def test_contracts_are_told_in_words(market, record) -> None:
    found = supply.contracts_table(*market, record, "a run", "random", 0).iloc[:2]
    gains = dict(
        zip(
            ["seller_gain", "supplier_gain", "nash_seller_gain", "nash_supplier_gain"],
            (3.0, 1.0, 2.0, 4.0),
            strict=True,
        )
    )
    told = supply.in_words(found.assign(**gains, to_frontier=[0.1, 0.3]))
    assert told == (
        "2 contracts judged: on average 0.2 money from the Pareto frontier; sellers get 75% of the gains, at Nash's "
        "bargaining points they would get 33% of 1.5 times as much"
    )


def test_markets_without_contracts_have_none(make_market) -> None:
    made = make_market()
    record = play(jax.random.key(0), made.shape, made.params, random(made.shape, made.params), 1)
    assert record.supplied is None and supply.contracts_table(made.shape, made.params, record, "", "", 0).empty


def test_the_figure_has_a_panel_for_each_issue_and_one_for_the_surplus(market, record) -> None:
    found = supply.contracts_table(*market, record, "a run", "random", 0)
    figure = supply_figures.contracts(found)
    labels = [axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes]
    assert labels[:3] == ["unit cost (money)", "quantity (units)", "lead time (epochs)"]
    heights = [bar.get_height() for bar in figure.axes[3].patches]
    means = found.groupby("seller")[["seller_gain", "supplier_gain"]].mean().to_numpy().ravel()
    np.testing.assert_allclose(heights, means, rtol=1e-6)

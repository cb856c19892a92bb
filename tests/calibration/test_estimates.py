"""What is and what is not identified, and that estimates go through their instruments."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from marl_pricing.calibration import by_group, elasticity, logit
from marl_pricing.calibration.dynamics import fit_dynamics
from marl_pricing.calibration.fit import fit_demand
from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.reading import CalibrationError
from marl_pricing.calibration.settings import CalibrationSettings
from tests.calibration.sales import POWER, fixed_prices, rising, some_sales


def panel_of(table: pd.DataFrame):
    return make_panel(table.assign(category="all"))


def own_settings(**changes) -> CalibrationSettings:
    return CalibrationSettings(data="sales.csv", out="out", **changes)


def test_one_price_identifies_nothing() -> None:
    with pytest.raises(CalibrationError, match=r"price: no product's price ever changes.*two prices or more"):
        panel_of(fixed_prices(some_sales()))


def test_one_product_of_one_price_tells_its_level_only() -> None:
    table = some_sales()
    first = table["product"] == "product_0"
    held = table.assign(price=table["price"].where(~first, 2.0))
    panel = panel_of(held)
    assert panel.fixed == ["product_0"] and "product_0" in set(panel.table["offer"])
    assert elasticity.fit_elasticity(panel.table, effects=("product",)).own.value < 0


def test_prices_that_move_together_identify_nothing_beside_effects_of_periods() -> None:
    table = some_sales()
    together = table["period"].map(dict(enumerate(np.linspace(1.5, 2.5, 40))))
    panel = panel_of(table.assign(price=together))
    for estimator in ("loglinear", "poisson"):
        with pytest.raises(CalibrationError, match="the elasticity is not identified"):
            elasticity.fit_elasticity(panel.table, effects=("product", "period"), estimator=estimator)
    assert elasticity.fit_elasticity(panel.table, effects=("product",)).own.error > 0


def test_products_with_fewer_periods_than_parameters_are_left_out() -> None:
    table = some_sales()
    few = table[(table["product"] != "product_2") | (table["period"] < 2)]
    panel = panel_of(few)
    assert panel.short == ["product_2"] and "product_2" not in set(panel.table["offer"])
    with pytest.raises(CalibrationError, match="no product has 3 periods with sales or more"):
        panel_of(table[table["period"] < 2])


def test_units_of_zero_have_no_logarithm_but_count_for_poisson() -> None:
    table = some_sales(shoppers=40, demand=POWER)
    panel = panel_of(table)
    assert panel.zero_rows == int((table["units"] == 0).sum()) > 0


def test_a_rising_demand_is_kept_and_flagged() -> None:
    panel = panel_of(rising(some_sales()))
    assert elasticity.fit_elasticity(panel.table).own.value == pytest.approx(0.8, abs=0.05)
    offers = by_group.by_offer(panel.table)
    assert (offers["elasticity"] > 0).all() and len(offers) == 6


def test_instruments_take_out_what_prices_know() -> None:
    """Prices that follow demand bias least squares towards 0; costs that move them do not."""
    random = np.random.default_rng(1)
    rows = []
    for product in range(30):
        cost, shock = random.normal(0, 0.15, 60), random.normal(0, 0.3, 60)
        log_price = 0.7 + cost + 0.3 * shock
        units = np.exp(6.0 - 2.5 * log_price + shock)
        rows.append(
            pd.DataFrame({"seller": "a", "product": f"p{product}", "period": range(60), "units": units,
                          "price": np.exp(log_price), "cost": np.exp(cost)})
        )  # fmt: skip
    panel = panel_of(pd.concat(rows, ignore_index=True))
    plain = elasticity.fit_elasticity(panel.table)
    through = elasticity.fit_elasticity(panel.table, instruments=["cost"])
    assert plain.own.value > -2.0
    assert abs(through.own.value + 2.5) < 3.0 * through.own.error < 0.3
    assert through.first_stage > 100


def test_poisson_and_log_linear_agree_where_counts_are_large() -> None:
    panel = panel_of(some_sales(demand=POWER, shoppers=100_000, level={"noise": 0.0}))
    values = [
        elasticity.fit_elasticity(panel.table, effects=("product",), estimator=name).own for name in
        ("loglinear", "poisson")
    ]  # fmt: skip
    for own in values:
        assert own.value == pytest.approx(-2.2, abs=4.0 * own.error)


def test_cross_prices_are_found() -> None:
    crossed = POWER | {"cross_elasticity": 0.9}
    panel = panel_of(some_sales(demand=crossed, shoppers=50_000, level={"noise": 0.05}, periods=80))
    found = elasticity.fit_elasticity(panel.table, effects=("product",)).with_cross
    assert found is not None
    own, cross = found
    assert own.value == pytest.approx(-2.2, abs=4 * own.error)
    assert cross.value == pytest.approx(0.9, abs=4 * cross.error) and cross.error < 0.1
    both = elasticity.fit_elasticity(panel.table, effects=("product", "period"))
    assert both.with_cross is None and "leave out effects of periods" in both.no_cross


def test_a_nest_is_found() -> None:
    nested = {"model": "logit", "quality": [0.4, 0.1, 0.5, 0.2, 0.3, 0.0], "scale": 0.5, "nesting": 0.6}
    panel = panel_of(some_sales(demand=nested, shoppers=100_000, level={"noise": 0.05}, periods=80))
    found = logit.fit_logit(logit.shares_of(panel.table, 100_000.0), nested=True)
    assert found.nesting is not None
    assert found.nesting.value == pytest.approx(0.6, abs=4 * found.nesting.error) and found.nesting.error < 0.1
    assert found.price.value == pytest.approx(-2.0, abs=4 * found.price.error)


def test_markets_too_small_for_their_sales_are_refused() -> None:
    panel = panel_of(some_sales())
    with pytest.raises(CalibrationError, match="market_size=10: accepted is more than the busiest period's units"):
        fit_demand(panel, own_settings(market_size=10.0))


def test_levels_and_seasons_are_found() -> None:
    season = {"period": 26.0, "cosine": [0.3], "sine": [-0.2]}
    sales = some_sales(demand=POWER, shoppers=20_000, season=season, periods=104)
    fit = fit_demand(panel_of(sales), own_settings(form="power", season=26.0))
    moves = fit.dynamics
    for own, true in ((moves.persistence, 0.8), (moves.volatility, 0.12), (moves.noise, 0.08)):
        assert own.value == pytest.approx(true, abs=3.5 * own.error)
        assert own.error < 0.1
    np.testing.assert_allclose([moves.season_cosine[0], moves.season_sine[0]], [0.3, -0.2], atol=0.1)
    assert moves.season_test is not None and moves.season_test.p_value < 1e-4 and moves.season_told_from_trend
    assert moves.persistence_test.p_value < 1e-4 and moves.volatility_test.p_value < 1e-4


def test_tests_find_nothing_where_there_is_nothing() -> None:
    """Counts alone: neither a level nor noise is significant at one in a thousand."""
    panel = panel_of(some_sales(demand=POWER, shoppers=20_000, level={"noise": 0.0}, periods=60))
    residual = panel.table["log_units"].to_numpy() + 2.2 * panel.table["log_price"].to_numpy()
    moves = fit_dynamics(panel.table, residual, season=26.0, harmonics=1)
    assert moves.volatility_test.p_value > 1e-3
    assert moves.season_test is not None and moves.season_test.p_value > 1e-3


def test_promotions_stand_beside_the_price_if_asked() -> None:
    """Promotions come with low prices and move demand themselves: ignored, the price answers for them."""
    table = some_sales(demand=POWER, shoppers=100_000, level={"noise": 0.05}, periods=80)
    random = np.random.default_rng(2)
    promoted = (random.random(len(table)) < np.where(table["price"] < 1.9, 0.6, 0.05)).astype(float)
    table = table.assign(promotion=promoted, units=np.round(table["units"] * np.exp(0.5 * promoted)))
    panel = panel_of(table)
    found = {
        (form, how): fit_demand(panel, own_settings(form=form, promotion=how, harmonics=0, market_size=200_000.0))
        for form in ("power", "logit") for how in ("ignore", "control")
    }  # fmt: skip
    own = found["power", "control"]
    assert own.promotion is not None and own.promotion.value == pytest.approx(0.5, abs=4 * own.promotion.error)
    assert own.slope.value == pytest.approx(-2.2, abs=4 * own.slope.error)
    assert found["power", "ignore"].slope.value < -2.2 - 4 * own.slope.error
    assert found["logit", "control"].promotion.value > 0.4
    assert found["logit", "control"].slope.value > found["logit", "ignore"].slope.value
    # What the promotion does is no noise any more.
    assert own.dynamics.noise.value < 0.7 * found["power", "ignore"].dynamics.noise.value
    with pytest.raises(CalibrationError, match="promotion='control': accepted is 'ignore' where the mapping names"):
        fit_demand(panel_of(table.drop(columns="promotion")), own_settings(promotion="control"))
    gap = table.assign(promotion=table["promotion"].where(table.index != 5))
    with pytest.raises(CalibrationError, match="where rows have none, as 1 do"):
        fit_demand(panel_of(gap), own_settings(promotion="control"))


def test_rows_that_sold_out_only_bound_demand() -> None:
    table = some_sales(demand=POWER, shoppers=4_000, level={"noise": 0.05}, periods=60)
    stock = np.full(len(table), float(table["units"].quantile(0.6)))
    cut = table.assign(units=np.minimum(table["units"], stock))
    blind, seeing = panel_of(cut), panel_of(cut.assign(stock=stock))
    assert blind.sold_out == 0 and seeing.sold_out == int((cut["units"] >= stock).sum()) > 50
    assert len(seeing.table) == len(cut) - seeing.sold_out
    with pytest.raises(CalibrationError, match="stock: everything was sold"):
        panel_of(cut.assign(stock=0.0))

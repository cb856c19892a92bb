"""What instruments are worth, and when a lagged price is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from marl_pricing.calibration import elasticity, worlds
from marl_pricing.calibration.fit import fit_demand
from marl_pricing.calibration.instruments import Strength, instrument_columns, shown_set, strength
from marl_pricing.calibration.market_file import estimates_of
from marl_pricing.calibration.page import how_estimated
from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.reading import CalibrationError
from marl_pricing.calibration.settings import CalibrationSettings


def following(seed: int = 0, **changes) -> tuple[pd.DataFrame, float]:
    return worlds.draw(worlds.replace(worlds.WORLDS["follows"], **changes), np.random.default_rng(seed))


def settings(**changes) -> CalibrationSettings:
    return CalibrationSettings(data="x", out="out", harmonics=0, **changes)


def test_lagged_prices_are_refused_where_demand_lasts() -> None:
    rows = make_panel(following()[0]).rows
    table, columns = instrument_columns(rows, "lagged_price")
    with pytest.raises(CalibrationError, match=r"accepted is none, cost, columns or other_stores where demand lasts"):
        elasticity.fit_elasticity(table, instruments=columns)
    for form in ("power", "logit"):
        with pytest.raises(CalibrationError, match="instruments='lagged_price'"):
            fit_demand(make_panel(following()[0]), settings(form=form, instruments="lagged_price"))


def test_lagged_prices_pass_where_it_does_not() -> None:
    sales, true = following(persistence=0.0, spread=0.2, products=40)
    table, columns = instrument_columns(make_panel(sales).rows, "lagged_price")
    found = elasticity.fit_elasticity(table, instruments=columns)
    assert found.first_stage > 50 and abs(found.own.value - true) < 4.0 * found.own.error


def test_a_cost_takes_out_what_prices_know_and_says_how_strong_it_is() -> None:
    sales, true = following()
    panel = make_panel(sales)
    for form in ("power", "logit"):
        fit = fit_demand(panel, settings(form=form, instruments="cost", market_size=1e6))
        blind = fit_demand(panel, settings(form=form, market_size=1e6))
        assert blind.elasticity.own.value > true + 0.2
        assert abs(fit.elasticity.own.value - true) < 3.0 * fit.elasticity.own.error < 0.6
        assert fit.instruments is not None and fit.instruments.first_stage > 100
        (low, high), (own_low, own_high) = fit.instruments.intervals[0], fit.slope.interval
        assert low == pytest.approx(own_low, abs=0.25) and high == pytest.approx(own_high, abs=0.25)
        told = " ".join(how_estimated(fit))
        assert "first-stage F" in told and "Anderson–Rubin interval of the " in told and "WEAK" not in told
        worth = estimates_of(fit)["instruments"]
        assert worth["columns"] == ["cost"] and worth["first_stage_f"] > 100 and len(worth["anderson_rubin"]) == 1


def _instrumented(strong: float, random: np.random.Generator, instruments: int = 1) -> pd.DataFrame:
    """80 products and 6 periods, without effects: y = -2 p + u, p = strong z + u + v."""
    count = 480
    z, u, v = random.normal(size=(count, instruments)), random.normal(size=count), random.normal(size=count)
    p = strong * z.sum(1) + 0.7 * u + v
    table = pd.DataFrame(
        {"y": -2.0 * p + u, "p": p, "offer": np.repeat(np.arange(80), 6), "period": np.tile(range(6), 80)}
    )
    return table.assign(**{f"z{number}": z[:, number] for number in range(instruments)})


def own_strength(table: pd.DataFrame, columns: list[str]) -> Strength:
    return strength(table, "y", "p", columns, groups=[], controls=[], kind="product", names=columns)


def test_ends_of_the_anderson_rubin_interval_are_where_the_reduced_form_says_nothing() -> None:
    """At its ends a regression of y - b p on the instrument has a p-value of 5 %, clustered (statsmodels)."""
    table = _instrumented(0.3, np.random.default_rng(0))
    found = own_strength(table, ["z0"])
    assert len(found.intervals) == 1 and found.overidentified is None
    for end in found.intervals[0]:
        fit = sm.OLS(table["y"] - end * table["p"], table[["z0"]]).fit(
            cov_type="cluster", cov_kwds={"groups": table["offer"], "use_correction": True}, use_t=True
        )
        assert 2.0 * stats.t.sf(abs(fit.tvalues.iloc[0]), 79) == pytest.approx(0.05, abs=0.003)
    fit = sm.OLS(table["p"], table[["z0"]]).fit(cov_type="cluster", cov_kwds={"groups": table["offer"]})
    assert found.first_stage == pytest.approx(float(fit.tvalues.iloc[0]) ** 2, rel=0.02)


def test_weak_instruments_say_little_and_contradictory_ones_disagree() -> None:
    weak = own_strength(_instrumented(0.0, np.random.default_rng(2)), ["z0"])
    assert weak.first_stage < 10 and not np.all(np.isfinite(weak.intervals)) and "WEAK" in weak.told("b")
    table = _instrumented(0.4, np.random.default_rng(3), 2)
    agreed = own_strength(table, ["z0", "z1"])
    assert agreed.overidentified is not None and agreed.overidentified > 0.01
    assert agreed.intervals[0][0] < -2.0 < agreed.intervals[0][1]
    broken = own_strength(table.assign(y=table["y"] + 1.5 * table["z1"]), ["z0", "z1"])
    assert broken.overidentified is not None and broken.overidentified < 1e-3
    assert not broken.intervals and "contradict" in broken.told("b")
    assert shown_set([(-np.inf, -3.0), (1.0, np.inf)]) == "below -3.00 or above 1.00"


def test_prices_in_other_stores_are_an_instrument() -> None:
    """Two stores share costs, not shocks; of one store alone there is no such instrument."""
    random, parts = np.random.default_rng(4), []
    cost = random.normal(0.0, 0.2, (15, 50))
    for store in ("north", "south"):
        shock = random.normal(0.0, 0.3, (15, 50))
        log_price = 0.7 + cost + 0.5 * shock + random.normal(0.0, 0.05, (15, 50))
        units = random.poisson(np.exp(5.0 - 2.5 * log_price + shock))
        parts.append(pd.DataFrame({
            "product": np.repeat([f"p{n}" for n in range(15)], 50), "seller": "a", "category": "all", "store": store,
            "period": np.tile(range(50), 15), "units": units.reshape(-1).astype(float),
            "price": np.exp(log_price).reshape(-1)}))  # fmt: skip
    panel = make_panel(pd.concat(parts, ignore_index=True))
    table, columns = instrument_columns(panel.rows, "other_stores")
    found = elasticity.fit_elasticity(table, instruments=columns)
    assert abs(found.own.value + 2.5) < 3.0 * found.own.error < 0.5 and found.first_stage > 50
    assert elasticity.fit_elasticity(panel.rows, cross=False).own.value > -2.1
    with pytest.raises(CalibrationError, match="instruments='other_stores': accepted is none, cost or columns"):
        instrument_columns(make_panel(parts[0].drop(columns="store")).rows, "other_stores")

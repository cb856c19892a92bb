"""Holidays: counted by period from a file of dates, taken out of the slope and put into forecasts and lists."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marl_pricing.calibration import worlds
from marl_pricing.calibration.calendar import HOLIDAY, Calendar
from marl_pricing.calibration.coverage import default_slope
from marl_pricing.calibration.dynamics import fit_dynamics
from marl_pricing.calibration.fit import fit_demand
from marl_pricing.calibration.forecast import forecast
from marl_pricing.calibration.holidays import read_dates, with_holidays
from marl_pricing.calibration.market_file import estimates_of
from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.reading import CalibrationError, Mapping, Sales, read_sales
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.config import ConfigError
from marl_pricing.pricelist.make import list_of
from marl_pricing.pricelist.settings import PriceListSettings

MONDAY = date(2023, 1, 2)
WEEKS = 104


def shop(tmp_path: Path, products: int = 3) -> tuple[Path, Path, np.ndarray]:
    """(sales by week, a file of holidays with the week after them, weeks [104] that have one)."""
    world = worlds.replace(worlds.WORLDS["holidays"], products=products, units=400.0)
    sales, _ = worlds.draw(world, np.random.default_rng(5))
    weeks = sales.groupby("period")[HOLIDAY].first().to_numpy()
    days = [MONDAY + timedelta(7 * int(week) + 3) for week in [*np.flatnonzero(weeks), WEEKS]]
    dated = sales.assign(period=[MONDAY + timedelta(7 * int(week)) for week in sales["period"]]).drop(columns=HOLIDAY)
    dated.to_csv(tmp_path / "sales.csv", index=False)
    (tmp_path / "holidays.csv").write_text("date;name\n" + "".join(f"{day:%d.%m.%Y};feast\n" for day in days))
    return tmp_path / "sales.csv", tmp_path / "holidays.csv", weeks


def test_periods_hold_the_holidays_of_their_days() -> None:
    days = np.array(["2023-12-25", "2023-12-26", "2024-01-01", "2024-05-01"], "M8[D]")
    weeks = Calendar(days, np.datetime64("2023-12-20"), "week")  # Wednesdays to Tuesdays
    assert weeks.count(np.arange(-1, 4)).tolist() == [0, 2, 1, 0, 0] and weeks.count(np.array([19])).tolist() == [1]
    assert Calendar(days, np.datetime64("2023-12-25"), "day").count(np.arange(9)).tolist() == [
        1,
        1,
        0,
        0,
        0,
        0,
        0,
        1,
        0,
    ]
    months = Calendar(days, np.datetime64("2023-12-01"), "month")
    assert months.count(np.array([2023 * 12 + 12, 2024 * 12 + 1, 2024 * 12 + 2])).tolist() == [2, 1, 0]


def test_a_file_of_dates_is_read_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "days.txt"
    for text in ("2024-12-25\n2024-12-26\n", "Datum;Name\n25.12.2024;x\n26.12.2024;y\n26.12.2024;z\n",
                 "date\n12/25/2024\n12/26/2024\n"):  # fmt: skip
        path.write_text(text)
        assert read_dates(path).astype(str).tolist() == ["2024-12-25", "2024-12-26"]
    sales = Sales(pd.DataFrame({"period": [0]}), 1, Counter(), "2024-12-23",
                  period_name="week", first_day=date(2024, 12, 23))  # fmt: skip
    assert with_holidays(sales, None) is sales
    path.write_text("2024-12-25\nsoon\n")
    with pytest.raises(CalibrationError, match=r"days\.txt:2: 'soon' is no date"):
        with_holidays(sales, str(path))
    path.write_text("7\n8\n")
    with pytest.raises(CalibrationError, match=r"days\.txt:1: '7' is no date; accepted is one a line, as 2024-12-25"):
        with_holidays(sales, str(path))
    path.write_text("2019-12-25\n")
    with pytest.raises(ConfigError, match=r"begin with 2024-12-23; its 1 are from 2019-12-25 to 2019-12-25"):
        with_holidays(sales, str(path))
    with pytest.raises(ConfigError, match="accepted is null where periods are whole numbers"):
        with_holidays(Sales(sales.table, 1, sales.reasons, "1"), str(path))


def test_a_slope_is_not_taken_for_the_holidays_that_prices_fall_in() -> None:
    """Demand rises by half and prices fall by 15 % in these weeks: told, the elasticity of -2 comes back."""
    world = worlds.WORLDS["holidays"]
    told, untold = [], []
    for random in np.random.default_rng(1).spawn(6):
        sales, true = worlds.draw(world, random)
        for found, table in ((told, sales), (untold, sales.drop(columns=HOLIDAY))):
            found.append(default_slope(table, world).value - true)
    assert abs(np.mean(told)) < 0.15 and np.mean(untold) < -0.35


def test_forecasts_and_lists_know_the_holiday_that_comes(tmp_path: Path) -> None:
    data, days, weeks = shop(tmp_path)
    bare = read_sales(data, Mapping(category="category"))
    sales = with_holidays(bare, str(days))
    assert sales.table.groupby("period")[HOLIDAY].first().tolist() == weeks.tolist()
    own = CalibrationSettings(data="x", out="x", form="power", harmonics=0, cost="margin", effects=["product"])
    fit = fit_demand(make_panel(sales.table), own)
    holiday = fit.dynamics.holiday
    assert holiday is not None and holiday.value == pytest.approx(0.5, abs=0.1)
    assert estimates_of(fit)["holiday"]["value"] == pytest.approx(holiday.value, abs=1e-4)
    row = make_panel(sales.table).rows.tail(1).assign(period=WEEKS)
    feast, plain = (forecast(fit, row.assign(**{HOLIDAY: count}))[0] for count in (1.0, 0.0))
    assert feast == pytest.approx(plain * np.exp(holiday.value))
    blind = fit_demand(make_panel(bare.table), own)
    assert blind.dynamics.holiday is None and blind.slope.value < fit.slope.value - 0.2
    # Next week has one, and the list counts on it.
    asked = PriceListSettings(data="x", out="x", harmonics=0, effects=["product"], draws=200)
    with_one = list_of(sales, asked, "shop").outlook.units_today.mean.sum()
    without = list_of(bare, asked, "shop").outlook.units_today.mean.sum()
    assert with_one > 1.3 * without


def test_one_product_has_a_season_and_holidays_but_no_test_of_the_season() -> None:
    sales, _ = worlds.draw(worlds.WORLDS["holidays"], np.random.default_rng(3))
    table = make_panel(sales).table
    moves = fit_dynamics(table, table["log_units"].to_numpy() + 2.0 * table["log_price"].to_numpy(), season=52.0,
                         harmonics=1)  # fmt: skip
    assert moves.season_test is None and moves.season_cosine.shape == (1,)
    assert moves.holiday is not None and moves.holiday.value == pytest.approx(0.5, abs=0.15)


def test_effects_of_periods_hold_them_already() -> None:
    sales, _ = worlds.draw(worlds.replace(worlds.WORLDS["holidays"], products=8), np.random.default_rng(2))
    own = CalibrationSettings(data="x", out="x", form="power", harmonics=0, cost="margin", elasticities="pooled")
    fit = fit_demand(make_panel(sales), own)
    assert fit.effects == ("product", "period") and HOLIDAY not in fit.elasticity.controls
    assert fit.dynamics.holiday is not None and fit.dynamics.holiday.value == pytest.approx(0.5, abs=0.15)

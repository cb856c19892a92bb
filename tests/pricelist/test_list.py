"""Lists of shops whose demand is known, from their sales to prices; what stands in them and in what they leave."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.reading import CalibrationError, Sales
from marl_pricing.calibration.slopes import own_slopes
from marl_pricing.config.errors import ConfigError
from marl_pricing.pricelist.__main__ import main
from marl_pricing.pricelist.files import COLUMNS, table_of
from marl_pricing.pricelist.level import backtest, fit_level
from marl_pricing.pricelist.make import PriceList, list_of
from marl_pricing.pricelist.settings import PriceListSettings
from marl_pricing.pricelist.shops import Shop, draw_shop

SMALL = Shop("", categories=2, products=5, periods=40)


def settings(**changes: Any) -> PriceListSettings:
    return PriceListSettings.model_validate({"data": "", "out": "", "draws": 400, **changes})


def sales_of(shop: Shop = SMALL, seed: int = 0) -> Sales:
    return draw_shop(shop, np.random.default_rng(seed))[0]


def list_with(table: pd.DataFrame, **changes: Any) -> PriceList:
    return list_of(Sales(table, len(table), Counter(), "0", period_name="week"), settings(**changes), "shop")


@pytest.fixture(scope="module")
def sales() -> Sales:
    return sales_of()


@pytest.fixture(scope="module")
def found(sales: Sales) -> PriceList:
    return list_of(sales, settings(), "shop")


def test_own_slopes_are_those_of_a_regression_with_dummies() -> None:
    """Log-linear: products, periods and a slope each, by least squares on everything at once."""
    sales, _ = draw_shop(Shop("", categories=1, products=5, periods=25), np.random.default_rng(3))
    rows = make_panel(sales.table).rows
    found, _ = own_slopes(rows, "loglinear", ["product", "period"])
    offers = sorted(rows["offer"].unique())
    price = np.stack([np.where(rows["offer"] == offer, rows["log_price"], 0.0) for offer in offers], 1)
    dummies = pd.get_dummies(rows[["offer", "period"]].astype(str), dtype=float).to_numpy()
    expected = np.linalg.lstsq(np.c_[price, dummies], rows["log_units"].to_numpy(), rcond=None)[0][: len(offers)]
    np.testing.assert_allclose(found.set_index("offer").loc[offers, "elasticity"], expected, rtol=1e-6)
    assert (found["error"] > 0).all()


def test_slopes_hold_the_truth_whatever_the_estimator() -> None:
    """Within 3.5 errors for every product; the shop is one that has weeks without a sale."""
    sales, truth = draw_shop(Shop("", categories=2, products=6, periods=80, units=4.0), np.random.default_rng(5))
    panel = make_panel(sales.table)
    assert panel.zero_rows > 30
    found, none = own_slopes(panel.rows)
    assert none.empty and len(found) == 12
    true = dict(zip(sorted(sales.table["product"].unique()), truth.elasticity, strict=True))
    far = (found["elasticity"] - found["offer"].map(true)) / found["error"]
    assert far.abs().max() < 3.5 and 0.4 < far.std() < 1.6


def test_errors_of_few_periods_are_as_long_as_estimates_lie_apart() -> None:
    """Held prices and levels that last, 26 weeks: no estimate looks far surer than it is."""
    far = []
    for seed in range(6):
        shop = Shop("", periods=26, move=0.05, hold=6.0)
        sales, truth = draw_shop(shop, np.random.default_rng([7, seed]))
        found, _ = own_slopes(make_panel(sales.table).rows)
        true = dict(zip(sorted(sales.table["product"].unique()), truth.elasticity, strict=True))
        far.append((found["elasticity"] - found["offer"].map(true)) / found["error"])
    standard = pd.concat(far)
    assert 0.75 < standard.std() < 1.25 and standard.abs().max() < 4.0
    assert abs((standard.abs() > 1.96).mean() - 0.05) < 0.05


@pytest.mark.slow
def test_a_cross_elasticity_is_found_where_products_compete() -> None:
    sales, _ = draw_shop(Shop("", categories=5, products=3, periods=80, cross=0.8), np.random.default_rng(6))
    found = list_of(sales, settings(cross="category"), "shop")
    cross = found.demand.cross.mean(0)
    assert cross.shape == (5,) and abs(cross.mean() - 0.8) < 0.25
    assert not list_of(sales, settings(), "shop").demand.cross.any()


def test_the_next_period_is_expected_where_the_levels_lead(sales: Sales) -> None:
    """Units of the last period, forecast from those before with the true elasticities, of many products together."""
    errors = []
    for seed in range(4):
        shop, truth = draw_shop(Shop("", periods=60, spread=0.3, persistence=0.9), np.random.default_rng(seed))
        panel = make_panel(shop.table)
        offers = sorted(panel.rows["offer"].unique())
        level = fit_level(panel, pd.Series(truth.elasticity, offers), 52.0, 0)
        told = level.expected(offers, np.full(30, 60), truth.today)
        errors.append((np.log(truth.units(truth.today) / told) + 0.5 * level.variance()) / np.sqrt(level.variance()))
    standard = np.concatenate(errors)
    assert abs(standard.mean()) < 0.35 and 0.85 < standard.std() < 1.2


def test_a_back_test_beats_repeating_where_there_is_a_level_to_forecast(sales: Sales) -> None:
    panel = make_panel(sales.table)
    before = panel.until(31)
    level = fit_level(before, pd.Series(-2.3, sorted(before.rows["offer"].unique())), 52.0, 0)
    tested = backtest(panel, level, 8)
    assert len(tested) == 10 and (tested[["model", "naive"]] > 0).all().all()
    assert tested["model"].mean() < tested["naive"].mean()


def test_a_list_says_the_same_in_its_table_as_it_reckons(found: PriceList) -> None:
    table = table_of(found)
    assert list(table.columns) == [
        name for name in table.columns if name in COLUMNS or name.endswith(("_low", "_high"))
    ]
    np.testing.assert_allclose(table["gain"].sum(), float(found.outlook.total_gain.mean), atol=0.01)
    changed = table["change"].abs() > 1e-9
    assert changed.any() and (table.loc[changed, "chance"] >= 0.9).all()
    assert (table["proposed"] >= table["cost"] - 1e-9).all() and (table["change"].abs() <= 0.1 + 1e-9).all()
    assert (table.loc[~changed, "gain"].abs() < 1e-9).all() and table.loc[~changed, "notes"].str.startswith(
        "stays"
    ).all()


def test_every_constraint_is_kept(sales: Sales) -> None:
    name = "item 002"
    held = list_with(
        sales.table, held=[name], budget=2, endings=list(range(9, 100, 10)), largest_change=0.07, certainty=0.0
    )
    table = table_of(held).set_index("product")
    assert table.loc[name, "change"] == 0.0 and "stays: held" in table.loc[name, "notes"]
    changed = table[table["change"].abs() > 1e-9]
    assert len(changed) == 2 and (changed["change"].abs() <= 0.07 + 1e-9).all()
    assert ((changed["proposed"] * 100).round() % 10).eq(9.0).all()
    assert table["notes"].str.contains("gain more elsewhere").any()


def test_notes_say_why_not_to_trust(sales: Sales) -> None:
    table = sales.table.copy()
    never = table["product"] == "item 000"
    table.loc[never, "price"] = 3.0
    table.loc[table["product"] == "item 001", "cost"] = np.nan
    follows = table["product"] == "item 006"
    table.loc[follows, "units"] = np.round(100 * table.loc[follows, "price"] ** 2)
    gone = (table["product"] == "item 007") & (table["period"] > 30)
    short = (table["product"] == "item 008") & (table["period"] > 1)
    found = list_with(table[~gone & ~short].reset_index(drop=True))
    notes = table_of(found).set_index("product")["notes"]
    assert "its price never moved: the elasticity is its category's" in notes["item 000"]
    assert "cost assumed: a margin of 30%" in notes["item 001"] and "cost assumed" not in notes["item 002"]
    assert "its sales rose with its price" in notes["item 006"]
    assert notes["item 007"] == "not priced: no sale in the last 4 periods"
    assert notes["item 008"] == "not priced: fewer than three periods with sales"


def test_pooled_elasticities_are_one_for_all(sales: Sales) -> None:
    found = list_with(sales.table, elasticities="pooled")
    assert np.ptp(found.demand.own, axis=1).max() == 0.0 and found.measured["elasticity"].isna().all()


def test_rivals_and_events_change_what_is_expected() -> None:
    one, two = sales_of(seed=1).table, sales_of(seed=2).table.assign(seller="rival")
    both = pd.concat([one, two.assign(product="r" + two["product"])], ignore_index=True)
    events = [{"cost": 0.1}, {"rival": "rival", "price": -0.2}]
    free = {"cross": "category", "certainty": 0.0}
    stay = list_with(both, **free, what_if=events)
    follow = list_with(both, **free, rivals="follow")
    np.testing.assert_array_equal(stay.demand.rivals, [5, 5])
    assert len(stay.table) == 10 and not np.allclose(
        stay.demand.at(stay.choice.prices), follow.demand.at(stay.choice.prices)
    )
    dearer, attacked = stay.events
    now = float(stay.outlook.total_today.mean)
    sold = stay.demand.units.mean(0)
    assert float(dearer.today.mean) == pytest.approx(now - 0.1 * float(stay.table["cost"].to_numpy() @ sold))
    assert float(attacked.today.mean) != pytest.approx(now, rel=1e-3)
    for event in stay.events:
        assert float(event.answered.mean) >= float(event.listed.mean) * (1 - 1e-4)
    with pytest.raises(ConfigError, match=r"what_if='nobody': accepted is a rival: rival"):
        list_with(both, cross="category", what_if=[{"rival": "nobody", "price": -0.1}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"instruments": "lagged_price"},
            "'lagged_price': accepted is none, cost, other_stores or columns",
        ),
        ({"instruments": "other_stores"}, "accepted is none, cost or columns where the mapping tells no stores apart"),
        ({"instruments": "cost", "cross": "category"}, "cross='category': accepted is none with instruments=cost"),
        ({"instruments": "cost"}, "instruments='cost': accepted is none, or elasticities=pooled, where they move no"),
        (
            {"cross": "category", "effects": ["product", "period"]},
            "cross='category': accepted is none where effects has",
        ),
        ({"rivals": "follow"}, "rivals='follow': accepted is with cross=category alone"),
        ({"what_if": [{"cost": 0.1, "rival": "x"}]}, "what_if="),
        ({"held": ["no such"]}, "held='no such': accepted is one of the products that are priced"),
        ({"tied": [["item 001", "item 001"]]}, "tied='item 001': accepted is a product in one group, once"),
        ({"floor": -1.0}, "floor"),
        ({"endings": [100]}, "endings"),
    ],
)
def test_what_does_not_fit_is_refused(sales: Sales, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        list_with(sales.table, **changes)


def test_prices_that_never_move_make_no_list(sales: Sales) -> None:
    with pytest.raises(CalibrationError, match="price: no product's price ever changes"):
        list_with(sales.table.assign(price=2.0))


def refused(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    with pytest.raises(SystemExit) as error:
        main(arguments)
    said = capsys.readouterr().err.strip().splitlines()
    assert error.value.code == 2 and told in said[-1]


def test_the_command_leaves_a_list_a_page_and_a_workbook(sales: Sales, tmp_path: Path, capsys) -> None:
    data, costs, out = tmp_path / "sales.csv", tmp_path / "costs.csv", tmp_path / "list"
    table = sales.table.drop(columns="cost").rename(columns={"period": "week"})
    table.assign(week=pd.Timestamp("2025-01-06") + pd.to_timedelta(7 * table["week"], "D")).to_csv(data, index=False)
    cost = sales.table.groupby("product")["cost"].first().round(2).rename("Cost").reset_index()
    cost.to_csv(costs, index=False)
    (tmp_path / "map.yaml").write_text(
        "product: product\nperiod: week\nunits: units\nprice: price\ncategory: category\n"
    )
    own = [f"data={data}", f"mapping={tmp_path / 'map.yaml'}", f"out={out}", "draws=300", "what_if=[{cost: 0.05}]"]
    assert main([*own, f"costs={costs}"]) == 0
    said = capsys.readouterr().out
    assert "prices change" in said and "in the next week" in said.lower() and "if unit costs +5%" in said
    listed = pd.read_csv(out / "pricelist.csv")
    np.testing.assert_allclose(listed["cost"], cost["Cost"])
    book = pd.read_excel(out / "pricelist.xlsx")
    pd.testing.assert_frame_equal(book[["product", "proposed"]], listed[["product", "proposed"]])
    page = (out / "pricelist.html").read_text()
    assert all(name in page for name in listed["product"]) and "unit costs +5%" in page
    assert (out / "figures" / "gains.svg").exists() and "marl_pricing.pricelist" in (
        out / "provenance.json"
    ).read_text()
    first = (out / "pricelist.csv").read_bytes()
    assert main([*own, f"costs={costs}"]) == 0 and (out / "pricelist.csv").read_bytes() == first

    for text, told in (
        ("product,Cost\nitem 000,1.5\nitem 001,free\n", "costs.csv:3: cost 'free': accepted is a number, at least 0"),
        ("product,Cost\nitem 000,1.5\nitem 000,2.5\n", "costs.csv:3: 'item 000' has two numbers of cost"),
        ("article,Cost\nitem 000,1.5\n", "no column 'product'; it has 'article', 'Cost'"),
    ):
        costs.write_text(text)
        refused([*own, f"costs={costs}"], told, capsys)
    stock = tmp_path / "stock.csv"
    stock.write_text("product;stock\nitem 000;1\nitem 001;100.000\n")
    refused([*own, f"stock={stock}"], "stock.csv:3: stock '100.000' can be read as 100000", capsys)
    stock.write_text("product;stock\nitem 000;1\n")
    assert main([*own, f"stock={stock}"]) == 0
    few = pd.read_csv(out / "pricelist.csv").set_index("product")
    assert few.loc["item 000", "units_proposed"] <= 1.0 and few.loc["item 000", "change"] > 0.05
    assert "sells out with a probability of 100%: 1 are there" in few.loc["item 000", "notes"]
    stock.write_text("product;stock\nother;1\n")
    refused(
        [*own, f"stock={stock}"], "names none of the products that are priced; it has other, the sales item 0", capsys
    )
    refused(["data=no.csv", f"out={out}"], "no.csv", capsys)
    refused([*own, "flor=1.1"], "flor", capsys)
    assert main(["--help"]) == 0 and "largest_change=0.1" in capsys.readouterr().out

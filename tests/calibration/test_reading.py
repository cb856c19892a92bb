"""Reading sales: what is taken, what is set aside and why, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.reading import (
    CalibrationError,
    Judging,
    Mapping,
    choose_category,
    gaps,
    read_mapping,
    read_sales,
)
from marl_pricing.config import ConfigError
from tests.calibration.sales import GROCERY, some_sales, written

NAMES = Mapping(product="sku", seller="brand", period="week", units="qty", price="paid", category="kind")


@pytest.fixture
def table() -> pd.DataFrame:
    own = some_sales().rename(
        columns={"product": "sku", "seller": "brand", "period": "week", "units": "qty", "price": "paid"}
    )
    return own.assign(kind="cheese").astype({"qty": object, "paid": object})


def test_a_mapping_names_the_columns(tmp_path: Path, table: pd.DataFrame) -> None:
    (tmp_path / "mapping.yaml").write_text("product: sku\nseller: brand\nperiod: week\nunits: qty\nprice: paid\n")
    mapping = read_mapping(tmp_path / "mapping.yaml")
    for path in (tmp_path / "sales.csv", tmp_path / "sales.csv.gz", tmp_path / "sales.parquet"):
        if path.suffix == ".parquet":
            table.astype({"qty": float, "paid": float}).to_parquet(path)
        else:
            table.to_csv(path, index=False)
        sales = read_sales(path, mapping)
        assert (sales.rows, len(sales.table), sum(sales.reasons.values())) == (240, 240, 0)
        assert list(sales.table.columns) == ["product", "seller", "category", "period", "units", "price"]
        np.testing.assert_allclose(sales.table["units"].sum(), table["qty"].astype(float).sum())


def test_rows_that_are_no_records_are_set_aside_with_line_and_reason(tmp_path: Path, table: pd.DataFrame) -> None:
    faults = {
        3: ("qty", -4, "negative units"),
        10: ("paid", 0, "price is not above 0"),
        11: ("paid", "", "price is missing or no number"),
        20: ("qty", "many", "units are no number"),
        30: ("week", 2.5, "period is no whole number or date"),
        31: ("sku", " ", "no product"),
        40: ("paid", 2000.0, "price far from the product's median"),
        41: ("qty", 10_000_000, "units far from the product's median"),
    }
    table = table.astype({"week": object})
    for row, (column, value, _) in faults.items():
        table.loc[row, column] = value
    table = pd.concat([table, table.iloc[[100]]], ignore_index=True)
    path = written(tmp_path / "sales.csv", table)
    sales = read_sales(path, NAMES, quarantine=tmp_path / "aside.csv")
    aside = pd.read_csv(tmp_path / "aside.csv")
    told = dict(zip(aside["line"], aside["reason"], strict=True))
    assert told == {row + 2: reason for row, (_, _, reason) in faults.items()} | {
        242: "product, seller and period a second time"
    }
    assert len(sales.table) == 241 - 9 and sales.reasons.total() == 9
    assert not list(tmp_path.glob(".*.part"))


def test_too_many_bad_rows_refuse_the_file(tmp_path: Path, table: pd.DataFrame) -> None:
    table.loc[:20, "qty"] = -1
    path = written(tmp_path / "sales.csv", table)
    with pytest.raises(
        CalibrationError, match=r"sales\.csv:2: negative units, qty is .-1.; 21 of 240 rows .*accepted are 5 %"
    ):
        read_sales(path, NAMES, quarantine=tmp_path / "aside.csv")
    assert len(pd.read_csv(tmp_path / "aside.csv")) == 21
    assert len(read_sales(path, NAMES, Judging(bad_share=0.1)).table) == 219


def test_outlier_rules_are_settings(tmp_path: Path, table: pd.DataFrame) -> None:
    table.loc[5, "paid"] = 3.0 * float(table["paid"].median())
    path = written(tmp_path / "sales.csv", table)
    assert read_sales(path, NAMES).reasons.total() == 0
    assert read_sales(path, NAMES, Judging(price_factor=2.0)).reasons.total() == 1


def test_mixed_currencies_are_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    table["money"] = ["EUR"] * 200 + ["USD"] * 40
    path = written(tmp_path / "sales.csv", table)
    with pytest.raises(CalibrationError, match=r"sales\.csv:202: mixed currencies \(EUR in 200 rows, USD in 40 rows\)"):
        read_sales(path, NAMES.model_copy(update={"currency": "money"}))
    assert len(read_sales(path, NAMES).table) == 240


@pytest.mark.parametrize(("length", "days"), [("day", 1), ("week", 7)])
def test_periods_may_be_dates(tmp_path: Path, table: pd.DataFrame, length: str, days: int) -> None:
    table["week"] = [str(pd.Timestamp("2024-01-01") + pd.Timedelta(days=int(w) * days)) for w in table["week"]]
    path = written(tmp_path / "sales.csv", table)
    sales = read_sales(path, NAMES.model_copy(update={"period_length": length}))
    assert sorted(sales.table["period"].unique()) == list(range(40))
    assert sales.first_period.startswith("2024-01-01")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "the file is empty"),
        ("sku,brand,week,qty\n1,a,1,3\n", "there is no column 'paid'; it has sku, brand, week, qty"),
        ("sku,brand,week,qty,paid\n", "no usable row"),
        ('sku,brand,week,qty,paid\n1,a,1,3,2\n1,a,2,3,2,9,9\n"', "the file ends inside quotes"),
    ],
)
def test_what_is_no_file_of_sales_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "sales.csv").write_text(content)
    with pytest.raises(CalibrationError) as caught:
        read_sales(tmp_path / "sales.csv", NAMES.model_copy(update={"category": None}))
    assert str(caught.value).startswith(str(tmp_path / "sales.csv")) and told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("product: sku\nprize: paid\n")
    with pytest.raises(ConfigError, match=r"m\.yaml'.*prize"):
        read_mapping(tmp_path / "m.yaml")
    (tmp_path / "m.yaml").write_text("product: [\n")
    with pytest.raises(ConfigError, match=r"line 2: is not YAML"):
        read_mapping(tmp_path / "m.yaml")
    with pytest.raises(ConfigError, match="there is no such file"):
        read_mapping(tmp_path / "none.yaml")


def test_gaps_are_unknown_periods_not_zeros(tmp_path: Path) -> None:
    table = some_sales()
    table = table[~((table["product"] == "product_1") & table["period"].between(10, 14))]
    sales = read_sales(written(tmp_path / "sales.csv", table))
    found = gaps(sales.table).set_index("product")["missing"]
    assert found["product_1"] == 5 and found.sum() == 5
    assert make_panel(sales.table).missing == 5


def test_a_category_is_chosen_or_left_out() -> None:
    sales = read_sales(GROCERY / "sales.csv", read_mapping(GROCERY / "mapping.yaml"))
    assert (sales.rows, sales.reasons.total()) == (15_417, 0)
    cheese = choose_category(sales, "CHEESE")
    assert set(cheese.table["category"]) == {"CHEESE"} and cheese.table["product"].nunique() == 15
    without = choose_category(sales, None, ["CHEESE"])
    assert len(without.table) + len(cheese.table) == len(sales.table)
    with pytest.raises(ConfigError, match="category='CHEDDAR': accepted is one of the file's"):
        choose_category(sales, "CHEDDAR")


@pytest.mark.slow
def test_a_million_rows(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    products, periods = 5_000, 200
    table = pd.DataFrame(
        {
            "seller": np.repeat([f"s{n % 20}" for n in range(products)], periods),
            "product": np.repeat([f"p{n}" for n in range(products)], periods),
            "period": np.tile(np.arange(periods), products),
            "units": random.poisson(20.0, products * periods).astype(float),
            "price": random.uniform(1.0, 3.0, products * periods).round(2),
        }
    )
    table.loc[[7, 500_000, 999_999], "units"] = -1.0
    table.to_parquet(tmp_path / "sales.parquet")
    sales = read_sales(tmp_path / "sales.parquet", quarantine=tmp_path / "aside.csv")
    assert (sales.rows, len(sales.table)) == (1_000_000, 999_997)
    assert pd.read_csv(tmp_path / "aside.csv")["line"].tolist() == [9, 500_002, 1_000_001]

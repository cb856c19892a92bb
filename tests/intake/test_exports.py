"""Seven own exports and eight in public layouts: read by ten lines or none, with the right units to the last."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from marl_pricing.calibration.mapping import told_mapping
from marl_pricing.calibration.reading import Sales, read_mapping, read_sales
from marl_pricing.traffic.logs import read_log, sessions_of
from tests.intake import exports


def units_of(read: Sales) -> dict[tuple[str, str, int], float]:
    table = read.table.assign(period=read.table["period"] - read.table["period"].min())
    store = table["store"] if "store" in table else pd.Series("", table.index)
    keys = zip(table["product"], store, table["period"], strict=True)
    return {(str(p), str(s), int(t)): float(u) for (p, s, t), u in zip(keys, table["units"], strict=True)}


@pytest.mark.parametrize("make", exports.SALES, ids=lambda make: make.__name__)
def test_an_export_of_sales_is_read_to_the_last_unit(tmp_path: Path, make) -> None:
    own = make()
    path = tmp_path / own.name
    path.write_bytes(own.data)
    assert len(own.mapping.splitlines()) <= 10
    mapping = None
    if own.mapping:
        (tmp_path / "mapping.yaml").write_text(own.mapping)
        mapping = read_mapping(tmp_path / "mapping.yaml")
    read = read_sales(path, mapping)
    assert units_of(read) == own.units
    assert not read.reasons and read.currency == own.currency
    assert read.table["price"].between(1.0, 5.0).all()
    # The mapping that a check writes reads the same, with nothing left to be found.

    (tmp_path / "told.yaml").write_text(told_mapping(read.mapping))
    again = read_sales(path, read_mapping(tmp_path / "told.yaml"))
    pd.testing.assert_frame_equal(again.table, read.table)
    assert again.currency == read.currency


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (exports.german, ["semicolon between columns", "decimal comma", "dates dd.mm.yyyy", "amounts in €"]),
        (exports.french, ["tab between columns", "cp1252", "decimal comma", "dates dd/mm/yyyy", "amounts in EUR"]),
        (exports.dollars, ["header in line 3", "dates names", "amounts in $"]),
        (exports.american_days, ["utf-16", "dates mm/dd/yyyy", "weeks from 2024-01-01", "80 rows added up to 12"]),
        (exports.order_lines, ["dates us", "units that came back are taken off"]),
        (exports.dominicks, ["known as Dominick's movement file", "1 rows left out, as keep says"]),
        (exports.quoted, ["1 rows left out, a total of the rows above"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_how_a_file_is_read_is_said(tmp_path: Path, make, told: list[str]) -> None:
    own = make()
    (tmp_path / own.name).write_bytes(own.data)
    (tmp_path / "m.yaml").write_text(own.mapping or "{}")
    said = ", ".join(read_sales(tmp_path / own.name, read_mapping(tmp_path / "m.yaml")).read_as)
    for one in told:
        assert one in said, said


@pytest.mark.parametrize("make", exports.LOGS, ids=lambda make: make.__name__)
def test_a_public_log_is_read_without_a_mapping(tmp_path: Path, make) -> None:
    own = make()
    path = tmp_path / own.name
    path.write_bytes(own.data)
    log = read_log(path)
    assert sessions_of(log) == own.sessions and log.rejected == 0
    bought = sum(session.count("purchase") for session in own.sessions)
    assert int(log.events["event"].eq("purchase").sum()) == bought and bought > 0
    assert str(log.events["time"].min()) == own.first or str(log.events["time"].iloc[1]) == own.first


def test_sheets_of_excel_are_read(tmp_path: Path) -> None:
    own = exports.sales(["a", "007"], exports.days(30), 12, high=50)
    frame = pd.DataFrame({
        "product": [s.product for s in own], "period": pd.to_datetime([s.day for s in own]),
        "units": [s.units for s in own], "price": [s.price for s in own],
    })  # fmt: skip
    with pd.ExcelWriter(tmp_path / "sales.xlsx") as writer:
        pd.DataFrame().to_excel(writer, sheet_name="empty")
        frame.to_excel(writer, sheet_name="Umsatz", index=False)
        frame.head(3).to_excel(writer, sheet_name="more", index=False)
    read = read_sales(tmp_path / "sales.xlsx")
    assert units_of(read) == exports.summed(own)
    assert "sheet 'Umsatz' (not more)" in read.read_as
    assert len(read_sales(tmp_path / "sales.xlsx", read.mapping.model_copy(update={"sheet": "more"})).table) == 1


def test_stores_are_an_index_of_their_own_or_added_up(tmp_path: Path) -> None:
    own = exports.dominicks()
    (tmp_path / "wber.csv").write_bytes(own.data)
    read = read_sales(tmp_path / "wber.csv")
    assert set(read.table["store"]) == {"5", "8"}
    # A price is for two units, and a quarter of it is margin.
    ratio = read.table["cost"] / read.table["price"]
    assert ratio.round(9).eq(0.75).all()
    added = read_sales(tmp_path / "wber.csv", read.mapping.model_copy(update={"stores": "add_up"}))
    both = read.table.groupby(["product", "period"])
    expected = both["units"].sum()
    assert added.table.set_index(["product", "period"])["units"].to_dict() == expected.to_dict()
    paid = (read.table["units"] * read.table["price"]).groupby([read.table["product"], read.table["period"]]).sum()
    prices = added.table.set_index(["product", "period"])["price"]
    pd.testing.assert_series_equal(prices, (paid / expected).rename("price"), check_index_type=False)


def test_periods_are_days_weeks_or_months(tmp_path: Path) -> None:
    own = exports.american_days()
    (tmp_path / "days.csv").write_bytes(own.data)
    lines = exports.sales(["a", "b"], exports.days(40), 6, high=90)
    for length, size in (("day", 1), ("week", 7)):
        (tmp_path / "m.yaml").write_text(yaml.safe_dump({"period_length": length}))
        assert units_of(read_sales(tmp_path / "days.csv", read_mapping(tmp_path / "m.yaml"))) == exports.summed(
            lines, size
        )
    (tmp_path / "m.yaml").write_text("period_length: month\n")
    read = read_sales(tmp_path / "days.csv", read_mapping(tmp_path / "m.yaml"))
    january = sum(line.units for line in lines if line.day.month == 1 and line.product == "a")
    assert read.table.loc[0, ["product", "units"]].tolist() == ["a", january] and len(read.table) == 4


def test_absent_rows_are_unknown_or_nothing_sold_as_the_mapping_says(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("product,period,units,price\na,1,5,2\na,2,4,3\na,5,6,2.5\nb,3,1,9\nb,4,2,9\n")
    assert len(read_sales(tmp_path / "s.csv").table) == 5
    (tmp_path / "m.yaml").write_text("absent: zero\n")
    table = read_sales(tmp_path / "s.csv", read_mapping(tmp_path / "m.yaml")).table
    own = table[table["product"] == "a"]
    assert own["period"].tolist() == [1, 2, 3, 4, 5] and own["units"].tolist() == [5, 4, 0, 0, 6]
    assert own["price"].tolist() == [2, 3, 3, 3, 2.5] and len(table) == 7


def test_returns_are_netted_and_change_no_price(tmp_path: Path) -> None:
    rows = ["a,1,10,2.0", "a,1,-3,9.0", "a,2,2,2.0", "a,2,-5,2.0", "a,3,4,1.0", "a,3,4,3.0"]
    (tmp_path / "s.csv").write_text("product,period,units,price\n" + "\n".join(rows) + "\n")
    read = read_sales(tmp_path / "s.csv")
    assert read.table["units"].tolist() == [7, 0, 8] and read.table["price"].tolist() == [2.0, 2.0, 2.0]
    assert "8 units that came back are taken off, 3 of them beyond what their period sold, which is 0" in read.read_as
    (tmp_path / "m.yaml").write_text("returns: drop\n")
    assert read_sales(tmp_path / "s.csv", read_mapping(tmp_path / "m.yaml")).table["units"].tolist() == [10, 2, 8]

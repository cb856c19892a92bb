"""Exports that nobody mapped: the columns that are meant are found by their contents, or it is said why not."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from marl_pricing.calibration.guessing import guess
from marl_pricing.calibration.mapping import CalibrationError, Mapping, suggested
from marl_pricing.calibration.reading import Sales, read_sales
from marl_pricing.intake.tables import read_table

DAYS = [date(2023, 1, 2) + timedelta(day) for day in range(40)]
# Product, day, units, price in cents: units differ from row to row, so that totals are told from prices.
ROWS = [
    (product, day, 1 + (3 * number + place) % 7, 150 + 10 * ((number // 4 + place) % 5))
    for number, day in enumerate(DAYS)
    for place, product in enumerate(("P1", "P2", "P3"))
]
UNITS = sum(row[2] for row in ROWS)


def written(path: Path, head: str, line: str, encoding: str = "utf-8", tail: str = "") -> Path:
    """A file of one line a sale; `line` may use product, day, units, price, comma (decimal), total and number."""
    lines = [
        line.format(p=product, d=day, q=units, x=f"{cents / 100:.2f}", c=f"{cents / 100:.2f}".replace(".", ","),
                    t=f"{units * cents / 100:.2f}", n=number)
        for number, (product, day, units, cents) in enumerate(ROWS)
    ]  # fmt: skip
    path.write_bytes(("\n".join([*head.splitlines(), *lines]) + "\n" + tail).encode(encoding))
    return path


def read_by_guess(path: Path) -> tuple[Sales, dict]:
    """As --check reads it."""
    raw = read_table(path)
    mapping = suggested(Mapping(), raw)
    assert mapping is not None, guess(raw)
    return read_sales(path, mapping), guess(raw)


# Header, a line, and what is meant by the columns that could be taken for another's.
EXPORTS = {
    "woocommerce": (
        "Order Number,Order Date,Payment Method Title,SKU,Item Name,Quantity (- Refund),Item Cost",
        "{n},{d} 10:00,PayPal,{p},Mug,{q},{x}", {"product": "SKU", "price": "Item Cost"},
    ),
    "shopware": (
        "orderId;orderTime;articleID;price;quantity;currency", "{n};{d} 12:00:00;{p};{c};{q};EUR",
        {"period": "orderTime"},
    ),
    "jtl": (
        "Auftragsnummer;Auftragsdatum;Artikelnummer;Menge;VK Netto;EK Netto", "{n};{d:%d.%m.%Y};{p};{q};{c};0,50",
        {"cost": "EK Netto"},
    ),
    "square": (  # an empty SKU is no product
        "Date,Category,Item,Qty,SKU,Gross Sales", "{d:%m/%d/%y},Coffee,{p},{q}.0,,${t}",
        {"product": "Item", "category": "Category"},
    ),
    "ebay": (
        '\n"Sales Record Number","Item Number","Custom Label","Quantity","Sold For","Sale Date"\n',
        '"{n}","{p}","","{q}","${x}","{d:%b-%d-%y}"', {"price": "Sold For", "period": "Sale Date"},
    ),
    "a total called price": (
        "Product,Date,Quantity,Price,Total", "{p},{d},{q},{t},{t}", {"price": None, "revenue": "Total"},
    ),
    "a week is no shop": (
        "SHOP_WEEK,SHOP_DATE,QUANTITY,PROD_CODE,SPEND", "{n},{d:%Y%m%d},{q},{p},{t}",
        {"product": "PROD_CODE", "period": "SHOP_DATE"},
    ),
    "an age is no category": (
        "DATE,AGE_GROUP,SKU,QTY,PRICE", "{d},{n},{p},{q},{x}", {"product": "SKU"},
    ),
    "year, month and day": (
        "Year,Month,Day,Product,Qty,Price", "{d.year},{d.month},{d.day},{p},{q},{x}",
        {"period": ["Year", "Month", "Day"]},
    ),
    "french": (
        "N° de commande,Date de commande,Nom du produit,Quantité,Prix de l’article", "{n},{d:%d/%m/%Y},{p},{q},{x}",
        {"product": "Nom du produit", "price": "Prix de l’article"},
    ),
    "polish": (
        "Nazwa towaru;Data sprzedaży;Ilość;Cena brutto", "{p};{d};{q} szt.;{c} zł", {"units": "Ilość"},
    ),
    "measures": (
        "Product,Week,Qty,Price", '{p},"{d:%a, %d %b %Y}",{q} pcs,{x} / kg', {"units": "Qty", "price": "Price"},
    ),
    "from and to": (
        "SKU,Date,Qty,Price", "{p},{d} - {d},{q},{x}", {"product": "SKU"},
    ),
    "dates by what they are": (
        "Product Category,Created,Qty,Price", "{p},{d},{q},{x}",
        {"product": "Product Category", "period": "Created"},
    ),
    "japanese": ("日付,商品コード,数量,単価", "{d:%Y/%m/%d},{p},{q},{x}", {"period": "日付"}),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPORTS)
def test_the_columns_that_are_meant_are_found_by_title_and_content(tmp_path: Path, name: str) -> None:
    head, line, meant = EXPORTS[name]
    sales, found = read_by_guess(
        written(tmp_path / "sales.csv", head, line, {"japanese": "shift_jis", "polish": "cp1250"}.get(name, "utf-8"))
    )
    assert {key: found[key] for key in meant} == meant and not {"seller", "category"} & (set(found) - set(meant))
    assert sales.table["units"].sum() == UNITS and set(sales.table["product"]) == {"P1", "P2", "P3"}
    assert sales.table["price"].between(1.5, 1.9).all() and sales.period_name == "week"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,date,store_nbr,item_nbr,unit_sales\n1,2023-01-02,1,7,3\n", "no column sounds like price or revenue"),
        ("Product,KW 1/2023,KW 2/2023,KW 3/2023,KW 4/2023\na,1,2,3,4\n", "side by side what belongs one below"),
        ("item_id,store_id,d_1,d_2,d_3,d_4,d_5\na,b,1,2,3,4,5\n", "columns d_1, d_2 … d_5 hold side by side"),
        ("1,2023-01-02,4.5,2\n2,2023-01-03,4.5,1\n", "header: 0 in the mapping says so"),
        ("date,units,price\n2023-01-02,1,2\n2023-01-09,3,4\n", "product: null takes all rows for one product's"),
        ("day,sku,price\n2023-01-02,a,2\n2023-01-09,b,4\n", "units: null takes each row for one unit"),
        ("Date,4046,4225,type,Price\n2023-01-02,1,2,a,3\n2023-01-09,1,2,a,3\n", "no column sounds like product, units"),
        ("Product,Date,Units,Price\na,2023-01-02,1,2\n,2023-01-03,1,2\n,2023-01-04,1,2\n", "fill_down: [Product]"),
        ("Product,Week,Units,Price\na,1-7 Jan,1,2\nb,8-14 Jan,1,2\n", "Week holds '1-7 Jan'"),
        ("Product,Date,Units,Price,Price\na,2023-01-02,1,2,3\na,2023-01-03,1,2,3\n", "Price is there twice"),
    ],
)
def test_what_a_file_lacks_is_said_with_what_sets_it(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(CalibrationError) as error:
        read_sales(tmp_path / "s.csv", Mapping(product="x", period="y"))
    assert told in str(error.value) and "\n" not in str(error.value)


def test_weeks_of_several_years_are_told_apart_or_refused(tmp_path: Path) -> None:
    rows = [f"{2022 + week // 52},{week % 52 + 1},a,{week},2.5" for week in range(104)]
    path = tmp_path / "s.csv"
    path.write_text("year,week,product,units,price\n" + "\n".join(rows) + "\n")
    with pytest.raises(CalibrationError, match=r"week 1 stands in 2022 and in 2023.*period: \[year, week\]"):
        read_sales(path, Mapping(period="week"))
    table = read_sales(path, Mapping(period=["year", "week"])).table
    assert table["units"].tolist() == list(range(104)) and table["period"].tolist() == list(range(104))
    monthly = [f"{2022 + month // 12},{date(2000, month % 12 + 1, 1):%B},a,{month + 1},2.5" for month in range(24)]
    path.write_text("Year,Month,product,units,price\n" + "\n".join(monthly) + "\n")
    sales, found = read_by_guess(path)
    assert found["period"] == ["Year", "Month"] and sales.period_name == "month"
    assert sales.table["units"].tolist() == list(range(1, 25))
    path.write_text("Jahr;Nummer;product;units;price\n2024;3;a;1;2\n2024;4;a;1;2\n")
    with pytest.raises(
        CalibrationError, match="Nummer '3' can be a week or a month of its year; date_format: iso_week"
    ):
        read_sales(path, Mapping(period=["Jahr", "Nummer"]))
    with pytest.raises(CalibrationError, match="accepted is one column of years"):
        read_sales(path, Mapping(period=["Nummer", "units"]))


def test_files_without_header_of_one_product_and_with_cells_left_empty_are_read_as_told(tmp_path: Path) -> None:
    path = written(tmp_path / "s.csv", "", "{n},{d}T10:00:00Z,{p},{x},{q}")
    sales = read_sales(
        path, Mapping(product="column 3", period="column 2", units="column 5", price="column 4", header=0)
    )
    assert sales.table["units"].sum() == UNITS and "no header" in sales.read_as
    again = read_sales(path, sales.mapping)
    pd.testing.assert_frame_equal(again.table, sales.table)
    path.write_text("period,units,price\n1,4,2\n2,5,3\n")
    sales = read_sales(path, Mapping(product=None))
    assert set(sales.table["product"]) == {"product"} and "one product, 'product'" in sales.read_as
    path.write_text("product,period,units,price\na,1,4,2\n,2,5,3\nb,1,6,2\n,2,7,3\n")
    told = read_sales(path, Mapping(fill_down=["product"])).table
    assert told.groupby("product")["units"].sum().to_dict() == {"a": 9, "b": 13}


def test_notes_subtotals_and_drawn_lines_are_no_rows_and_cancelled_ones_are_said(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    rule = "-" * 30
    path.write_text(
        f"{rule}\n|Artikel|Datum     |Menge|Preis|Status|\n{rule}\n|a |02.01.2024|3|2,50|neu|\n|a |09.01.2024|4|2,60|"
        f"storniert|\n|a Ergebnis||7|||\n|b |02.01.2024|5|2,70|neu|\n|b Ergebnis||5|||\n{rule}\n|Quelle: ERP|||||\n"
    )
    sales = read_sales(path, Mapping(product="Artikel", period="Datum", units="Menge", price="Preis"))
    assert sales.table["units"].tolist() == [3, 4, 5] and not sales.reasons
    assert sales.left_out == {"a total of the rows above": 2, "neither period nor numbers": 1}
    assert (
        "1 rows whose Status is 'storniert' count as sold (keep: {Status: [neu]} in the mapping leaves them out)"
        in (sales.read_as)
    )
    kept = read_sales(path, sales.mapping.model_copy(update={"keep": {"Status": ["neu"]}}))
    assert kept.table["units"].tolist() == [3, 5] and not any("count as sold" in one for one in kept.read_as)


def test_sheets_of_months_are_one_table_copies_are_not_and_what_is_both_is_asked(tmp_path: Path) -> None:
    def book(*sheets: list[tuple]) -> Path:
        with pd.ExcelWriter(tmp_path / "s.xlsx") as writer:
            for number, rows in enumerate(sheets):
                frame = pd.DataFrame(rows, columns=["product", "period", "units", "price"])
                frame.to_excel(writer, sheet_name=f"M{number}", index=False)
        return tmp_path / "s.xlsx"

    one, other = [("a", 1, 3, 2.0), ("b", 1, 4, 2.0)], [("a", 2, 5, 2.0), ("b", 2, 6, 2.5)]
    sales = read_sales(book(one, other))
    assert sales.table["units"].sum() == 18 and "sheets M0, M1 one below the other" in sales.read_as
    assert read_sales(tmp_path / "s.xlsx", sales.mapping).table["units"].sum() == 18
    assert "sheet 'M0' (not M1)" in read_sales(book(one, one[:1])).read_as
    with pytest.raises(CalibrationError, match=r"sheet 'M1'.* 1 of its 2 rows stand there too.*sheet: \[M0, M1\]"):
        read_sales(book(one, [one[0], other[0]]))
    both = read_sales(tmp_path / "s.xlsx", Mapping(sheet=["M0", "M1"], repeats="drop"))
    assert both.table["units"].sum() == 12

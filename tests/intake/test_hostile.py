"""Files that cannot be read as they are: one line, the value, the place, the setting that helps."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from marl_pricing.calibration.reading import CalibrationError, Mapping, read_sales
from marl_pricing.config import ConfigError
from marl_pricing.config.errors import validate
from marl_pricing.traffic.logs import read_log
from tests.intake import exports

HEAD = "product,seller,period,units,price\n"


def rows(count: int, units: str = "{n}", price: str = "2.5", period: str = "{n}") -> str:
    return "".join(f"a,s,{period.format(n=n)},{units.format(n=n)},{price.format(n=n)}\n" for n in range(1, count + 1))


REFUSED: dict[str, tuple[bytes | str, str]] = {
    "thousands or decimals": (
        HEAD + rows(9, units="1{n}.860"),
        r":2: units '11\.860' can be read as 11860, where '\.' separates thousands, or as 11\.86, .*"
        r'decimal: \{units: ","\} in the mapping takes the first, decimal: \{units: "\."\} the second',
    ),
    "thousands or decimals in money": (
        HEAD + rows(9, price="2.49{n}"),
        r":2: price '2\.491' can be read as 2491, .* or as",
    ),
    "day or month": (
        HEAD + rows(9, period="0{n}/04/2024"),
        r":2: period '01/04/2024' can be read as 1 April 2024 \(dd/mm/yyyy\) or as 4 January 2024 \(mm/dd/yyyy\).*"
        r"date_format: dd/mm/yyyy or date_format: mm/dd/yyyy",
    ),
    "month or week": (HEAD + rows(9, period="20240{n}"), r":2: period '202401' can be read as a month .* or as a week"),
    "days and months": (
        HEAD + "a,s,25/12/2023,3,2\na,s,12/26/2023,3,2\n",
        r":3: period mixes two forms of dates: '12/26/2023' is mm/dd/yyyy, '25/12/2023' in line 2 is dd/mm/yyyy",
    ),
    "points and commas": (
        HEAD + 'a,s,1,3,2.49\na,s,2,3,"2,49"\n',
        r":3: price mixes two ways to write numbers: '2,49' has the decimal sign ',', '2\.49' in line 2 has '\.'",
    ),
    "half of the dates of another form": (
        HEAD + "a,s,2024-01-01,3,2\na,s,08.01.2024,3,2\na,s,x,3,2\na,s,y,3,2\na,s,z,3,2\n",
        r":4: period 'x' is no date and no whole number; date_format:",
    ),
    "a bad value": (
        HEAD + rows(10) + "a,s,11,x3,2.5\n",
        r":12: units are no number, units is 'x3'; 1 of 11 rows \(9\.09 %\) are no records, .*judging\.bad_share",
    ),
    "nothing in it": ("", r": the file is empty$"),
    "nothing below the header": (HEAD, r"no usable row, there are none below the header"),
    "columns of another name": (
        "Artikel;Datum;Menge;Preis\nTee;01.02.2024;3;2,49\n",
        r":1: there is no column 'product'; it has Artikel, Datum, Menge, Preis; likely are "
        r"product: Artikel, period: Datum, units: Menge, price: Preis; --check writes a mapping",
    ),
    "cut short in a row": (HEAD + rows(9) + "a,s,10", r":11: the file ends inside a row, 'a;s;10', so it is cut short"),
    "cut short in quotes": (HEAD + rows(9) + 'a,s,10,"1,4', r":11: the file ends inside quotes, .*so it is cut short"),
    "a quote too many": (HEAD + rows(3) + '"a,s,4,3,2\n' + rows(3), r":5: a quote opens in .*and never closes"),
    "a column twice": (HEAD[:-1] + ",price\na,s,1,3,2,2\n", r":1: column 'price' is there twice"),
    "NUL bytes": (HEAD + "a,s,1,3,2\0\n", r":2: there are 1 NUL bytes"),
    "decimal commas between commas": (
        HEAD + "a,s,1,3,2,49\n" * 5,
        r":2: 6 fields where the header has 5, 'a;s;1;3;2;49'",
    ),
    "no columns": ("product\na\n", r":1: no sign separates columns, its first line is 'product'; separator:"),
    "two encodings": (
        (HEAD + "Käse,s,1,3,2\n").encode() + "Müsli,s,1,3,2\n".encode("cp1252"),
        r":3: .* is no UTF-8 and other lines are, .*encoding: cp1252",
    ),
    "two currencies": (
        HEAD + "a,s,1,3,€2.50\na,s,2,3,$2.50\n",
        r":3: mixed currencies, price has '\$' here and '€' in line 2",
    ),
    "all rows twice": (HEAD + rows(9) + rows(9), r":11: this row is there before, .*9 of 18 rows .*repeats: drop"),
    "compression cut short": (gzip.compress((HEAD + rows(99)).encode())[:-9], r"the compressed file is cut short"),
    "no Excel": (b"PK\x03\x04 and then nothing", r"no Excel file can be read from it"),
    "ends in a character": (
        (HEAD + "Käse,s,1,3,2\nKä").encode()[:-1],
        r":3: the file ends inside a character, so it is cut",
    ),
    "month or week of a year": (
        HEAD + rows(9, period="0{n}/2024"),
        r":2: period '01/2024' can be read as a month .*ww/yyyy",
    ),
    "cut short in Parquet": (b"PAR1" + b"x" * 99, r"no Parquet table can be read from it; it is cut short, or"),
    "JSON": ('[{"product": "a"}]', r":1: starts as JSON, .*accepted are CSV, Excel"),
    "no text": (bytes(range(1, 256)) * 20, r"holds no text; accepted are CSV"),
    "no header": (
        "a,s,1,3,2.5\nb,s,2,3,2.5\n",
        r":1: there is no column 'product'; .*may have no header: header: 0 in the mapping",
    ),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99, r"is of Excel's old format; save it as \.xlsx"),
    "dates that are called something": (
        HEAD + "".join(f"a,s,2025-0{n}-01,3,2.5\n" for n in range(1, 9)),
        r"period_name='week': accepted is null where period holds dates; period_length: in the mapping",
    ),
    "periods of numbers to be weeks": (
        HEAD + rows(9),
        r"period_length='week': accepted is null where periods are whole numbers",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    data, told = REFUSED[name]
    path = tmp_path / "sales.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    asked = {"to be weeks": {"period_length": "week"}, "called something": {"period_name": "week"}}
    mapping = next((Mapping(**own) for words, own in asked.items() if words in name), None)  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match=told) as caught:
        read_sales(path, mapping)
    said = str(caught.value)
    assert said.startswith(str(path)) and "\n" not in said and len(said) < 700
    for inside in ("Traceback", "Error", "pandas", "codec", "<class", "Parser", "nan"):
        assert inside not in said.removeprefix(str(path))


@pytest.mark.parametrize(
    ("name", "mapping", "units"),
    [
        ("thousands or decimals", {"decimal": {"units": ","}}, 11860.0),
        ("thousands or decimals", {"decimal": {"units": "."}}, 11.86),
        ("thousands or decimals", {"thousands": "."}, 11860.0),
        ("day or month", {"date_format": "dd/mm/yyyy"}, 28.0),
        ("day or month", {"date_format": "mm/dd/yyyy"}, 1.0),
        ("month or week", {"date_format": "yyyyww"}, 1.0),
        ("all rows twice", {"repeats": "drop"}, 1.0),
        ("all rows twice", {"repeats": "add_up"}, 2.0),
        ("two encodings", {"encoding": "cp1252", "keep": {"period": [1]}}, 3.0),
    ],
)
def test_the_setting_that_a_message_names_settles_it(tmp_path: Path, name: str, mapping: dict, units: float) -> None:
    data, _ = REFUSED[name]
    (tmp_path / "sales.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    # Where dots separate thousands all over, a price of 2.5 is none: decimals are commas then.
    path = _commas(tmp_path, data) if "thousands" in mapping else tmp_path / "sales.csv"
    read = read_sales(path, Mapping(**mapping))
    assert read.table["units"].iloc[0] == units


def _commas(folder: Path, data: bytes | str) -> Path:
    """The same file with decimal commas in its prices."""
    assert isinstance(data, str)
    path = folder / "commas.csv"
    path.write_text(data.replace(",2.5\n", ',"2,5"\n'))
    return path


@pytest.mark.parametrize("line", [b"a,s,1,1,1\n", b"x", b"\0"])
def test_a_few_bytes_that_unpack_to_many_are_refused(tmp_path: Path, line: bytes) -> None:
    """Before they are unpacked whole; both for sales and for logs."""
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(HEAD.encode() + line * ((20 << 20) // len(line)), mtime=0))
    assert path.stat().st_size < 1 << 17
    columns = {"session": "seller", "time": "period", "event": "product", "time_unit": "s"}
    for read in (read_sales, lambda own: read_log(own, mapping=columns)):
        with pytest.raises(ValueError, match=r"bomb\.csv\.gz") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_periods_of_unix_seconds_are_not_each_second_a_row(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text(HEAD + "".join(f"a,s,{1_700_000_000 + 86_400 * n},3,2.5\n" for n in range(90)))
    with pytest.raises(CalibrationError, match=r"sales\.csv") as caught:
        read_sales(path, Mapping(date_format="number", absent="zero"))
    assert "\n" not in str(caught.value)


def test_a_log_of_carriage_returns_alone_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"sid,at,what\ra,2026-01-05T10:00:00Z,sort\ra,2026-01-05T10:01:00Z,search\r")
    log = read_log(path, mapping={"session": "sid", "time": "at", "event": "what"})
    assert log.events["event"].tolist() == ["sort", "search"]


def test_what_other_columns_say_settles_a_sign_of_thousands(tmp_path: Path) -> None:
    """In a file whose prices have decimal commas a dot separates thousands; units with dots beside dots are asked."""
    (tmp_path / "s.csv").write_text(HEAD.replace(",", ";") + "a;s;1;14.860;2,49\na;s;2;9.120;2,59\n")
    assert read_sales(tmp_path / "s.csv").table["units"].tolist() == [14860, 9120]
    (tmp_path / "s.csv").write_text(HEAD + "a,s,1,14.860,2.49\na,s,2,9.120,2.59\n")
    with pytest.raises(CalibrationError, match=r"units '14\.860' can be read as 14860"):
        read_sales(tmp_path / "s.csv")
    # Money has decimals: a price of 2.499 beside a cost of 1.25 is no two thousand.
    (tmp_path / "s.csv").write_text("product,period,units,price,cost\na,1,3,2.499,1.25\na,2,4,2.599,1.2\n")
    assert read_sales(tmp_path / "s.csv").table["price"].tolist() == [2.499, 2.599]


def test_rows_that_are_none_are_set_aside_with_their_lines(tmp_path: Path) -> None:
    """A row cut short, the header again, dates of another form and a return alone, among good rows."""
    bad = ["a,s", "product,seller,period,units,price", "a,s,3.3.2024,4,2", "a,s,2026-01-01,-2,2.5", "Gesamt:,,,1234,"]
    good = [f"a,s,{pd.Timestamp('2024-01-01') + pd.Timedelta(days=7 * n):%Y-%m-%d},{n + 1},2.5" for n in range(100)]
    (tmp_path / "s.csv").write_text(HEAD + "\n".join([*good[:50], *bad[:3], *good[50:], *bad[3:]]) + "\n")
    read = read_sales(tmp_path / "s.csv", quarantine=tmp_path / "aside.csv")
    aside = pd.read_csv(tmp_path / "aside.csv").set_index("line")["reason"].to_dict()
    assert aside == {
        52: "2 fields where the header has 5",
        53: "the header again",
        54: "period is no whole number or date",
        105: "negative units",
    }
    assert read.table["units"].sum() == sum(range(1, 101)) and read.left_out == {"a total of the rows above": 1}


def test_a_price_that_never_moves_stays_the_same_to_the_last_digit(tmp_path: Path) -> None:
    """Means of equal prices are that price: else rounding would be taken for a price that was tried."""
    days = pd.date_range("2024-01-01", periods=70)
    text = "".join(f"a,{day:%Y-%m-%d},{n % 5 + 1},2.49\n" for n, day in enumerate(days))
    (tmp_path / "s.csv").write_text("product,period,units,price\n" + text)
    read = read_sales(tmp_path / "s.csv")
    assert len(read.table) == 10 and set(read.table["price"]) == {2.49}
    (tmp_path / "s.csv").write_text("product,period,units,price\n" + "".join(text.splitlines(True)[:66]))
    assert "the last week has 3 of 7 days" in read_sales(tmp_path / "s.csv").read_as


def test_an_inch_sign_is_no_quote(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('product,period,units,price\n5" pipe,1,3,2.5\n5" pipe,2,4,2.6')
    assert read_sales(tmp_path / "s.csv").table["product"].tolist() == ['5" pipe'] * 2


def test_weeks_before_the_year_and_flags(tmp_path: Path) -> None:
    text = "".join(f"a,{week}/2024,3,2.5,{week % 2 == 0}\n" for week in range(8, 16))
    (tmp_path / "s.csv").write_text("product,period,units,price,promotion\n" + text)
    table = read_sales(tmp_path / "s.csv").table
    assert table["period"].tolist() == list(range(8)) and table["promotion"].tolist() == [1.0, 0.0] * 4


def test_decimals_of_parquet_are_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"product": "a", "period": [1, 2], "units": [3, 4], "price": [Decimal("2.50"), Decimal("2.60")]}
    )
    frame.to_parquet(tmp_path / "s.parquet")
    assert read_sales(tmp_path / "s.parquet").table["price"].tolist() == [2.5, 2.6]


def test_days_as_spreadsheets_count_them_are_dates(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("product,period,units,price\na,45292,3,2.5\na,45299.5,4,2.6\n")
    read = read_sales(tmp_path / "s.csv")
    assert read.table["period"].tolist() == [0, 1] and "weeks from 2024-01-01" in read.read_as
    (tmp_path / "s.csv").write_text("product,period,units,price\na,35999,3,2.5\na,36000,4,2.6\n")
    assert read_sales(tmp_path / "s.csv").table["period"].tolist() == [35999, 36000]


def test_a_product_called_total_is_a_product(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(HEAD + "Total,s,1,5,2\nTotal,s,2,6,2.5\nb,s,1,4,3\nb,s,2,4,3\n")
    assert read_sales(tmp_path / "s.csv").table["units"].sum() == 19


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"decimal": ";"}, "decimal"),
        ({"decimal": {"colour": "."}}, "decimal='colour'"),
        ({"decimal": ".", "thousands": "."}, "thousands='.': accepted is another sign"),
        ({"date_format": "fortnight"}, "date_format='fortnight': accepted are yyyy-mm-dd"),
        ({"encoding": "klingon"}, "encoding='klingon': accepted are names like utf-8"),
        ({"separator": ";;"}, "separator=';;': accepted is one sign"),
        ({"header": 99}, "header=99"),
        ({"currency": "doubloons"}, "currency='doubloons': accepted is a column of the file, or a currency"),
        ({"store": "shop"}, "there is no column 'shop'"),
        ({"keep": {"colour": [1]}}, "there is no column 'colour'"),
        ({"period_length": "day", "date_format": "yyyyww"}, "period"),
    ],
)
def test_a_setting_that_cannot_be_had_is_refused(tmp_path: Path, change: dict, told: str) -> None:
    (tmp_path / "s.csv").write_text(HEAD + rows(9))
    with pytest.raises((CalibrationError, ConfigError)) as caught:
        read_sales(tmp_path / "s.csv", validate(Mapping, change))
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_an_export_that_is_twice_in_a_file_is_no_double_demand(tmp_path: Path) -> None:
    own = exports.quoted()
    body = own.data.decode().splitlines()[:-1]
    (tmp_path / "s.csv").write_text("\n".join([*body, *body[1:]]) + "\n")
    with pytest.raises(CalibrationError, match="repeats: drop"):
        read_sales(tmp_path / "s.csv")

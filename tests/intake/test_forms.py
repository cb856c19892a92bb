"""Numbers and dates against Python's own: written in every way that is known, read back the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl_pricing.intake import IntakeError, dates, numbers, texts
from marl_pricing.intake.names import LOG_WORDS, SALES_WORDS, suggest


def _read(values: list[str], told: str | None = None, money: bool = True) -> list[float]:
    cells = pd.Series(values, dtype=object)
    own = numbers.column("price", "price", cells, np.arange(len(cells)) + 2, money)
    numbers.settle([own], "f.csv", told)
    return numbers.parse(cells, own).tolist()


@settings(deadline=None)
@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=8),
    st.sampled_from([".,", ",.", ". ", ", ", ".'", ",\u00a0"]),
)
def test_numbers_are_read_as_they_were_written(cents: list[int], signs: str) -> None:
    """Two decimals leave one choice, whatever separates thousands."""
    decimal, thousands = signs
    written = [f"{cent / 100:,.2f}".replace(",", "T").replace(".", decimal).replace("T", thousands) for cent in cents]
    assert _read(written) == [cent / 100 for cent in cents]


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=8), st.sampled_from(".,"))
def test_whole_numbers_with_signs_of_thousands_are_read_or_asked(units: list[int], sign: str) -> None:
    """Never a thousand times too small: either the numbers, or a question."""
    written = [f"{one:,}".replace(",", sign) for one in units]
    try:
        assert _read(written, money=False) == units
    except IntakeError as error:
        assert "can be read as" in str(error) and any(1000 <= one < 10**6 for one in units)
    other = "," if sign == "." else "."
    assert _read(written, told=other) == units


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$1.49", 1.49), ("1,49 €", 1.49), ("EUR 1.234,50", 1234.5), ("-3", -3.0), ("3-", -3.0), ("(3.5)", -3.5),
        ("−2,5", -2.5), ("1'000.5", 1000.5), ("12,34,567.5", 1234567.5), ("1e3", 1000.0), ("2.5E-1", 0.25), (".5", 0.5),
        ("0.500", 0.5), ("kr 12,50", 12.5), ("12.50 zł", 12.5), ("US$3.20", 3.2), ("+4", 4.0), ("7 %", 7.0),
        ("1.2.3", None), ("1,2,3", None), ("1 2", None), ("abc", None), ("12 pcs", None), ("--3", None), ("(3", None),
        ("", None), ("1.4860.5", None),
    ],
)  # fmt: skip
def test_a_number(text: str, value: float | None) -> None:
    parts = numbers.take_apart(text)
    fits = numbers.decimals_of(parts) if parts else frozenset()
    if value is None:
        assert not fits
    else:
        assert parts is not None and value in {numbers.value_of(parts, sign) for sign in fits}


FORMS = {
    "%Y-%m-%d": "yyyy-mm-dd", "%d.%m.%Y": "dd.mm.yyyy", "%d/%m/%Y": "dd/mm/yyyy", "%m/%d/%Y": "mm/dd/yyyy",
    "%d-%m-%Y": "dd-mm-yyyy", "%Y%m%d": "yyyymmdd", "%d %b %Y": "names", "%B %d, %Y": "names", "%d.%m.%y": "dd.mm.yy",
    "%Y/%m/%d %H:%M": "yyyy-mm-dd", "%m/%d/%Y %I:%M:%S %p": "mm/dd/yyyy", "%Y-%m-%dT%H:%M:%S.%f": "yyyy-mm-dd",
}  # fmt: skip


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(FORMS)))
def test_dates_are_read_as_they_were_written(data, form: str) -> None:
    first = data.draw(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)))
    # A day above 12 is among forty days in a row.
    days = [first.replace(microsecond=0) + timedelta(days=n) for n in range(40)]
    cells = pd.Series([day.strftime(form) for day in days], dtype=object)
    found = dates.detect(cells, np.arange(40) + 2, "f.csv", "date")
    assert found is not None and found.told == FORMS[form]
    expected = [datetime.strptime(text, form) for text in cells]
    assert dates.parse(cells, found).tolist() == expected
    assert dates.parse(cells, dates.form_named(found.told)).tolist() == expected


@settings(deadline=None)
@given(st.datetimes(datetime(2001, 9, 10), datetime(2060, 1, 1)), st.sampled_from(["s", "ms", "us", "ns"]))
def test_stamps_are_read_to_their_last_digit(at: datetime, unit: str) -> None:
    stamp = round((at.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    digits = {"s": stamp // 10**6, "ms": stamp // 1000, "us": stamp, "ns": stamp * 1000 + 7}[unit]
    cells = pd.Series([str(digits)], dtype=object)
    found = dates.detect(cells, np.array([2]), "f.csv", "ts")
    assert found is not None and found.told == unit
    step = {"s": 10**6, "ms": 1000, "us": 1, "ns": 1}[unit]
    expected = datetime(1970, 1, 1) + timedelta(microseconds=stamp // step * step)
    assert dates.parse(cells, found)[0] == expected


@settings(deadline=None)
@given(st.dates(datetime(1990, 1, 1).date(), datetime(2060, 1, 1).date()))
def test_iso_weeks_are_those_of_the_calendar(day) -> None:
    year, week, _ = day.isocalendar()
    cells = pd.Series([f"{year}-W{week:02d}", f"{year}W{week}", f"KW {week}/{year}"], dtype=object)
    expected = pd.Timestamp.fromisocalendar(year, week, 1)
    assert dates.parse(cells, dates.form_named("iso_week")).tolist() == [expected] * 3


@pytest.mark.parametrize(
    "text", ["2023-W53", "2024-W54", "2024-W00", "31.02.2024", "2024-13-01", "32/01/2024", "today"]
)
def test_what_is_no_date_is_none(text: str) -> None:
    for form in ("iso_week", "dd.mm.yyyy", "yyyy-mm-dd"):
        assert pd.isna(dates.parse(pd.Series([text], dtype=object), dates.form_named(form))[0])


def test_a_zone_is_kept_out_of_days_and_taken_off_times() -> None:
    cells = pd.Series(["2024-01-01 00:30:00 +0100"], dtype=object)
    form = dates.form_named("yyyy-mm-dd")
    assert dates.parse(cells, form)[0] == pd.Timestamp("2024-01-01 00:30")
    assert dates.parse(cells, form, utc=True)[0] == pd.Timestamp("2023-12-31 23:30")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_encodings_and_separators_are_found(encoding: str, separator: str) -> None:
    own = [["Größe", "Preis", "n"], *([f"süß {n}", f'"{n},5"', str(n)] for n in range(30))]
    text = "\n".join(separator.join(row) for row in own)
    found, name = texts.decode(text.encode(encoding), "f.csv")
    assert found == text and name.replace("-sig", "") == encoding.replace("-sig", "")
    assert texts.separator_of(found) == separator


def test_other_alphabets_are_not_taken_for_western() -> None:
    text = "товар;цена;количество\n" + "молоко топлёное;1,5;30\nхлеб ржаной;2,5;20\nсыр российский;7,5;9\n" * 20
    found, name = texts.decode(text.encode("cp1251"), "f.csv")
    assert found == text, name


def test_columns_are_suggested_in_many_languages() -> None:
    cases = {
        "Artikel|Filiale|Datum|Stückzahl|VK-Preis|Warengruppe": "product store period units price category",
        "Référence|Magasin|Semaine|Quantité|Prix unitaire|Rayon": "product store period units price category",
        "Producto|Tienda|Fecha|Cantidad|Precio|Categoría": "product store period units price category",
        "Prodotto|Negozio|Data|Quantità|Prezzo (€)|Categoria": "product store period units price category",
        "Товар|Магазин|Дата|Количество|Цена|Категория": "product store period units price category",
        "SKU|Store ID|Order Date|Qty|UnitPrice|Dept": "product store period units price",
    }
    for titles, names in cases.items():
        found = suggest(titles.split("|"), SALES_WORDS)
        assert found == dict(zip(names.split(), titles.split("|"), strict=False))
    assert suggest(["visit_id", "when", "action", "sku"], LOG_WORDS) == {
        "session": "visit_id", "time": "when", "event": "action", "item": "sku",
    }  # fmt: skip
    assert suggest(["x", "y"], SALES_WORDS) == {}

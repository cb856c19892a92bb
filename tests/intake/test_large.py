"""Tables that say another size than they have, and those that take far more than they are."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from marl_pricing.intake import IntakeError, tables
from marl_pricing.intake.tables import read_table
from marl_pricing.traffic.logs import LogError
from marl_pricing.traffic.logs.sources import _refuse_long
from tests.attacks.tables import _bytes_of, _long_text, _sheets, sales


def test_a_sheet_is_read_whole_whatever_it_says_of_its_size(tmp_path: Path) -> None:
    """Some exports tell the size of their first cell alone; rows and columns beyond it were left out."""
    table = sales(random.Random(0))
    for number, (broken, right) in enumerate(_sheets(_bytes_of(table, "xlsx"))):
        path = tmp_path / f"{number}.xlsx"
        path.write_bytes(broken.content or b"")
        if right:
            found = read_table(path).frame
            assert found["units"].sum() == table["units"].sum() and len(found) == len(table), broken.told
        else:
            with pytest.raises(IntakeError, match=rf"{number}\.xlsx: .* damaged"):
                read_table(path)


def test_more_columns_than_a_sheet_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("product,units" + ",x" * 20_000 + "\na,1" + ",1" * 20_000 + "\n")
    with pytest.raises(IntakeError, match=r"wide\.csv: has 20,002 columns; accepted are 16,384"):
        read_table(path)


def test_rows_that_no_memory_holds_are_refused_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.csv"
    path.write_text("product,units\n" + "a,1\n" * 1000)
    assert len(read_table(path).frame) == 1000
    monkeypatch.setattr(tables, "machine_memory", lambda: 4e5)
    with pytest.raises(IntakeError, match=r"its rows would take 382 kB of memory, and there are 400 kB here"):
        read_table(path)


def test_a_text_that_stands_in_a_file_once_and_in_a_million_rows_is_counted_as_often() -> None:
    column = pa.DictionaryArray.from_arrays([0] * 100_000, pa.array(["x" * 4096]))
    with pytest.raises(LogError, match=r"a\.parquet: column item takes 391 MiB in 100,000 rows; accepted are 256 MiB"):
        _refuse_long(Path("a.parquet"), "item", column)
    _refuse_long(Path("a.parquet"), "item", column[:1000])


def test_so_are_sales_with_such_a_text(tmp_path: Path) -> None:
    path = tmp_path / "long.parquet"
    path.write_bytes(_long_text(sales(random.Random(0))))
    with pytest.raises(IntakeError, match=r"long\.parquet: its texts take 62,5\d\d MiB; accepted are 1,024 MiB"):
        read_table(path)

"""Logs of prices as they are read, and as they are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from marl_pricing.intake import IntakeError
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.prices.log import cells_of, read_log, read_mapping, write_log
from tests.virtual_market.prices.shoppers import a_log

HEADER = "session,date,price_north,price_south,bought,units,agent"
ROWS = [
    "a,2024-01-01,1.5,1.6,north,2,0",
    "b,2024-01-01,1.5,1.6,,0,1",
    "c,2024-01-02,1.7,1.6,south,1,0",
]


def _written(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    log = a_log(days=3, epochs=2, sessions=5, agents=0.4)
    again = read_log(write_log(tmp_path / "log.csv", log))
    for name in ("offers", "dates", "sessions", "day", "prices", "bought", "units", "agent"):
        np.testing.assert_array_equal(getattr(log, name), getattr(again, name), err_msg=name)


def test_columns_under_other_names_and_cells(tmp_path: Path) -> None:
    rows = [row.rpartition(",")[0] for row in ROWS]
    path = _written(tmp_path / "log.csv", rows, "Besuch,Tag,p north:tea,p south:tea,Ware,Stück")
    (tmp_path / "mapping.yaml").write_text("session: Besuch\ndate: Tag\nbought: Ware\nunits: Stück\nprices: 'p '\n")
    path.write_text(path.read_text().replace(",north,", ",north:tea,").replace(",south,", ",south:tea,"))
    log = read_log(path, read_mapping(tmp_path / "mapping.yaml"))
    assert log.offers == ("north:tea", "south:tea") and log.sellers == ["north", "south"] and log.agent is None
    cells = cells_of(log)
    np.testing.assert_array_equal(cells.counts, [[1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(cells.units, [[2, 0], [0, 1]])
    np.testing.assert_array_equal(cells.prices, [[1.5, 1.6], [1.7, 1.6]])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("b,2024-01-01,-1.5,1.6,,0,1", r"log\.csv:3: price_north='-1\.5': accepted is an amount above 0"),
        ("b,2024-01-01,1.5,,,0,1", r"log\.csv:3: price_south=.*: accepted is an amount above 0"),
        ("b,2024-01-01,1.5,1.6,west,1,1", r"log\.csv:3: bought='west': accepted is empty, or one of north, south"),
        ("b,2024-01-01,1.5,1.6,north,0,1", r"log\.csv:3: units='0': accepted is at least 1"),
        ("b,2024-01-01,1.5,1.6,,1,1", r"log\.csv:3: units='1': accepted is 0 where nothing"),
        ("b,2024-01-01,1.5,1.6,north,1.5,1", r"log\.csv:3: units='1\.5': accepted is a whole number"),
        ("b,2024-01-01,1.5,1.6,,0,0.5", r"log\.csv:3: agent='0\.5': accepted is 0 \(a person's session\) or 1"),
        ("a,2024-01-01,1.5,1.6,,0,1", r"log\.csv:3: session='a': accepted is one row a session; line 2 has it"),
        ("b,2024-01-32,1.5,1.6,,0,1", r"log\.csv:3: date='2024-01-32'"),
        (",2024-01-01,1.5,1.6,,0,1", r"log\.csv:3: session=.*accepted is a name or number"),
        ("b,2024-01-01,1.5", r"log\.csv:3: .*accepted are whole rows"),
    ],
)
def test_rows_that_cannot_be_are_refused_with_their_line(tmp_path: Path, wrong: str, told: str) -> None:
    with pytest.raises((LogError, IntakeError), match=told):
        read_log(_written(tmp_path / "log.csv", [ROWS[0], wrong, ROWS[2]]))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("session,date,cost_north,cost_south,bought,units,agent", "no column begins with 'price_'"),
        ("session,day,price_north,price_south,bought,units,agent", r"there is no column 'date' \(date\)"),
        ("session,date,price_north:a,price_north:b,price_south:a,units,bought", "have 2, 1 price columns"),
    ],
)
def test_columns_that_are_missing_are_named(tmp_path: Path, header: str, told: str) -> None:
    with pytest.raises(LogError, match=told):
        read_log(_written(tmp_path / "log.csv", ROWS, header))

"""Files → columns: CSV, Excel and Parquet, with the line of each row, the header found, and faulty rows told apart."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from openpyxl import load_workbook
from pyarrow import parquet

from marl_pricing.intake.errors import IntakeError, cut, listed, shown
from marl_pricing.intake.plain import most_unpacked, size_in_words
from marl_pricing.intake.texts import MOST_BYTES, SEPARATORS, content, decode, separator_of
from marl_pricing.machine import machine_memory, say_bytes

Format = Literal["csv", "xlsx", "parquet"]

_HEADER_WITHIN = 30  # records in which a header is looked for
_LOOK = 200  # records that tell how many fields a row has
_FULL = 0.6  # of a row's fields that a header fills
_LONGEST = 1 << 24  # characters of a field
_MOST_CELLS = 100_000_000
MOST_COLUMNS, _MOST_LINES = 16_384, 1_048_576  # of a sheet of Excel
# Bytes that a row and a cell take while a file is read: a list of texts.
_ROW, _CELL = 250, 60
_SHARE = 0.8  # of the memory that is there
SPREADSHEETS = (".xlsx", ".xlsm")
_RULE = re.compile(r"[-=+_ ]{5,}")  # a line that is drawn across a list


@dataclass(frozen=True)
class Fault:
    """A row that could not be taken apart: its line, why, and what it says."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Told:
    """What a user says of a file; null is found."""

    format: Format | None = None
    separator: str | None = None
    encoding: str | None = None
    header: int | None = None
    sheet: str | Sequence[str] | None = None


@dataclass(frozen=True)
class RawTable:
    """A file's columns.

    Attributes:
        path: for messages.
        frame: title → cells; texts for CSV, whatever they are for Excel and Parquet. Of titles that come twice the
            first.
        lines: [R] line of each row (a sheet's row; in Parquet the record's number plus 1).
        faults: rows with another number of fields, and the header again.
        twice: titles that come more than once.
        read_as: what was found, in words.
        form: the settings that would read it so, by name.
    """

    path: str
    frame: pd.DataFrame
    lines: np.ndarray
    faults: list[Fault]
    twice: list[str]
    read_as: list[str] = field(default_factory=list)
    form: dict[str, Any] = field(default_factory=dict)


Record = tuple[int, Sequence[Any]]


def _filled(cells: Iterable[Any]) -> int:
    return sum(cell is not None and str(cell).strip() != "" for cell in cells)


def _header_at(records: list[Record], told: int | None, path: str) -> int:
    """Which record is the header: the first that fills most of the columns that rows have; -1 where there is none."""
    if told == 0:
        return -1
    if told is not None:
        found = next((number for number, (line, _) in enumerate(records) if line == told), None)
        if found is None:
            raise IntakeError(
                f"{path}: header={told}: accepted is the number of a line that is not blank, or 0 for none"
            )
        return found
    width = Counter(len(cells) for _, cells in records[:_LOOK]).most_common(1)[0][0]
    for number, (_, cells) in enumerate(records[:_HEADER_WITHIN]):
        if len(cells) >= _FULL * width and _filled(cells) >= _FULL * width:
            return number
    return 0


def _titles(cells: Sequence[Any]) -> list[str]:
    return [
        cut(str(cell), 200).strip("\ufeff ") if cell is not None and str(cell).strip() else f"column {number}"
        for number, cell in enumerate(cells, 1)
    ]


def _say(cells: Sequence[Any]) -> str:
    return ";".join("" if cell is None else str(cell) for cell in cells)


def _refuse_wide(path: Path | str, columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise IntakeError(
            f"{path}: has {columns:,} columns; accepted are {MOST_COLUMNS:,}, as in a sheet of Excel: what comes "
            "again and again stands in rows"
        )


def _assemble(path: str, records: list[Record], told: int | None, cut_short: bool) -> RawTable:
    """Header and rows of records; `cut_short` where the file does not end with its last line."""
    if not records:
        raise IntakeError(f"{path}: the file is empty")
    _refuse_wide(path, max(len(cells) for _, cells in records))
    at = _header_at(records, told, path)
    header = records[at][1] if at >= 0 else [None] * Counter(len(cells) for _, cells in records).most_common(1)[0][0]
    titles = _titles(header)
    width = len(titles)
    rows, lines, faults = [], [], []
    head = [str(cell).strip() for cell in header]
    for line, cells in records[at + 1 :]:
        if len(cells) > width and not _filled(cells[width:]):
            cells = cells[:width]
        if len(cells) != width:
            if cut_short and line == records[-1][0] and len(cells) < width:
                raise IntakeError(
                    f"{path}:{line}: the file ends inside a row, {shown(_say(cells))}, so it is cut short; export it "
                    "again, or take this line out"
                )
            faults.append(Fault(line, f"{len(cells)} fields where the header has {width}", _say(cells)))
        elif str(cells[0]).strip() == head[0] and [str(cell).strip() for cell in cells] == head:
            faults.append(Fault(line, "the header again", _say(cells)))
        else:
            rows.append(cells)
            lines.append(line)
    if len(faults) > 0.5 * (len(rows) + len(faults)):
        fault = faults[0]
        raise IntakeError(
            f"{path}:{fault.line}: {fault.reason}, {shown(fault.text)}, and so have {len(faults):,} of "
            f"{len(rows) + len(faults):,} rows; a decimal comma in a comma-separated file has to stand in quotes, and "
            "separator: and header: in the mapping set what separates columns and the header's line"
        )
    columns: dict[str, Any] = {}
    for name, title, cells in zip(head, titles, zip(*rows, strict=True) if rows else [()] * width, strict=True):
        if rows and name in ("", "None") and not _filled(cells):
            continue  # as of lines that begin and end with a bar
        columns.setdefault(title, _typed(cells))
    twice = [title for title, count in Counter(titles).items() if count > 1]
    form: dict[str, Any] = {} if at == 0 else {"header": records[at][0] if at > 0 else 0}
    said = [f"header in line {records[at][0]}" if at > 0 else "no header"] if at else []
    return RawTable(path, pd.DataFrame(columns), np.array(lines, np.int64), faults, twice, said, form)


def _typed(cells: Sequence[Any]) -> pd.Series:
    """A column of Excel's numbers as numbers, of its dates as dates, of anything else as it stands."""
    column = pd.Series(list(cells), dtype=object)
    held = [cell for cell in cells if cell is not None]
    if held and all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in held):
        return pd.to_numeric(column).astype(float)
    if held and all(hasattr(cell, "year") for cell in held):
        return pd.to_datetime(column, errors="coerce")
    return column.where(column.notna(), "")


def _read_csv(path: Path, told: Told) -> RawTable:
    text, encoding = decode(content(path), str(path), told.encoding)
    separator = told.separator or separator_of(text)
    if separator is None:
        first = next((line for line in text.splitlines() if line.strip()), "")
        raise IntakeError(
            f"{path}:1: no sign separates columns, its first line is {shown(first)}; separator: in the mapping sets "
            'it, as ";", "," or "\\t"'
        )
    if len(separator) != 1:
        raise IntakeError(f'{path}: separator={shown(separator)}: accepted is one sign, as ";", "," or "\\t"')
    skip = 1 if text[:5].lower().startswith("sep=") else 0
    body = text.split("\n", skip)[skip]
    _refuse_what_memory_does_not_hold(path, body, separator)
    records: list[Record] = []
    start = last = skip + 1
    limit = csv.field_size_limit(_LONGEST)
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator)
    try:
        for cells in reader:
            last = start
            if any(cell and not cell.isspace() for cell in cells) and not _RULE.fullmatch("".join(cells)):
                records.append((start, cells))
            start = skip + reader.line_num + 1
    except csv.Error as error:
        raise IntakeError(f"{path}:{start}: no row can be made of this line, {error}") from None
    finally:
        csv.field_size_limit(limit)
    _check_quotes(path, body, last - skip, separator)
    raw = _assemble(str(path), records, told.header, not text.endswith(("\n", "\r")))
    name = "UTF-8" if encoding.startswith("utf-8") else encoding
    raw.read_as[:0] = [f"{SEPARATORS.get(separator, repr(separator))} between columns", name]
    raw.form.update({"separator": separator, "encoding": encoding})
    return raw


def _refuse_what_memory_does_not_hold(path: Path, body: str, separator: str) -> None:
    """Refuse a text whose rows take more than there is, before they are made of it."""
    rows = max(body.count("\n"), body.count("\r"))
    need, there = _ROW * rows + _CELL * (rows + body.count(separator)) + 3 * len(body), machine_memory()
    if need > _SHARE * there:
        raise IntakeError(
            f"{path}: its rows would take {say_bytes(need)} of memory, and there are {say_bytes(there)} here; leave "
            "columns or periods out, or add lines up before"
        )


def _check_quotes(path: Path, body: str, line: int, separator: str) -> None:
    """A quote that is never closed swallows the rest of its file into one field."""
    last = "\n".join(body.splitlines()[line - 1 :])
    try:
        list(csv.reader(io.StringIO(last, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        if "unexpected end" not in str(error):
            return
        if "\n" in last:
            told = f"a quote opens in {shown(last)} and never closes, so the file is cut short or has a quote too many"
        else:
            told = f"the file ends inside quotes, {shown(last)}, so it is cut short"
        raise IntakeError(f"{path}:{line}: {told}") from None


def _refuse_large(path: Path, cells: int) -> None:
    if cells > _MOST_CELLS:
        raise IntakeError(
            f"{path}: has more than {_MOST_CELLS:,} cells, and all of them are read at once; leave columns or periods "
            "out, or add lines up before"
        )


def _read_excel(path: Path, told: Told) -> RawTable:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(own.file_size for own in archive.infolist())
        if size > (most := min(MOST_BYTES, most_unpacked(path))):
            raise IntakeError(f"{path}: unpacks to {size_in_words(size)}; accepted are {size_in_words(most)}")
        return _read_book(path, told)
    except IntakeError:
        raise
    except Exception:  # a broken file may fail anywhere within
        raise IntakeError(f"{path}: no Excel file can be read from it; it is damaged, or not .xlsx inside") from None


def _rows_of(path: Path, sheet: Any) -> list[Record]:
    """Rows of a sheet that hold anything, without what is empty at their ends: a sheet may say that it is wider."""
    records: list[Record] = []
    cells = 0
    sheet.reset_dimensions()  # it may say that it is smaller too, and rows beyond would be left out
    for line, row in enumerate(sheet.iter_rows(values_only=True), 1):
        if line > _MOST_LINES:
            raise IntakeError(f"{path}: has a row beyond the {_MOST_LINES:,} of a sheet; it is damaged")
        width = max((number for number, cell in enumerate(row, 1) if cell is not None), default=0)
        cells += 1 + width
        _refuse_large(path, cells)
        if _filled(row[:width]):
            records.append((line, list(row[:width])))
    return records


def _read_book(path: Path, told: Told) -> RawTable:
    book = load_workbook(path, read_only=True, data_only=True)
    try:
        names = book.sheetnames
        wanted = [told.sheet] if isinstance(told.sheet, str) else told.sheet
        for name in wanted or ():
            if name not in names:
                raise IntakeError(f"{path}: sheet={shown(name)}: there are {listed(names)}")
        held = []
        for name in wanted or names:
            records = _rows_of(path, book[name])
            if len(records) > 1:
                held.append((name, records))
    finally:
        book.close()
    if not held:
        raise IntakeError(f"{path}: no sheet of it holds a header and a row; there are {listed(names)}")
    name, raw = held[0][0], _read_sheet(path, held[0][1], told.header)
    alike, others = [(name, raw)], []
    for other, records in held[1:]:
        try:
            own = _read_sheet(path, records, told.header)
        except IntakeError:
            if wanted:
                raise
            own = None
        if (
            own is not None
            and list(own.frame.columns) == list(raw.frame.columns)
            and _is_more(path, alike, other, own, wanted)
        ):
            alike.append((other, own))
        elif wanted:
            raise IntakeError(f"{path}: sheet={shown(other)}: has other columns than {shown(name)}; accepted are alike")
        else:
            others.append(other)
    if len(alike) > 1:
        raw = _one_below_the_other([own for _, own in alike])
    called = [cut(own, 30) for own, _ in alike]
    said = f"sheets {listed(called)} one below the other" if len(alike) > 1 else f"sheet {called[0]!r}"
    raw.read_as[:0] = [said + (f" (not {listed(others)})" if others else "")]
    raw.form.update({"format": "xlsx", "sheet": [own for own, _ in alike] if len(alike) > 1 else name})
    return raw


def _is_more(
    path: Path, before: list[tuple[str, RawTable]], name: str, own: RawTable, wanted: Sequence[str] | None
) -> bool:
    """Whether a sheet with the columns of those before goes on where they end, as of months; else it repeats them.

    Raises:
        IntakeError: where it does both.
    """
    if wanted:
        return True
    seen = {row for _, table in before for row in table.frame.astype(str).itertuples(index=False, name=None)}
    again = [row in seen for row in own.frame.astype(str).itertuples(index=False, name=None)]
    if any(again) and not all(again):
        names = f"[{', '.join([*(other for other, _ in before), name])}]"
        raise IntakeError(
            f"{path}: sheet {shown(name)} has the columns of {shown(before[0][0])}, {sum(again):,} of its "
            f"{len(again):,} rows stand there too and the others do not; sheet: {names} in the mapping takes "
            f"all (with repeats: drop rows alike once), sheet: {before[0][0]} the first alone"
        )
    return not any(again)


def _one_below_the_other(tables: list[RawTable]) -> RawTable:
    """Sheets of the same columns as one; lines are those of each sheet."""
    frame = pd.concat([own.frame.astype(object) for own in tables], ignore_index=True)
    typed = pd.DataFrame({title: _typed(frame[title].tolist()) for title in frame})
    faults, first = [fault for own in tables for fault in own.faults], tables[0]
    lines = np.concatenate([own.lines for own in tables])
    return RawTable(first.path, typed, lines, faults, first.twice, first.read_as, first.form)


def _read_sheet(path: Path, records: list[Record], header: int | None) -> RawTable:
    """Sheets are as wide as their widest row; columns that are empty all over are none."""
    width = max(number for _, cells in records for number, cell in enumerate(cells, 1) if cell is not None)
    return _assemble(str(path), [(line, [*cells, *[None] * width][:width]) for line, cells in records], header, False)


def parquet_texts(path: Path, file: parquet.ParquetFile) -> list[str]:
    """Columns of texts of a Parquet file: to be read as dictionaries, as one value may stand in millions of rows.

    Raises:
        IntakeError: for a file that unpacks to far more than tables do.
    """
    told = file.metadata
    size = sum(told.row_group(number).total_byte_size for number in range(told.num_row_groups))
    if size > (most := max(most_unpacked(path), MOST_BYTES)):
        raise IntakeError(f"{path}: unpacks to {size_in_words(size)}; accepted are {size_in_words(most)}")
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return [own.name for own in file.schema_arrow if any(kind(own.type) for kind in kinds)]


def spelled_out(column: pa.DictionaryArray) -> int:
    """Bytes of a column's texts once every row has its own."""
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return pc.sum(lengths.cast(pa.int64())).as_py() or 0


def _read_parquet(path: Path) -> RawTable:
    try:
        with parquet.ParquetFile(path) as file:
            _refuse_wide(path, file.metadata.num_columns)
            _refuse_large(path, file.metadata.num_rows * file.metadata.num_columns)
            texts = parquet_texts(path, file)
        table = parquet.read_table(path, read_dictionary=texts)
        size = sum(spelled_out(chunk) for name in texts for chunk in table.column(name).chunks)
        if size > MOST_BYTES:
            raise IntakeError(
                f"{path}: its texts take {size_in_words(size)}; accepted are {size_in_words(MOST_BYTES)}, as all of "
                "them are read at once"
            )
        frame = table.to_pandas()
        for name in frame.select_dtypes("category"):
            own = frame[name].astype(object)
            frame[name] = own.where(own.notna(), None)
    except IntakeError:
        raise
    except Exception:  # a broken file may fail anywhere within
        raise IntakeError(
            f"{path}: no Parquet table can be read from it; it is cut short, or of another format"
        ) from None
    frame.columns = [str(name) for name in frame.columns]
    frame = frame.reset_index(drop=True)
    return RawTable(str(path), frame, np.arange(len(frame)) + 2, [], [], ["Parquet"], {"format": "parquet"})


def format_of(path: Path, told: Format | None = None) -> Format:
    """What kind of file it is, from what it holds rather than from what it is called.

    Raises:
        IntakeError: for a file that is not there, and for Excel's old format.
    """
    if told is not None:
        return told
    if not path.is_file():
        raise IntakeError(f"{path}: there is no such file")
    with path.open("rb") as stream:
        start = stream.read(8)
    if start.startswith(b"PAR1") or path.suffix in (".parquet", ".pq"):
        return "parquet"
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise IntakeError(f"{path}: is of Excel's old format; save it as .xlsx or .csv")
    return "xlsx" if start.startswith(b"PK\x03\x04") or path.suffix in SPREADSHEETS else "csv"


def read_table(path: Path | str, told: Told | None = None) -> RawTable:
    """A file's columns, with the line of each row.

    Args:
        told: what the user says of the file; the rest is found.

    Raises:
        IntakeError: one line with the file, the line where there is one, what is wrong, and what would help.
    """
    path, told = Path(path), told or Told()
    kind = format_of(path, told.format)
    if not path.is_file():
        raise IntakeError(f"{path}: there is no such file")
    if kind == "parquet":
        raw = _read_parquet(path)
    else:
        raw = _read_excel(path, told) if kind == "xlsx" else _read_csv(path, told)
    if raw.frame.empty:
        raise IntakeError(f"{path}: no usable row, there are none below the header")
    return raw

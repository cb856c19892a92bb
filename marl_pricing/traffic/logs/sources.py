"""Files of interactions as chunks of texts: CSV, JSON lines and Parquet, a part of the file in memory at a time."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from rich.console import Console
from rich.markup import escape

from marl_pricing.intake import IntakeError, plain
from marl_pricing.intake.tables import MOST_COLUMNS, parquet_texts, spelled_out
from marl_pricing.presentation import pulse
from marl_pricing.presentation.progress import Progress
from marl_pricing.traffic.logs.detecting import is_gzip, suggestion, what_is_lacking
from marl_pricing.traffic.logs.layouts import WHOCLICKEDIT
from marl_pricing.traffic.logs.schemas import FIELDS, LogError, Schema

_BLOCK = 1 << 23  # bytes that the CSV parser takes at a time
# Objects of JSON that are held at a time: more of them are slower, because Python's collector visits them all.
_OBJECTS = 10_000
_MOST_ROWS = 100_000_000  # of a Parquet file, which can say the same one so many times in a few bytes
_MOST_TEXT = 1 << 28  # bytes of the rows of a Parquet file that are read at once
_PATIENCE = 5.0  # seconds after which a terminal is shown how far reading is


@dataclass(frozen=True)
class Fault:
    """A row that is no record: its line (of a Parquet file its row), why, what it says, and the value that is wrong."""

    line: int
    reason: str
    text: str
    value: str = ""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file.

    Attributes:
        lines: [R] line of each row, from 1; in a CSV with line breaks inside quotes the number of the record.
        fields: field → [R] texts, null where the file has none.
        faults: rows that could not even be taken apart; they are not among the R.
        text: what the row at a position says; in full only if that was asked for.
    """

    lines: np.ndarray
    fields: dict[str, pa.Array]
    faults: list[Fault]
    text: Callable[[int], str]


class _Meter:
    """A progress bar on standard error that comes up when reading takes long and somebody is looking."""

    def __init__(self, path: Path, total: int) -> None:
        self._path, self._total, self._started = path, total, time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> _Meter:
        return self

    def at(self, position: int) -> None:
        pulse.doing(f"reading {self._path.name}, {position / max(self._total, 1):.0%}")
        if self._bar is None and sys.stderr.isatty() and time.monotonic() - self._started > _PATIENCE:
            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(escape(f"reading {self._path.name}"), total=self._total)
            self._bar.start()
        if self._bar is not None:
            self._bar.update(self._task, completed=position)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _not_utf8(path: Path) -> LogError:
    """The error for a file that is not UTF-8, with the first line that is not."""
    with plain.opened(path) as (stream, _):
        for number, line in enumerate(plain.lines_of(stream, path), 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return LogError(f"{path}:{number}: not UTF-8; accepted is UTF-8, with or without a byte order mark")
    return LogError(f"{path}: not UTF-8; accepted is UTF-8, with or without a byte order mark")


def _first_of(columns: Sequence[pa.Array], length: int) -> pa.Array:
    """Texts without the space around them; of several columns the first that says something, null where none does."""
    found = pa.nulls(length, pa.string())
    for column in reversed(columns):
        trimmed = pc.utf8_trim_whitespace(column)
        found = pc.if_else(pc.fill_null(pc.not_equal(trimmed, ""), False), trimmed, found)
    return found


def _joined(columns: Sequence[pa.Array], length: int) -> pa.Array:
    """Texts of several columns with a dot between, null where the first has none."""
    if not columns:
        return pa.nulls(length, pa.string())
    first, *others = (_first_of([column], length) for column in columns)
    for other in others:
        first = pc.if_else(other.is_valid(), pc.binary_join_element_wise(first, pc.fill_null(other, ""), "."), first)
    return first


def _fields(schema: Schema, column: Callable[[str], pa.Array | None], length: int) -> dict[str, pa.Array]:
    names = {field: schema.columns.get(field, ()) for field in FIELDS}
    found = {
        field: (_joined if field in schema.joined else _first_of)(
            [found for name in own if (found := column(name)) is not None], length
        )
        for field, own in names.items()
    }
    if schema.every is not None:
        found["event"] = pa.repeat(pa.scalar(schema.every), length)
    return found


def _check_columns(path: Path, schema: Schema, header: Sequence[str]) -> None:
    if len(header) > MOST_COLUMNS:
        raise LogError(f"{path}:1: has {len(header):,} columns; accepted are {MOST_COLUMNS:,}")
    missing = [name for name in schema.needed if name not in header]
    if missing:
        seen = ", ".join(header[:6]) + (", …" if len(header) > 6 else "")
        if schema is WHOCLICKEDIT or (schema.name == WHOCLICKEDIT.name and len(missing) > 1):  # nothing else fits
            raise LogError(f"{path}:1: no layout that is known has these columns ({seen}){what_is_lacking(header)}")
        raise LogError(
            f"{path}:1: no column {', '.join(missing)} in the header ({seen}); "
            f"read as {schema.name}, which accepts {', '.join(schema.accepted)}{suggestion(list(header))}"
        )
    twice = [name for name in schema.accepted if list(header).count(name) > 1]
    if twice:
        raise LogError(f"{path}:1: column {twice[0]} is there more than once")


class _Recoded(io.RawIOBase):
    """The UTF-8 bytes of a text."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self._left = text, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._text.read(_BLOCK >> 4).encode()
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _as_utf8(stream: io.BufferedReader, encoding: str | None) -> io.BufferedReader:
    """The same in UTF-8, with lines that end as lines do: old Macs' exports have carriage returns alone."""
    head = stream.peek(1)
    returns = b"\r" in head and b"\n" not in head
    if not returns and (encoding is None or encoding.startswith("utf-8")):
        return stream
    text = io.TextIOWrapper(stream, encoding or "utf-8", newline=None if returns else "")
    return io.BufferedReader(_Recoded(text))


def _csv_batches(
    stream: io.BufferedReader, header: list[str], keep: list[str], bad: list[Fault], chunk_rows: int, separator: str
) -> Iterator[pa.RecordBatch]:
    def set_aside(row: arrow_csv.InvalidRow) -> str:
        # The header was read already, and the parser counts from 1.
        bad.append(Fault(row.number + 1, "number of fields", row.text))
        return "skip"

    if not stream.peek(1):
        return
    reader = arrow_csv.open_csv(
        stream,
        # Bad rows are numbered only where one thread parses.
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=header),
        parse_options=arrow_csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=set_aside
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False, include_columns=keep
        ),
    )
    for batch in reader:
        for start in range(0, batch.num_rows, chunk_rows):
            yield batch.slice(start, chunk_rows)


def _read_csv(path: Path, schema: Schema, chunk_rows: int, whole: bool) -> Iterator[tuple[Chunk, int]]:
    separator = schema.separator or ","
    with plain.opened(path) as (opened, raw):
        stream = _as_utf8(opened, schema.encoding)
        first = next(plain.lines_of(stream, path), b"")
        if not first:
            raise LogError(f"{path}: the file is empty")
        header = next(csv.reader([first.decode("utf-8-sig")], delimiter=separator), [])
        _check_columns(path, schema, header)
        keep = header if whole else [name for name in header if name in schema.accepted]
        bad: list[Fault] = []
        line = 2
        for batch in _csv_batches(stream, header, keep, bad, chunk_rows, separator):
            # The parser is at least as far as this batch, so all bad lines between its rows are known.
            skipped = [fault.line for fault in bad]
            lines = np.setdiff1d(np.arange(line, line + batch.num_rows + len(skipped)), skipped)[: batch.num_rows]
            line = int(lines[-1]) + 1
            yield _csv_chunk(batch, lines, schema, [fault for fault in bad if fault.line < line]), raw.tell()
            bad[:] = [fault for fault in bad if fault.line >= line]
        if bad:
            yield Chunk(np.zeros(0, np.int64), _fields(schema, lambda _: None, 0), bad, lambda _: ""), raw.tell()


def _csv_chunk(batch: pa.RecordBatch, lines: np.ndarray, schema: Schema, faults: list[Fault]) -> Chunk:
    # A line with nothing on it, or with commas only, is no row.
    empty = np.ones(batch.num_rows, bool)
    for column in batch.columns:
        empty &= pc.equal(column, "").to_numpy(zero_copy_only=False)
    if empty.any():
        batch, lines = batch.filter(pa.array(~empty)), lines[~empty]

    def text(row: int) -> str:
        out = io.StringIO()
        csv.writer(out, delimiter=schema.separator or ",", lineterminator="").writerow(
            [column[row].as_py() for column in batch.columns]
        )
        return out.getvalue()

    names = batch.schema.names
    fields = _fields(schema, lambda name: batch.column(name) if name in names else None, batch.num_rows)
    return Chunk(lines, fields, faults, text)


def _as_object(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _unwrap(row: Any, session: str) -> dict[str, Any]:
    """The event in a row: the row itself, or what an envelope of a message queue holds."""
    for key in ("value", "payload"):
        if isinstance(row, dict) and key in row and session not in row:
            row = _as_object(row[key])
    if not isinstance(row, dict):
        raise ValueError
    return row


def _flat_ga4(row: dict[str, Any]) -> dict[str, Any]:
    """An event of Google Analytics 4 with its parameters, and its first item, beside its own keys."""
    flat = dict(row)
    for one in row.get("event_params") or []:
        value = one.get("value") or {}
        found = (value.get(kind) for kind in ("string_value", "int_value", "double_value", "float_value"))
        flat.setdefault(str(one.get("key")), next((own for own in found if own is not None), None))
    items = row.get("items") or []
    if items and isinstance(items[0], dict):
        flat.setdefault("item_id", items[0].get("item_id"))
        flat.setdefault("item_price", items[0].get("price"))
    return flat


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    # Numbers as they stand in JSON, true and false in lower case.
    return json.dumps(value)


def _json_rows(
    path: Path, stream: Iterable[bytes], schema: Schema, free: list[str]
) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """(line, text, event) of each line that is not blank; the event is None where the line is no JSON object."""
    number, session = 0, schema.columns["session"][0].partition(".")[0]
    for number, raw in enumerate(stream, 1):
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        if not text:
            continue
        try:
            row = _unwrap(json.loads(text), session)
            if schema.name == "ga4":
                row = _flat_ga4(row)
            yield number, text, row | {name: _as_object(row.get(name)) for name in free}
        except (ValueError, RecursionError, AttributeError, TypeError):
            yield number, text, None
    if not number:
        raise LogError(f"{path}: the file is empty")


def _read_jsonl(path: Path, schema: Schema, chunk_rows: int, whole: bool) -> Iterator[tuple[Chunk, int]]:
    names = [(name, *name.partition(".")[::2]) for name in schema.accepted]
    free = list(dict.fromkeys(outer for _, outer, inner in names if inner))

    def chunk(rows: list[tuple[int, str, dict[str, Any]]], faults: list[Fault]) -> Chunk:
        columns = {}
        for name, outer, inner in names:
            if inner:
                groups = (row[outer] for *_, row in rows)
                values = [_text(group.get(inner)) if isinstance(group, dict) else None for group in groups]
            else:
                values = [_text(row.get(outer)) for *_, row in rows]
            columns[name] = pa.array(values, pa.string())
        texts = [text for _, text, _ in rows]
        lines = np.array([line for line, *_ in rows], np.int64)
        return Chunk(lines, _fields(schema, columns.get, len(rows)), faults, texts.__getitem__)

    rows: list[tuple[int, str, dict[str, Any]]] = []
    faults: list[Fault] = []
    with plain.opened(path) as (stream, raw):
        recoded = _as_utf8(stream, None)  # held: where it ends, it closes the file
        for line, text, row in _json_rows(path, plain.lines_of(recoded, path), schema, free):
            if row is None:
                faults.append(Fault(line, "not JSON", text))
            else:
                rows.append((line, text if whole else "", row))
            if len(rows) + len(faults) >= min(chunk_rows, _OBJECTS):
                yield chunk(rows, faults), raw.tell()
                rows, faults = [], []
        yield chunk(rows, faults), raw.tell()


def _texts(path: Path, schema: Schema, name: str, column: pa.Array) -> pa.Array:
    """A Parquet column of any plain type as texts."""
    if pa.types.is_timestamp(column.type):
        if name in schema.columns["time"] and schema.time_unit not in (None, "iso", "any"):
            raise LogError(f"{path}: column {name} holds times, not numbers: time_unit has to be iso")
        zone = "UTC" if column.type.tz else None
        return pc.strftime(column.cast(pa.timestamp("us", zone)), "%Y-%m-%dT%H:%M:%S")
    try:
        if pa.types.is_dictionary(column.type):
            _refuse_long(path, name, column)
            column = column.dictionary_decode()
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise LogError(f"{path}: column {name} is of type {column.type}: accepted are texts and numbers") from None


def _refuse_long(path: Path, name: str, column: pa.DictionaryArray) -> None:
    """Refuse texts that are short as a dictionary tells them and take the memory once every row has its own."""
    size = spelled_out(column)
    if size > _MOST_TEXT:
        raise LogError(
            f"{path}: column {name} takes {plain.size_in_words(size)} in {len(column):,} rows; accepted are "
            f"{plain.size_in_words(_MOST_TEXT)}"
        )


def _read_parquet(path: Path, schema: Schema, chunk_rows: int, whole: bool) -> Iterator[tuple[Chunk, int]]:
    with parquet.ParquetFile(path) as file:
        texts = parquet_texts(path, file)
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        names = file.schema_arrow.names
        _check_columns(path, schema, names)
        done = 0
        read = [name for name in schema.accepted if name in names]
        for batch in file.iter_batches(chunk_rows, columns=names if whole else read):
            columns = {name: _texts(path, schema, name, batch.column(name)) for name in read}
            lines = np.arange(done + 1, done + batch.num_rows + 1)
            done += batch.num_rows

            def text(row: int, batch: pa.RecordBatch = batch) -> str:
                return json.dumps(batch.slice(row, 1).to_pylist()[0], default=str, ensure_ascii=False)

            yield Chunk(lines, _fields(schema, columns.get, batch.num_rows), [], text), done


_READERS = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}


def read_chunks(path: Path, schema: Schema, chunk_rows: int, whole: bool) -> Iterator[Chunk]:
    """A file's rows, at most `chunk_rows` at a time.

    Args:
        whole: keep all that a row says, for the quarantine, not only the columns that are read.

    Raises:
        LogError: for a file that is empty, is not UTF-8, lacks columns, or whose compression is cut short.
    """
    if path.stat().st_size == 0:
        raise LogError(f"{path}: the file is empty")
    if path.suffix == ".gz" and not is_gzip(path):
        raise LogError(f"{path}: the name ends in .gz, but the file is not compressed with gzip")
    try:
        total = parquet.read_metadata(path).num_rows if schema.format == "parquet" else path.stat().st_size
        if schema.format == "parquet" and total > _MOST_ROWS:
            raise LogError(f"{path}: says that it has {total:,} rows; accepted are {_MOST_ROWS:,}")
        with _Meter(path, total) as meter:
            for chunk, position in _READERS[schema.format or "csv"](path, schema, chunk_rows, whole):
                meter.at(position)
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LogError(f"{path}: the compressed file is cut short or damaged: {error}") from None
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except IntakeError as error:
        raise LogError(str(error)) from None
    except (csv.Error, OSError) as error:  # Parquet's own are of several lines
        raise LogError(f"{path}: cannot be read, {' '.join(str(error).split())}") from None
    except pa.ArrowException as error:
        raise _not_utf8(path) if "UTF8" in str(error) else LogError(f"{path}: {' '.join(str(error).split())}") from None

"""Which layout a log has, and what of its file is to be found: format, encoding, separator, form of times, decimals."""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from marl_pricing.intake import IntakeError, dates, numbers, plain, texts
from marl_pricing.intake.errors import listed
from marl_pricing.intake.names import LOG_WORDS, suggest
from marl_pricing.traffic.logs.layouts import GA4, P4P, TABLES, WHOCLICKEDIT
from marl_pricing.traffic.logs.schemas import LogError, Schema

_LOOK = 20  # lines that tell the schema
_BLOCK = 1 << 20
_HEAD = 1 << 18  # bytes that tell the separator


def is_gzip(path: Path) -> bool:
    """Whether a file is compressed, from its first two bytes."""
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with plain.opened(path) as (stream, _):
            while block := stream.read(_BLOCK):
                yield block
    except IntakeError as error:
        raise LogError(str(error)) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LogError(f"{path}: the compressed file is cut short or damaged: {error}") from None


def _head(path: Path) -> bytes:
    head = b""
    for block in _blocks(path):
        head += block
        if len(head) >= _HEAD:
            break
    return head[:_HEAD]


def encoding_of(path: Path) -> str:
    """The encoding of a CSV file; the whole of it is looked at, a part in memory at a time where it is UTF-8.

    Raises:
        LogError: for NUL bytes, and bytes of two encodings.
    """
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    try:
        for number, block in enumerate(_blocks(path)):
            if number == 0 and block[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                return "utf-16"
            if b"\0" in block:
                raise UnicodeDecodeError("utf-8", b"", 0, 1, "NUL")
            decoder.decode(block)
            line += block.count(b"\n")
        return "utf-8"
    except UnicodeDecodeError:
        pass
    data = bytearray()
    for block in _blocks(path):  # another encoding is found in the whole
        data += block
        if len(data) > texts.MOST_BYTES:
            raise LogError(f"{path}: is no UTF-8, and too large for another encoding to be found; encoding: says it")
    try:
        return texts.decode(bytes(data), str(path))[1]
    except IntakeError as error:
        raise LogError(str(error)) from None


def _json_schema(first: list[bytes]) -> Schema | None:
    """P4P or GA4 where one of the first lines is an object; None where none is."""
    found = None
    for line in first:
        stripped = line.removeprefix(codecs.BOM_UTF8).lstrip()
        if not stripped.startswith(b"{"):
            continue
        found = found or P4P
        try:
            row = json.loads(stripped)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and {"event_name", "event_timestamp"} <= set(row):
            return GA4
        break
    return found


def _header(path: Path, separator: str | None, encoding: str) -> tuple[list[str], str]:
    """(titles, separator) of a CSV file."""
    text = _head(path).decode(encoding, "ignore").lstrip("\ufeff")
    sign = separator or texts.separator_of(text) or ","
    lines = text.splitlines()
    try:
        return (next(csv.reader(lines[:1], delimiter=sign), []) if lines else []), sign
    except csv.Error as error:
        raise LogError(f"{path}:1: no header can be made of this line, {error}") from None


def detect(path: Path, separator: str | None = None) -> Schema:
    """The layout of a file: one of the named, by what it holds; WhoClickedIt's, which names what it misses, if none.

    Raises:
        LogError: if a compressed file is cut short or damaged within its first lines.
    """
    with path.open("rb") as stream:
        start = stream.read(4)
    if start == b"PAR1":
        names = _parquet_columns(path)
        fits = [schema for schema in TABLES if set(schema.needed) <= set(names)]
        return replace(fits[0] if fits else WHOCLICKEDIT, format="parquet")
    if start == b"PK\x03\x04":
        raise LogError(f"{path}: is an Excel file; accepted for logs are CSV, JSON lines and Parquet")
    if start[:1] == b"[":
        raise LogError(f"{path}:1: is one JSON list; accepted are JSON lines, an object a line")
    # Not the first line alone: that a line is no JSON does not make its file a table.
    found = _json_schema(_head(path).splitlines(keepends=True)[:_LOOK])
    if found is not None:
        return found
    titles, _ = _header(path, separator, encoding_of(path))
    fits = [schema for schema in TABLES if set(schema.needed) <= set(titles)]
    return fits[0] if fits else WHOCLICKEDIT


def _parquet_columns(path: Path) -> list[str]:
    try:
        return list(parquet.read_schema(path).names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # of a name
        raise LogError(f"{path}: cannot be read, {' '.join(str(error).split())}") from None


def columns_of(path: Path, schema: Schema) -> list[str]:
    """The columns of a table, or the keys of the first object of JSON lines."""
    if schema.format == "parquet":
        return _parquet_columns(path)
    if schema.format == "jsonl":
        for line in _head(path).splitlines():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                return [str(key) for key in row]
        return []
    return _header(path, None, encoding_of(path))[0]


def suggestion(titles: list[str]) -> str:
    """What a mapping would likely say of columns, for a message; empty where their words say nothing."""
    found = suggest(titles, LOG_WORDS)
    if not {"session", "time", "event"} & set(found):
        return ""
    return "; a mapping reads others, likely are " + ", ".join(f"{name}: {title}" for name, title in found.items())


def what_is_lacking(titles: Sequence[str]) -> str:
    """What a mapping would have to say of columns that are of no known layout, for a message."""
    digits = [title for title in titles if title.replace(".", "", 1).isdigit()]
    if 2 * len(digits) > len(titles) or (digits and any(title[:4].isdigit() and "-" in title for title in titles)):
        return "; the first line holds numbers, so the file may have no header: put one above"
    found = suggest(titles, LOG_WORDS)
    likely = ", ".join(f"{name}: {title}" for name, title in found.items())
    lacking = [name for name in ("session", "time", "event") if name not in found]
    told = "; a mapping names those of session, time and event" + (f", likely are {likely}" if likely else "")
    if lacking:
        told += f"; no column sounds like {listed(lacking)}"
    if "event" in lacking:
        told += ", every: view_item in the mapping takes each row for one"
    return told


def format_of(path: Path) -> str:
    """csv, jsonl or parquet, by what a file holds.

    Raises:
        LogError: for an Excel file.
    """
    found = detect(path)
    assert found.format is not None
    return found.format


def complete(path: Path, schema: Schema) -> Schema:
    """A schema whose format, and of CSV encoding and separator, are found where it does not say."""
    if path.stat().st_size == 0:
        raise LogError(f"{path}: the file is empty")
    own = schema if schema.format is not None else replace(schema, format=format_of(path))  # type: ignore[arg-type]
    if own.format != "csv":
        return own
    encoding = own.encoding or encoding_of(path)
    _, separator = _header(path, own.separator, encoding)
    return replace(own, encoding=encoding, separator=separator)


def settle(path: Path, schema: Schema, sample: dict[str, pa.Array], lines: np.ndarray) -> Schema:
    """A schema whose form of times and decimal sign are found in a sample of its rows where it does not say.

    Raises:
        LogError: where they can be read in two ways, with both and the key that settles it.
    """
    try:
        if schema.time_unit is None:
            cells = pd.Series(sample["time"].to_pylist(), dtype=object)
            title = listed(schema.columns["time"])
            form = dates.detect(cells, lines, str(path), title)
            if form is not None and form.kind == "number":
                raise LogError(
                    f"{path}:{lines[0]}: {title} {str(cells.iloc[0])!r} is no time since 1970 in s, ms, us or ns and "
                    "no date; time_unit: in the mapping sets its form"
                )
            told = "iso" if form is None or form.kind == "ymd" else form.told
            schema = replace(schema, time_unit=told)
        if schema.decimal is None and schema.format == "csv":
            cells = pd.Series(sample["price"].to_pylist(), dtype=object)
            own = numbers.column("price", listed(schema.columns.get("price", ("price",))), cells, lines, True)
            schema = replace(schema, decimal=numbers.settle([own], str(path))["price"])
    except IntakeError as error:
        raise LogError(str(error).replace("date_format:", "time_unit:")) from None
    return schema if schema.decimal is not None else replace(schema, decimal=".")


def read_as(schema: Schema) -> tuple[str, ...]:
    """How a log is understood, in words."""
    said = [] if schema.name == "mapping" else [f"known as a log of {schema.name}"]
    if schema.format == "csv":
        separator = texts.SEPARATORS.get(schema.separator or ",", repr(schema.separator))
        said += [f"{separator} between columns", schema.encoding or "utf-8"]
    else:
        said.append({"jsonl": "JSON lines", "parquet": "Parquet"}[schema.format or "jsonl"])
    units = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
    unit = schema.time_unit or "iso"
    said.append(f"times in {units[unit]} since 1970" if unit in units else f"times {unit}")
    if schema.decimal == ",":
        said.append("decimal comma")
    return tuple(said)

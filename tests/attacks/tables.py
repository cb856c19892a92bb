"""Sales and logs that are cut, flipped, of another encoding, too large, or no tables at all; whole and compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from tests.attacks import corruptions
from tests.attacks.corruptions import Broken
from tests.attacks.outcome import ANY, REFUSED, Attempt

_MAPPING = "session: session\ntime: time\nevent: event\nitem: item\nprice: price\nlabel: who\nhuman: [h]\nagent: [a]\n"
_RATIO = 1 << 30  # bytes of a bomb


def sales(random: random.Random) -> pd.DataFrame:
    """A plain table of sales."""
    rows = [
        {"product": product, "period": period, "units": random.randrange(5, 40), "price": round(1 + random.random(), 2)}
        for product in ("tea", "coffee", "Käse")
        for period in range(40)
    ]
    return pd.DataFrame(rows)


def visits(random: random.Random) -> pd.DataFrame:
    """A plain log of visits."""
    rows = []
    for session in range(30):
        at = pd.Timestamp("2024-03-01") + pd.Timedelta(hours=session)
        for step, event in enumerate(("view_item", "view_item", "add_to_cart", "purchase")[: random.randrange(1, 5)]):
            rows.append(
                {
                    "session": f"s{session}", "time": (at + pd.Timedelta(seconds=30 * step)).isoformat(),
                    "event": event, "item": f"i{random.randrange(3)}", "price": round(2 + random.random(), 2),
                    "who": "ha"[session % 2],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def check_sales(path: Path) -> tuple[int, float]:
    """Read sales as `--check` does, and write what is set aside; rows and units that were read."""
    from marl_pricing.calibration.mapping import CalibrationError, Mapping, read_mapping
    from marl_pricing.calibration.reading import read_sales
    from marl_pricing.doors import say_errors

    mapping = path.with_name(f"{path.name}.yaml")
    with say_errors(CalibrationError):
        own = read_mapping(mapping) if mapping.exists() else Mapping()
        table = read_sales(path, own, quarantine=path.with_suffix(".aside")).table
        return len(table), float(table["units"].sum())
    raise AssertionError


def check_log(path: Path) -> None:
    """Read a log as its command does."""
    from marl_pricing.traffic.logs.__main__ import main
    from tests.attacks.outcome import in_door

    mapping = path.with_name("mapping.yaml")
    told = ["--mapping", str(mapping)] if path.suffix != ".p4p" else []
    in_door(main, str(path), *told, "--quarantine", str(path.with_suffix(".aside")))


def _bytes_of(table: pd.DataFrame, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "xlsx":
        table.to_excel(buffer, index=False)
    elif kind == "parquet":
        table.to_parquet(buffer, index=False)
    elif kind == "jsonl":
        return table.to_json(orient="records", lines=True, force_ascii=False).encode()
    else:
        return table.to_csv(index=False, sep=";" if kind == "semicolon.csv" else ",").encode()
    return buffer.getvalue()


def _bomb(head: bytes, line: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9) as stream:
        stream.write(head)
        block = line * ((1 << 20) // len(line) + 1)
        for _ in range(_RATIO // len(block)):
            stream.write(block)
    return buffer.getvalue()


def _wide_parquet(names: list[str]) -> bytes:
    """134 million rows of one value each, in a few thousand bytes."""
    buffer = io.BytesIO()
    count = 1 << 22
    values = pa.table({name: pa.array([1], pa.int8()).take(pa.array([0] * count, pa.int8())) for name in names})
    with parquet.ParquetWriter(buffer, values.schema, compression="zstd") as writer:
        for _ in range(32):
            writer.write_table(values)
    return buffer.getvalue()


def _long_text(table: pd.DataFrame) -> bytes:
    """A million rows with the same text of 64 KiB, which stands in the file once."""
    buffer = io.BytesIO()
    one = {name: pa.array([own]) for name, own in table.iloc[0].items()}
    texts = [name for name, own in one.items() if pa.types.is_string(own.type)]
    one[texts[-1]] = pa.array(["x" * (1 << 16)])
    rows = pa.table({name: pa.DictionaryArray.from_arrays([0] * 1_000_000, own) for name, own in one.items()})
    with parquet.ParquetWriter(buffer, rows.schema, store_schema=False) as writer:
        writer.write_table(rows)
    return buffer.getvalue()


def _zip_bomb(content: bytes) -> bytes:
    """A workbook with a sheet that unpacks to 1.2 GiB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name != "xl/worksheets/sheet1.xml":
                new.writestr(name, old.read(name))
        with new.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>')
            for _ in range(1250):
                sheet.write(b"<row/>" * ((1 << 20) // 6))
    return buffer.getvalue()


def _sheet(content: bytes, old: bytes, new: bytes) -> bytes:
    """A workbook whose sheet says something else: what matches `old` is `new`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as changed:
        for name in whole.namelist():
            own = whole.read(name)
            changed.writestr(name, re.sub(old, new, own) if name == "xl/worksheets/sheet1.xml" else own)
    return buffer.getvalue()


def _sheets(content: bytes) -> Iterator[tuple[Broken, bool]]:
    """(workbook, whether it is right): sheets that are larger or smaller than they say, and rows far away."""
    size = rb"<dimension[^>]*/>"
    for told in (b"A1:D5", b"A1", b"A1:XFD1048576", b"C7:D9"):
        yield (
            Broken(f"a sheet that says it is {told.decode()}", _sheet(content, size, b'<dimension ref="%b"/>' % told)),
            True,
        )
    yield Broken("a sheet that tells no size", _sheet(content, size, b"")), True
    for cell, told in ((b"A2000000000", "a row too far"), (b"ZZZZZ200", "a column too far")):
        row = b'<row r="%b"><c r="%b"><v>1</v></c></row></sheetData>' % (cell.strip(b"AZ"), cell)
        yield Broken(told, _sheet(content, b"</sheetData>", row)), False


def _wide(head: bytes, line: bytes, count: int) -> bytes:
    """A row with so many columns more."""
    return (
        head.rstrip()
        + b"".join(b",x%d" % number for number in range(count))
        + b"\n"
        + line.rstrip()
        + b",1" * count
        + b"\n"
    )


def large(kind: str, table: pd.DataFrame) -> Iterator[tuple[str, Broken]]:
    """(suffix, file) of files that would take far more than they are."""
    head, *lines = _bytes_of(table, "csv").splitlines(keepends=True)
    yield ".csv.gz", Broken("1 GiB of one row", _bomb(head, lines[0]))
    yield ".csv.gz", Broken("1 GiB without an end of line", _bomb(b"", b"x"))
    yield ".csv.gz", Broken("1 GiB of NUL", _bomb(head, b"\0"))
    yield ".parquet", Broken("134 million rows", _wide_parquet(list(table.columns)))
    yield ".parquet", Broken("a long text in a million rows", _long_text(table))
    yield ".csv", Broken("a million columns", _wide(head, lines[0], 1_000_000))
    yield ".csv", Broken("a column that is called 16 MiB", head.rstrip() + b"," + b"x" * (1 << 24) + b"\n" + lines[0])
    if kind == "sales":
        yield ".csv.gz", Broken("24 million rows of 8 bytes", gzip.compress(head + b"a,1,1,1\n" * 24_000_000, 6))
        yield ".xlsx", Broken("a sheet of 1.2 GiB", _zip_bomb(_bytes_of(table, "xlsx")))
        for number, told in ((86_400, "days in seconds"), (3600, "hours in seconds"), (10**15, "numbers of 15 digits")):
            own = table.assign(period=1_700_000_000 + number * table["period"])
            yield ".numbers.csv", Broken(f"periods that are {told}", _bytes_of(own, "csv"))
        yield ".numbers.csv", Broken("two far periods", head + b"a,0,1,1\na,1000000000,2,2\nb,5,1,2\n" + lines[0])


def _put(path: Path, broken: Broken, call: Callable[[Path], Any]) -> Any:
    corruptions.put(path, broken)
    try:
        return call(path)
    finally:
        path.unlink() if path.is_file() else path.rmdir()


def _attempts(
    kind: str, table: pd.DataFrame, call: Callable[[Path], Any], formats: tuple[str, ...], folder: Path, seed: int,
    share: float,
) -> Iterator[Attempt]:  # fmt: skip
    drawn = random.Random(seed)
    files: list[tuple[str, Broken]] = []
    for name in formats:
        content = _bytes_of(table, name)
        ways = [*corruptions.fixed(content), *corruptions.drawn(content, drawn, 24)]
        if name.endswith("csv"):
            ways += corruptions.csv_shaped(content, drawn, 40, ";" if name == "semicolon.csv" else ",")
        files += [(f".{name}", own) for own in ways]
    packed = gzip.compress(_bytes_of(table, "csv"), mtime=0)
    files += [(".csv.gz", own) for own in (*corruptions.fixed(packed), *corruptions.drawn(packed, drawn, 60))]
    files += [(".csv.gz", Broken("not compressed", _bytes_of(table, "csv")))]
    files += [(".csv.bz2", Broken("bzip2", bz2.compress(_bytes_of(table, "csv"))))]
    chosen = [(name, own, ANY) for name, own in drawn.sample(files, round(share * len(files)))]
    chosen += [(name, own, REFUSED) for name, own in large(kind, table)] if share >= 0.2 else []
    if kind == "sales":
        right = (len(table), float(table["units"].sum()))
        sheets = _sheets(_bytes_of(table, "xlsx"))
        chosen += [(".xlsx", own, right if good else REFUSED) for own, good in sheets]
    for number, (suffix, broken, right) in enumerate(chosen):
        path = folder / f"{kind}_{number}{suffix}"
        if suffix == ".numbers.csv":
            path.with_name(f"{path.name}.yaml").write_text("date_format: number\nabsent: zero\n")
        yield Attempt(
            f"{kind}: {suffix.replace('.numbers', '')}", broken.told, partial(_put, path, broken, call), right,
            names=path.name,
        )  # fmt: skip


def sales_attempts(folder: Path, seed: int, share: float) -> Iterator[Attempt]:
    """Files of sales."""
    formats = ("csv", "semicolon.csv", "xlsx", "parquet")
    yield from _attempts("sales", sales(random.Random(seed)), check_sales, formats, folder, seed, share)


def log_attempts(folder: Path, seed: int, share: float) -> Iterator[Attempt]:
    """Files of interactions."""
    (folder / "mapping.yaml").write_text(_MAPPING)
    formats = ("csv", "semicolon.csv", "jsonl", "parquet")
    yield from _attempts("log", visits(random.Random(seed)), check_log, formats, folder, seed, share)


def first() -> None:
    """Import what reading takes."""
    from marl_pricing.calibration import reading  # noqa: F401
    from marl_pricing.traffic.logs import reading as logs  # noqa: F401

"""Writing events as logs, in the layouts in which logs are read."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from marl_pricing.traffic.logs.records import tidy
from marl_pricing.traffic.logs.schemas import refuse

_ROWS = 100_000  # that are turned into text at a time
# Column of a tidy frame → column of the table; the label is written twice, as the logs have it.
_TABLE = {
    "actor": "actor_type",
    "session": "sessionId",
    "experiment": "experimentId",
    "mode": "storeMode",
    "time": "ts",
    "logged_event": "eventName",
    "page": "page",
    "item": "productId",
    "price": "price",
    "user_agent": "userAgent",
    "dwell_ms": "metadata_dwellTime",
    "declared": "agentIdentity",
    "filters": "metadata_filters",
    "element_text": "metadata_elementText",
}
_FREE = {
    "price": "price",
    "dwell_ms": "dwellTime",
    "actor": "actor_type",
    "filters": "filters",
    "element_text": "elementText",
}
_EVENT = {name: key for name, key in _TABLE.items() if name not in _FREE}


def _clock(times: pd.Series) -> np.ndarray:
    """Times as ISO 8601 with microseconds and Z."""
    array = pa.array(times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("M8[us]"))
    return pc.binary_join_element_wise(pc.strftime(array, "%Y-%m-%dT%H:%M:%S"), "Z", "").to_numpy(zero_copy_only=False)


def _json_lines(events: pd.DataFrame) -> Iterator[str]:
    for start in range(0, len(events), _ROWS):
        part = events.iloc[start : start + _ROWS]
        part = part.assign(time=_clock(part["time"]))
        columns = {name: part[name].astype(object).where(part[name].notna(), None) for name in (*_EVENT, *_FREE)}
        outer = zip(*(columns[name] for name in _EVENT), strict=True)
        inner = zip(*(columns[name] for name in _FREE), strict=True)
        lines = []
        for event, free in zip(outer, inner, strict=True):
            row = dict(zip(_EVENT.values(), event, strict=True))
            row["metadata"] = {key: value for key, value in zip(_FREE.values(), free, strict=True) if value is not None}
            lines.append(json.dumps(row, ensure_ascii=False))
        yield "\n".join(lines) + "\n"


def _table_rows(events: pd.DataFrame, prices: pd.DataFrame | None) -> Iterator[str]:
    kinds = [("interaction", events)] + ([("price_log", prices)] if prices is not None else [])
    header = True
    for kind, rows in kinds:
        for start in range(0, max(len(rows), 1), _ROWS):
            part = rows.iloc[start : start + _ROWS].reindex(columns=list(_TABLE))
            part = part.assign(time=_clock(part["time"]) if len(part) else []).rename(columns=_TABLE)
            part.insert(1, "is_agent", part["actor_type"].astype("str").map({"agent": "true", "human": "false"}))
            part.insert(2, "record_type", kind)
            yield part.to_csv(index=False, header=header, lineterminator="\n")
            header = False


def write_log(
    path: Path | str,
    events: pd.DataFrame,
    schema: Literal["p4p", "whoclickedit"] = "p4p",
    prices: pd.DataFrame | None = None,
) -> Path:
    """Write events so that `read_log` finds the same frame again; a reader sees the whole file or none of it.

    Args:
        path: compressed if it ends in .gz.
        events: columns of `Log.events`.
        schema: "p4p" (JSON lines; the label goes into the metadata) or "whoclickedit" (flattened CSV).
        prices: price records with the columns of `Log.prices`, for "whoclickedit" only.

    Raises:
        ValueError: for another schema, or prices where there is no place for them.
    """
    if schema not in ("p4p", "whoclickedit"):
        raise refuse("schema", schema, "'p4p' or 'whoclickedit'")
    if prices is not None and schema == "p4p":
        raise refuse("schema", schema, "'whoclickedit' where price records are to be written")
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    tidied = tidy(events)
    pieces = _json_lines(tidied) if schema == "p4p" else _table_rows(tidied, prices)
    try:
        with partial.open("wb") as raw:
            if target.suffix == ".gz":
                # No time and no name inside, so that equal logs are equal files.
                with gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
                    for piece in pieces:
                        stream.write(piece.encode())
            else:
                for piece in pieces:
                    raw.write(piece.encode())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target

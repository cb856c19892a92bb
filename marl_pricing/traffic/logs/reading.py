"""Reading a log: chunks, judgements, one tidy table."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from marl_pricing.intake import shown
from marl_pricing.traffic.events import ACTIONS, END, START, report_unknown
from marl_pricing.traffic.logs.detecting import complete, detect, read_as, settle
from marl_pricing.traffic.logs.layouts import SCHEMAS
from marl_pricing.traffic.logs.records import finish, join, judge, sort
from marl_pricing.traffic.logs.schemas import (
    LogError,
    Schema,
    from_mapping,
    load_mapping,
    names_columns,
    refuse,
)
from marl_pricing.traffic.logs.sources import Fault, read_chunks
from marl_pricing.traffic.logs.summary import actors_of

_SAMPLE = 20_000  # rows that tell the form of times and the decimal sign


@dataclass(frozen=True)
class Log:
    """What a log holds.

    Attributes:
        events: one row an event, by session and time. Columns: session (text), actor ("human", "agent" or missing),
            experiment, mode, time (UTC, microseconds), event (of the vocabulary), logged_event (as logged), page, item
            (text), price (money, NaN where there is none), dwell_ms (milliseconds, NaN where there is none),
            user_agent, declared ("none", "declared", "verified": what the session says of itself; missing where the log
            does not tell), filters (parameters of filter events, JSON as it stands) and element_text (of what a dwell
            event looked at). Texts but session and item are categories.
        prices: one row a price that was shown, in the order of the file: item, price, session, mode, time.
        rows: rows of the file, its header and blank lines not counted.
        rejected: rows that are no record.
        reasons: rejected rows by reason; also "out_of_order", events earlier than the one before them in their session,
            which are sorted and not rejected.
        duplicates: events that are equal to another in all columns, dropped.
        split_sessions: sessions that were idle for too long and became several, "name", "name#2", "name#3" …
        unknown_events: logged names that are not in the vocabulary, by how often they occur; those whose beginning is
            known were taken for the nearest event, the others rejected.
        left_out_events: logged names that the schema leaves out, by how often they occur; they are not rejected.
        read_as: how the file was understood, in words.
        schema: that it was read by, everything said.
    """

    events: pd.DataFrame
    prices: pd.DataFrame
    rows: int
    rejected: int
    reasons: Counter[str]
    duplicates: int
    split_sessions: int
    unknown_events: Counter[str]
    left_out_events: Counter[str] = field(default_factory=Counter)
    read_as: tuple[str, ...] = ()
    schema: Schema | None = None


@contextmanager
def _quarantine(path: Path | None) -> Iterator[Any]:
    """A function that writes faults down; the file is there when all are written, and also if the log is refused."""
    if path is None:
        yield lambda faults: None
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["line", "reason", "text"])
            yield lambda faults: writer.writerows([fault.line, fault.reason, fault.text] for fault in faults)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _schema(path: Path, schema: str, mapping: Mapping[str, Any] | Path | str | None) -> Schema:
    if mapping is not None:
        if schema != "auto":
            raise refuse("schema", schema, "'auto' where a mapping is given")
        data, _ = load_mapping(mapping)
        base = None if names_columns(data) else detect(path, data.get("separator"))
        return from_mapping(mapping, base)
    if schema == "auto":
        return detect(path)
    if schema not in SCHEMAS:
        raise refuse("schema", schema, f"auto, {', '.join(SCHEMAS)}, or a mapping")
    return SCHEMAS[schema]


def settled_schema(path: Path, schema: str, mapping: Mapping[str, Any] | Path | str | None) -> Schema:
    """The schema that a log is read by, with all that was to be found found.

    Raises:
        LogError: where something can be read in two ways, and for files that are no logs.
    """
    layout = complete(path, _schema(path, schema, mapping))
    if layout.time_unit is not None and layout.decimal is not None:
        return layout
    first = next(read_chunks(path, layout, _SAMPLE, whole=False), None)
    if first is None or not len(first.lines):
        return layout
    return settle(path, layout, first.fields, first.lines)


# What sets a faulty field right, by reason.
_HELP = {
    "time": "time_unit: in a mapping sets its form",
    "event": "events: in a mapping says what a name means, or null to leave it out",
    "price": "decimal: in a mapping sets its decimal sign",
    "label": "human: and agent: in a mapping list the labels",
    "no session": "session: in a mapping names the column or key, and one row is one event",
    "no time": "time: in a mapping names the column or key, and one row is one event",
    "no event": "event: in a mapping names the column or key, every: says what each row is",
    "number of fields": "separator: in a mapping sets what separates columns",
}


def _refusal(path: Path, first: Fault, rejected: int, rows: int, share: float) -> LogError:
    value = f" {shown(first.value)}" if first.value else ""
    text = f", {shown(first.text)}" if not value and first.text else ""
    helped = f"; {_HELP[first.reason]}" if first.reason in _HELP else ""
    return LogError(
        f"{path}:{first.line}: {first.reason}{value or text}; {rejected:,} of {rows:,} rows "
        f"({100 * rejected / rows:.3g} %) are no records, accepted are {100 * share:.3g} %{helped}"
    )


def _out_of_order(frame: pd.DataFrame) -> int:
    """Events of a frame in file order that are earlier than the one before them in their session."""
    session, time = frame["session"].cat.codes.to_numpy(), frame["time"].to_numpy()
    order = np.argsort(session, kind="stable")
    return int(((np.diff(session[order]) == 0) & (np.diff(time[order]) < 0)).sum())


def _split(path: Path, frame: pd.DataFrame, idle_minutes: float) -> tuple[pd.DataFrame, int]:
    """A sorted frame with a new session after each gap that is longer than allowed, and how many were split."""
    session, time = frame["session"].cat.codes.to_numpy(), frame["time"].to_numpy()
    new = np.r_[True, np.diff(session) != 0]
    late = np.r_[False, np.diff(time) > idle_minutes * 60e6] & ~new
    if not late.any():
        return frame, 0
    # Pieces are numbered from 1 in each session.
    pieces = np.cumsum(late)
    piece = pieces - np.maximum.accumulate(np.where(new, pieces, 0)) + 1
    names = frame["session"].astype(object).to_numpy(copy=True)
    names[piece > 1] = [f"{name}#{number}" for name, number in zip(names[piece > 1], piece[piece > 1], strict=True)]
    taken = set(names[piece > 1]) & set(frame["session"].cat.categories)
    if taken:
        raise LogError(
            f"{path}: session {min(taken)!r} is there, and a session before its # is idle for so long as to "
            f"be split into that name: accepted is another idle_minutes"
        )
    split = frame.assign(session=pd.Categorical(pd.Series(names, dtype="str")))
    return sort(split), len(np.unique(session[late]))


def read_log(
    path: Path | str,
    *,
    schema: str = "auto",
    mapping: Mapping[str, Any] | Path | str | None = None,
    bad_share: float = 0.05,
    quarantine: Path | str | None = None,
    idle_minutes: float = 30.0,
    chunk_rows: int = 200_000,
) -> Log:
    """Read a log of interactions; .gz files are read as they are.

    Args:
        schema: "p4p" (JSON lines, bare or in a message queue's envelope), "whoclickedit" (flattened CSV), or "auto" for
            one of these or of the public layouts by what the file holds.
        mapping: columns of any other CSV, JSON lines or Parquet file, or a YAML file with them; see `from_mapping`.
            Without columns it says how those of the layout found are to be read.
        bad_share: share of rows, 0 to 1, that may be no records; with more the file is refused.
        quarantine: file to write the rejected rows to, as CSV with line, reason and text; also if the log is refused.
        idle_minutes: a session without an event for longer than this becomes two.
        chunk_rows: rows that are parsed at a time.

    Raises:
        LogError: one line that names the file, where there is one the line, and what is wrong with it.
        ValueError: for an argument that cannot be had.
    """
    path = Path(path)
    if not 0 <= bad_share <= 1:
        raise refuse("bad_share", bad_share, "a number from 0 to 1")
    if not idle_minutes > 0:
        raise refuse("idle_minutes", idle_minutes, "a number above 0")
    if chunk_rows < 1:
        raise refuse("chunk_rows", chunk_rows, "a whole number of at least 1")
    if not path.is_file():
        raise LogError(f"{path}: there is no such file")
    layout = settled_schema(path, schema, mapping)
    rows, reasons, unknown, left_out = 0, Counter[str](), Counter[str](), Counter[str]()
    first: Fault | None = None
    events, prices = [], []
    with _quarantine(Path(quarantine) if quarantine is not None else None) as set_aside:
        for chunk in read_chunks(path, layout, chunk_rows, whole=quarantine is not None):
            judged = judge(chunk, layout)
            set_aside(judged.faults)
            rows += judged.rows
            reasons.update(fault.reason for fault in judged.faults)
            unknown.update(judged.unknown)
            left_out.update(judged.left_out)
            for name, line in judged.purchases.items():
                raise LogError(
                    f"{path}:{line}: event {shown(name)} sounds like a purchase and is no word of ours, so its orders "
                    f"would be lost; events: {{{name}: purchase}} in a mapping says so, events: {{{name}: null}} "
                    "leaves it out"
                )
            first = first or next(iter(judged.faults), None)
            events.append(judged.events)
            prices.append(judged.prices)
    rejected = sum(reasons.values())
    if first is not None and (rejected > bad_share * rows or rejected == rows):
        raise _refusal(path, first, rejected, rows, bad_share)
    if not rows:
        raise LogError(f"{path}: no usable row, there are none below the header")
    report_unknown(unknown)
    frame = join(events)
    out_of_order = _out_of_order(frame)
    if out_of_order:
        reasons["out_of_order"] = out_of_order
    frame = sort(frame)
    same = frame.duplicated().to_numpy()
    frame, split_sessions = _split(path, frame[~same].reset_index(drop=True), idle_minutes)
    return Log(
        finish(frame), finish(join(prices)), rows, rejected, reasons, int(same.sum()), split_sessions, unknown,
        left_out, read_as(layout), layout,
    )  # fmt: skip


def sessions_of(log: Log, actor: Literal["human", "agent"] | None = None) -> list[list[str]]:
    """Events of each session in order, for `kernels.encode` and `kernels.states_of`.

    Logged starts and ends are left out; a session of nothing else is an empty list.

    Args:
        actor: whose sessions; None for all, also those of nobody known. Where a session's rows name one actor and
            leave others blank, it is that actor's.

    Raises:
        LogError: if a session has rows of both actors.
    """
    words = np.asarray(log.events["event"], object)
    return [[word for word in words[piece] if word not in (START, END)] for piece in _pieces(log.events, actor)]


def _pieces(events: pd.DataFrame, actor: str | None) -> list[slice]:
    """Rows of each session of an actor, or of all."""
    codes = pd.factorize(events["session"])[0]
    starts = np.flatnonzero(np.r_[True, np.diff(codes) != 0]) if len(events) else np.zeros(0, int)
    keep = np.ones(len(starts), bool)
    if actor is not None:
        keep = actors_of(events).eq(actor).fillna(False).to_numpy(bool)
    ends = np.append(starts[1:], len(events))
    return [slice(first, last) for first, last, kept in zip(starts, ends, keep, strict=True) if kept]


def times_of(events: pd.DataFrame, actor: Literal["human", "agent"] | None = None) -> list[tuple[np.ndarray, float]]:
    """Times of each session, in the order of `sessions_of`: (seconds of each event since the first, dwell in all)."""
    seconds = events["time"].astype("int64").to_numpy() / 1e6
    dwell = events["dwell_ms"].fillna(0.0).to_numpy() / 1e3
    inner = ~events["event"].isin([START, END]).to_numpy()
    dwells = events["event"].astype("str").map(ACTIONS).eq("dwell").to_numpy()
    found = []
    for piece in _pieces(events, actor):
        own = seconds[piece][inner[piece]]
        found.append((own - own[:1], float(dwell[piece][dwells[piece]].sum())))
    return found

"""Rows of a log judged one chunk at a time: what is an event, what is a price, and what is neither and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from marl_pricing.intake import dates, numbers
from marl_pricing.traffic.events import canonical, is_known, sounds_like_purchase
from marl_pricing.traffic.logs.schemas import Schema
from marl_pricing.traffic.logs.sources import Chunk, Fault

_NAT = int(np.iinfo(np.int64).min)  # what pandas holds for a time that is none

# Columns of tidy events, in order.
COLUMNS = (
    *("session", "actor", "experiment", "mode", "time", "event"),
    *("logged_event", "page", "item", "price", "dwell_ms", "user_agent", "declared", "filters", "element_text"),
)
PRICE_COLUMNS = ("item", "price", "session", "mode", "time")
_TIME = pa.timestamp("us", "UTC")

_INTEGER = r"^[+-]?\d+(\.\d+)?$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_YES, _NO = ("true", "1", "yes", "1.0"), ("false", "0", "no", "0.0")
# What a session says of itself: nothing, that it is an agent's, or that and a signature that was checked.
_SAID = {**dict.fromkeys((*_NO, "none"), "none"), **dict.fromkeys((*_YES, "declared"), "declared"),
         **dict.fromkeys(("verified", "signed"), "verified")}  # fmt: skip
# Times in logs of the named schemas have to fall into these years: seconds taken for milliseconds would all lie in
# January 1970. A user's own mapping says its unit and may have any time.
_PLAUSIBLE = tuple(int(pd.Timestamp(f"{year}-01-01").timestamp() * 1e6) for year in (2000, 2100))
# Microseconds in a unit of time since 1970; "any" is ISO 8601 or milliseconds.
_MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3, "any": 1e3}
# Where the value stands that a reason is about.
_ABOUT = {
    "record_type": "record", "time": "time", "event": "event", "label": "actor", "price": "price",
    "dwell time": "dwell_ms", "is_agent contradicts actor_type": "is_agent",
    "declaration": "declared",
}  # fmt: skip
_YEARS_1_TO_9999 = (-62_135_596_800_000_000, 253_402_300_799_999_999)


@dataclass(frozen=True)
class Judged:
    """A chunk: events (`COLUMNS`), prices (`PRICE_COLUMNS`), faults, rows, and names that are not in the vocabulary.

    `left_out` are names that a schema leaves out; `purchases` those that would be dropped and sound like a purchase,
    with the first line of each.
    """

    events: pa.Table
    prices: pa.Table
    faults: list[Fault]
    rows: int
    unknown: Counter[str]
    left_out: Counter[str]
    purchases: dict[str, int]


def _mask(values: pa.Array) -> np.ndarray:
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)


def _numbers(texts: pa.Array, decimal: str = "plain") -> tuple[np.ndarray, np.ndarray]:
    """Texts as float64 [R], NaN where there is none; and where a text is no finite number of at least 0.

    Args:
        decimal: "plain" for numbers as programs write them; else the decimal sign of numbers as people do.
    """
    if decimal != "plain":
        coded = texts.dictionary_encode()
        parts = [numbers.take_apart(text) for text in coded.dictionary.to_pylist()]
        plain = [None if own is None else str(numbers.value_of(own, decimal)) for own in parts]
        read = pa.array(plain, pa.string()).take(coded.indices)
        # What is no number stays as it stands, and is none below.
        texts = pc.coalesce(read, texts)
    fits = pc.match_substring_regex(texts, _NUMBER)
    values = pc.if_else(pc.fill_null(fits, False), texts, None).cast(pa.float64()).to_numpy(zero_copy_only=False)
    given = texts.is_valid().to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        return values, given & ~(np.isfinite(values) & (values >= 0))


def _iso(texts: pa.Array) -> np.ndarray:
    """ISO 8601 as microseconds since 1970 [R], `_NAT` where a text is no time of years 1 to 9999; UTC without zone."""
    texts = pc.replace_substring_regex(texts, r"\s+(UTC|GMT)$", "Z")
    try:
        found = texts.cast(_TIME).cast(pa.int64()).fill_null(_NAT).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        # Slower, and takes each form of the standard and each text by itself.
        parsed = pd.to_datetime(pd.Series(texts.to_pandas()), format="ISO8601", utc=True, errors="coerce")
        found = pd.DatetimeIndex(parsed).as_unit("us").asi8
    first, last = _YEARS_1_TO_9999
    return np.where((found >= first) & (found <= last), found, _NAT)


def _times(texts: pa.Array, unit: str) -> np.ndarray:
    """Microseconds since 1970 [R] int64, `_NAT` where a text is no time."""
    if unit == "iso":
        return _iso(texts)
    if unit not in _MICROSECONDS:
        cells = pd.Series(texts.to_pandas(), dtype=object).fillna("")
        return pd.DatetimeIndex(dates.parse(cells, dates.form_named(unit), utc=True)).as_unit("us").asi8
    fits = pc.match_substring_regex(texts, _INTEGER)
    counts = pc.if_else(pc.fill_null(fits, False), texts, None).cast(pa.float64()).to_numpy(zero_copy_only=False)
    counts = np.round(counts * _MICROSECONDS[unit])
    first, last = _PLAUSIBLE if unit == "any" else _YEARS_1_TO_9999
    with np.errstate(invalid="ignore"):
        fine = (counts >= first) & (counts <= last)
    times = np.where(fine, np.where(fine, counts, 0).astype(np.int64), _NAT)
    others = _mask(pc.and_(texts.is_valid(), pc.invert(pc.fill_null(fits, False))))
    if unit == "any" and others.any():
        found = _iso(texts.filter(pa.array(others)))
        times[others] = np.where((found >= first) & (found <= last), found, _NAT)
    return times


def _lookup(texts: pa.Array, answer: Mapping[str, str | None]) -> pa.Array:
    """Texts replaced by what `answer` has for them, null where it has nothing."""
    found = pa.array([answer.get(key) for key in answer], pa.string())
    return found.take(pc.index_in(texts, pa.array(list(answer), pa.string())))


def _actors(fields: dict[str, pa.Array], schema: Schema) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Who acts [R] (null where unknown), where a label is neither, and where two labels contradict each other."""
    label, flag = (pc.utf8_lower(fields[name]) for name in ("actor", "is_agent"))
    named = _lookup(label, dict.fromkeys(schema.human, "human") | dict.fromkeys(schema.agent, "agent"))
    flagged = _lookup(flag, dict.fromkeys(_YES, "agent") | dict.fromkeys(_NO, "human"))
    neither = _mask(pc.and_(label.is_valid(), named.is_null())) | _mask(pc.and_(flag.is_valid(), flagged.is_null()))
    return pc.coalesce(named, flagged), neither, _mask(pc.not_equal(named, flagged))


def _coded(column: pa.Array) -> pa.Array:
    return column.dictionary_encode()


_TEXTS = ("session", "experiment", "mode", "page", "item", "user_agent", "filters", "element_text")


def judge(chunk: Chunk, schema: Schema) -> Judged:
    """Tell events, prices and faulty rows of a chunk apart; a row is refused for the first reason that holds."""
    fields, length = chunk.fields, len(chunk.lines)
    record = pc.coalesce(pc.utf8_lower(fields["record"]), pa.scalar("interaction"))
    is_price, is_event = _mask(pc.equal(record, "price_log")), _mask(pc.equal(record, "interaction"))
    logged = fields["event"]
    seen = Counter(
        {one["values"]: one["counts"] for one in pc.value_counts(logged.filter(pa.array(is_event))).to_pylist()}
    )
    seen.pop(None, None)
    meaning = {name: schema.events[name] if name in schema.events else canonical(name) for name in seen}
    left_out = Counter({name: seen[name] for name in seen if name in schema.events and meaning[name] is None})
    dropped = [name for name in seen if meaning[name] is None and name not in left_out]
    event = _lookup(logged, meaning)
    times = _times(fields["time"], schema.time_unit or "any")
    price, bad_price = _numbers(fields["price"], schema.decimal or "plain")
    dwell, bad_dwell = _numbers(fields["dwell_ms"])
    actor, neither, contradicts = _actors(fields, schema)
    declared = _lookup(pc.utf8_lower(fields["declared"]), _SAID)
    absent = {
        name: fields[name].is_null().to_numpy(zero_copy_only=False)
        for name in ("session", "time", "event", "item", "price")
    }
    tests = {
        "record_type": ~is_price & ~is_event,
        "no session": is_event & absent["session"],
        "no time": absent["time"],
        "no event": is_event & absent["event"],
        "time": times == _NAT,
        "event": is_event & event.is_null().to_numpy(zero_copy_only=False),
        "label": neither,
        "is_agent contradicts actor_type": contradicts,
        "declaration": _mask(pc.and_(fields["declared"].is_valid(), declared.is_null())),
        "price": bad_price,
        "dwell time": bad_dwell,
        "no item": is_price & absent["item"],
        "no price": is_price & absent["price"],
    }
    is_out = is_event & _mask(pc.is_in(logged, pa.array(list(left_out), pa.string())))
    reason = np.zeros(length, np.int8)
    for code, wrong in enumerate(tests.values(), 1):
        reason[wrong & (reason == 0) & ~is_out] = code
    reasons = ["", *tests]
    faulty = np.flatnonzero(reason)

    def value(row: int) -> str:
        field = _ABOUT.get(reasons[reason[row]])
        return str(fields[field][row].as_py() or "") if field is not None else ""

    faults = chunk.faults + [
        Fault(int(chunk.lines[i]), reasons[reason[i]], chunk.text(int(i)), value(int(i))) for i in faulty
    ]
    purchases = {
        name: int(chunk.lines[pc.index(logged, name).as_py()]) for name in dropped if sounds_like_purchase(name)
    }
    columns = {
        **{name: _coded(fields[name]) for name in _TEXTS},
        "actor": _coded(actor),
        "declared": _coded(declared),
        "event": _coded(event),
        "logged_event": _coded(logged),
        "time": pa.array(times, pa.int64()),
        "price": pa.array(price),
        "dwell_ms": pa.array(dwell),
    }
    table = pa.table(columns)
    fine = (reason == 0) & ~is_out
    return Judged(
        table.select(COLUMNS).filter(pa.array(fine & is_event)),
        table.select(PRICE_COLUMNS).filter(pa.array(fine & is_price)),
        sorted(faults, key=lambda fault: fault.line),
        length + len(chunk.faults),
        Counter({name: count for name, count in seen.items() if name not in schema.events and not is_known(name)}),
        left_out,
        purchases,
    )


def _ordered(codes: np.ndarray, words: np.ndarray) -> pd.Categorical:
    """Categories in alphabetical order, those that occur only."""
    used = np.unique(codes[codes >= 0])
    order = used[np.argsort(words[used].astype(str), kind="stable")]
    # The last place is for code −1, a missing text.
    rank = np.full(len(words) + 1, -1, np.int64)
    rank[order] = np.arange(len(order))
    return pd.Categorical.from_codes(rank[codes], pd.Index(words[order], dtype="str"))


def join(parts: list[pa.Table]) -> pd.DataFrame:
    """Tables under each other: texts as categories in alphabetical order, times as microseconds since 1970."""
    table = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
    frame: dict[str, object] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            frame[name] = _ordered(codes, np.asarray(array.dictionary.to_pylist(), object))
        else:
            frame[name] = column.to_numpy()
    return pd.DataFrame(frame)


def sort(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of `join` by session and time; what is equal in both keeps its order."""
    order = np.lexsort((frame["time"].to_numpy(), frame["session"].cat.codes.to_numpy()))
    return frame.take(order).reset_index(drop=True)


def finish(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of `join` with the types that users get: sessions and items as texts, times in UTC."""
    time = pd.DatetimeIndex(frame["time"].to_numpy().astype("M8[us]")).tz_localize("UTC")
    texts = {name: frame[name].astype("str") for name in ("session", "item")}
    return frame.assign(**texts, time=time)


def tidy(events: pd.DataFrame) -> pd.DataFrame:
    """Events in the form in which `read_log` gives them: its columns and types, by session and time.

    Args:
        events: `COLUMNS`, of whatever text, number and time types; a column that is missing is empty, and
            `logged_event` is `event`.
    """
    columns: dict[str, object] = {}
    for name in COLUMNS:
        source = "event" if name == "logged_event" and name not in events else name
        column = events[source] if source in events else pd.Series(np.nan, events.index)
        if name == "time":
            columns[name] = pd.DatetimeIndex(pd.to_datetime(column, utc=True)).as_unit("us").asi8
        elif name in ("price", "dwell_ms"):
            columns[name] = column.to_numpy(np.float64)
        else:
            texts = column.astype("str").astype("category")
            columns[name] = _ordered(texts.cat.codes.to_numpy(), texts.cat.categories.to_numpy(object))
    return finish(sort(pd.DataFrame(columns)))

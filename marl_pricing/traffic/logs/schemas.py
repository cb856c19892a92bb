"""How logs of interactions are laid out: which column or key of a file is which field of an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from marl_pricing.intake import IntakeError, plain
from marl_pricing.intake.dates import form_named
from marl_pricing.intake.texts import known_encoding
from marl_pricing.traffic.events import ACTIONS, END, START

Format = Literal["csv", "jsonl", "parquet"]

# Fields of a row before it is judged, all texts; a schema says where each stands in a file.
FIELDS = (
    "session",
    "actor",
    "is_agent",
    "record",
    "experiment",
    "mode",
    "time",
    "event",
    "page",
    "item",
    "price",
    "dwell_ms",
    "user_agent",
    "declared",
    "filters",
    "element_text",
)


def refuse(field: str, value: object, accepted: str) -> ValueError:
    """The error for an argument that cannot be used."""
    return ValueError(f"{field}={value!r}: accepted is {accepted}")


class LogError(ValueError):
    """A log that cannot be read, as a whole. The message is one line, `PATH[:LINE]: what is wrong`."""


@dataclass(frozen=True)
class Schema:
    """Where the fields of an event stand in a file.

    Attributes:
        name: "p4p", "whoclickedit", "mapping", or of a public layout.
        format: how rows are told apart; None to be found.
        columns: field → columns or keys that may hold it, the first that is not empty counts. In JSON a dot leads into
            an object: `metadata.price`.
        needed: columns without which a CSV or Parquet file is none of this schema.
        time_unit: what a time is: "s", "ms", "us" or "ns" since 1970, "iso" (ISO 8601), "any" (ISO 8601 or "ms"), or a
            form of `intake.dates`; None to be found.
        human: labels of people, lower case.
        agent: labels of agents, lower case.
        events: logged event name → vocabulary, before the vocabulary's own aliases; None leaves the event out.
        joined: fields that all their columns together make, and not the first that says something.
        separator, encoding: of CSV; None to be found.
        every: what each row is, where no column says; None where one does.
        decimal: sign of decimals in prices that may have signs of thousands and currencies too; "plain" for numbers as
            programs write them, None to be found.
    """

    name: str
    format: Format | None
    columns: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...] = ()
    time_unit: str | None = "any"
    human: frozenset[str] = frozenset({"human"})
    agent: frozenset[str] = frozenset({"agent"})
    events: Mapping[str, str | None] = field(default_factory=dict)
    joined: frozenset[str] = frozenset()
    separator: str | None = None
    encoding: str | None = None
    every: str | None = None
    decimal: str | None = "plain"

    @property
    def accepted(self) -> tuple[str, ...]:
        """All columns or keys that are read."""
        return tuple(dict.fromkeys(name for names in self.columns.values() for name in names))


# Keys of a mapping that name a column, and the field each fills.
_COLUMN_KEYS = {
    "session": "session",
    "time": "time",
    "event": "event",
    "item": "item",
    "price": "price",
    "label": "actor",
    "experiment": "experiment",
    "mode": "mode",
    "page": "page",
    "dwell_ms": "dwell_ms",
    "user_agent": "user_agent",
    "declared": "declared",
    "filters": "filters",
    "element_text": "element_text",
}
_NEEDED_KEYS = ("session", "time", "event")
_OTHER_KEYS = ("format", "human", "agent", "time_unit", "events", "every", "separator", "encoding", "decimal")
_UNITS = ("s", "ms", "us", "ns", "iso")


def _load(path: Path) -> Any:
    if not path.exists():
        raise LogError(f"{path}: there is no such mapping")
    try:
        return plain.read_yaml(path)
    except IntakeError as error:
        raise LogError(f"{error}; it is no mapping in YAML") from None


def _labels(where: str, key: str, value: Any) -> frozenset[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values or any(isinstance(one, (dict, list)) or one is None for one in values):
        raise LogError(f"{where}: {key}={value!r}: accepted is a list of labels")
    # YAML reads true and 1 as no texts; files hold them as texts.
    return frozenset(str(one).strip().lower() for one in values)


def load_mapping(mapping: Mapping[str, Any] | Path | str) -> tuple[Mapping[str, Any], str]:
    """A mapping, and what messages call it.

    Raises:
        LogError: for a file that holds none, and for unknown keys.
    """
    where = "mapping" if isinstance(mapping, Mapping) else str(mapping)
    data = mapping if isinstance(mapping, Mapping) else _load(Path(mapping))
    if not isinstance(data, Mapping):
        raise LogError(f"{where}: accepted is a mapping with the keys {', '.join(_NEEDED_KEYS)}")
    known = dict.fromkeys([*_OTHER_KEYS, *_COLUMN_KEYS])
    unknown = [key for key in data if key not in known]
    if unknown:
        raise LogError(f"{where}: {unknown[0]!r} is no key of a mapping: accepted are {', '.join(known)}")
    return data, where


def names_columns(data: Mapping[str, Any]) -> bool:
    """Whether a mapping says what the columns are, or only how those of a known layout are to be read."""
    return any(data.get(key) is not None for key in _COLUMN_KEYS)


def _columns(data: Mapping[str, Any], where: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for key, value in data.items():
        if key not in _COLUMN_KEYS or value is None:
            continue
        names = value if isinstance(value, list) and key in ("session", "event") else [value]
        if not names or not all(isinstance(name, str) and name for name in names):
            raise LogError(f"{where}: {key}={value!r}: accepted is the name of a column")
        found[_COLUMN_KEYS[key]] = tuple(names)
    return found


def _events(data: Mapping[str, Any], where: str) -> dict[str, str | None]:
    names = data.get("events") or {}
    if not isinstance(names, Mapping):
        raise LogError(f"{where}: events={names!r}: accepted is a mapping of logged names to the vocabulary")
    for logged, event in names.items():
        if event is not None and event not in ACTIONS and event not in (START, END):
            raise LogError(
                f"{where}: events: {logged}: {event!r} is no event: accepted are {', '.join(ACTIONS)}, or null to "
                "leave it out"
            )
    return {str(logged).strip(): event for logged, event in names.items()}


def _file(data: Mapping[str, Any], where: str, base: Schema) -> Schema:
    """A schema with what a mapping says of the file itself and of its events."""
    changes: dict[str, Any] = {}
    kind, unit = data.get("format"), data.get("time_unit")
    if kind is not None:
        if kind not in ("csv", "jsonl", "parquet"):
            raise LogError(f"{where}: format={kind!r}: accepted is csv, jsonl, parquet")
        changes["format"] = kind
    if unit is not None:
        try:
            changes["time_unit"] = unit if unit in _UNITS else form_named(str(unit)).told
        except IntakeError:
            raise LogError(
                f"{where}: time_unit={unit!r}: accepted is {', '.join(_UNITS)}, or a form as dd.mm.yyyy"
            ) from None
    sign = data.get("decimal")
    sign = sign.get("price") if isinstance(sign, Mapping) else sign
    if sign is not None:
        if sign not in (".", ","):
            raise LogError(f"{where}: decimal={sign!r}: accepted is '.' or ','")
        changes["decimal"] = sign
    separator = data.get("separator")
    if separator is not None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise LogError(f"{where}: separator={separator!r}: accepted is one sign")
        changes["separator"] = separator
    if (every := data.get("every")) is not None:
        if every not in ACTIONS:
            raise LogError(f"{where}: every={every!r}: accepted is an event that each row is: {', '.join(ACTIONS)}")
        if data.get("event") is not None:
            raise LogError(f"{where}: every={every!r}: accepted is null where a column `event` is named")
        changes["every"] = every
    if data.get("encoding") is not None:
        try:
            changes["encoding"] = known_encoding(str(data["encoding"]))
        except IntakeError as error:
            raise LogError(f"{where}: {error}") from None
    return replace(base, **changes, events={**base.events, **_events(data, where)})


def from_mapping(mapping: Mapping[str, Any] | Path | str, base: Schema | None = None) -> Schema:
    """A schema from a mapping, or from a YAML file with one.

    Keys: the columns `session` (or several that make one together), `time` and `event` (or several, of which the first
    that says something counts) are needed; `item`, `price`,
    `label`, `experiment`, `mode`, `page`, `dwell_ms` and `user_agent` name further columns; `human` and `agent` list
    the labels (needed with `label`); `events` maps logged names to the vocabulary, or to null to leave them out.
    `every` is what each row is in a log whose columns do not say, as view_item. `format` (csv, jsonl or parquet),
    `time_unit` (s, ms, us, ns, iso or a form of dates), `separator`, `encoding` and `decimal` are found in the file
    where they are not given.

    Args:
        base: a known layout that a mapping without columns is about.

    Raises:
        LogError: naming the key that is missing, unknown or wrong.
    """
    data, where = load_mapping(mapping)
    if base is not None and not names_columns(data):
        if data.get("human") is not None or data.get("agent") is not None:
            raise LogError(f"{where}: human and agent are labels, but no column `label` is named")
        return _file(data, where, base)
    missing = [key for key in _NEEDED_KEYS if data.get(key) is None]
    if missing and not (missing == ["event"] and data.get("every") is not None):
        raise LogError(
            f"{where}: {', '.join(missing)} missing: needed are {', '.join(_NEEDED_KEYS)}, or every: in its place, an "
            "event that each row is"
        )
    columns = _columns(data, where)
    human, agent = frozenset[str](), frozenset[str]()
    if "actor" in columns:
        human, agent = (_labels(where, key, data.get(key)) for key in ("human", "agent"))
        if human & agent:
            raise LogError(f"{where}: {sorted(human & agent)[0]!r} is a label of both human and agent")
    elif data.get("human") is not None or data.get("agent") is not None:
        raise LogError(f"{where}: human and agent are labels, but no column `label` is named")
    needed = tuple(dict.fromkeys(name for names in columns.values() for name in names))
    joined = frozenset({"session"} if len(columns["session"]) > 1 else ())
    own = Schema("mapping", None, columns, needed, None, human, agent, joined=joined, decimal=None)
    return _file(data, where, own)


def told_mapping(schema: Schema, titles: Sequence[str]) -> dict[str, Any]:
    """The mapping that says what a schema says of a file with these columns; `from_mapping` reads it as the same."""
    keys = {name: key for key, name in _COLUMN_KEYS.items()}
    data: dict[str, Any] = {}
    for name, columns in schema.columns.items():
        there = [column for column in columns if column in titles or column.partition(".")[0] in titles]
        if name in keys and there:
            data[keys[name]] = there if len(there) > 1 and (name in schema.joined or name == "event") else there[0]
    if "label" in data:
        data |= {"human": sorted(schema.human), "agent": sorted(schema.agent)}
    beside: dict[str, Any] = {"every": schema.every} if schema.every is not None else {}
    beside |= {"format": schema.format, "time_unit": schema.time_unit}
    if schema.format == "csv":
        beside |= {"separator": schema.separator, "encoding": schema.encoding}
    if schema.decimal in (".", ",") and "price" in data:
        beside["decimal"] = schema.decimal
    return data | beside | ({"events": dict(schema.events)} if schema.events else {})

"""How logs of interactions are laid out: which column or key of a file is which field of an event."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

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
        name: "p4p", "whoclickedit" or "mapping".
        format: how rows are told apart.
        columns: field → columns or keys that may hold it, the first that is not empty counts. In JSON a dot leads into
            an object: `metadata.price`.
        needed: columns without which a CSV or Parquet file is none of this schema.
        time_unit: what a time is: "s" or "ms" since 1970, "iso" (ISO 8601), or "any" (ISO 8601 or "ms").
        human: labels of people, lower case.
        agent: labels of agents, lower case.
        events: logged event name → vocabulary, before the vocabulary's own aliases.
    """

    name: str
    format: Format
    columns: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...] = ()
    time_unit: Literal["s", "ms", "iso", "any"] = "any"
    human: frozenset[str] = frozenset({"human"})
    agent: frozenset[str] = frozenset({"agent"})
    events: Mapping[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> tuple[str, ...]:
        """All columns or keys that are read."""
        return tuple(dict.fromkeys(name for names in self.columns.values() for name in names))


# P4P events carry no label; where one is known it stands in the free part, and `write_log` puts it there.
P4P = Schema(
    "p4p",
    "jsonl",
    {
        "session": ("sessionId",),
        "actor": ("actor_type", "metadata.actor_type"),
        "is_agent": ("is_agent", "metadata.is_agent"),
        "experiment": ("experimentId",),
        "mode": ("storeMode",),
        "time": ("ts",),
        "event": ("eventName",),
        "page": ("page",),
        "item": ("productId",),
        "price": ("price", "metadata.price"),
        "dwell_ms": ("metadata.dwellTime",),
        "user_agent": ("userAgent",),
    },
)
WHOCLICKEDIT = Schema(
    "whoclickedit",
    "csv",
    {
        "session": ("sessionId",),
        "actor": ("actor_type",),
        "is_agent": ("is_agent",),
        "record": ("record_type",),
        "experiment": ("experimentId",),
        "mode": ("storeMode",),
        "time": ("ts",),
        "event": ("eventName",),
        "page": ("page",),
        "item": ("productId",),
        "price": ("price", "metadata_price"),
        "dwell_ms": ("metadata_dwellTime",),
        "user_agent": ("userAgent",),
    },
    needed=("record_type", "sessionId", "ts", "eventName"),
)
SCHEMAS = {schema.name: schema for schema in (P4P, WHOCLICKEDIT)}

_LOOK = 20  # lines that tell the schema

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
}
_NEEDED_KEYS = ("format", "session", "time", "event", "time_unit")
_OTHER_KEYS = ("format", "human", "agent", "time_unit", "events")


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise LogError(f"{path}: there is no such mapping") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LogError(f"{path}: no mapping in YAML can be read: {' '.join(str(error).split())}") from None


def _labels(where: str, key: str, value: Any) -> frozenset[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values or any(isinstance(one, (dict, list)) or one is None for one in values):
        raise LogError(f"{where}: {key}={value!r}: accepted is a list of labels")
    # YAML reads true and 1 as no texts; files hold them as texts.
    return frozenset(str(one).strip().lower() for one in values)


def from_mapping(mapping: Mapping[str, Any] | Path | str) -> Schema:
    """A schema from a mapping, or from a YAML file with one.

    Keys: `format` (csv, jsonl or parquet), `time_unit` (s, ms or iso) and the columns `session`, `time` and `event` are
    needed; `item`, `price`, `label`, `experiment`, `mode`, `page`, `dwell_ms` and `user_agent` name further columns;
    `human` and `agent` list the labels (needed with `label`); `events` maps logged names to the vocabulary.

    Raises:
        LogError: naming the key that is missing, unknown or wrong.
    """
    where = "mapping" if isinstance(mapping, Mapping) else str(mapping)
    data = mapping if isinstance(mapping, Mapping) else _load(Path(mapping))
    if not isinstance(data, Mapping):
        raise LogError(f"{where}: accepted is a mapping with the keys {', '.join(_NEEDED_KEYS)}")
    known = dict.fromkeys([*_OTHER_KEYS, *_COLUMN_KEYS])
    unknown = [key for key in data if key not in known]
    if unknown:
        raise LogError(f"{where}: {unknown[0]!r} is no key of a mapping: accepted are {', '.join(known)}")
    missing = [key for key in _NEEDED_KEYS if data.get(key) is None]
    if missing:
        raise LogError(f"{where}: {', '.join(missing)} missing: needed are {', '.join(_NEEDED_KEYS)}")
    for key, accepted in (("format", ("csv", "jsonl", "parquet")), ("time_unit", ("s", "ms", "iso"))):
        if data[key] not in accepted:
            raise LogError(f"{where}: {key}={data[key]!r}: accepted is {', '.join(accepted)}")
    columns = {_COLUMN_KEYS[key]: value for key, value in data.items() if key in _COLUMN_KEYS and value is not None}
    for key, value in columns.items():
        if not isinstance(value, str) or not value:
            raise LogError(f"{where}: {key}={value!r}: accepted is the name of a column")
    human, agent = frozenset[str](), frozenset[str]()
    if "actor" in columns:
        human, agent = (_labels(where, key, data.get(key)) for key in ("human", "agent"))
        if human & agent:
            raise LogError(f"{where}: {sorted(human & agent)[0]!r} is a label of both human and agent")
    elif data.get("human") is not None or data.get("agent") is not None:
        raise LogError(f"{where}: human and agent are labels, but no column `label` is named")
    names = data.get("events") or {}
    if not isinstance(names, Mapping):
        raise LogError(f"{where}: events={names!r}: accepted is a mapping of logged names to the vocabulary")
    for logged, event in names.items():
        if event not in ACTIONS and event not in (START, END):
            raise LogError(f"{where}: events: {logged}: {event!r} is no event: accepted are {', '.join(ACTIONS)}")
    return Schema(
        "mapping",
        data["format"],
        {name: (column,) for name, column in columns.items()},
        tuple(dict.fromkeys(columns.values())),
        data["time_unit"],
        human,
        agent,
        {str(logged).strip(): event for logged, event in names.items()},
    )


def is_gzip(path: Path) -> bool:
    """Whether a file is compressed, from its first two bytes."""
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def detect(path: Path) -> Schema:
    """Which of the two named schemas a file has: P4P if one of its first lines is an object in braces, else the table.

    Raises:
        LogError: if a compressed file is cut short or damaged within these lines.
    """
    with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as stream:
        try:
            first = [stream.readline(1 << 20) for _ in range(_LOOK)]
        except (EOFError, OSError, zlib.error) as error:
            raise LogError(f"{path}: the compressed file is cut short or damaged: {error}") from None
    # Not the first alone: that a line is no JSON does not make its file a table.
    objects = any(line.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") for line in first)
    return P4P if objects else WHOCLICKEDIT

"""Ratios within one run, beside a stored baseline: what got slower is named, whatever the machine does meanwhile.

Times of two runs say nothing of each other where machines are shared; what one row is to another of the same run does.
Every ratio is one that falls when something of ours gets slower.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marl_pricing.presentation.files import write_atomically

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.15
PEAK = "float32 matmul peak of this run"
_PLAIN, _STOCKED = "2 sellers, expected demand, fixed stock", "2 sellers, expected demand, replenishment"
_POISSON = "market: 2 sellers, Poisson demand, replenishment"
_ONE, _CHAIN = "bank: M = 10, N = 3, 1 candidate", "chain: M = 10, N = 3, 1 candidate"
_TRAINED = "training: 64 environments, hidden"
# What is divided by what: names of two rows.
PAIRS = {
    "market steps beside the matmul peak": (f"market: {_PLAIN}", PEAK),
    "market, replenishment beside fixed stock": (f"market: {_STOCKED}", f"market: {_PLAIN}"),
    "market, Poisson beside expected demand": (_POISSON, f"market: {_STOCKED}"),
    "market, 8 sellers beside 2": ("market: 8 sellers, Poisson demand, replenishment", _POISSON),
    "sessions of a bank beside Poisson demand": (_ONE, _POISSON),
    "sessions, 5 candidates beside 1": ("bank: M = 10, N = 3, 5 candidates", _ONE),
    "sessions, 20 candidates beside 1": ("bank: M = 10, N = 3, 20 candidates", _ONE),
    "sessions, chain beside bank": (_CHAIN, _ONE),
    "sessions, with times beside without": (f"{_CHAIN}, timed detector", _CHAIN),
    "sessions, M = 100 and N = 10 beside 10 and 3": (
        "bank: M = 100, N = 10, 5 candidates", "bank: M = 10, N = 3, 5 candidates"
    ),
    "training, minGRU beside GRU, hidden 64": (f"{_TRAINED} 64, mingru", f"{_TRAINED} 64"),
    "training, minGRU beside GRU, hidden 128": (f"{_TRAINED} 128, mingru", f"{_TRAINED} 128"),
    "training, 256 environments beside 64": ("training: 256 environments, hidden 64", f"{_TRAINED} 64"),
    "training, all devices beside one": (f"{_TRAINED} 64", f"{_TRAINED} 64, 1 device"),
    "one market in a Python loop beside 1,024 in a program": ("PettingZoo env, 2 sellers", _POISSON),
}  # fmt: skip
_COMPILED = {"compiling a market beside a training": (_POISSON, f"{_TRAINED} 64")}


@dataclass(frozen=True)
class Slower:
    """A ratio that fell."""

    name: str
    was: float
    now: float

    def __str__(self) -> str:
        return f"{self.name}: {self.now:.3g}, was {self.was:.3g} ({100 * (self.now / self.was - 1):+.0f} %)"


def ratios_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The ratios that a run's rows give; what was not measured is left out."""
    by_name = {row["name"]: row for row in rows}
    found = {f"{row['name']}, share of the matmul peak": row["share"] for row in rows if "share" in row}
    found |= {f"{row['name']}, {row['unit']}": row["value"] for row in rows if row["unit"].startswith("times as fast")}
    for pairs, key in ((PAIRS, "value"), (_COMPILED, "compile_seconds")):
        for name, (over, under) in pairs.items():
            if over in by_name and under in by_name:
                found[name] = by_name[over][key] / by_name[under][key]
    return found


def groups_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> set[str]:
    """The groups whose rows some ratios come from: each row has its own under `group`."""
    groups = {row["name"]: row["group"] for row in rows}
    told = {name: (name.removesuffix(", share of the matmul peak"),) for name in names}
    of_unit = {f"{row['name']}, {row['unit']}": (row["name"],) for row in rows}
    told |= {name: pair for name, pair in (of_unit | PAIRS | _COMPILED).items() if name in told}
    return {groups[row] for pair in told.values() for row in pair}


def slower(found: Mapping[str, float], baseline: Mapping[str, float], tolerance: float = TOLERANCE) -> list[Slower]:
    """The ratios that are less than 1 − `tolerance` times the baseline's, from what fell most."""
    fell = [Slower(name, baseline[name], now) for name, now in found.items() if name in baseline]
    return sorted((own for own in fell if own.now < (1.0 - tolerance) * own.was), key=lambda own: own.now / own.was)


def better(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Of ratios that were found twice, the higher: what a busy moment did to one is no slow-down."""
    return {name: max(own[name] for own in (one, other) if name in own) for name in one.keys() | other.keys()}


def read(path: Path = BASELINE) -> dict[str, float]:
    """The stored ratios; empty where there are none yet.

    Raises:
        ValueError: for a file that is none of `write`'s, naming it and what is wrong.
    """
    if not path.is_file():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["ratios"]
        wrong = [name for name, value in stored.items() if not isinstance(value, float | int) or not value > 0]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: is no baseline: {error!r}") from None
    if wrong:
        raise ValueError(f"{path}: {wrong[0]}={stored[wrong[0]]!r}: accepted is a number above 0")
    return stored


def write(found: Mapping[str, float], machine: str, path: Path = BASELINE) -> Path:
    """Store ratios; those of groups that this run did not measure stay as they were.

    Args:
        machine: where they were measured, in words.
    """
    ratios = {name: float(f"{value:.3g}") for name, value in sorted((read(path) | dict(found)).items())}
    text = json.dumps({"machine": machine, "tolerance": TOLERANCE, "ratios": ratios}, indent=1)
    return write_atomically(path, text + "\n")

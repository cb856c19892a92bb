"""Programs that are timed in turns: each in a process of its own, which waits while the others are timed.

A machine that others use is not the same from one minute to the next: two programs are compared by the ratio of turns
that follow each other, and by processor seconds, never by times of different runs.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from types import TracebackType
from typing import Any, Self


class Timed:
    """A program in a process of its own. Use as a context manager.

    It prints {"ready": …} when it is, then, after every line that it is sent, a line of JSON.

    Raises:
        RuntimeError: when it ends, with the last of what it said.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
            env=None if environment is None else dict(environment),
        )  # fmt: skip
        self.told = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, line: str) -> dict[str, Any]:
        """Its answer to a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None and self._process.stderr is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(self._process.stderr.read()[-2000:])


@dataclass(frozen=True)
class Turn:
    """What one turn took: wall-clock and processor seconds of the same work."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one program is as the other, over turns that follow each other.

    Attributes:
        middle: the median of all pairs.  low, high: their quartiles; the ends where there are fewer than four.
    """

    middle: float
    low: float
    high: float


def ratio_of(one: Sequence[float], other: Sequence[float]) -> Ratio:
    """How many times as fast `one` is as `other`, from the seconds of their turns, pair by pair."""
    pairs = [theirs / own for own, theirs in zip(one, other, strict=True)]
    low, _, high = quantiles(pairs, n=4, method="inclusive") if len(pairs) >= 4 else (min(pairs), 0.0, max(pairs))
    return Ratio(median(pairs), low, high)

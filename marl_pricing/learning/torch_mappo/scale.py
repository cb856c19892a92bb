"""Observations in units of what has been seen of them: running means and spreads, entry by entry.

Somebody else's market speaks in its own units, money in thousands beside shares; a network learns from numbers of
about one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray

_CLIP = 10.0  # spreads from the mean
_LEAST = 1e-8  # of a variance


class Scale(NamedTuple):
    """Means and spreads [O] that stay as they are."""

    mean: Array
    spread: Array

    def shown(self, raw: Array) -> Array:
        """Observations [..., O] as a network is shown them, within ten spreads of the mean."""
        return np.clip((raw - self.mean) / self.spread, -_CLIP, _CLIP).astype(np.float32)


class RunningScale:
    """Mean and variance of all rows seen so far; blocks of rows are merged (Chan, Golub and LeVeque 1979)."""

    def __init__(self, size: int) -> None:
        self._count, self._mean, self._squares = 0, np.zeros(size), np.zeros(size)

    def take(self, rows: Array) -> None:
        """Take in rows [N, O]; of none nothing changes."""
        if not len(rows):
            return
        rows = np.asarray(rows, np.float64)
        mean, total = rows.mean(0), self._count + len(rows)
        apart = mean - self._mean
        self._squares += ((rows - mean) ** 2).sum(0) + apart**2 * self._count * len(rows) / total
        self._mean = self._mean + apart * len(rows) / total
        self._count = total

    def now(self) -> Scale:
        """The scale of what has been seen so far: 0 and 1 before anything was."""
        if not self._count:
            return Scale(np.zeros_like(self._mean), np.ones_like(self._mean))
        return Scale(self._mean.copy(), np.sqrt(self._squares / self._count + _LEAST))

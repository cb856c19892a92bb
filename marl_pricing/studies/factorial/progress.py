"""What a factorial study says of how far it is."""

from __future__ import annotations

from collections.abc import Sequence

from marl_pricing.studies.factorial.cells import Group


class Progress:
    """What is said: what is done, how fast, how long the rest will take, compilations included."""

    def __init__(self, count: int, missing: Sequence[Group], steps: int) -> None:
        self._count, self._groups, self._steps = count, len(missing), steps
        self._left = sum(len(group.runs) for group in missing)
        self._programs = len({id(group.program) for group in missing})
        self._seconds, self._done = 0.0, 0
        self._compiling: list[float] = []

    def said_first(self) -> str:
        """Before anything is computed."""
        return (
            f"{self._count} runs, of which {self._count - self._left} are done; the others in {self._groups} "
            f"group(s) of {self._programs} program(s)"
        )

    def compiled(self, seconds: float) -> None:
        """A program was compiled."""
        self._compiling.append(seconds)
        self._programs -= 1

    def said_of(self, group: Group, seconds: float) -> str:
        """After a group has been written."""
        self._seconds += seconds
        self._done += len(group.runs)
        self._left -= len(group.runs)
        eta = self._seconds / self._done * self._left + self._programs * sum(self._compiling) / len(self._compiling)
        rate = len(group.runs) * self._steps / max(seconds, 1e-9)
        return (
            f"{group.program.name}: {len(group.runs)} runs in {seconds:.0f} s, {rate:,.0f} market steps/s; "
            f"{self._count - self._left} of {self._count} runs, ETA {_said(eta)}"
        )

    def said_of_many(self, group: Group, host: str, seconds: float, since: float) -> str:
        """After a group of those that are computed at once has been written.

        Args:
            host: that computed it, in so many seconds.  since: seconds since the first was begun.
        """
        self._done += len(group.runs)
        self._left -= len(group.runs)
        return (
            f"{group.program.name}: {len(group.runs)} runs in {seconds:.0f} s on {host}; "
            f"{self._count - self._left} of {self._count} runs, ETA {_said(since / self._done * self._left)}"
        )


def _said(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"

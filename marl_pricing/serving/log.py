"""The durable log of what happened: one interface, whatever keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

INTERACTIONS, PRICES = "user-interactions", "price-logs"
TOPICS = (INTERACTIONS, PRICES)
# What prices depend on beside events: settings, switches, the clock. In the log too, so that it alone tells all prices.
CONTROL = "control"


class LogError(RuntimeError):
    """The log cannot be written or read now; what was acknowledged before is there."""


class Entry(NamedTuple):
    """Something to keep."""

    topic: str
    key: str  # session of an interaction, product of a price
    stamp: int  # ms since 1970, when it happened as the client says
    received: int  # ms since 1970
    identity: bytes | None  # what a repetition shares with it; None: none is possible
    body: str  # JSON


class Record(NamedTuple):
    """An entry where it stands."""

    offset: int
    topic: str
    key: str
    stamp: int
    received: int
    body: str


class Refusal(NamedTuple):
    """Something that was not taken, kept with the reason."""

    received: int  # ms since 1970
    topic: str
    field: str
    reason: str
    body: bytes


class EventLog(Protocol):
    """A log that can be read again from any offset. Offsets count from 1 without gaps, over all topics."""

    def append(self, batch: Sequence[Entry]) -> list[int | None]:
        """Keep a batch, all or nothing, and return when it is on disk.

        Returns:
            Offsets; None for an entry that is there already.

        Raises:
            LogError: nothing of it is kept.
        """

    def read(self, start: int, most: int) -> list[Record]:
        """Records from offset `start` on, in order."""

    def commit(self, consumer: str, offset: int) -> None:
        """A consumer has dealt with everything up to an offset."""

    def committed(self, consumer: str) -> int:
        """Up to where; 0 for a consumer that is new."""

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Keep what was not taken."""

"""Who sits in which seat while the others learn: rules, frozen runs, the learner's own past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator

from marl_pricing.config.errors import Settings, refuse, validate
from marl_pricing.config.sellers import seller_number
from marl_pricing.learning.seats import SeatParams
from marl_pricing.learning.settings import Share
from marl_pricing.market import Policy
from marl_pricing.policies import RULES, table

SELF = "self"


class RunOpponent(Settings):
    """A run's policies as they were learned. `seed: all` draws one of its training seeds for each episode."""

    run: str
    seed: Annotated[int, Field(ge=0)] | Literal["all"] = "all"


Opponent = str | RunOpponent


class Opponents(Settings):
    """Who holds seats. By seat, a number or a seller's name: a rule, a run folder, a list of them of which one is drawn
    for each episode, or `self`; `self` alone: every seat. All other seats learn.

    `play` is how runs act. The last three are about `self`: every `refresh` updates a snapshot of the learner joins a
    pool of `pool`, the oldest goes; with probability `newest` an episode's past selves are the newest snapshot, else
    any of the pool.
    """

    seats: Literal["self"] | dict[str, Opponent | list[Opponent]] | None = None
    play: Literal["greedy", "sampled"] = "greedy"
    refresh: Annotated[int, Field(ge=1)] = 10
    pool: Annotated[int, Field(ge=1)] = 8
    newest: Share = 0.5

    @field_validator("seats", mode="before")
    @classmethod
    def _read(cls, seats: Any) -> Any:
        if seats is None or seats == SELF:
            return seats
        if not isinstance(seats, Mapping):
            raise refuse(
                "opponents.seats", seats, "null, self, or a rule, a run folder or self by seat, as {1: myopic}"
            )
        found: dict[str, Any] = {}
        for key, value in seats.items():
            if isinstance(key, bool) or not isinstance(key, int | str):
                raise refuse("opponents.seats", key, "the number of a seat or a seller's name")
            several = isinstance(value, list)
            read = [_opponent(f"opponents.seats.{key}", own) for own in (value if several else [value])]
            if several and (not read or SELF in read):
                accepted = "a list of rules and run folders; self stands alone" if read else "a list of at least 1"
                raise refuse(f"opponents.seats.{key}", value, accepted)
            found[str(key)] = read if several else read[0]
        return found


def _opponent(place: str, value: Any) -> Opponent:
    if isinstance(value, RunOpponent) or (isinstance(value, str) and value):
        return value
    if isinstance(value, Mapping):
        return validate(RunOpponent, value, place)
    raise refuse(place, value, f"self, a rule ({', '.join(RULES)}) or the folder of a run")


class Seating(NamedTuple):
    """Opponents by the seats that they hold.

    Attributes:
        held: (opponents, of whom one is drawn for each episode; their seats), seats of the same opponents together.
        selves: seats that say `self`: they learn in some episodes.
    """

    held: list[tuple[tuple[Opponent, ...], tuple[int, ...]]]
    selves: tuple[int, ...]


def seating_of(own: Opponents, num_sellers: int, names: Sequence[str]) -> Seating:
    """Who sits where.

    Args:
        names: of the sellers; empty where they have none.

    Raises:
        ConfigError: for a seat that the market does not have, or nobody left to learn.
    """
    if own.seats is None or own.seats == {}:
        return Seating([], ())
    if num_sellers == 1:
        raise refuse("opponents.seats", own.seats, "null in a market of one seller")
    if own.seats == SELF:
        return Seating([], tuple(range(num_sellers)))
    by_seat: dict[int, tuple[Opponent, ...]] = {}
    for key, value in own.seats.items():  # type: ignore[union-attr]
        seat = seller_number("opponents.seats", key, num_sellers, names, "a seat")
        if seat in by_seat:
            raise refuse("opponents.seats", key, f"every seat once; it is seat {seat}, which is given already")
        by_seat[seat] = tuple(value) if isinstance(value, list) else (value,)
    selves = tuple(sorted(seat for seat, value in by_seat.items() if value == (SELF,)))
    groups: dict[tuple[Opponent, ...], list[int]] = {}
    for seat in sorted(set(by_seat) - set(selves)):
        groups.setdefault(by_seat[seat], []).append(seat)
    learning = num_sellers - len(by_seat) + len(selves)
    told = ", ".join(own.seats)
    if not learning:
        raise refuse("opponents.seats", told, f"at least one of the {num_sellers} seats left, for a learner")
    if selves and learning == 1:
        raise refuse(
            "opponents.seats", told, "self where another seat learns too: the only learner never meets its past"
        )
    return Seating([(opponents, tuple(seats)) for opponents, seats in groups.items()], selves)


@dataclass(frozen=True)
class Table:
    """Opponents, ready to be played against.

    Attributes:
        params: the market's numbers with the held seats.
        guests, seats: frozen policies, and which seats [S] bool each holds.
        told: by seat that is held, who holds it, in words.
        selves: seats that say `self`.
        files: what a run folder keeps of them, by name: they stay as they were.
        provenance: where they come from.
    """

    params: SeatParams
    guests: tuple[Policy, ...]
    seats: tuple[Any, ...]
    told: Mapping[int, str]
    selves: tuple[int, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    provenance: Sequence[Mapping[str, Any]] = ()

    def around(self, host: Policy) -> Policy:
        """A policy for all sellers with the held seats as they are."""
        return table(host, self.guests, self.seats) if self.guests else host

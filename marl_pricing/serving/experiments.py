"""Which pricer a shopper meets, what sessions brought under each, and how far that can be told apart at any time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

ALPHA = 0.05
LEAST_UNITS = 100  # units an arm before an interval is told: its law is a normal limit
LEAST_BUYERS = 20  # units an arm that bought something: spreads are not known before
_TIGHTEST = 4000.0  # units at which the interval is about as narrow as one of its kind can be

Arm = tuple[str, float]  # name of a pricer, share of the units


def arm_of(unit: str, experiment: str | None, arms: Sequence[Arm]) -> str:
    """The arm of a unit: the same for ever, independent of any other experiment's.

    Args:
        unit: what is assigned as a whole, an experiment's participant or else a session.
        experiment: its name; another name assigns anew.
        arms: shares add up to 1.
    """
    drawn = int.from_bytes(blake2b(f"{experiment}\n{unit}".encode("utf-8", "replace"), digest_size=8).digest()) / 2**64
    for name, share in arms[:-1]:
        if drawn < share:
            return name
        drawn -= share
    return arms[-1][0]


@dataclass
class Sums:
    """Of units u with N_u sessions that brought Y_u: what a ratio's mean and variance need."""

    y: float = 0.0  # Σ Y
    yy: float = 0.0  # Σ Y²
    ny: float = 0.0  # Σ N Y

    def add(self, sign: int, sessions: int, value: float) -> None:
        """Count a unit in (1) or out (−1)."""
        self.y += sign * value
        self.yy += sign * value * value
        self.ny += sign * sessions * value


class Mean(NamedTuple):
    """Money a session, and the variance of a unit's influence on it."""

    value: float
    variance: float


@dataclass
class Tally:
    """What the sessions of an arm have brought, as far as they are over."""

    units: int = 0
    sessions: int = 0
    squares: int = 0  # Σ N²
    buyers: int = 0  # units that bought something
    orders: int = 0
    revenue: Sums = field(default_factory=Sums)
    profit: Sums = field(default_factory=Sums)

    def mean(self, kind: str) -> Mean:
        """Σ Y / Σ N, and the variance of (Y − mean N) · units / Σ N over units (Cochran 1977, section 6.3)."""
        sums: Sums = getattr(self, kind)
        if not self.sessions:
            return Mean(0.0, math.inf)
        value = sums.y / self.sessions
        left = sums.yy - 2 * value * sums.ny + value * value * self.squares
        return Mean(value, max(left, 0.0) * self.units / self.sessions**2)


@dataclass
class Unit:
    """A participant of several sessions."""

    arm: str
    sessions: int = 0
    revenue: float = 0.0
    profit: float = 0.0


class Uplift(NamedTuple):
    """A challenger's mean less the control's [money a session], and an interval that holds at every look at once."""

    value: float
    low: float | None  # None: too few units yet
    high: float | None
    relative: float | None  # of the control's mean


def half_width(units: float, variance: float, alpha: float = ALPHA) -> float:
    """Of a 1 − α confidence sequence for a mean of `units` influences with this variance.

    Robbins' normal mixture, (t ρ² + 1) / (t² ρ²) · log((t ρ² + 1) / α²), times the variance, square root: it holds at
    all t together as t grows (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Theorem 2.2; their equation 24 for
    the ρ at which it is tightest).
    """
    log = -2.0 * math.log(alpha)
    rho = (log + math.log(log + 1.0)) / _TIGHTEST
    scaled = units * rho + 1.0
    return math.sqrt(variance * scaled / (units * units * rho) * math.log(scaled / alpha**2))


def uplift(control: Tally, challenger: Tally, kind: str, alpha: float = ALPHA) -> Uplift:
    """How much more a challenger brings a session.

    Args:
        kind: revenue or profit.
    """
    before, after = control.mean(kind), challenger.mean(kind)
    value = after.value - before.value
    relative = value / before.value if before.value > 0 else None
    both = (control, challenger)
    if any(own.units < LEAST_UNITS or own.buyers < LEAST_BUYERS for own in both):
        return Uplift(value, None, None, relative)
    units = control.units + challenger.units
    # Each arm's units as if they were all: influences are divided by the arm's share.
    variance = units * (before.variance / control.units + after.variance / challenger.units)
    half = half_width(units, variance, alpha)
    return Uplift(value, value - half, value + half, relative)


class Tallies:
    """All arms of the experiment that runs."""

    def __init__(self) -> None:
        """Nothing counted."""
        self.arms: dict[str, Tally] = {}
        self.units: dict[str, Unit] = {}

    def begin(self, arms: Sequence[Arm]) -> None:
        """Forget what was; count for these arms."""
        self.arms, self.units = {name: Tally() for name, _ in arms}, {}

    def count(self, arm: str, unit: str | None, orders: int, revenue: float, profit: float) -> None:
        """A session is over.

        Args:
            unit: whose sessions are judged together; None: it stands for itself.
        """
        tally = self.arms.get(arm)
        if tally is None:
            return
        tally.sessions += 1
        tally.orders += orders
        if unit is None:
            known = Unit(arm)
        else:
            known = self.units.setdefault(unit, Unit(arm))
            self._turn(tally, known, -1)
        known.sessions += 1
        known.revenue += revenue
        known.profit += profit
        self._turn(tally, known, 1)

    @staticmethod
    def _turn(tally: Tally, unit: Unit, sign: int) -> None:
        if not unit.sessions:
            return
        tally.units += sign
        tally.squares += sign * unit.sessions**2
        tally.buyers += sign * (unit.revenue > 0)
        tally.revenue.add(sign, unit.sessions, unit.revenue)
        tally.profit.add(sign, unit.sessions, unit.profit)

    def told(self) -> dict[str, Any]:
        """What a page shows: of each arm what it brought, and of each but the first the uplift."""
        found: dict[str, Any] = {}
        control = next(iter(self.arms.values()), None)
        for name, own in self.arms.items():
            row: dict[str, Any] = {"sessions": own.sessions, "units": own.units, "orders": own.orders}
            row |= {kind: getattr(own, kind).y for kind in ("revenue", "profit")}
            if own is not control and control is not None:
                row["uplift"] = {kind: uplift(control, own, kind)._asdict() for kind in ("revenue", "profit")}
            found[name] = row
        return found

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it, to the bit."""
        return {
            "arms": {name: asdict(own) for name, own in self.arms.items()},
            "units": {name: asdict(own) for name, own in self.units.items()},
        }


def tallies_from(data: dict[str, Any]) -> Tallies:
    """The inverse of `to_plain`."""
    own = Tallies()
    for name, told in data["arms"].items():
        own.arms[name] = Tally(**told | {kind: Sums(**told[kind]) for kind in ("revenue", "profit")})
    own.units = {name: Unit(**told) for name, told in data["units"].items()}
    return own

"""What no price may do, whoever made it. In cents, so that bounds and endings are exact."""

from __future__ import annotations

import math
from typing import NamedTuple

ENDINGS = range(100)
_SLACK = 1e-7  # cents: what a bound in money loses on its way to cents


def cents(money: float) -> int:
    """The nearest whole cents, halves up."""
    return math.floor(money * 100 + 0.5)


class Bounds(NamedTuple):
    """Between what a price may lie and how it ends. Changes are relative."""

    floor: float
    cap: float
    max_change: float
    max_change_day: float
    ending: float | None


class Guarded(NamedTuple):
    """A price in cents, and what moved it."""

    price: int
    moved_by: list[str]


def _least(money: float) -> int:
    return math.ceil(money * 100 - _SLACK)


def _most(money: float) -> int:
    return math.floor(money * 100 + _SLACK)


def within(wanted: float, bounds: Bounds, last: int | None = None, day_ago: int | None = None) -> Guarded:
    """The price nearest to the wanted one that all guardrails let pass.

    Floor and cap hold before all else: where a catalogue moves them further than a change may go, the price follows.
    Of the changes the one to the last price gives way to none but these; then the one to a day ago; then the ending.

    Args:
        wanted: money.  last, day_ago: cents, the price of the window before and of a day ago; None: there is none.
    """
    price = cents(wanted) if math.isfinite(wanted) else (day_ago or last or _least(bounds.floor))
    moved = [] if math.isfinite(wanted) else ["no_number"]
    low, high = _least(bounds.floor), _most(bounds.cap)
    high = max(low, high)
    if price < low:
        moved.append("floor")
    if price > high:
        moved.append("cap")
    for name, reference, change in (
        ("max_change", last, bounds.max_change),
        ("max_change_day", day_ago, bounds.max_change_day),
    ):
        if reference is None:
            continue
        # At least the reference itself, kept between what holds already.
        near = min(max(math.ceil(reference * (1 - change) - _SLACK), low), high)
        far = min(max(math.floor(reference * (1 + change) + _SLACK), low), high)
        if (price < near and near > low) or (price > far and far < high):
            moved.append(name)
        low, high = near, far
    bounded = min(max(price, low), high)
    if bounds.ending is not None:
        ended = _with_ending(bounded, cents(bounds.ending), low, high)
        if ended is None:
            moved.append("no_ending_fits")
        elif ended != bounded:
            moved.append("ending")
            bounded = ended
    return Guarded(bounded, moved)


def _with_ending(price: int, ending: int, low: int, high: int) -> int | None:
    """The price with these last cents that is nearest, of two the lower; None where none lies between the bounds."""
    under = (price - ending) // 100 * 100 + ending
    able = [own for own in (under, under + 100) if low <= own <= high and own > 0]
    return min(able, key=lambda own: (abs(own - price), own), default=None)

"""What is bargained over: a product of discrete issues, each with its grid of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

QUANTITY, UNIT_COST, LEAD_TIME, PAYMENT_DELAY, REBATE = (
    "quantity", "unit_cost", "lead_time", "payment_delay", "rebate",
)  # fmt: skip


@dataclass(frozen=True)
class Issue:
    """A variable of the contract and the values that it may take, increasing.

    Raises:
        ValueError: naming the issue, where it has no values, or values that do not increase or are no numbers.
    """

    name: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuses grids on which an outcome would have no number or two."""
        if not self.values or not all(math.isfinite(value) for value in self.values):
            raise ValueError(f"{self.name}={list(self.values)!r}: accepted is a list of numbers, at least one")
        if any(low >= high for low, high in pairwise(self.values)):
            raise ValueError(f"{self.name}={list(self.values)!r}: accepted is an increasing list")


@dataclass(frozen=True)
class OutcomeSpace:
    """The outcomes [O], numbered with the last issue fastest: every combination of the issues' values."""

    issues: tuple[Issue, ...]

    def __post_init__(self) -> None:
        """Refuses spaces without issues, and two issues of one name.

        Raises:
            ValueError: naming them.
        """
        names = [issue.name for issue in self.issues]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"issues={names!r}: accepted are issues with different names, at least one")

    @property
    def shape(self) -> tuple[int, ...]:
        """Values of each issue."""
        return tuple(len(issue.values) for issue in self.issues)

    @property
    def cardinality(self) -> int:
        """O, the number of outcomes."""
        return math.prod(self.shape)

    def has(self, name: str) -> bool:
        """Whether something of this name is bargained over."""
        return any(issue.name == name for issue in self.issues)

    def column(self, name: str, fixed: float | None = None) -> np.ndarray:
        """The value of one issue in every outcome [O]; `fixed` everywhere where it is no issue.

        Raises:
            ValueError: where it is no issue and nothing is fixed.
        """
        for place, issue in enumerate(self.issues):
            if issue.name == name:
                index = np.unravel_index(np.arange(self.cardinality), self.shape)[place]
                return np.asarray(issue.values)[index]
        if fixed is None:
            raise ValueError(f"issues={[issue.name for issue in self.issues]!r}: {name} is none of them")
        return np.full(self.cardinality, fixed)

    def outcome(self, index: int) -> tuple[float, ...]:
        """The values of an outcome, in the order of the issues."""
        place = np.unravel_index(index, self.shape)
        return tuple(issue.values[own] for issue, own in zip(self.issues, place, strict=True))

    def index(self, outcome: Sequence[float]) -> int:
        """The number of an outcome.

        Raises:
            ValueError: where a value is none of its issue's.
        """
        place = tuple(issue.values.index(value) for issue, value in zip(self.issues, outcome, strict=True))
        return int(np.ravel_multi_index(place, self.shape))


def supply_space(
    unit_costs: Sequence[float],
    quantities: Sequence[float] = tuple(range(1, 11)),
    lead_times: Sequence[int] = tuple(range(1, 6)),
    *,
    pack_size: int = 1,
    payment_delays: Sequence[float] | None = None,
    rebates: Sequence[float] | None = None,
) -> OutcomeSpace:
    """The issues of a supply contract: how many, for how much, how soon, and if wanted when it is paid and a rebate.

    Args:
        unit_costs: money per unit.  quantities: packs.  lead_times: epochs.
        pack_size: units in a pack; quantities of outcomes are units.
        payment_delays: epochs between delivery and payment.
        rebates: shares of the unit cost that come back on units above half of the largest quantity.
    """
    issues = [
        Issue(QUANTITY, tuple(float(packs) * pack_size for packs in quantities)),
        Issue(UNIT_COST, tuple(float(cost) for cost in unit_costs)),
        Issue(LEAD_TIME, tuple(float(epochs) for epochs in lead_times)),
    ]
    if payment_delays is not None:
        issues.append(Issue(PAYMENT_DELAY, tuple(float(epochs) for epochs in payment_delays)))
    if rebates is not None:
        issues.append(Issue(REBATE, tuple(float(share) for share in rebates)))
    return OutcomeSpace(tuple(issues))

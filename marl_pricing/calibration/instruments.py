"""What moves prices and not demand: which columns, how strongly, and what they say even where they are weak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import optimize, stats

from marl_pricing.calibration.linear import without_effects
from marl_pricing.calibration.mapping import CalibrationError
from marl_pricing.calibration.standard_errors import BANDWIDTH, Errors, covariance, fixed_b

Choice = Literal["none", "cost", "lagged_price", "other_stores", "columns"]
WEAK = 10.0  # a first-stage F below this (Staiger and Stock 1997): trust the Anderson-Rubin interval alone
# Autocorrelation of what the price does not explain above which a lagged price knows today's demand.
_LASTS = 0.1


@dataclass(frozen=True)
class Strength:
    """What instruments are worth.

    Attributes:
        names: their columns.
        first_stage: F of the instruments in the price's regression, under the errors of the estimate.
        intervals: the coefficients of price that the Anderson-Rubin test does not reject at 5 %, right however weak the
            instruments are; infinite ends where they are too weak, empty where they contradict one another.
        overidentified: p-value of several instruments agreeing (Hansen's J, continuously updated); None with one.
    """

    names: tuple[str, ...]
    first_stage: float
    intervals: tuple[tuple[float, float], ...]
    overidentified: float | None

    def told(self, what: str) -> str:
        """In a sentence; `what` is what the interval is of."""
        weak = f", WEAK: below {WEAK:g} only the Anderson–Rubin interval is to be trusted" * (self.first_stage < WEAK)
        agree = "" if self.overidentified is None else f"; p-value of them agreeing {self.overidentified:.2g}"
        return (
            f"Instruments {', '.join(self.names)}: first-stage F {self.first_stage:,.1f}{weak}; 95 % Anderson–Rubin "
            f"interval of {what} {shown_set(self.intervals)}{agree}."
        )


def shown_set(intervals: Sequence[tuple[float, float]]) -> str:
    """A set of numbers in words."""
    if not intervals:
        return "empty (the instruments contradict one another)"
    if intervals[0] == (-np.inf, np.inf):
        return "all numbers (the instruments say nothing)"
    parts = [
        f"below {high:.2f}" if low == -np.inf else f"above {low:.2f}" if high == np.inf else f"{low:.2f} to {high:.2f}"
        for low, high in intervals
    ]
    return " or ".join(parts)


def instrument_columns(table: pd.DataFrame, choice: Choice) -> tuple[pd.DataFrame, list[str]]:
    """The rows that have the instruments, and the columns of these.

    Raises:
        CalibrationError: where the file has no such column, or tells no stores apart.
    """
    if choice == "none":
        return table, []
    if choice == "lagged_price":
        ordered = table.sort_values(["offer", "period"])
        before = ordered.groupby("offer")[["log_price", "price", "period"]].shift(1)
        lagged = ordered.assign(instrument_lag=before["log_price"])
        return lagged[before["period"].eq(ordered["period"] - 1)], ["instrument_lag"]
    if choice == "other_stores":
        return _other_stores(table)
    names = ["cost"] if choice == "cost" else [name for name in table.columns if name.startswith("instrument")]
    if not names or not set(names) <= set(table.columns):
        raise CalibrationError(
            f"instruments={choice!r}: the mapping names no such column; accepted is none, or a mapping with "
            f"{'cost' if choice == 'cost' else 'instruments'}: in it"
        )
    kept = table.dropna(subset=names)
    if kept.empty:
        raise CalibrationError(f"instruments={choice!r}: the column {names[0]!r} has no number in any row")
    return kept, names


def _other_stores(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The mean log price of the same product of the same seller in the other stores, each less its mean (Hausman 1996).

    They share its costs; that they share none of its shocks to demand is what has to be believed.
    """
    if "store" not in table or table["store"].nunique() < 2:
        raise CalibrationError(
            "instruments='other_stores': accepted is none, cost or columns where the mapping tells no stores apart"
        )
    relative = table["log_price"] - table.groupby("offer")["log_price"].transform("mean")
    same = relative.groupby([table["seller"], table["product"], table["period"]])
    others = same.transform("size") - 1
    found = table.assign(instrument_elsewhere=(same.transform("sum") - relative) / others.where(others > 0, 1))
    kept = found[others > 0]
    if kept.empty:
        raise CalibrationError("instruments='other_stores': no product is sold by its seller in two stores in a period")
    return kept, ["instrument_elsewhere"]


def strength(
    table: pd.DataFrame,
    outcome: str,
    price: str,
    instruments: Sequence[str],
    *,
    groups: Sequence[str],
    controls: Sequence[str],
    kind: Errors,
    names: Sequence[str],
) -> Strength:
    """First stage, Anderson-Rubin set and over-identification of a linear equation of `outcome` in `price`.

    The test of a coefficient b is that of the instruments having no part in outcome - b · price (Anderson and Rubin
    1949), by minimum distance of the two reduced forms, so that errors of any kind go with it (Magnusson 2010).
    """
    count = len(instruments)
    within = without_effects(table, [outcome, price, *instruments, *controls], groups)
    if controls:
        beside = within[:, 2 + count :]
        within = within - beside @ np.linalg.lstsq(beside, within, rcond=None)[0]
    both, z = within[:, :2], within[:, 2 : 2 + count]
    inverse = np.linalg.pinv(z.T @ z)
    reduced = inverse @ (z.T @ both)  # [k, 2]
    rest = both - z @ reduced
    each = np.concatenate([(z * rest[:, [column]]) @ inverse for column in (0, 1)], axis=1)
    kind = "product" if kind in ("jackknife", "product_period") else kind
    spread, free = covariance(each, table, kind)
    wider = (fixed_b(BANDWIDTH) / fixed_b(0.0)) ** 2 if kind == "hac" else 1.0
    on_outcome, on_price, mixed = spread[:count, :count], spread[count:, count:], spread[:count, count:]
    free = max(free, count) - count + 1  # Hotelling's law
    critical = wider * stats.f.ppf(0.95, count, free) * count * (free + count - 1) / free

    def distance(b: float) -> float:
        apart = reduced[:, 0] - b * reduced[:, 1]
        variance = on_outcome - b * (mixed + mixed.T) + b * b * on_price
        return float(apart @ np.linalg.pinv(variance) @ apart)

    first = float(reduced[:, 1] @ np.linalg.pinv(on_price) @ reduced[:, 1])
    middle = float(reduced[:, 1] @ reduced[:, 0] / (reduced[:, 1] @ reduced[:, 1]))
    unit = max(abs(middle), 1e-6) / max(np.sqrt(first), 1.0)
    angles = np.linspace(-np.pi / 2, np.pi / 2, 2003)[1:-1]
    points = middle + unit * np.tan(angles)
    inside = np.array([distance(b) for b in points]) - critical
    ends = [
        optimize.brentq(lambda b: distance(b) - critical, points[n], points[n + 1])
        for n in np.flatnonzero(np.diff(np.sign(inside)) != 0)
    ]
    edges = [*([-np.inf] if inside[0] < 0 else []), *ends, *([np.inf] if inside[-1] < 0 else [])]
    least = float(optimize.minimize_scalar(distance, (middle - unit, middle + unit)).fun) if count > 1 else 0.0
    return Strength(
        tuple(names),
        first / count,
        tuple(zip(edges[::2], edges[1::2], strict=True)),
        float(stats.chi2.sf(least / wider, count - 1)) if count > 1 else None,
    )


def refuse_lagged_prices(table: pd.DataFrame, residual: np.ndarray) -> None:
    """Raise where what the price does not explain lasts: last period's price then knows this period's demand.

    Args:
        residual: [rows] of a regression without instruments, whose residual is not bent by what is tested.

    Raises:
        CalibrationError: where the autocorrelation is above 0 at 5 %, one-sided, and not negligible.
    """
    own = table[["offer", "period"]].assign(e=residual).sort_values(["offer", "period"])
    before = own.groupby("offer")[["e", "period"]].shift(1)
    pairs = own.assign(before=before["e"])[before["period"].eq(own["period"] - 1)]
    squares = float((pairs["before"] ** 2).sum())
    if len(pairs) < 3 or squares <= 0:
        return
    rho = float((pairs["e"] * pairs["before"]).sum()) / squares
    each = (pairs["before"] * (pairs["e"] - rho * pairs["before"])).groupby(pairs["offer"]).sum() / squares
    error = float(np.sqrt((each**2).sum())) if len(each) > 2 else float(np.sqrt(max(1.0 - rho**2, 0.0) / len(pairs)))
    if rho > _LASTS and rho > 1.645 * error:
        raise CalibrationError(
            "instruments='lagged_price': accepted is none, cost, columns or other_stores where demand lasts, as here "
            f"(what the price leaves unexplained has an autocorrelation of {rho:.2f}, error {error:.2g}): a price of "
            "last period knows the demand of this one"
        )

"""Estimates with their errors, and errors chosen by the shape of the data.

An estimator hands in each row's influence on its estimate; how rows hang together says what the estimate's error is.
Sums over clusters and lags are statsmodels'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.sandwich_covariance import S_crosssection, S_hac_groupsum

from marl_pricing.calibration.mapping import CalibrationError

Errors = Literal["auto", "product_period", "product", "jackknife", "hac", "independent"]
# Clusters below which sums over them say too little of their variance, and below which leaving one out does too.
FEW, FEWEST = 12, 5
LEAST_PERIODS = 12
BANDWIDTH = 0.5  # lags of a HAC error, as a share of the periods


@dataclass(frozen=True)
class Estimate:
    """A number with its error.

    Attributes:
        error: standard error.
        clusters: groups that the error allows correlation within (one: none was allowed for); intervals are those of
            Student's t with one degree of freedom less.
        critical: standard errors from the value to the ends of the 95 % interval, where they are not Student's.
    """

    value: float
    error: float
    clusters: int = 1
    critical: float | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval."""
        if self.critical is not None:
            reach = self.error * self.critical
        else:
            reach = self.error * (stats.t.ppf(0.975, self.clusters - 1) if self.clusters > 1 else stats.norm.ppf(0.975))
        return self.value - float(reach), self.value + float(reach)

    @property
    def normal_error(self) -> float:
        """Of the normal that has this interval: few clusters, which make an interval wide, make it large."""
        low, high = self.interval
        return (high - low) / 2.0 / float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Influence:
    """How rows move an estimate.

    Attributes:
        each: [n] what each row adds to the estimate, to first order: score over information.
        share: [n] of the information that the estimate rests on; sums to 1.
    """

    each: np.ndarray
    share: np.ndarray


def choose_errors(table: pd.DataFrame, wanted: Errors = "auto") -> Errors:
    """The kind of errors that the data allow: see `told`.

    Raises:
        CalibrationError: for a kind that the data do not allow.
    """
    offers, periods = table["offer"].nunique(), table["period"].nunique()
    if wanted == "auto":
        if offers >= FEW:
            return "product_period" if periods >= LEAST_PERIODS else "product"
        if offers >= FEWEST or (offers > 1 and periods < LEAST_PERIODS):
            return "jackknife"
        return "hac"
    if wanted in ("product", "jackknife", "product_period") and offers < 2:
        raise CalibrationError(f"errors={wanted!r}: accepted is auto, hac or independent with sales of one product")
    return wanted


def told(kind: Errors, table: pd.DataFrame, counts: bool = False) -> str:
    """What errors of a kind allow for, in words; those of counts differ where they are of one product."""
    offers, periods = table["offer"].nunique(), table["period"].nunique()
    if kind == "product_period":
        return (
            f"correlation within each of {offers} products and within each of {periods} periods (two-way clusters, the "
            "products' jackknifed)"
        )
    if kind == "product":
        return f"correlation within each of {offers} products"
    if kind == "jackknife":
        return f"correlation within each of {offers} products, left out in turn because they are few (jackknife)"
    if kind == "hac" and counts and offers == 1:
        return f"correlation over time (cosines, Student's t), at least rows by themselves (HC3, {periods} periods)"
    if kind == "hac":
        what = "correlation over time" if offers == 1 else "correlation over time and among products"
        name = "Newey–West" if offers == 1 else "Driscoll–Kraay"
        return f"{what} ({name}, prewhitened, fixed-b critical values, {periods} periods)"
    return "nothing: rows are taken for independent"


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    return pd.factorize(table[name], sort=True)[0]


def covariance(each: np.ndarray, table: pd.DataFrame, kind: Errors) -> tuple[np.ndarray, int]:
    """(covariance [k, k], degrees of freedom) of estimates whose influences [n, k] are given, first-order."""
    offers, periods = _numbers(table, "offer"), _numbers(table, "period")
    count, length = int(offers.max()) + 1, int(periods.max()) + 1
    if kind in ("product", "jackknife"):
        return S_crosssection(each, offers) * count / (count - 1), count - 1
    if kind == "product_period":
        within = S_crosssection(each, offers) * count / (count - 1)
        both = within + S_crosssection(each, periods) * length / (length - 1) - each.T @ each
        # Two-way sums may be no covariance (Cameron, Gelbach and Miller 2011): the larger of the two then.
        sound = np.linalg.eigvalsh(both).min() > 0 and np.all(np.diag(both) >= np.diag(within))
        return (both if sound else within), min(count, length) - 1
    if kind == "hac":
        lags = max(int(np.ceil(BANDWIDTH * length)) - 1, 1)
        return S_hac_groupsum(each, periods, lags) * length / max(length - 2, 1), length - 2
    return each.T @ each * len(each) / max(len(each) - 2, 1), len(each) - 2


def at_least(both: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Two-way clustered covariance [k, k], of which no combination's variance is below that within `within`'s clusters.

    The two-way sum may be no covariance at all (Cameron, Gelbach and Miller 2011); of each direction in which it is the
    smaller, the one-way variance is taken.
    """
    root = np.linalg.cholesky(within)
    ratios, directions = np.linalg.eigh(np.linalg.solve(root, np.linalg.solve(root, both).T))
    turned = root @ directions
    return (turned * np.maximum(ratios, 1.0)) @ turned.T


def fixed_b(share: float) -> float:
    """97.5 % point of a Bartlett HAC t statistic whose lags are `share` of the periods (Kiefer and Vogelsang 2005)."""
    return 1.95996 + 2.9694 * share + 0.4160 * share**2 - 0.5324 * share**3


def _over_time(each: np.ndarray, table: pd.DataFrame) -> tuple[float, float]:
    """(error, critical value) under correlation over time: sums of a period, prewhitened (Andrews and Monahan 1992)."""
    period = table["period"].to_numpy() - table["period"].min()
    sums = np.bincount(period, each, int(period.max()) + 1)
    length = len(sums)
    rho = float(sums[1:] @ sums[:-1]) / float(sums @ sums)
    rho = float(np.clip(rho + (1.0 + 3.0 * rho) / length, -0.95, 0.95))  # Kendall's correction
    white = sums[1:] - rho * sums[:-1]
    lags = int(np.ceil(BANDWIDTH * length))
    variance = float(S_hac_groupsum(white, np.arange(length - 1), lags - 1)[0, 0]) / (1.0 - rho) ** 2
    # One constant and one slope are estimated, and a trend most often.
    return float(np.sqrt(variance * length / max(length - 3, 1))), fixed_b(lags / length)


def of_one_series(value: float, influence: Influence, table: pd.DataFrame) -> Estimate:
    """The estimate of one product's counts, with the error over time or of rows by themselves, whichever is wider.

    Counts are mostly luck, and sums over lags of a hundred of them come out far too small now and then. So the
    long-run variance is that of cosines over the periods, with Student's t (Lazarus, Lewis, Stock and Watson 2018), and
    no error is below that of independent rows. Both are of residuals that the row itself has not pulled (HC3).
    """
    period = table["period"].to_numpy() - table["period"].min()
    length = int(period.max()) + 1
    rest = influence.each / np.maximum(1.0 - influence.share, 1e-3)
    sums = np.bincount(period, rest, length)
    count = max(round(0.4 * length ** (2.0 / 3.0)), 4)
    angle = np.pi * np.arange(1, count + 1)[:, None] * ((np.arange(length) + 0.5) / length)
    lasting = float(np.sqrt(2.0 * np.mean((np.cos(angle) @ sums) ** 2)))
    alone = float(np.sqrt(rest @ rest))
    critical = [float(stats.t.ppf(0.975, free)) for free in (count, max(len(rest) - 3, 1))]
    over_time = lasting * critical[0] >= alone * critical[1]
    return Estimate(value, lasting, 1, critical[0]) if over_time else Estimate(value, alone, 1, critical[1])


def with_error(
    value: float,
    influence: Influence,
    table: pd.DataFrame,
    kind: Errors,
    again: Callable[[pd.DataFrame], float] | None = None,
) -> Estimate:
    """The estimate with the error of its kind.

    Args:
        table: the rows of `influence`.
        again: estimates the same on fewer rows, for a jackknife; without it one step is taken from the estimate.

    A jackknife leaves one product out at a time: (G-1)/G Σ (b_g - b)² (MacKinnon, Nielsen and Webb 2023, CV3).
    """
    if kind == "hac":
        error, critical = _over_time(influence.each, table)
        return Estimate(value, error, 1, critical)
    offers = _numbers(table, "offer")
    count = int(offers.max()) + 1
    if kind == "jackknife" and again is not None:
        left = np.array([again(table[offers != number].reset_index(drop=True)) for number in range(count)])
        return Estimate(value, float(np.sqrt((count - 1) / count * np.sum((left - value) ** 2))), count)
    if kind in ("jackknife", "product_period"):
        # A product with much of the information hides its own residual; without it there is less of it.
        rest = np.maximum(1.0 - np.bincount(offers, influence.share), 1e-3)
        each = influence.each / rest[offers] * (count - 1) / count
        if kind == "jackknife":
            return Estimate(value, float(np.sqrt(covariance(each[:, None], table, "product")[0][0, 0])), count)
    else:
        each = influence.each
    found, free = covariance(each[:, None], table, kind)
    return Estimate(value, float(np.sqrt(found[0, 0])), free + 1 if kind != "independent" else 1)

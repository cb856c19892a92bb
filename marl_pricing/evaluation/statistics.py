"""Means, interquartile means, intervals, and comparisons of two runs.

Training seeds and episodes are separate levels. A seed's score is its ratio of sums over all its episodes; an interval
of several seeds resamples seeds, each with all its episodes, because that is what another training would change
(Agarwal et al. 2021; Davison and Hinkley 1997, section 3.8). Of a single seed, or a rule, episodes are resampled. How
much of the spread comes from having played finitely many episodes is told apart, as a standard error with the seeds as
strata.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from marl_pricing.evaluation.metrics import Parts

Array = np.ndarray
RESAMPLES = 1000
CONFIDENCE = 0.95
_LARGEST_BATCH = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """Measures [M] with 95 % percentile-bootstrap intervals; NaN where there is none.

    Attributes:
        value, low, high: [M] mean over seeds (ratio of sums over episodes, for one seed).
        iqm, iqm_low, iqm_high: [M] interquartile mean over seeds; NaN for one seed.
        deviation: [M] standard deviation between seeds; NaN for one.
        episode_error: [M] standard error of `value` that comes from the finite number of episodes alone.
        resampled: "seeds" or "episodes".  count: of them.
    """

    value: Array
    low: Array
    high: Array
    iqm: Array
    iqm_low: Array
    iqm_high: Array
    deviation: Array
    episode_error: Array
    resampled: str
    count: int


def interquartile_mean(values: Array, axis: int = -1) -> Array:
    """Mean of the middle half (Agarwal et al. 2021): a quarter of the values, rounded down, is cut from either end."""
    return stats.trim_mean(values, 0.25, axis=axis)


def bootstrap(
    data: tuple[Array, ...], statistic: Callable[..., Array], *, paired: bool = False, work: int | None = None
) -> tuple[Array, Array]:
    """Ends of the percentile interval of a statistic of samples along the last axis; the draws are the same each time.

    Args:
        data: arrays [M, n], one a sample. Samples are resampled each by itself (as strata), or together where `paired`.
        statistic: (*samples [..., n], axis) → [...].
        work: numbers that the statistic makes of one resample of one row; None takes the largest n.

    Returns:
        (low [M], high [M]); NaN where a sample holds one value or a resample has none.
    """
    sizes = [sample.shape[-1] for sample in data]
    nothing = np.full(data[0].shape[:-1], np.nan)
    if min(sizes) < 2:
        return nothing, nothing
    rows = max(1, int(np.prod(data[0].shape[:-1])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.bootstrap(
            data,
            statistic,
            paired=paired,
            vectorized=True,
            axis=-1,
            n_resamples=RESAMPLES,
            batch=max(1, _LARGEST_BATCH // (rows * (work or max(sizes)))),
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
    return np.asarray(found.low), np.asarray(found.high)


def mean(values: Array, axis: int = -1) -> Array:
    """Plain mean, as `bootstrap` calls it."""
    return values.mean(axis)


def _ratio(top: Array, bottom: Array, axis: int = -1) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return top.sum(axis) / bottom.sum(axis)


def seed_scores(parts: Parts) -> Array:
    """Score [M, R] of each seed: its ratio of sums over episodes.

    Args:
        parts: [M, R, E].
    """
    return Parts(parts.top.sum(-1), parts.bottom.sum(-1)).value


def _episode_errors(parts: Parts, scores: Array) -> Array:
    """Standard errors [M] of the mean score from the number of episodes: each seed a stratum, linearised ratio."""
    seeds, episodes = parts.top.shape[-2:]
    if episodes < 2:
        return np.full(len(scores), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = (parts.top - scores[..., None] * parts.bottom) / parts.bottom.mean(-1)[..., None]
        return np.sqrt((left.var(-1, ddof=1) / episodes).sum(-1)) / seeds


def estimate(parts: Parts) -> Estimate:
    """Estimates of M measures from R seeds and E episodes of each.

    Args:
        parts: [M, R, E] numerators and denominators by episode.
    """
    scores = seed_scores(parts)
    count, seeds = scores.shape
    errors = _episode_errors(parts, scores)
    nothing = np.full(count, np.nan)
    if seeds == 1:
        low, high = bootstrap((parts.top[:, 0], parts.bottom[:, 0]), _ratio, paired=True)
        episodes = parts.top.shape[-1]
        return Estimate(scores[:, 0], low, high, nothing, nothing, nothing, nothing, errors, "episodes", episodes)
    return Estimate(
        scores.mean(-1),
        *bootstrap((scores,), mean),
        interquartile_mean(scores),
        *bootstrap((scores,), interquartile_mean),
        scores.std(-1, ddof=1),
        errors,
        "seeds",
        seeds,
    )


@dataclass(frozen=True)
class Comparison:
    """One run less another, measure by measure [M].

    Attributes:
        difference, low, high: mean of the paired differences and its 95 % interval.
        effect: the mean difference over the standard deviation of the differences (Cohen 1988, d_z); NaN where they
            do not vary.
        above, above_low, above_high: probability that a unit of the first run lies above one of the second, ties half:
            the probability of improvement (Agarwal et al. 2021), each run a stratum.
        units: "seeds" or "episodes".  count: pairs.
    """

    difference: Array
    low: Array
    high: Array
    effect: Array
    above: Array
    above_low: Array
    above_high: Array
    units: str
    count: int


def student(count: int) -> float:
    """Half a 95 % interval of a mean of `count` values, in standard errors (Student's t)."""
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, max(count - 1, 1)))


def interval(values: Array) -> tuple[float, float, float]:
    """(mean, ends of Student's 95 % interval) of values [N]; NaN ends of a single one, and of infinite ones."""
    values = np.asarray(values, float)
    mean = float(values.mean())
    if values.size < 2 or not np.isfinite(values).all():
        return mean, float("nan"), float("nan")
    half = student(values.size) * float(stats.sem(values))
    return mean, mean - half, mean + half


def paired_ends(row: Mapping[str, Any]) -> tuple[float, float]:
    """Student's 95 % interval of a mean paired difference: the fields of a `Comparison` for one measure."""
    if np.isnan(row["effect"]):  # every pair differs by the same
        return row["difference"], row["difference"]
    half = student(int(row["count"])) * abs(row["difference"] / row["effect"]) / np.sqrt(row["count"])
    return row["difference"] - half, row["difference"] + half


def supported(row: Mapping[str, Any]) -> bool:
    """Whether training seeds support that two runs differ: Student's interval of the pairs leaves 0 out.

    A bootstrap interval does not do for few seeds: of three pairs it leaves 0 out wherever their signs agree, which
    chance does in a quarter of cases. Episodes of one seed support nothing.
    """
    low, high = paired_ends(row)
    return row["units"] == "seeds" and bool(low > 0.0 or high < 0.0)


def probability_above(first: Array, second: Array, axis: int = -1) -> Array:
    """P(X > Y) + P(X = Y)/2 over all pairs: the Mann–Whitney statistic over the number of pairs.

    Args:
        first: [..., n].  second: [..., m].  axis: -1, as `bootstrap` calls it.
    """
    return 0.5 + 0.5 * np.sign(first[..., :, None] - second[..., None, :]).mean((-1, -2))


def compare(first: Parts, second: Parts) -> Comparison:
    """Compare two runs that met the same shoppers, seed by seed, or episode by episode where each has one seed.

    Args:
        first, second: [M, R, E] of one shape.

    Raises:
        ValueError: for different numbers of seeds or episodes.
    """
    if first.top.shape != second.top.shape:
        raise ValueError(
            f"runs of {first.top.shape[1]} and {second.top.shape[1]} seeds, {first.top.shape[2]} and "
            f"{second.top.shape[2]} episodes: accepted are equal numbers, to be paired"
        )
    if first.top.shape[1] > 1:
        one, other, units = seed_scores(first), seed_scores(second), "seeds"
    else:
        one, other, units = first.value[:, 0], second.value[:, 0], "episodes"
    apart = one - other
    spread = apart.std(-1, ddof=1) if apart.shape[-1] > 1 else np.full(len(apart), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = np.where(spread > 1e-12 * np.abs(one).max(-1), apart.mean(-1) / spread, np.nan)
    above = probability_above(one, other)
    return Comparison(
        apart.mean(-1),
        *bootstrap((apart,), mean),
        effect,
        np.where(np.isfinite(apart).all(-1), above, np.nan),
        *bootstrap((one, other), probability_above, work=one.shape[-1] ** 2),
        units,
        apart.shape[-1],
    )

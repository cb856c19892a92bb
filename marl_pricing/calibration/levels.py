"""The level's likelihood, and where it is highest: each offer's residual is a constant, an AR(1) and noise.

The likelihood is that of the residuals less their constant (restricted: the constant is diffuse, so that short series
do not bias the persistence; Harvey 1989, section 3.4; de Jong 1991). All offers are filtered at once, elementwise, so
that no library for matrices has a say in it. Derivatives are exact (complex step, Squire and Trapp 1998), and the
search is Newton's, which ends where rounding does: the estimate is the same on every processor to more digits than are
written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import optimize, stats

# Of the persistence: a random walk has no long-run mean to be calibrated to, and markets take no more.
LOWEST, HIGHEST = -0.99, 0.99
_STEP = 1e-30  # of complex derivatives, which have no cancellation
_NEWTON_STEPS = 200


class Levels:
    """All offers' residuals; points are (ρ, σ², ν²), the persistence and two variances.

    Attributes:
        names: the offers.
        counting: per offer, the variance of its counting noise.
    """

    def __init__(self, wide: pd.DataFrame, counting: pd.Series) -> None:
        """
        Args:
            wide: residuals, a row a period, a column an offer; NaN where there is none.
        """
        self.names, self.counting = list(wide.columns), counting
        values = wide.to_numpy(float)
        self._seen = ~np.isnan(values)  # [T, N]
        self._values = np.where(self._seen, values, 0.0)
        self._counting = counting.loc[self.names].to_numpy(float)  # [N]

    def _filter(self, points: np.ndarray) -> tuple[np.ndarray, ...]:
        """Kalman filter of the residuals and of a constant of 1, side by side (de Jong 1991), over points [K, 3].

        Returns:
            Sums over periods [K, N] of log F, v_y²/F, v_y v_1/F, v_1²/F (v innovations, F their variance), and the
            levels expected one period after the last, of the residuals and of the 1.
        """
        rho, lasting, passing = (points[:, [number]] for number in range(3))
        noise = self._counting + passing  # [K, N]
        nothing = np.zeros_like(noise)
        variance = nothing + lasting / (1.0 - rho**2)
        level, level_of_one, log_sum, yy, y1, ones = (nothing,) * 6
        for value, seen in zip(self._values, self._seen, strict=True):
            total = variance + noise
            weight = seen / total
            v, u = value - level, 1.0 - level_of_one
            log_sum = log_sum + seen * np.log(total)
            yy, y1, ones = yy + v * v * weight, y1 + v * u * weight, ones + u * u * weight
            gain = variance * weight
            level, level_of_one = rho * (level + gain * v), rho * (level_of_one + gain * u)
            variance = rho**2 * variance * (1.0 - gain) + lasting
        return log_sum, yy, y1, ones, level, level_of_one

    def log_likelihood(self, points: np.ndarray) -> np.ndarray:
        """[K] of points [K, 3]; complex where they are."""
        log_sum, yy, y1, ones, *_ = self._filter(points)
        # The constant's estimate, y1 / ones, is put in; its variance, 1 / ones, is what its diffuseness costs.
        each = log_sum + yy - y1 * y1 / ones + np.log(ones) + (self._seen.sum(0) - 1.0) * np.log(2.0 * np.pi)
        return -0.5 * each.sum(1)

    def states(self, point: np.ndarray) -> tuple[pd.Series, pd.Series, pd.Series]:
        """Per offer: its constant, the constant's error, and the level expected one period after the last."""
        _, _, y1, ones, level, level_of_one = (values[0] for values in self._filter(np.asarray(point)[None]))
        constant = y1 / ones
        own = constant, np.sqrt(1.0 / ones), level - constant * level_of_one
        return tuple(pd.Series(values, self.names) for values in own)  # type: ignore[return-value]

    def gradients(self, points: np.ndarray) -> np.ndarray:
        """[K, 3] of the log likelihood at points [K, 3], exact but for rounding."""
        turned = (points[:, None] + 1j * _STEP * np.eye(3)).reshape(-1, 3)
        return self.log_likelihood(turned).imag.reshape(-1, 3) / _STEP

    def hessian(self, point: np.ndarray) -> np.ndarray:
        """[3, 3]: central differences of exact gradients."""
        steps = 1e-4 * np.array([1.0 - point[0] ** 2, max(point[1], 1e-6), point[2] + self._counting.min()])
        around = point + np.concatenate([np.diag(steps), -np.diag(steps)])
        slopes = self.gradients(around)
        found = (slopes[:3] - slopes[3:]) / (2.0 * steps[:, None])
        return 0.5 * (found + found.T)


def _climb(levels: Levels, start: np.ndarray, free: Sequence[bool] = (True, True, True)) -> tuple[np.ndarray, float]:
    """(point, log likelihood) of the nearest maximum within the bounds, by Newton's method.

    Coordinates at a bound that the slope points out of are held there (Bertsekas 1982). Where the likelihood is no
    parabola, curvatures are taken for downward ones and steps are halved until they gain.
    """
    low, high = np.array([LOWEST, 0.0, 0.0]), np.array([HIGHEST, np.inf, np.inf])
    point = np.clip(start, low, high)
    value = float(levels.log_likelihood(point[None])[0])
    before = np.inf
    for _ in range(_NEWTON_STEPS):
        slope = levels.gradients(point[None])[0]
        held = ((point <= low) & (slope <= 0)) | ((point >= high) & (slope >= 0)) | ~np.asarray(free)
        own = np.flatnonzero(~held)
        if not own.size:
            break
        hessian = levels.hessian(point)[np.ix_(own, own)]
        # Coordinates of unit curvature, so that none is lost beside another's size.
        unit = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-12))
        curvatures, axes = np.linalg.eigh(unit[:, None] * hessian * unit)
        along = axes.T @ (unit * slope[own]) / np.maximum(np.abs(curvatures), 1e-8)
        move = np.zeros(3)
        move[own] = unit * (axes @ along)
        gain = float(slope @ move)
        if gain < 1e-9:  # less than the likelihood's own digits: the slope alone tells
            if gain >= 0.25 * before or gain == 0.0:
                break
            point, before = np.clip(point + move, low, high), gain
            continue
        reach = 1.0
        while reach > 1e-12:
            tried = np.clip(point + reach * move, low, high)
            found = float(levels.log_likelihood(tried[None])[0])
            if found > value:
                break
            reach *= 0.5
        else:
            break
        point, value = tried, found
    return point, float(levels.log_likelihood(point[None])[0])


def highest_without_level(levels: Levels, excess: float) -> tuple[np.ndarray, float]:
    """(point, log likelihood) of noise alone; `excess` is a variance beside counting noise to start from."""
    return _climb(levels, np.array([0.0, 0.0, excess]), free=(False, False, True))


def highest(levels: Levels, excess: float) -> tuple[np.ndarray, float]:
    """(point, log likelihood) of the maximum; (0, 0, ν²) where no level is more likely than any.

    The likelihood may have several maxima, with a level that lasts and one that does not: Newton's method climbs from
    the best points of a grid.
    """
    grid = np.array(
        [
            (rho, size * excess * (1.0 - rho**2), rest * excess)
            for rho in (-0.6, 0.0, 0.3, 0.6, 0.8, 0.9, 0.96, 0.98)
            for size in (0.05, 0.3, 1.0, 4.0)
            for rest in (0.05, 0.3, 1.0)
        ]
    )
    best = grid[np.argsort(-levels.log_likelihood(grid), kind="stable")]
    # The best ones of all, and the best of those of another persistence.
    apart = [point for point in best if abs(point[0] - best[0][0]) > 0.25][:2]
    none = highest_without_level(levels, excess)
    point, value = max((_climb(levels, start) for start in (*best[:2], *apart)), key=lambda found: found[1])
    return (point, value) if value > none[1] + 1e-9 and point[1] > 0 else none


def standard_errors(levels: Levels, point: np.ndarray, value: float) -> list[float]:
    """Of (ρ, σ, ν) at the maximum, from its curvature; infinite where there is none, as at a variance of 0.

    At the highest persistence there is none in its direction; its error is then the one whose 95 % interval ends where
    the profile likelihood's does (a fall of half the χ² quantile), the others' are those given the persistence.
    """
    spread = np.sqrt(point[1:])
    free = np.array([LOWEST < point[0] < HIGHEST and spread[0] > 0, *(spread > 0)])
    errors = np.full(3, np.inf)
    own = np.flatnonzero(free)
    if own.size:
        unit = np.array([1.0 - point[0] ** 2, *np.maximum(point[1:], 1e-12)])[own]
        try:
            variance = np.diag(np.linalg.inv(-unit[:, None] * levels.hessian(point)[np.ix_(own, own)] * unit)) * unit**2
        except np.linalg.LinAlgError:
            variance = np.full(own.size, -1.0)
        errors[own] = np.sqrt(np.where(variance > 0, variance, np.inf))
        errors[1:] = np.where(free[1:], errors[1:] / (2.0 * np.where(free[1:], spread, 1.0)), np.inf)
    if point[0] == HIGHEST:
        errors[0] = _error_at_the_edge(levels, point, value)
    return [float(error) for error in errors]


def _error_at_the_edge(levels: Levels, point: np.ndarray, value: float) -> float:
    """Distance to the lower end of the profile likelihood's interval, in standard errors of 95 %."""
    fall = 0.5 * stats.chi2.ppf(0.95, 1)

    def above(rho: float) -> float:
        start = np.array([rho, *point[1:]])
        return _climb(levels, start, free=(False, True, True))[1] - value + fall

    if above(0.0) > 0:
        return np.inf
    return float(HIGHEST - optimize.brentq(above, 0.0, HIGHEST, xtol=1e-10)) / float(stats.norm.ppf(0.975))

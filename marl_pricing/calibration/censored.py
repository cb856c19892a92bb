"""Demand behind stock-outs: negative-binomial counts; a sold-out row tells that at least its stock was wanted.

E[units wanted] = exp(columns · coefficients + effects); the dispersion is common. A row that sold all of its stock k
adds log P(N ≥ k) = log I_x(k, r), the regularised incomplete beta function with x = mean / (mean + r).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, sparse, special

from marl_pricing.calibration.mapping import CalibrationError
from marl_pricing.calibration.standard_errors import Influence

_DISPERSION = (0.05, 1e5)  # of r; the larger, the nearer to Poisson
_MOST_EFFECTS = 3_000  # their information is one matrix


@dataclass(frozen=True)
class Censored:
    """Coefficients by name with their influences; see `Poisson`.

    Attributes:
        dispersion: r; the variance of what is wanted is mean + mean² / r.
        wanted: [n] expected units wanted, of sold-out rows given that it was the stock or more; else the units.
    """

    coefficients: dict[str, float]
    influences: dict[str, Influence]
    dispersion: float
    wanted: np.ndarray


def _scores(eta: np.ndarray, units: np.ndarray, out: np.ndarray, r: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per row: log likelihood, its first derivative in η = log mean, and minus its second."""
    mean = np.exp(np.clip(eta, -30.0, 30.0))
    x = mean / (mean + r)
    log_x, log_rest = -np.log1p(r / mean), -np.log1p(mean / r)
    own = special.gammaln(units + r) - special.gammaln(r) - special.gammaln(units + 1.0) + units * log_x + r * log_rest
    slope, curve = (units - mean) * (1.0 - x), x * (1.0 - x) * (units + r)
    for values in (own, slope, curve):
        values[out] = 0.0  # all of no stock was sold: nothing is told
    bound = out & (units > 0)
    k, x, log_x, log_rest = units[bound], x[bound], log_x[bound], log_rest[bound]
    tail = np.maximum(special.betainc(k, r, x), 1e-290)
    hazard = np.exp(np.minimum(k * log_x + r * log_rest - special.betaln(k, r) - np.log(tail), 300.0))
    own[bound], slope[bound] = np.log(tail), hazard
    curve[bound] = -hazard * (k * (1.0 - x) - r * x - hazard)
    return own, slope, curve


def expected_beyond(mean: np.ndarray, least: np.ndarray, r: float) -> np.ndarray:
    """E[N | N ≥ least]: mean · P(N' ≥ least - 1) / P(N ≥ least), N' of a dispersion r + 1 and the same odds."""
    x, k = mean / (mean + r), np.maximum(least, 1.0)
    more = np.where(k > 1.0, special.betainc(np.maximum(k - 1.0, 1.0), r + 1.0, x), 1.0)
    tail = special.betainc(k, r, x)
    # A stock far beyond what was ever expected says its own size and little more.
    told = np.where(tail > 1e-200, mean * more / np.maximum(tail, 1e-290), least)
    return np.where(least > 0, told, mean)


class _Likelihood:
    """Minus the mean log likelihood of a sparse design."""

    def __init__(self, design: sparse.csr_matrix, units: np.ndarray, out: np.ndarray) -> None:
        self.design, self.units, self.out = design, units, out

    def highest(self, start: np.ndarray, r: float) -> tuple[np.ndarray, float]:
        """(coefficients, mean log likelihood) at a dispersion."""
        count = len(self.units)
        last: dict[bytes, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

        def scores(b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            # A step of conjugate gradients asks for many products at one point.
            key = b.tobytes()
            if key not in last:
                while len(last) > 1:
                    last.pop(next(iter(last)))
                last[key] = _scores(self.design @ b, self.units, self.out, r)
            return last[key]

        def value(b: np.ndarray) -> tuple[float, np.ndarray]:
            own, slope, _ = scores(b)
            return -float(own.sum()) / count, -(self.design.T @ slope) / count

        def product(b: np.ndarray, direction: np.ndarray) -> np.ndarray:
            return self.design.T @ (scores(b)[2] * (self.design @ direction)) / count

        found = optimize.minimize(
            value, start, jac=True, hessp=product, method="trust-ncg", options={"gtol": 1e-7, "maxiter": 300}
        )
        return found.x, -float(found.fun)


def fit_censored(table: pd.DataFrame, columns: Sequence[str], groups: Sequence[str]) -> Censored:
    """Fit by maximum likelihood, the dispersion by a search over its profile.

    Args:
        table: units, sold_out (bool), columns, groups as `fit_poisson` takes them; groups that sold nothing are left
            out before.

    Raises:
        CalibrationError: where there are too many effects for one matrix, or the slope is not identified.
    """
    units, out = table["units"].to_numpy(float), table["sold_out"].to_numpy(bool)
    parts = [sparse.csr_matrix(table[list(columns)].to_numpy(float))]
    for number, name in enumerate(groups):
        codes, names = pd.factorize(table[name])
        own = sparse.csr_matrix((np.ones(len(codes)), (np.arange(len(codes)), codes)), (len(codes), len(names)))
        parts.append(own if number == 0 else own[:, 1:])
    design = sparse.csr_matrix(sparse.hstack(parts))
    if design.shape[1] > _MOST_EFFECTS:
        raise CalibrationError(
            f"estimator='censored': accepted are at most {_MOST_EFFECTS:,} products and periods together, there are "
            f"{design.shape[1]:,}; estimator=poisson leaves sold-out rows out"
        )
    likelihood = _Likelihood(design, units, out)
    first = np.zeros(design.shape[1])
    level = np.log(table.groupby(groups[0])["units"].transform("mean").to_numpy())
    first[len(columns) : len(columns) + table[groups[0]].nunique()] = level[
        np.unique(pd.factorize(table[groups[0]])[0], return_index=True)[1]
    ]
    low, high = np.log(_DISPERSION)
    at = {"b": likelihood.highest(first, 5.0)[0]}

    def profile(log_r: float) -> float:
        at["b"], found = likelihood.highest(at["b"], float(np.exp(log_r)))
        return -found

    log_r = float(optimize.minimize_scalar(profile, bounds=(low, high), method="bounded", options={"xatol": 0.02}).x)
    r = float(np.exp(log_r))
    b = likelihood.highest(at["b"], r)[0]
    eta = design @ b
    _, slope, curve = _scores(eta, units, out, r)
    # The dispersion is estimated too: its score and its part of the information, by central differences.
    step = 1e-4
    ends = [_scores(eta, units, out, r * np.exp(sign * step)) for sign in (1.0, -1.0)]
    of_r = (ends[0][0] - ends[1][0]) / (2.0 * step)
    middle = _scores(eta, units, out, r)[0]
    curve_r = -float((ends[0][0] + ends[1][0] - 2.0 * middle).sum()) / step**2
    cross = -(design.T @ ((ends[0][1] - ends[1][1]) / (2.0 * step)))
    information = np.zeros((design.shape[1] + 1,) * 2)
    information[:-1, :-1] = (design.T @ design.multiply(curve[:, None])).toarray()
    information[:-1, -1] = information[-1, :-1] = cross
    inside = low + 0.1 < log_r < high - 0.1
    information[-1, -1] = curve_r if inside and curve_r > 0 else 1e12
    try:
        solved = np.linalg.solve(information, np.eye(len(information))[:, : len(columns)])
    except np.linalg.LinAlgError:
        solved = np.full((len(information), len(columns)), np.nan)
    if not np.all(np.isfinite(solved)) or np.any(np.diag(solved) <= 0):
        raise CalibrationError("its information is not positive, so that the slope is not identified")
    influences = {}
    for number, name in enumerate(columns):
        left = design @ solved[:-1, number]
        each = left * slope + solved[-1, number] * of_r
        share = left**2 * np.maximum(curve, 0.0) / solved[number, number]
        influences[name] = Influence(each, share)
    beyond = np.maximum(expected_beyond(np.exp(eta), units, r), units)
    return Censored(
        {name: float(b[number]) for number, name in enumerate(columns)}, influences, r, np.where(out, beyond, units)
    )

"""How demand moves beside its price: the season, and each offer's own level as a log AR(1).

The residual of log demand, price taken out, is taken for a constant of each offer, a season common to all, the level
(AR(1): persistence ρ, volatility σ), noise that does not last (spread ν), and counting noise, which is what Poisson
draws of the mean add to a logarithm, variance 1/units. ρ, σ and ν are common to all offers and maximise the sum of the
offers' restricted likelihoods (`levels`; a period without sales is missing, not zero).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from linearmodels.panel import PanelOLS
from linearmodels.panel.utility import AbsorbingEffectError
from scipy import stats

from marl_pricing.calibration.calendar import HOLIDAY
from marl_pricing.calibration.levels import Levels, highest, highest_without_level, standard_errors
from marl_pricing.calibration.standard_errors import Estimate, at_least


@dataclass(frozen=True)
class Test:
    """A test of there being nothing: statistic, degrees of freedom, p-value."""

    statistic: float
    degrees: int
    p_value: float


@dataclass(frozen=True)
class Dynamics:
    """How demand moves.

    Attributes:
        persistence, volatility: ρ and σ of the log level; 0 and 0 without one.  noise: ν, spread of what does not last.
        season_cosine, season_sine: [H] of the harmonics, at period 0 of the table.
        persistence_test: likelihood-ratio test of there being no level, but noise that does not last (two parameters
            fewer, one at its edge, so that p-values are too high).
        volatility_test: likelihood-ratio test of nothing but counting noise against noise that does not last.
        holiday: what a holiday adds to the log demand of its period; None without a calendar of them.
        season_test: Wald test of all harmonics, errors clustered by period and by offer; None where no season was
            estimated, or with too few offers for so many terms.
        season_told_from_trend: there are at least two whole seasons.
        constants: per offer, its mean log demand beside price and season.
        constant_errors: per offer, standard error of that under the estimated level.
        filtered: per offer, the level expected one period after the last.
        mean_factor: per offer, log of the mean of exp(residual less season): the constant of a market in which
            level and noise have mean 1.
        counting: per offer, variance of its counting noise.
    """

    persistence: Estimate
    volatility: Estimate
    noise: Estimate
    season_cosine: np.ndarray
    season_sine: np.ndarray
    persistence_test: Test
    volatility_test: Test
    season_test: Test | None
    season_told_from_trend: bool
    constants: pd.Series
    constant_errors: pd.Series
    filtered: pd.Series
    mean_factor: pd.Series
    counting: pd.Series
    holiday: Estimate | None = None

    def season_part(self, phase: np.ndarray, length: float, holidays: np.ndarray | float = 0.0) -> np.ndarray:
        """What the season and holidays add to log demand.

        Args:
            phase: periods from the first of the table.
            length: periods of a season.
            holidays: in each period.
        """
        terms = season_terms(phase, length, len(self.season_cosine)) @ np.r_[self.season_cosine, self.season_sine]
        return terms + (self.holiday.value * holidays if self.holiday is not None else 0.0)


def timed(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns of rows that say when they are: offer, period, and holidays where these are known."""
    return rows[["offer", "period", *([HOLIDAY] if HOLIDAY in rows else [])]]


def season_terms(periods: np.ndarray, length: float, harmonics: int) -> np.ndarray:
    """[T, 2H] cosines, then sines, of 2πh t / length."""
    angle = 2.0 * np.pi * np.arange(1, harmonics + 1) * (np.asarray(periods, float)[:, None] / length)
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)


def _season(table: pd.DataFrame, length: float, harmonics: int) -> tuple[np.ndarray, Estimate | None, Test | None]:
    """Of the season in `residual`: coefficients [2H]; what a holiday adds; the test that there is no season."""
    offers, periods = table["offer"].nunique(), table["period"].nunique()
    # One offer's season is not told from its level.
    names = [f"season{number}" for number in range(2 * harmonics)] if offers > 1 else []
    beside = [HOLIDAY] if HOLIDAY in table and table[HOLIDAY].nunique() > 1 else []
    nothing = np.zeros(2 * harmonics), None, None
    if not names and not beside:
        return nothing
    terms = pd.DataFrame(
        season_terms(table["period"].to_numpy(), length, len(names) // 2), table.index, names, dtype=float
    )
    panel = pd.concat([table, terms], axis=1).set_index(["offer", "period"])
    model = PanelOLS(panel["residual"], panel[[*names, *beside]], entity_effects=True)
    clustered = partial(
        model.fit, cov_type="clustered", cluster_entity=True, auto_df=False, count_effects=False, group_debias=True
    )
    try:
        # Levels persist within an offer, and a period's weather is common to all.
        if offers == 1:
            fit = within = model.fit(cov_type="kernel")
        else:
            fit, within = clustered(cluster_time=True), clustered()
    except (AbsorbingEffectError, ValueError):  # fewer periods than terms
        return nothing
    both, alone = fit.cov.to_numpy(float), within.cov.to_numpy(float)
    holiday = None
    if beside:
        clusters = min(offers, periods) if offers > 1 else 1
        holiday = Estimate(float(fit.params[HOLIDAY]), float(np.sqrt(max(both[-1, -1], alone[-1, -1]))), clusters)
    if not names:
        return nothing[0], holiday, None
    coefficients, free = fit.params[names].to_numpy(float), offers - len(names)
    if free < 1:
        return coefficients, holiday, None
    # Clusters are as few as offers: Hotelling's law instead of the chi-square, which rejects far too often.
    size = len(names)
    spread = at_least(both[:size, :size], alone[:size, :size])
    wald = float(coefficients @ np.linalg.solve(spread, coefficients))
    ratio = wald * free / (size * (free + size - 1))
    return coefficients, holiday, Test(wald, len(names), float(stats.f.sf(ratio, len(names), free)))


def fit_dynamics(
    table: pd.DataFrame, residual: np.ndarray, *, season: float, harmonics: int, beyond: pd.DataFrame | None = None
) -> Dynamics:
    """Season, persistence and volatility.

    Args:
        table: of a panel: offer, period, units, and holidays in the period where these are known.
        residual: per row, log demand (or attraction) less the price's part.
        season: periods of a season.  harmonics: its pairs of terms; 0 for none.
        beyond: rows without a residual, as those of 0 units: offer, period, holidays, and demand less the price's part,
            no logarithm.
            They count in what an offer sells on average, not in how its level moves.
    """
    own = timed(table).assign(units=table["units"], residual=residual)
    first, last = int(own["period"].min()), int(own["period"].max())
    own["period"] -= first
    span = last - first + 1
    coefficients, holiday, season_test = _season(own, season, harmonics)

    def calendar_part(rows: pd.DataFrame) -> np.ndarray:
        found = season_terms(rows["period"].to_numpy(), season, harmonics) @ coefficients
        return found + (holiday.value * rows[HOLIDAY].to_numpy() if holiday is not None else 0.0)

    smooth = own["residual"].to_numpy() - calendar_part(own)
    wide = own.assign(smooth=smooth).pivot(index="period", columns="offer", values="smooth").reindex(range(span))
    counting = (1.0 / own["units"]).groupby(own["offer"]).mean()
    levels = Levels(wide, counting)
    excess = float(np.clip((wide.var() - counting).median(), 1e-4, None))
    point, whole = highest(levels, excess)
    errors = standard_errors(levels, point, whole)
    noise_only, counted_only = (
        highest_without_level(levels, excess)[1],
        float(levels.log_likelihood(np.zeros((1, 3)))[0]),
    )
    level_ratio, noise_ratio = max(2.0 * (whole - noise_only), 0.0), max(2.0 * (noise_only - counted_only), 0.0)
    constants, constant_errors, filtered = levels.states(point)
    mean_factor = np.log(np.exp(wide).mean())
    if beyond is not None and len(beyond):
        part = calendar_part(beyond.assign(period=beyond["period"] - first))
        more = beyond.assign(demand=beyond["demand"] * np.exp(-part)).groupby("offer")["demand"]
        total, count = np.exp(wide).sum(), wide.notna().sum()
        with_more = np.log((total + more.sum().reindex(total.index).fillna(0.0)) / (
            count + more.size().reindex(total.index).fillna(0)))  # fmt: skip
        touched = more.size().reindex(total.index).fillna(0) > 0
        # The level's path is that of the rows seen; it is put where all rows have the mean that they have.
        constants = constants + (with_more - mean_factor).where(touched, 0.0)
        mean_factor = with_more.where(touched, mean_factor)
    return Dynamics(
        persistence=Estimate(float(point[0]), errors[0]),
        volatility=Estimate(float(np.sqrt(point[1])), errors[1]),
        noise=Estimate(float(np.sqrt(point[2])), errors[2]),
        season_cosine=coefficients[:harmonics],
        season_sine=coefficients[harmonics:],
        persistence_test=Test(level_ratio, 2, float(stats.chi2.sf(level_ratio, 2))),
        # No variance lies on the edge: half the mass is at 0 (Self and Liang 1987).
        volatility_test=Test(noise_ratio, 1, float(0.5 * stats.chi2.sf(noise_ratio, 1))),
        season_test=season_test,
        season_told_from_trend=span >= 2 * season,
        constants=constants,
        constant_errors=constant_errors,
        filtered=filtered,
        mean_factor=mean_factor,
        counting=counting,
        holiday=holiday,
    )

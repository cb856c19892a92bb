"""What each product is expected to sell next, at today's price: its own level, season and what they leave open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from marl_pricing.calibration.calendar import Calendar
from marl_pricing.calibration.dynamics import Dynamics, fit_dynamics, timed
from marl_pricing.calibration.panel import Panel


@dataclass(frozen=True)
class Level:
    """Demand beside prices.

    Attributes:
        dynamics: season, persistence, volatility, each offer's constant and level.
        reference: per offer, the log price that these are told at.
        elasticity: per offer.
        first, last: periods that it rests on.
        season: periods of one.
        calendar: of holidays; None where none was told.
    """

    dynamics: Dynamics
    reference: pd.Series
    elasticity: pd.Series
    first: int
    last: int
    season: float
    calendar: Calendar | None = None

    def expected(self, offers: list[str], periods: np.ndarray, prices: np.ndarray) -> np.ndarray:
        """Units expected at prices [K] of offers in periods after the last, whatever the level does until then."""
        moves, ahead = self.dynamics, periods - self.last
        holidays = self.calendar.count(periods) if self.calendar is not None else 0.0
        season = moves.season_part(periods - self.first, self.season, holidays)
        level = moves.filtered.loc[offers].to_numpy() * moves.persistence.value ** np.maximum(ahead - 1, 0)
        price = self.elasticity.loc[offers].to_numpy() * (np.log(prices) - self.reference.loc[offers].to_numpy())
        spread = self.variance().loc[offers].to_numpy()
        return np.exp(moves.constants.loc[offers].to_numpy() + price + season + level + 0.5 * spread)

    def variance(self) -> pd.Series:
        """Per offer, of the log of next period's demand: its level as far as it is known, what that does, and noise.

        The variance of the level's filter where it does not change any more (Anderson and Moore 1979, 4.4). A constant
        that is off by δ is taken for a level of the other sign by that filter, which leaves (1 - ρ) / (1 - ρ + ρK) of
        δ, K its gain.
        """
        moves = self.dynamics
        rho, innovation = moves.persistence.value, moves.volatility.value**2
        seen = moves.noise.value**2 + moves.counting
        level = pd.Series(innovation, seen.index)
        for _ in range(200):
            level = rho**2 * level * seen / (level + seen).where(level + seen > 0, 1.0) + innovation
        gain = level / (level + seen).where(level + seen > 0, 1.0)
        left = (1.0 - rho) / (1.0 - rho + rho * gain).clip(lower=1e-9)
        return level + moves.noise.value**2 + (left * moves.constant_errors) ** 2


def fit_level(
    panel: Panel, elasticity: pd.Series, season: float, harmonics: int, calendar: Calendar | None = None
) -> Level:
    """The level beside elasticities [offers]. Rows of no sales count in what an offer sells on average."""
    rows, table = panel.rows, panel.table
    reference = rows.groupby("offer")["log_price"].mean()

    def part(some: pd.DataFrame) -> np.ndarray:
        own = elasticity.loc[some["offer"].tolist()].to_numpy()
        return own * (some["log_price"].to_numpy() - reference.loc[some["offer"].tolist()].to_numpy())

    bare = rows[(rows["units"] <= 0) | rows["sold_out"]]
    # Of sold-out rows no more is known than what was sold: what is expected of such a product is too low rather.
    beyond = timed(bare).assign(demand=bare["units"].to_numpy() / np.exp(part(bare)))
    first, last = int(table["period"].min()), int(table["period"].max())
    whole = last - first + 1 >= season
    moves = fit_dynamics(
        table, table["log_units"].to_numpy() - part(table), season=season, harmonics=harmonics if whole else 0,
        beyond=beyond,
    )  # fmt: skip
    return Level(moves, reference, elasticity, first, last, season, calendar)


def backtest(panel: Panel, level: Level, holdout: int) -> pd.DataFrame:
    """Forecasts of the last periods, prices known, by a level that ends before: offer, model and naive.

    Both are Σ|error| / Σ units of an offer over the periods held out; naive repeats the last units seen.
    """
    table = panel.rows[~panel.rows["sold_out"]]
    held = table[(table["period"] > level.last) & table["offer"].isin(level.reference.index)].reset_index(drop=True)
    if held.empty:
        return pd.DataFrame(columns=["offer", "model", "naive"])
    offers, periods = held["offer"].tolist(), held["period"].to_numpy()
    model = level.expected(offers, periods, held["price"].to_numpy())
    wide = table.pivot(index="period", columns="offer", values="units")
    wide = wide.reindex(range(int(wide.index.min()), level.last + holdout + 1))
    seen = wide.loc[: level.last].ffill().iloc[-1]
    cells = held.assign(model=(held["units"] - model).abs(), naive=(held["units"] - seen.loc[offers].to_numpy()).abs())
    sums = cells.groupby("offer")[["model", "naive", "units"]].sum()
    sums = sums[sums["units"] > 0]
    return sums[["model", "naive"]].div(sums["units"], axis=0).reset_index()

"""Every product's own elasticity, drawn towards its category's: for markets, candidate worlds and price lists alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from marl_pricing.calibration import hierarchy
from marl_pricing.calibration.panel import Panel

DRAWS = 1000


@dataclass(frozen=True)
class OwnElasticities:
    """Elasticities of the offers of a panel.

    Attributes:
        measured: each by itself: offer, category, elasticity, error (`slopes.own_slopes`).
        draws: [D, offers] of the posterior, a column an offer.
        among, within: posterior mean spreads, of categories and of the products of one.
    """

    measured: pd.DataFrame
    draws: pd.DataFrame
    among: float
    within: float

    @property
    def mean(self) -> pd.Series:
        """Per offer."""
        return self.draws.mean()

    def interval(self, offers: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """95 % intervals of offers: low ends, high ends."""
        low, high = np.quantile(self.draws[offers].to_numpy(), [0.025, 0.975], axis=0)
        return low, high


def offers_of(panel: Panel) -> list[str]:
    """In the order of draws."""
    return sorted(panel.rows["offer"].unique())


def categories_of(panel: Panel) -> tuple[list[str], np.ndarray]:
    """(categories in order, the number of each offer's)."""
    of = panel.rows.groupby("offer")["category"].first().loc[offers_of(panel)]
    categories = sorted(of.unique())
    return categories, np.searchsorted(categories, of)


def draw_towards(panel: Panel, measured: pd.DataFrame, draws: int = DRAWS, seed: int = 0) -> OwnElasticities:
    """The posterior of every offer's elasticity (`hierarchy.sample`).

    Args:
        measured: of `slopes.own_slopes`, at least one.
    """
    offers = offers_of(panel)
    told = measured.set_index("offer").reindex(offers)
    found = hierarchy.sample(
        told["elasticity"].to_numpy(float), told["error"].to_numpy(float), categories_of(panel)[1],
        draws=draws, seed=seed,
    )  # fmt: skip
    return OwnElasticities(
        measured, pd.DataFrame(found.products, columns=offers), float(found.among.mean()), float(found.within.mean())
    )

"""Draws of every product's elasticity, as the settings want them: each its own, or one for all."""

from __future__ import annotations

import numpy as np
import pandas as pd

from marl_pricing.calibration import hierarchy
from marl_pricing.calibration.elasticity import fit_elasticity
from marl_pricing.calibration.instruments import WEAK, instrument_columns
from marl_pricing.calibration.own import categories_of, draw_towards, offers_of
from marl_pricing.calibration.panel import Panel
from marl_pricing.calibration.reading import CalibrationError
from marl_pricing.calibration.slopes import COLUMNS, own_slopes
from marl_pricing.config.errors import refuse
from marl_pricing.pricelist.settings import PriceListSettings


def measure(panel: Panel, own: PriceListSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Elasticities of offers and cross elasticities of categories, with errors, as `own_slopes`."""
    table, instruments = instrument_columns(panel.rows, own.instruments)
    if own.elasticities == "own":
        return own_slopes(table, own.estimator, own.effects, own.cross == "category", instruments=instruments)
    fit = fit_elasticity(
        table, effects=own.effects, instruments=instruments, estimator=own.estimator, cross=False
    )  # fmt: skip
    rows = [("", "", fit.own.value, fit.own.normal_error)]
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(columns=COLUMNS)


def posterior(
    panel: Panel, measured: pd.DataFrame, others: pd.DataFrame, own: PriceListSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of elasticities [D, offers] and of categories' cross elasticities [D, C]."""
    offers = offers_of(panel)
    categories, _ = categories_of(panel)
    if own.elasticities == "pooled":
        random = np.random.default_rng([own.seed, 0])
        one = measured.iloc[0]
        drawn = one["elasticity"] + one["error"] * random.standard_normal((own.draws, 1))
        return np.repeat(drawn, len(offers), 1), np.zeros((own.draws, len(categories)))
    if measured.empty and own.instruments != "none":
        raise CalibrationError(
            f"instruments={own.instruments!r}: accepted is none, or elasticities=pooled, where they move no product's "
            f"price by itself (first-stage F of {WEAK:g} or more)"
        )
    if measured.empty:
        raise CalibrationError(
            "price: no product's price moves apart from the effects, so that no elasticity is identified; accepted are "
            "fewer effects, or sales in which products' prices move apart"
        )
    found = draw_towards(panel, measured, own.draws, own.seed)
    cross = np.zeros((own.draws, len(categories)))
    if own.cross == "category":
        if others.empty:
            raise refuse("cross", "category", "none here: no category has two products whose prices move")
        known = others.set_index("category").reindex(categories)
        cross = hierarchy.sample(
            known["elasticity"].to_numpy(float), known["error"].to_numpy(float), np.zeros(len(categories), int),
            prior=hierarchy.CROSS_PRIOR, draws=own.draws, seed=own.seed + 1,
        ).products  # fmt: skip
    return found.draws.to_numpy(), cross

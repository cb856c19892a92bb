"""How strong a cause that no column tells would have to be to take an estimate away (Cinelli and Hazlett 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from marl_pricing.calibration.choosing import group_columns, holiday_column, trend_column, with_trend
from marl_pricing.calibration.linear import without_effects


@dataclass(frozen=True)
class Robustness:
    """Robustness values of the elasticity, in logs of units and prices.

    An unseen cause that explains this share of what effects and controls leave, both of prices and of units, would
    bring the estimate there; one that explains less of both would not.

    Attributes:
        to_zero: to no effect.
        to_minus_one: to an elasticity of -1, at which no price is best; 0 where the estimate lies on the other side.
    """

    to_zero: float
    to_minus_one: float


def robustness_value(partial: float, share: float = 1.0) -> float:
    """RV_q = ½ (√(f⁴ + 4 f²) − f²), f = q √(R² / (1 − R²)) (Cinelli and Hazlett 2020, eq. 20).

    Args:
        partial: R², partial, of units with price.
        share: q, of the estimate that is to be taken away.
    """
    strength = share**2 * partial / (1.0 - partial)
    return float(0.5 * (np.sqrt(strength**2 + 4.0 * strength) - strength))


def robustness(rows: pd.DataFrame, effects: Sequence[str], controls: Sequence[str] = ()) -> Robustness | None:
    """Of least squares of log units in log price; None where these say nothing.

    Args:
        rows: of `Panel.table`, those that sold something.
    """
    beside = [*controls, *holiday_column(rows, effects), *trend_column(effects)]
    left = without_effects(with_trend(rows), ["log_units", "log_price", *beside], group_columns(effects))
    units, price, others = left[:, 0], left[:, 1], left[:, 2:]
    if others.shape[1]:
        own = np.linalg.lstsq(others, left[:, :2], rcond=None)[0]
        units, price = (left[:, :2] - others @ own).T
    if not (price @ price > 0 and units @ units > 0):
        return None
    partial = float(np.clip((units @ price) ** 2 / ((units @ units) * (price @ price)), 0.0, 1.0 - 1e-12))
    value = float(units @ price / (price @ price))
    return Robustness(robustness_value(partial), robustness_value(partial, 1.0 + 1.0 / value) if value < -1.0 else 0.0)

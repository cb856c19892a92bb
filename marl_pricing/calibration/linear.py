"""Least squares with effects taken out: the influence of each row, with instruments or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyhdfe

from marl_pricing.calibration.mapping import CalibrationError
from marl_pricing.calibration.standard_errors import Influence


@dataclass(frozen=True)
class Linear:
    """Coefficients by name with their influences.

    Attributes:
        residual: [n] what they leave, effects taken out.
        pulls: per coefficient [n], what 1 more in a row's outcome adds to it.
    """

    coefficients: dict[str, float]
    influences: dict[str, Influence]
    residual: np.ndarray
    pulls: dict[str, np.ndarray]


def without_effects(table: pd.DataFrame, columns: Sequence[str], groups: Sequence[str]) -> np.ndarray:
    """[n, k] columns less their groups' means, by alternating projections; [n, k] as they are without groups."""
    values = table[list(columns)].to_numpy(float)
    if not groups:
        return values
    ids = np.column_stack([pd.factorize(table[name])[0] for name in groups])
    # Each offer and period of its own has to be seen twice, else its row says nothing and is dropped by its effect.
    return pyhdfe.create(ids, drop_singletons=False).residualize(values)


def fit_linear(
    table: pd.DataFrame, outcome: str, columns: Sequence[str], groups: Sequence[str], instruments: Sequence[str] = ()
) -> Linear:
    """Least squares, or two-stage least squares of the first column through its instruments.

    Raises:
        CalibrationError: where a column is explained by the effects.
    """
    names = list(columns)
    within = without_effects(table, [outcome, *names, *instruments], groups)
    y, x = within[:, 0], within[:, 1 : 1 + len(names)]
    through = np.column_stack([within[:, 1 + len(names) :], x[:, 1:]]) if instruments else x
    scale = np.maximum(np.abs(table[[*names, *instruments]].to_numpy(float)).max(0), 1e-300)
    if len(y) <= x.shape[1] or np.any(within[:, 1:].std(0) < 1e-10 * scale):
        raise CalibrationError("a column is explained by the effects alone")
    fitted = through @ np.linalg.lstsq(through, x, rcond=None)[0]
    moments = fitted.T @ x
    if np.linalg.matrix_rank(moments / np.outer(x.std(0), x.std(0))) < x.shape[1]:
        raise CalibrationError("columns explain one another")
    inverse = np.linalg.inv(moments)
    found = inverse @ (fitted.T @ y)
    residual = y - x @ found
    own = fitted @ inverse.T
    spread = np.sum(own**2, axis=0)
    return Linear(
        {name: float(found[number]) for number, name in enumerate(names)},
        {name: Influence(own[:, n] * residual, own[:, n] ** 2 / spread[n]) for n, name in enumerate(names)},
        residual,
        {name: own[:, n] for n, name in enumerate(names)},
    )

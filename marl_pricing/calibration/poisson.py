"""Poisson pseudo maximum likelihood with effects (Santos Silva and Tenreyro 2006), by pyfixest: zeros count."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyfixest
import pyhdfe

from marl_pricing.calibration.mapping import CalibrationError
from marl_pricing.calibration.standard_errors import Influence


@dataclass(frozen=True)
class Poisson:
    """Coefficients by name, each with the influence of the rows it rests on.

    Attributes:
        table: the rows: those of groups without a single unit say nothing of the slope and are gone.
        mean: [n] expected units.
        pulls: per coefficient [n], what a unit more in a row adds to it.
    """

    coefficients: dict[str, float]
    influences: dict[str, Influence]
    table: pd.DataFrame
    mean: np.ndarray
    pulls: dict[str, np.ndarray]


def that_sold(table: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """Without rows of groups that sold nothing, whose effect is minus infinity."""
    rows = -1
    while len(table) != rows:
        rows = len(table)
        for name in groups:
            table = table[table.groupby(name)["units"].transform("sum") > 0]
    return table


def fit_poisson(table: pd.DataFrame, columns: Sequence[str], groups: Sequence[str]) -> Poisson:
    """Fit E[units] = exp(columns · coefficients + an effect of each group).

    Args:
        table: units (at least 0), the columns and the groups.
        groups: columns of the table whose values have an effect each.

    Raises:
        CalibrationError: where a column is explained by the effects.
    """
    rows = that_sold(table, groups).reset_index(drop=True)
    ids = np.column_stack([pd.factorize(rows[name])[0] for name in groups])
    values = rows[list(columns)].to_numpy(float)
    data = pd.DataFrame(values, columns=[f"x{number}" for number in range(len(columns))])
    data["units"] = rows["units"].to_numpy(float)
    for number in range(len(groups)):
        data[f"g{number}"] = ids[:, number]
    formula = f"units ~ {' + '.join(data.columns[: len(columns)])} | {' + '.join(f'g{n}' for n in range(len(groups)))}"
    within = pyhdfe.create(ids, drop_singletons=False)
    plain = within.residualize(values)
    if len(rows) <= len(columns) or np.any(plain.std(0) < 1e-10 * np.maximum(np.abs(values).max(0), 1e-300)):
        raise CalibrationError("a column is explained by the effects alone")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = pyfixest.fepois(
                formula, data, fixef_rm="none", vcov="hetero", iwls_tol=1e-10, separation_check=["fe", "ir"]
            )
        except (ValueError, RuntimeError, np.linalg.LinAlgError) as error:
            raise CalibrationError(f"counts cannot be fitted, {' '.join(str(error).split())[:120]}") from None
    mean = np.asarray(fit.predict(type="response"), float)
    if len(mean) != len(rows) or len(fit.coef()) != len(columns):
        raise CalibrationError("a column tells apart rows that sold from rows that did not, so that it has no slope")
    # What is left of each column once the effects and the other columns are taken out, with the fit's weights.
    left = within.residualize(values, weights=mean[:, None])
    information = left.T @ (left * mean[:, None])
    inverse = np.linalg.inv(information)
    own = left @ inverse  # [n, k]; each column is its partialled-out regressor over its information
    residual = rows["units"].to_numpy(float) - mean
    influences = {
        name: Influence(own[:, number] * residual, own[:, number] ** 2 * mean / inverse[number, number])
        for number, name in enumerate(columns)
    }
    found = fit.coef()
    coefficients = {name: float(found[f"x{number}"]) for number, name in enumerate(columns)}
    pulls = {name: own[:, number] for number, name in enumerate(columns)}
    return Poisson(coefficients, influences, rows, mean, pulls)

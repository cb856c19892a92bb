"""One product by itself: log units in log price with errors that last, ARMA(1, 1), by statsmodels' state space."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats
from threadpoolctl import threadpool_limits

from marl_pricing.calibration.mapping import CalibrationError
from marl_pricing.calibration.standard_errors import Estimate

LEAST_PERIODS = 30


def fit_arma(table: pd.DataFrame, columns: Sequence[str]) -> dict[str, Estimate]:
    """Coefficients by maximum likelihood; periods without a row are missing.

    An AR(1) level and noise that does not last add up to an ARMA(1, 1). Where prices are held for weeks and demand
    lasts, least squares hardly knows its own error; this does (docs/calibration.md).

    Args:
        table: of one offer: period, log_units, columns.

    Raises:
        CalibrationError: where a column does not vary, or the likelihood has no maximum that can be found.
    """
    own = table.set_index("period").sort_index()
    own = own.reindex(range(int(own.index.min()), int(own.index.max()) + 1))
    beside = own[list(columns)].ffill()
    design = np.column_stack([beside.to_numpy(float), np.ones(len(beside))])
    if np.linalg.matrix_rank(design - np.r_[design.mean(0)[:-1], 0.0]) < design.shape[1]:
        raise CalibrationError("columns explain one another")
    # Its matrices are of two rows: threads of BLAS wait for one another twenty times longer than they compute.
    with warnings.catch_warnings(), threadpool_limits(limits=1, user_api="blas"):
        warnings.simplefilter("ignore")
        try:
            fit = sm.tsa.SARIMAX(own["log_units"].to_numpy(float), design, order=(1, 0, 1)).fit(disp=0, maxiter=200)
            values, errors = np.asarray(fit.params, float), np.asarray(fit.bse, float)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise CalibrationError(
                f"no maximum of the likelihood is found ({' '.join(str(error).split())[:100]})"
            ) from None
    # Of the free parameters three are the errors' own.
    critical = float(stats.t.ppf(0.975, max(len(table) - len(columns) - 4, 1)))
    return {
        name: Estimate(float(values[number]), float(errors[number]), 1, critical) for number, name in enumerate(columns)
    }

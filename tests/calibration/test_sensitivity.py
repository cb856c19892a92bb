"""Robustness values: a cause as strong as they say takes the estimate away, exactly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from marl_pricing.calibration.sensitivity import robustness, robustness_value


def within(rows: pd.DataFrame, column: str) -> np.ndarray:
    return (rows[column] - rows.groupby("offer")[column].transform("mean")).to_numpy()


def test_a_cause_as_strong_as_the_value_takes_the_estimate_to_zero() -> None:
    random = np.random.default_rng(0)
    price = random.normal(0.0, 0.2, 400)
    units = 3.0 - 2.0 * price + random.normal(0.0, 0.4, 400)
    rows = pd.DataFrame({"offer": np.repeat(["a", "b", "c", "d"], 100), "log_price": price, "log_units": units})
    rows["period"] = np.tile(np.arange(100), 4)
    found = robustness(rows, ("product",))
    assert found is not None
    x, y = within(rows, "log_price"), within(rows, "log_units")
    slope = x @ y / (x @ x)
    for share, value in ((1.0, found.to_zero), (1.0 + 1.0 / slope, found.to_minus_one)):
        # z explains `value` of x and as much of what is left of y: z = √RV x + √(1 - RV) e with e orthogonal to x and
        # made of y's residual and of what is orthogonal to both.
        unit = x / np.linalg.norm(x)
        rest = y - slope * x
        rest /= np.linalg.norm(rest)
        other = random.normal(size=400)
        other -= (other @ unit) * unit + (other @ rest) * rest
        other /= np.linalg.norm(other)
        mix = np.sqrt(value)
        cause = -np.sqrt(value) * unit + np.sqrt(1.0 - value) * (mix * rest + np.sqrt(1.0 - mix**2) * other)
        both = np.linalg.lstsq(np.column_stack([x, cause]), y, rcond=None)[0]
        assert both[0] == pytest.approx((1.0 - share) * slope, abs=1e-9)


def test_effects_and_trends_are_out_before_and_nothing_is_said_of_what_does_not_vary() -> None:
    assert robustness_value(0.0) == 0.0 and robustness_value(0.5) == pytest.approx((np.sqrt(5.0) - 1.0) / 2.0)
    time = np.arange(60.0)
    rows = pd.DataFrame({"offer": "a", "period": np.arange(60), "log_price": 0.01 * time, "log_units": 0.02 * time})
    rows["log_price"] += np.where(time % 2, 0.1, -0.1)
    found = robustness(rows, ("product", "trend"))
    assert found is not None and found.to_zero < 0.15 and found.to_minus_one == 0.0
    assert robustness(rows.assign(log_price=1.0), ("product",)) is None

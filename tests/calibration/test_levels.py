"""The level's likelihood against statsmodels, its maximum against another search, and the same on every processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize
from statsmodels.tsa.statespace.structural import UnobservedComponents

from marl_pricing.calibration import levels
from marl_pricing.calibration.levels import HIGHEST, Levels
from tests.calibration.sales import GROCERY


def residuals(
    persistence: float, volatility: float, noise: float, *, periods: int = 60, offers: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Offers' constants, levels and noise (noise includes counting's 0.02), a tenth of the periods missing."""
    random = np.random.default_rng(seed)
    level = random.normal(0, volatility / np.sqrt(1 - persistence**2), offers)
    rows = []
    for _ in range(periods):
        rows.append(level + random.normal(0, noise, offers))
        level = persistence * level + random.normal(0, volatility, offers)
    values = np.array(rows) + random.normal(0, 1, offers)
    values[random.random(values.shape) < 0.1] = np.nan
    return pd.DataFrame(values, columns=[f"offer{number}" for number in range(offers)])


def made(*truth: float, counting: float = 0.02, **size: int) -> tuple[Levels, pd.DataFrame, float]:
    wide = residuals(*truth, **size)
    own = Levels(wide, pd.Series(counting, wide.columns))
    return own, wide, float(max((wide.var() - counting).median(), 1e-4))


def statsmodels_of(wide: pd.DataFrame, point: np.ndarray) -> list:
    """The same model by another filter; its diffuse constant has a variance of 10⁶."""
    return [
        UnobservedComponents(wide[name].to_numpy(), level=True, irregular=True, autoregressive=1).filter(
            np.array([0.02 + point[2], point[1], point[0]])
        )
        for name in wide
    ]


def test_likelihood_and_states_are_statsmodels() -> None:
    own, wide, _ = made(0.8, 0.2, 0.3)
    points = np.array([[0.8, 0.04, 0.09], [-0.4, 0.01, 0.2], [0.98, 0.002, 0.05], [0.0, 0.3, 0.0]])
    theirs = np.array([sum(found.llf for found in statsmodels_of(wide, point)) for point in points])
    mine = own.log_likelihood(points)
    # But for what the diffuse constant's variance adds to every point.
    np.testing.assert_allclose(mine - mine[0], theirs - theirs[0], atol=1e-3)
    constants, errors, ahead = own.states(points[0])
    for name, found in zip(wide, statsmodels_of(wide, points[0]), strict=True):
        assert constants[name] == pytest.approx(found.filtered_state[0, -1], abs=1e-4)
        assert errors[name] == pytest.approx(np.sqrt(found.filtered_state_cov[0, 0, -1]), rel=1e-4)
        assert ahead[name] == pytest.approx(0.8 * found.filtered_state[1, -1], abs=1e-4)


def test_derivatives_are_those_of_differences() -> None:
    own, _, _ = made(0.8, 0.2, 0.3)
    point = np.array([0.7, 0.05, 0.1])
    steps = 1e-5 * np.eye(3)
    differences = (own.log_likelihood(point + steps) - own.log_likelihood(point - steps)) / 2e-5
    np.testing.assert_allclose(own.gradients(point[None])[0], differences, rtol=1e-6)
    second = (own.gradients(point + steps) - own.gradients(point - steps)) / 2e-5
    np.testing.assert_allclose(own.hessian(point), second, rtol=1e-5)


@pytest.mark.parametrize("truth", [(0.8, 0.2, 0.3), (0.3, 0.5, 0.1), (0.95, 0.1, 0.5), (-0.5, 0.4, 0.1)])
def test_no_other_point_is_more_likely(truth: tuple[float, float, float]) -> None:
    """Differential evolution over the whole box finds the same maximum and nothing above it."""
    own, _, excess = made(*truth, periods=40)
    point, value = levels.highest(own, excess)
    box = [(levels.LOWEST, HIGHEST), (1e-9, 4 * excess), (1e-9, 4 * excess)]
    other = optimize.differential_evolution(
        lambda x: -own.log_likelihood(x.T if x.ndim > 1 else x[None]), box, rng=1, vectorized=True, updating="deferred",
        popsize=8, maxiter=80, tol=1e-8, polish=False,
    )  # fmt: skip
    assert value >= -float(np.squeeze(other.fun)) - 1e-9
    np.testing.assert_allclose(point, other.x, rtol=0.02, atol=2e-3 * excess)


def test_a_maximum_is_known_to_more_digits_than_are_written() -> None:
    """What rounding of another kernel does to the data moves no estimate in its ninth digit, on a flat ridge too."""
    for truth in ((0.8, 0.2, 0.3), (0.97, 0.05, 0.5)):
        _, wide, excess = made(*truth)
        counting = pd.Series(0.02, wide.columns)
        random = np.random.default_rng(5)
        found = []
        for size in (0.0, 1e-13, 1e-13):
            own = Levels(wide * (1.0 + size * random.normal(size=wide.shape)), counting)
            point, value = levels.highest(own, excess)
            found.append(np.array([*point, *levels.standard_errors(own, point, value)]))
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=1e-7)
            np.testing.assert_allclose(other[:3], found[0][:3], rtol=1e-9)


def test_a_random_walk_is_estimated_at_the_highest_persistence() -> None:
    """There the others are at their own maximum, and the interval ends where the profile likelihood's does."""
    random = np.random.default_rng(3)
    wide = pd.DataFrame(random.normal(0, 0.1, (160, 12)).cumsum(0) + random.normal(0, 0.2, (160, 12)))
    own = Levels(wide, pd.Series(0.02, wide.columns))
    point, value = levels.highest(own, float(wide.var().median()))
    assert point[0] == HIGHEST
    slope = own.gradients(point[None])[0]
    assert slope[0] > 0 and np.abs(slope[1:] * point[1:]).max() < 1e-8
    errors = levels.standard_errors(own, point, value)
    low = HIGHEST - 1.959964 * errors[0]
    profile = optimize.minimize(
        lambda raw: -own.log_likelihood(np.array([[low, *np.exp(raw)]]))[0], np.log(point[1:]), method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-10},
    )  # fmt: skip
    assert 2.0 * (value + profile.fun) == pytest.approx(3.841459, abs=1e-4)
    assert 0 < errors[1] < 0.05 and 0 < errors[2] < 0.05


def test_without_a_level_there_is_none() -> None:
    """Offers of pure noise that alternates less than chance: σ = 0, ρ = 0 and no error for either."""
    flat = pd.DataFrame(np.tile([[0.1], [-0.1]], (20, 3)) * np.array([1.0, 1.0, -1.0]))
    own = Levels(flat, pd.Series(0.5, flat.columns))  # counting noise alone is more than what is seen
    point, value = levels.highest(own, 1e-4)
    assert value == pytest.approx(levels.highest_without_level(own, 1e-4)[1]) and point.tolist() == [0.0, 0.0, 0.0]
    assert levels.standard_errors(own, point, value) == [np.inf] * 3


_ESTIMATE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import yaml
from marl_pricing.calibration.calibrate import find
from marl_pricing.calibration.market_file import estimates_of
from marl_pricing.calibration.reading import read_mapping, read_sales
from marl_pricing.calibration.settings import CalibrationSettings
told = yaml.safe_load(open("examples/grocery/calibration.yaml"))
own = CalibrationSettings(out="out", **(told | json.loads(sys.argv[1])))
found = find(read_sales(own.data, read_mapping(own.mapping)), own)
print(json.dumps([estimates_of(found.fit), found.market.settings, found.backtest.scores.to_dict("list"),
                  found.groups.to_dict("list")]))
"""


def numbers(of: object) -> list[float]:
    if isinstance(of, dict):
        return [value for name in of for value in numbers(of[name])]
    if isinstance(of, list):
        return [value for own in of for value in numbers(own)]
    return [float(of)] if isinstance(of, (int, float)) else []


def kernels() -> list[str]:
    """Two kinds of processor that this one can play; the library runs what it is told even where it cannot."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.exists() else ""
    # Zen's are Haswell's, cut into other blocks: the nearest that there is where nothing is wider.
    return ["Haswell", "SkylakeX" if "avx512f" in flags else "Zen"] if "avx2" in flags else []


# The cheese's likelihood rises to a unit root, on a slope so flat that a search which stops early stops anywhere.
CHEESE = {"category": "CHEESE", "products_per_seller": 4, "market_size": 800.0}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, CHEESE], ids=["example", "cheese"])
def test_every_processor_estimates_the_same(changes: dict) -> None:
    """All numbers of a grocery calibration, to five digits, whatever kernel and number of threads."""
    found_here = kernels()
    if len(found_here) < 2:
        pytest.skip("this processor has no two kernels to compare")
    runs = [
        {"OPENBLAS_CORETYPE": kernel, **threads(count)} for count, kernel in enumerate(found_here, start=1)
    ]  # each with threads of its own number
    found = []
    for run in runs:
        told = subprocess.run(
            [sys.executable, "-c", _ESTIMATE, json.dumps(changes)],
            cwd=GROCERY.parents[1], env=os.environ | run | {"JAX_PLATFORMS": "cpu"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.append(np.array(numbers(json.loads(told.stdout.splitlines()[-1]))))
    assert len(found[0]) > 50
    for run, other in zip(runs[1:], found[1:], strict=True):
        np.testing.assert_allclose(other, found[0], rtol=1e-5, atol=1e-12, err_msg=str(run))


def threads(count: int) -> dict[str, str]:
    return {"OPENBLAS_NUM_THREADS": str(count), "OMP_NUM_THREADS": str(count)}

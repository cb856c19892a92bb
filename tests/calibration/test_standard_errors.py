"""Errors by the shape of the data, against libraries and against what they are of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyfixest
import pytest
import statsmodels.api as sm
from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

from marl_pricing.calibration.linear import fit_linear
from marl_pricing.calibration.poisson import fit_poisson
from marl_pricing.calibration.reading import CalibrationError
from marl_pricing.calibration.standard_errors import (
    Estimate,
    Influence,
    at_least,
    choose_errors,
    covariance,
    fixed_b,
    with_error,
)


def panel(offers: int, periods: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    offer, period = np.repeat(np.arange(offers), periods), np.tile(np.arange(periods), offers)
    x = random.normal(size=offers * periods)
    own, common = random.normal(size=offers)[offer], random.normal(size=periods)[period]
    y = 1.0 + x + own * x + common * x + random.normal(size=len(x))
    units = random.poisson(np.exp(1.0 + 0.3 * x + 0.3 * own)).astype(float)
    return pd.DataFrame({"offer": offer, "period": period, "x": x, "y": y, "units": units, "one": 0})


@pytest.mark.parametrize(
    ("offers", "periods", "kind"),
    [(1, 80, "hac"), (3, 60, "hac"), (3, 6, "jackknife"), (7, 40, "jackknife"), (30, 6, "product"),
     (30, 40, "product_period")],
)  # fmt: skip
def test_errors_are_chosen_by_products_and_periods(offers: int, periods: int, kind: str) -> None:
    assert choose_errors(panel(offers, periods)) == kind


def test_clusters_of_one_product_are_refused() -> None:
    with pytest.raises(CalibrationError, match="errors='product': accepted is auto, hac or independent"):
        choose_errors(panel(1, 40), "product")


def test_two_way_clusters_are_statsmodels() -> None:
    table = panel(15, 20)
    fit = sm.OLS(table["y"], sm.add_constant(table["x"])).fit()
    theirs = cov_cluster_2groups(fit, table["offer"], table["period"])[0][1, 1]
    own = fit_linear(table.assign(one=0), "y", ["x"], ["one"])
    ours, free = covariance(own.influences["x"].each[:, None], table, "product_period")
    # statsmodels corrects the intersection and each dimension by (n - 1) / (n - k) too.
    assert np.sqrt(ours[0, 0]) == pytest.approx(np.sqrt(theirs), rel=0.01) and free == 14


def test_a_two_way_sum_that_is_no_covariance_is_at_least_that_of_the_first_clusters() -> None:
    within = np.diag([1.0, 4.0, 9.0])
    both = np.diag([2.0, 3.0, -50.0])
    np.testing.assert_allclose(at_least(both, within), np.diag([2.0, 4.0, 9.0]), atol=1e-12)
    mixed = np.array([[2.0, 0.5], [0.5, 1.0]])  # a sound sum that is larger in every direction stays as it is
    np.testing.assert_allclose(at_least(mixed, 0.1 * np.eye(2)), mixed, atol=1e-12)
    rng = np.random.default_rng(1)
    for _ in range(20):
        half, odd = rng.normal(size=(2, 4, 4))
        own, sum_of_two = half @ half.T + 0.1 * np.eye(4), odd + odd.T
        for direction in rng.normal(size=(5, 4)):
            found = direction @ at_least(sum_of_two, own) @ direction
            assert found >= max(direction @ own @ direction, direction @ sum_of_two @ direction) - 1e-9


def test_poisson_influences_are_pyfixests_clusters_and_statsmodels_fit() -> None:
    table = panel(20, 15)
    ours = fit_poisson(table, ["x"], ["offer", "period"])
    theirs = pyfixest.fepois("units ~ x | offer + period", table, vcov={"CRV1": "offer"})
    found = with_error(ours.coefficients["x"], ours.influences["x"], ours.table, "product")
    assert found.value == pytest.approx(float(theirs.coef()["x"]), abs=1e-6)
    assert found.error == pytest.approx(float(theirs.se()["x"]), rel=0.03)
    dummies = pd.get_dummies(table[["offer", "period"]].astype(str), dtype=float, drop_first=True)
    design = np.column_stack([table["x"], np.ones(len(table)), dummies])
    glm = sm.GLM(table["units"], design, family=sm.families.Poisson()).fit()
    assert ours.coefficients["x"] == pytest.approx(float(glm.params.iloc[0]), abs=1e-6)
    assert ours.influences["x"].share.sum() == pytest.approx(1.0)


def test_a_jackknife_leaves_products_out_and_its_step_comes_near() -> None:
    table = panel(6, 40)
    own = fit_linear(table, "y", ["x"], ["offer"])

    def again(some: pd.DataFrame) -> float:
        return fit_linear(some, "y", ["x"], ["offer"]).coefficients["x"]

    value, influence = own.coefficients["x"], own.influences["x"]
    exact = with_error(value, influence, table, "jackknife", again)
    left = np.array([again(table[table["offer"] != number]) for number in range(6)])
    assert exact.error == pytest.approx(np.sqrt(5.0 / 6.0 * ((left - value) ** 2).sum())) and exact.clusters == 6
    # Without effects that products share one step is all there is.
    step = with_error(value, influence, table, "jackknife")
    assert step.error == pytest.approx(exact.error, rel=0.12)
    theirs = pyfixest.feols("y ~ x | offer", table, vcov={"CRV3": "offer"})
    # Theirs takes G / (G - 1) for (G - 1) / G.
    assert exact.error == pytest.approx(float(theirs.se()["x"]) * 5.0 / 6.0, rel=0.01)


def test_errors_over_time_widen_with_what_lasts() -> None:
    random = np.random.default_rng(0)
    ratios = []
    for lasting in (0.0, 0.8):
        found = []
        for _ in range(60):
            e = random.normal(size=200)
            for t in range(1, 200):
                e[t] += lasting * e[t - 1]
            table = pd.DataFrame({"offer": "a", "period": range(200)})
            found.append(with_error(0.0, Influence(e, np.full(200, 1 / 200)), table, "hac").error)
        # The sum's standard deviation: sqrt(200) / (1 - ρ).
        ratios.append(np.mean(found) / (np.sqrt(200) / (1.0 - lasting)))
    assert 0.75 < ratios[0] < 1.15 and 0.65 < ratios[1] < 1.15
    # Kiefer and Vogelsang's points: normal without lags, 4.771 with all of them.
    assert fixed_b(0.0) == pytest.approx(1.96, abs=1e-3) and fixed_b(1.0) == pytest.approx(4.771, abs=0.05)
    assert Estimate(1.0, 2.0, critical=3.0).interval == (-5.0, 7.0)

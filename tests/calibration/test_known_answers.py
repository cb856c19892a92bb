"""Estimates whose values are known: a grocery chain, Nevo's cereals, simulated markets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyblp
import pytest

from marl_pricing.calibration.coverage import coverage, summary
from marl_pricing.calibration.elasticity import fit_elasticity
from marl_pricing.calibration.logit import fit_logit
from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.reading import read_mapping, read_sales
from tests.calibration.sales import GROCERY


def test_grocery_elasticity() -> None:
    """Own-price elasticity -1.825, standard error 0.027 (iid) and 0.123 (clustered by product)."""
    sales = read_sales(GROCERY / "sales.csv", read_mapping(GROCERY / "mapping.yaml"))
    found = fit_elasticity(
        make_panel(sales.table).rows, effects=("product", "period"), estimator="loglinear", errors="product"
    )
    assert found.own.value == pytest.approx(-1.825, abs=5e-4)
    assert found.iid.value == pytest.approx(-1.825, abs=5e-4)
    assert found.iid.error == pytest.approx(0.027, abs=5e-4)
    assert found.own.error == pytest.approx(0.123, abs=5e-4)
    assert found.offers == 300


@pytest.fixture(scope="module")
def cereals() -> pd.DataFrame:
    raw = pd.read_csv(pyblp.data.NEVO_PRODUCTS_LOCATION)
    return raw.rename(
        columns={"market_ids": "period", "product_ids": "offer", "firm_ids": "seller", "shares": "share",
                 "prices": "price"}
    )  # fmt: skip


INSTRUMENTS = [f"demand_instruments{number}" for number in range(20)]


def test_nevos_logit(cereals: pd.DataFrame) -> None:
    """Price -30.047 (1.009), mean own elasticity -3.706: pyblp's tutorial on Nevo's (2000) data."""
    found = fit_logit(cereals, effects=("product",), instruments=INSTRUMENTS, errors="independent")
    assert found.price.value == pytest.approx(-30.047, abs=5e-4)
    assert found.price.error == pytest.approx(1.009, abs=5e-4)
    assert found.mean_elasticity == pytest.approx(-3.706, abs=5e-4)


def test_nevos_nested_logit(cereals: pd.DataFrame) -> None:
    """One nest: ρ 0.98259, price -1.17332; the number of offers is one more instrument."""
    found = fit_logit(
        cereals.assign(count=cereals.groupby("period")["offer"].transform("size")), effects=(),
        instruments=INSTRUMENTS, nested=True, errors="independent",
    )  # fmt: skip
    assert found.nesting is not None
    assert found.nesting.value == pytest.approx(0.98259, abs=5e-6)
    assert found.price.value == pytest.approx(-1.17332, abs=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["logit", "power"])
def test_intervals_cover_what_markets_were_made_with(form: str) -> None:
    """200 simulated markets: 95 % intervals cover 90 to 99 %, bias under 0.1 standard errors (known to 0.07)."""
    told = summary(coverage(form, 200)).loc["slope"]
    assert 0.90 <= told["covered"] <= 0.99
    assert abs(told["bias"]) < 0.1 + 2.0 * told["bias_error"]
    assert told["bias_error"] < 0.08 and 0.85 < told["spread"] < 1.2


@pytest.mark.slow
def test_levels_are_found_again() -> None:
    """Persistence, volatility and noise of simulated markets, within three standard errors of the mean."""
    found = coverage("power", 8, with_level=True)
    own = found.assign(z=(found["value"] - found["true"]) / found["error"])
    for name, group in own[np.isfinite(own["z"])].groupby("parameter"):
        assert len(group) >= 7, name
        assert abs(group["z"].mean()) < 3.0 / np.sqrt(len(group)), name
        assert group["z"].abs().max() < 4.5, name

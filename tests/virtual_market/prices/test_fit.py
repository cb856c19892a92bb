"""What is learned of shoppers, against laws that NumPy draws from, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.demand import LogitParams
from marl_pricing.demand.choice import logit
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.prices import law
from marl_pricing.virtual_market.prices.fit import FitSettings, FittedPrices, fit
from marl_pricing.virtual_market.prices.law import Free
from marl_pricing.virtual_market.prices.log import cells_of
from tests.virtual_market.prices.shoppers import QUALITY, SCALE, a_log

FEW = FitSettings(members=5, family="logit")


@lru_cache(maxsize=4)
def _confounded() -> FittedPrices:
    return fit(a_log(follows=0.5), FEW)


def test_the_law_is_the_market_s() -> None:
    log = a_log(days=8, epochs=2, sessions=20)
    cells = cells_of(log)
    with jax.enable_x64(True):
        rows, scales = law.rows_of(cells, 8)
        found = law.start_of(rows, 8)._replace(slope=np.float64(0.7), nest=np.float64(0.2), buyers=np.float64(1.5))
        free = Free(days=0.0, buyers=1.0, nest=1.0)
        ours = np.asarray(law.choice(found, rows, free))[:, 1:]
        buyers, nesting = float(law.buyers_of(found, free)), float(law.nesting_of(found, free))
        scale = scales.scale / 0.7
        quality = scales.middle + scale * np.asarray(found.base)
        params = LogitParams(*(jnp.asarray(part) for part in (quality[None], [0.0], [scale], [nesting])))
        everything = jnp.ones(2, bool)
        theirs = [logit(jnp.asarray(p), jnp.ones(2), everything, jnp.ones(1), params)[0] for p in cells.prices]
    assert 0.1 < nesting < 0.9 and 0.5 < buyers < 0.9
    np.testing.assert_allclose(ours, buyers * np.asarray(theirs), rtol=1e-9)


def test_prices_that_follow_demand_mislead_who_takes_them_as_given() -> None:
    found = _confounded().classes[0]
    error = found.scale[1:].std(ddof=1)
    assert abs(found.scale[0] - SCALE) < 4 * error < 0.1
    assert found.pooled < 0.9  # a slope too flat by more than a tenth
    naive = fit(a_log(follows=0.5), FEW.model_copy(update={"effects": "none", "members": 2})).classes[0]
    assert naive.scale[0] > 1.1 * SCALE and np.isnan(naive.pooled)
    np.testing.assert_allclose(found.quality[0], QUALITY, atol=0.12)  # of 30 days' demand
    assert found.volatility[0].mean() == pytest.approx(0.3, abs=0.1)
    assert found.family == "logit" and found.misfit > 0.001


@pytest.mark.slow
def test_where_prices_do_not_follow_demand_nothing_is_said() -> None:
    found = fit(a_log(), FitSettings(members=6)).classes[0]
    assert found.family == "logit"
    assert abs(found.scale[0] - SCALE) < 4 * found.scale[1:].std(ddof=1) and abs(found.pooled - 1.0) < 0.1


@pytest.mark.slow
def test_sessions_that_never_buy_are_told_from_those_that_find_it_dear() -> None:
    found = fit(a_log(sessions=400, buyers=0.3), FitSettings(members=4)).classes[0]
    assert found.family == "buyers" and found.rate[0] == pytest.approx(0.3, abs=0.03)
    assert found.scale[0] == pytest.approx(SCALE, rel=0.2)


@pytest.mark.slow
def test_a_law_that_does_not_fit_is_said() -> None:
    found = fit(a_log(sessions=400, bend=12.0), FitSettings(members=2)).classes[0]
    assert found.misfit < 1e-6 and found.missed > 0.005


@pytest.mark.slow
def test_agents_that_are_told_are_learned_by_themselves() -> None:
    log = a_log(agents=0.4)
    people, agents = fit(log, FEW).classes
    assert people.share == pytest.approx(0.6, abs=0.02) and agents.share == pytest.approx(0.4, abs=0.02)
    assert people.scale[0] == pytest.approx(SCALE, rel=0.2) and agents.scale[0] == pytest.approx(0.1, rel=0.2)


def test_what_no_log_tells_is_refused() -> None:
    log = a_log(days=10, epochs=2, sessions=20)
    still = log.prices.copy()
    still[:, 1] = 1.5
    with pytest.raises(LogError, match=r"price of south: is 1\.5 in all 400 sessions: .* is not known"):
        fit(replace(log, prices=still), FEW)
    daily = log.prices.copy()
    daily[:, 0] = (1.5 + 0.01 * log.day).round(4)
    with pytest.raises(LogError, match="price of north: never differs between sessions of one day"):
        fit(replace(log, prices=daily), FEW)
    with pytest.raises(LogError, match="nobody bought it"):
        fit(replace(log, bought=np.where(log.bought == 1, -1, log.bought)), FEW)
    with pytest.raises(LogError, match="the log has 7 days; accepted are at least 8"):
        fit(a_log(days=7, epochs=2, sessions=20), FEW)
    # Orders that have nothing to do with prices: an interval with 0 in it.
    shuffled = np.random.default_rng(0).permutation(log.bought)
    with pytest.raises(LogError, match="demand of people is not known to fall"):
        fit(replace(log, bought=shuffled), FEW)

"""Cycles of best responses: where there is an equilibrium they stand still, where there is none nobody rests."""

from __future__ import annotations

import numpy as np
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.equilibrium.cycles import best_response_cycle
from marl_pricing.evaluation.benchmarks import static_benchmarks
from tests.markets import one_shot


def test_an_equilibrium_is_a_cycle_that_stands_still() -> None:
    own = one_shot(2, agent={"scale": 0.1}, agent_share=0.5)
    nash, found = static.nash(*own), best_response_cycle(*own)
    assert found.period == 2 and found.residual == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(found.mean_prices, nash.prices, atol=1e-6)
    np.testing.assert_allclose(found.mean_profits, nash.profits, atol=1e-6)


def test_very_elastic_agents_make_sellers_undercut_and_relent() -> None:
    own = one_shot(2, agent={"scale": 0.01}, agent_share=0.5)
    with pytest.raises(static.CyclingError, match="best responses do not settle"):
        static.nash(*own)
    found = best_response_cycle(*own)
    assert found.period and found.period > 2 and len(found.prices) == found.period
    # Each answer is a best one: no other price of the offer that moved earns more against the others.
    grid = np.linspace(1.0, 2.2, 1201)
    for before, after in zip(found.prices[:-1], found.prices[1:], strict=True):
        mover = int(np.argmax(before != after))
        earned = static.profits_at(*own, after)[mover]
        others = [static.profits_at(*own, np.where(np.arange(2) == mover, price, after))[mover] for price in grid[::40]]
        assert earned >= max(others) - 1e-9
    assert found.residual > 0
    np.testing.assert_allclose(found.mean_profits, np.mean([static.profits_at(*own, p) for p in found.prices], 0))


def test_benchmarks_of_such_a_market_name_the_cycle_and_no_nash() -> None:
    benchmarks = static_benchmarks(*one_shot(2, agent={"scale": 0.01}, agent_share=0.5))
    assert benchmarks.nash is None and benchmarks.cycle is not None
    assert "best responses cycle between" in benchmarks.reason

"""Consumer surplus against its defining property and the table of known answers."""

from __future__ import annotations

import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.demand import logit_surplus, propensities
from marl_pricing.evaluation import surplus
from tests.markets import make, one_shot

TABLE = Path(__file__).parents[1] / "known_answers" / "logit_static.csv"


@pytest.mark.parametrize("row", list(csv.DictReader(TABLE.open())), ids=lambda row: f"{row['n']} sellers")
def test_surplus_of_equal_logit_sellers(row: dict[str, str]) -> None:
    shape, params = one_shot(int(row["n"]))
    for name in ("nash", "joint"):
        prices = np.full(shape.num_offers, float(row[f"p_{name}"]))
        assert surplus.at_prices(shape, params, prices) == pytest.approx(float(row[f"surplus_{name}"]), abs=1.5e-5)


@pytest.mark.parametrize("changes", [
    {}, {"nesting": 0.4}, {"agent": {"scale": 0.1}}, {"types": {"spread": 0.3, "nodes": 5}},
], ids=str)  # fmt: skip
def test_its_slope_is_minus_demand(changes: dict) -> None:
    """Roy's identity: a price that rises by dp takes q dp from those who buy, in every class."""
    nesting = changes.pop("nesting", None)
    demand = {"model": "logit", "quality": [2.0, 1.7], "scale": 0.25} | ({"nesting": nesting} if nesting else {})
    shape, params = make(demand=demand, **changes)[:2]
    level, everything = jnp.array([1.2, 0.8]), jnp.ones(2, bool)
    prices = jnp.array([1.5, 1.4])
    slope = jax.jacfwd(lambda p: logit_surplus(shape.demand, params.demand, p, level, everything))(prices)
    wanted = propensities(shape.demand, params.demand, prices, level, everything)
    np.testing.assert_allclose(slope, -wanted, rtol=2e-5, atol=1e-6)


def test_an_offer_that_cannot_be_had_is_worth_nothing() -> None:
    shape, params = one_shot(2)
    one = logit_surplus(shape.demand, params.demand, jnp.array([1.5, 1.5]), jnp.ones(2), jnp.array([True, False]))
    dear = logit_surplus(shape.demand, params.demand, jnp.array([1.5, 90.0]), jnp.ones(2), jnp.ones(2, bool))
    none = logit_surplus(shape.demand, params.demand, jnp.array([1.5, 1.5]), jnp.ones(2), jnp.zeros(2, bool))
    np.testing.assert_allclose(one, dear, rtol=1e-6)
    np.testing.assert_allclose(none, 0.0, atol=1e-7)


def test_other_demand_has_no_log_sum_and_says_so() -> None:
    shape, params = make(demand={"model": "linear", "intercept": 2.0, "slope": 1.0})[:2]
    with pytest.raises(ValueError, match="demand here is linear"):
        surplus.at_prices(shape, params, np.array([1.0, 1.0]))
    with pytest.raises(ValueError, match=r"market\.demand\.model='linear'"):
        logit_surplus(shape.demand, params.demand, jnp.ones(2), jnp.ones(2), jnp.ones(2, bool))

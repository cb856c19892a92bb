"""Sessions one by one are the sessions that the market sells to."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from marl_pricing import traffic
from marl_pricing.traffic.each import each_session
from tests.markets import make
from tests.traffic.visitors import AGENT, conditions, with_sessions

ONE_UNIT = {"order_law": "multinomial", "sessions_per_epoch": 40, "agent_share": 0.3}


@pytest.mark.parametrize("model", ["analytic", "bank"])
def test_they_add_up_to_what_the_market_sells(model: str) -> None:
    own = make(ONE_UNIT, agent=AGENT) if model == "analytic" else with_sessions(sessions=200, agent_share=0.3)
    shape, params = own
    found = conditions(own, prices=[1.4, 1.7])
    alpha = params.traffic.agent_share
    given = shape.traffic, params.traffic, shape.demand, params.demand, found

    def both(key: jax.Array) -> tuple[Any, Any]:
        return each_session(key, *given, alpha), traffic.simulate(key, *given, alpha[None])

    each, summed = jax.tree.map(np.asarray, jax.jit(both)(jax.random.key(3)))
    for number, of_class in enumerate((each.came & ~each.agent, each.agent)):
        np.testing.assert_array_equal(each.orders[of_class].sum(0), summed.orders[0, number])
    assert each.came.sum() == summed.visits[0] and each.orders.sum() > 0
    assert not each.orders[~each.came].any() and not (each.agent & ~each.came).any()
    assert 0 < each.agent.sum() < each.came.sum()
    assert ((each.orders > 0).sum(1) <= 1).all()  # one offer a session


def test_traffic_without_sessions_is_refused() -> None:
    shape, params = own = make({})
    with pytest.raises(ValueError, match=r"traffic\.order_law: accepted is multinomial"):
        each_session(
            jax.random.key(0), shape.traffic, params.traffic, shape.demand, params.demand, conditions(own),
            params.traffic.agent_share,
        )  # fmt: skip

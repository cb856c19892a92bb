"""Markets that the tests of this folder share."""

import pytest

from marl_pricing.config.market import Market
from tests.markets import duopoly


@pytest.fixture
def make_market():
    """See `duopoly`."""
    return duopoly


STOCKED = {"rule": "threshold", "initial_stock": 6.0, "reorder_point": 5.0, "order_quantity": 6.0, "lead_time": 2}


@pytest.fixture
def stocked(make_market) -> Market:
    """Two sellers with little stock and Poisson demand."""
    reward = {"unit_cost": 1.0, "stockout_penalty": 0.5, "holding_cost": 0.02, "omega": 0.5}
    return make_market(random_orders=True, inventory=STOCKED, reward=reward)

"""Markets that the tests of this folder share."""

import pytest

from marl_pricing.config.market import Market, market_from


def duopoly(random_orders: bool = False, **changes) -> Market:
    """A logit duopoly with unlimited stock and expected demand; keyword arguments replace its settings."""
    settings = {
        "num_sellers": 2,
        "episode_length": 12,
        "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
        "prices": {"map": "levels", "low": 1.0, "high": 2.2, "num_price_levels": 25},
        "inventory": {"rule": "unlimited"},
        "reward": {"unit_cost": 1.0},
    }
    return market_from(settings | changes, {"sessions_per_epoch": 10, "random_orders": random_orders})


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

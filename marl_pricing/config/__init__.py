"""Settings as people write them, checked once and turned into typed objects. No configuration travels further."""

from marl_pricing.config.errors import ConfigError
from marl_pricing.config.experiment import Experiment, ExperimentSettings, build, from_yaml, read_settings, to_yaml
from marl_pricing.config.market import Market, market_from

__all__ = [
    "ConfigError",
    "Experiment",
    "ExperimentSettings",
    "Market",
    "build",
    "default_market",
    "from_yaml",
    "market_from",
    "read_settings",
    "to_yaml",
]


def default_market() -> Market:
    """The market of `conf/market/default.yaml`: three sellers with stock, lead time and a moving level of demand."""
    return market_from(
        {
            "num_sellers": 3,
            "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
            "level": {"persistence": 0.9, "volatility": 0.1},
            "prices": {"map": "levels", "num_price_levels": 15, "low": 1.1, "high": 2.5},
            "inventory": {
                "rule": "threshold",
                "initial_stock": 20.0,
                "lead_time": 3,
                "reorder_point": 14.0,
                "order_quantity": 14.0,
            },
            "reward": {"unit_cost": 1.0, "stockout_penalty": 0.5, "holding_cost": 0.01},
        },
        {"sessions_per_epoch": 10},
    )

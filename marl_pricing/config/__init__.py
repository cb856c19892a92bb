"""Settings as people write them, checked once and turned into typed objects. No configuration travels further."""

from marl_pricing.config.errors import ConfigError
from marl_pricing.config.experiment import (
    Experiment,
    ExperimentSettings,
    build,
    from_yaml,
    lengthen,
    read_settings,
    to_yaml,
)
from marl_pricing.config.market import Market, market_from
from marl_pricing.config.presets import default_market, phantom_defence, phantom_prototype

__all__ = [
    "ConfigError",
    "Experiment",
    "ExperimentSettings",
    "Market",
    "build",
    "default_market",
    "from_yaml",
    "lengthen",
    "market_from",
    "phantom_defence",
    "phantom_prototype",
    "read_settings",
    "to_yaml",
]

"""Settings as people write them, checked once and turned into typed objects. No configuration travels further."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

# Fetched when asked for: who only reads settings needs no JAX, which takes seconds to import.
_PLACES = {
    "ConfigError": "errors",
    "Market": "market",
    "market_from": "market",
    "default_market": "presets",
    "phantom_defence": "presets",
    "phantom_prototype": "presets",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'experiment')}"), name)

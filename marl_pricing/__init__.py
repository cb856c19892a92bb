"""Platform sellers set prices and hold stock; people and agents shop; sellers learn by recurrent MAPPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pettingzoo import AECEnv

    from marl_pricing.config import Market
    from marl_pricing.environments import PricingEnv
    from marl_pricing.market import MarketParams, MarketShape

__all__ = ["aec_env", "parallel_env"]


def _market(
    market: Market | Mapping[str, Any] | None, traffic: Mapping[str, Any] | None, max_cycles: int | None
) -> tuple[MarketShape, MarketParams]:
    # Imported here: `import marl_pricing` costs nothing and starts no accelerator.
    from marl_pricing.config import ConfigError, Market, default_market, market_from

    if isinstance(market, Mapping):
        shape, params = market_from(market, traffic)
    elif traffic is not None:
        raise ConfigError("traffic: accepted only with market settings; a finished market has its own")
    elif market is None or isinstance(market, Market):
        shape, params = default_market() if market is None else market
    else:
        raise ConfigError(f"market={market!r:.100}: accepted is None, a dict of settings or a config.Market")
    if max_cycles is not None:
        if isinstance(max_cycles, bool) or not isinstance(max_cycles, int) or max_cycles < 1:
            raise ConfigError(f"max_cycles={max_cycles!r}: accepted is None or a whole number of at least 1")
        shape = replace(shape, episode_length=max_cycles)
    return shape, params


def parallel_env(
    market: Market | Mapping[str, Any] | None = None,
    *,
    traffic: Mapping[str, Any] | None = None,
    max_cycles: int | None = None,
    render_mode: str | None = None,
) -> PricingEnv:
    """A market as a PettingZoo parallel environment.

    Args:
        market: settings as under `market:` in conf, a finished `config.Market`, or None for the default market.
        traffic: settings as under `traffic:`, with market settings only.
        max_cycles: epochs in an episode, instead of the market's own.
        render_mode: None, "ansi" or "rgb_array".

    Raises:
        ConfigError: for settings that cannot be had.
        ValueError: for an unknown render mode.
    """
    from marl_pricing.environments import parallel_env as make

    return make(*_market(market, traffic, max_cycles), render_mode)


def aec_env(
    market: Market | Mapping[str, Any] | None = None,
    *,
    traffic: Mapping[str, Any] | None = None,
    max_cycles: int | None = None,
    render_mode: str | None = None,
) -> AECEnv:
    """The same in PettingZoo's turn-taking form; see `parallel_env`."""
    from marl_pricing.environments import aec_env as make

    return make(*_market(market, traffic, max_cycles), render_mode)

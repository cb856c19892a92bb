"""Platform sellers set prices and hold stock; people and agents shop; sellers learn by recurrent MAPPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pettingzoo import AECEnv

    from marl_pricing.config import Market
    from marl_pricing.environments import PhantomDefenceEnv, PhantomPrototypeEnv, PricingEnv
    from marl_pricing.market import MarketParams, MarketShape

__all__ = ["aec_env", "parallel_env", "phantom_defence_env", "phantom_prototype_env", "register_gymnasium"]


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


def phantom_prototype_env(
    use_defense: bool = False, *, market: Market | None = None, traffic: Mapping[str, Any] | None = None
) -> PhantomPrototypeEnv:
    """PHANTOM's prototype as a Gymnasium environment, `MarlPricing/PhantomPrototype-v0`.

    Args:
        use_defense: the demand proxy leaves out sessions that the heuristic detector flags (the prototype's own name).
        market: another market of one seller that moves prices by `adjust`.
        traffic: settings of the prototype's traffic to change, e.g. {"agent_share": 0.4}.

    Raises:
        ConfigError: for settings that cannot be had.
        ValueError: for a market that does not fit.
    """
    from marl_pricing.config import ConfigError, phantom_prototype
    from marl_pricing.environments import PhantomPrototypeEnv

    if market is not None and (traffic is not None or use_defense):
        raise ConfigError("market: accepted only without traffic and use_defense; a finished market has its own")
    own = phantom_prototype(use_defense, **(traffic or {})) if market is None else market
    return PhantomPrototypeEnv(*own)


def phantom_defence_env(
    *,
    radius: float = 0.2,
    num_candidates: int = 5,
    market: Market | None = None,
    traffic: Mapping[str, Any] | None = None,
) -> PhantomDefenceEnv:
    """PHANTOM's defensive pricing loop as a Gymnasium environment, `MarlPricing/PhantomDefence-v0`.

    Args:
        radius: ε around the nominal share of agents.  num_candidates: shares tried in it.
        market: another market of one seller with discrete prices and sessions.
        traffic: settings of the traffic to change.

    Raises:
        ConfigError: for settings that cannot be had.
        ValueError: for a market that does not fit, a radius outside [0, 1], or fewer candidates than the radius needs.
    """
    from marl_pricing.config import ConfigError, phantom_defence
    from marl_pricing.environments import PhantomDefenceEnv

    if market is not None and traffic is not None:
        raise ConfigError("traffic: accepted only without a market; a finished market has its own")
    own = phantom_defence(**(traffic or {})) if market is None else market
    return PhantomDefenceEnv(*own, radius=radius, num_candidates=num_candidates)


def register_gymnasium() -> None:
    """Make both environments known to `gymnasium.make`; the installed package does it by itself."""
    import gymnasium

    for name in ("prototype", "defence"):
        identity = f"MarlPricing/Phantom{name.capitalize()}-v0"
        if identity not in gymnasium.registry:
            gymnasium.register(identity, entry_point=f"marl_pricing:phantom_{name}_env")

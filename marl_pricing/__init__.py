"""Platform sellers set prices and hold stock; people and agents shop; sellers learn by recurrent MAPPO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import marl_pricing.forks  # noqa: F401  (notices forks from here on; starts nothing)

if TYPE_CHECKING:
    from pettingzoo import AECEnv

    from marl_pricing.api import Run, load, resume, settings, train
    from marl_pricing.config import Market
    from marl_pricing.environments import OneSellerEnv, PhantomDefenceEnv, PhantomPrototypeEnv, PricingEnv
    from marl_pricing.market import MarketParams, MarketShape

__all__ = [
    "Run",
    "aec_env",
    "load",
    "one_seller_env",
    "parallel_env",
    "phantom_defence_env",
    "phantom_prototype_env",
    "register_gymnasium",
    "resume",
    "settings",
    "train",
]

# `import marl_pricing` starts no accelerator: what follows is fetched when it is asked for.
_OF_API = ("Run", "load", "resume", "settings", "train")


def __getattr__(name: str) -> Any:
    if name in _OF_API:
        from marl_pricing import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _market(
    market: Market | Mapping[str, Any] | str | None,
    traffic: Mapping[str, Any] | None,
    max_cycles: int | None,
    changes: Mapping[str, Any],
) -> tuple[MarketShape, MarketParams]:
    from marl_pricing.config import ConfigError, Market, default_market, market_from
    from marl_pricing.config.market_settings import MOST_EPOCHS

    if changes and not (market is None or isinstance(market, str)):
        raise ConfigError(f"{next(iter(changes))}: accepted only beside an experiment's name, or alone")
    if isinstance(market, str) or (market is None and (changes or traffic is not None)):
        shape, params = _laid_over(market or "competitive", changes, traffic)
    elif isinstance(market, Mapping) and "demand" not in market:
        shape, params = _laid_over("competitive", market, traffic)
    elif isinstance(market, Mapping):
        shape, params = market_from(market, traffic)
    elif traffic is not None:
        raise ConfigError("traffic: accepted only with market settings; a finished market has its own")
    elif market is None or isinstance(market, Market):
        shape, params = default_market() if market is None else market
    else:
        accepted = "None, an experiment's name, a dict of settings or a config.Market"
        raise ConfigError(f"market={market!r:.100}: accepted is {accepted}")
    if max_cycles is not None:
        if isinstance(max_cycles, bool) or not isinstance(max_cycles, int) or not 1 <= max_cycles <= MOST_EPOCHS:
            raise ConfigError(f"max_cycles={max_cycles!r}: accepted is None or a whole number from 1 to {MOST_EPOCHS}")
        shape = replace(shape, episode_length=max_cycles)
    return shape, params


def _laid_over(experiment: str, market: Mapping[str, Any], traffic: Mapping[str, Any] | None) -> Market:
    """An experiment's market with settings laid over it, as the command line lays them."""
    from marl_pricing.api import settings
    from marl_pricing.config.market import build_market

    named = {f"market.{name}": value for name, value in _dotted(market)}
    named |= {f"traffic.{name}": value for name, value in _dotted(traffic or {})}
    own = settings(experiment, named)
    return build_market(own.market, own.traffic)


def _dotted(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings by dotted name; a group that says which kind it is stays one, to take the place of another kind."""
    from marl_pricing.config.composing import TAGS

    for name, value in settings.items():
        if isinstance(value, Mapping) and value and TAGS.get(name) not in value:
            yield from ((f"{name}.{inner}", own) for inner, own in _dotted(value))
        else:
            yield name, value


def parallel_env(
    market: Market | Mapping[str, Any] | str | None = None,
    *,
    traffic: Mapping[str, Any] | None = None,
    max_cycles: int | None = None,
    render_mode: str | None = None,
    flat_masks: bool = False,
    **changes: Any,
) -> PricingEnv:
    """A market as a PettingZoo parallel environment.

    Args:
        market: an experiment's name (`platform`, see conf/experiment), settings as under `market:` in conf, a finished
            `config.Market`, or None for the default market. Settings without `demand` are laid over the default
            market's; with it they are all that there is.
        traffic: settings as under `traffic:`, not with a finished market.
        max_cycles: epochs in an episode, instead of the market's own.
        render_mode: None, "ansi" or "rgb_array".
        flat_masks: `action_mask` of the infos, where sellers choose orders, is one array of all heads' choices, as
            TorchRL takes it, and not a tuple of an array a head, as `MultiDiscrete.sample` does.
        changes: settings as under `market:`, laid over the experiment's or the default market's: num_sellers=5,
            reward={"omega": 0.5}.

    Raises:
        ConfigError: for settings that cannot be had.
        ValueError: for an unknown render mode.
    """
    from marl_pricing.environments import parallel_env as make

    return make(*_market(market, traffic, max_cycles, changes), render_mode, flat_masks=flat_masks)


def aec_env(
    market: Market | Mapping[str, Any] | str | None = None,
    *,
    traffic: Mapping[str, Any] | None = None,
    max_cycles: int | None = None,
    render_mode: str | None = None,
    flat_masks: bool = False,
    **changes: Any,
) -> AECEnv:
    """The same in PettingZoo's turn-taking form; see `parallel_env`."""
    from marl_pricing.environments import aec_env as make

    return make(*_market(market, traffic, max_cycles, changes), render_mode, flat_masks=flat_masks)


def one_seller_env(
    market: Market | Mapping[str, Any] | str | None = "price_and_order",
    *,
    traffic: Mapping[str, Any] | None = None,
    max_cycles: int | None = None,
    render_mode: str | None = None,
    **changes: Any,
) -> OneSellerEnv:
    """A market of one seller as a Gymnasium environment, `MarlPricing/OneSeller-v0`; see `parallel_env`.

    By default the seller sets a price and chooses what to order (`experiment=price_and_order`).

    Raises:
        ConfigError: for settings that cannot be had.
        ValueError: for several sellers, or an unknown render mode.
    """
    from marl_pricing.environments import OneSellerEnv

    return OneSellerEnv(*_market(market, traffic, max_cycles, changes), render_mode)


def phantom_prototype_env(
    use_defense: bool = False,
    *,
    market: Market | None = None,
    traffic: Mapping[str, Any] | None = None,
    render_mode: None = None,
) -> PhantomPrototypeEnv:
    """PHANTOM's prototype as a Gymnasium environment, `MarlPricing/PhantomPrototype-v0`.

    Args:
        use_defense: the demand proxy leaves out sessions that the heuristic detector flags (the prototype's own name).
        market: another market of one seller that moves prices by `adjust`.
        traffic: settings of the prototype's traffic to change, e.g. {"agent_share": 0.4}.
        render_mode: None; it draws nothing.

    Raises:
        ConfigError: for settings that cannot be had.
        ValueError: for a market that does not fit.
    """
    from marl_pricing.config import ConfigError, phantom_prototype
    from marl_pricing.environments import PhantomPrototypeEnv

    _refuse_rendering(render_mode)
    if market is not None and (traffic is not None or use_defense):
        raise ConfigError("market: accepted only without traffic and use_defense; a finished market has its own")
    own = phantom_prototype(use_defense, **(traffic or {})) if market is None else market
    return PhantomPrototypeEnv(*own)


def _refuse_rendering(mode: Any) -> None:
    """`gymnasium.make(…, render_mode=…)` hands it on whatever it is."""
    from marl_pricing.config import ConfigError

    if mode is not None:
        raise ConfigError(f"render_mode={mode!r}: accepted is None; marl_pricing.parallel_env draws its markets")


def phantom_defence_env(
    *,
    radius: float = 0.2,
    num_candidates: int = 5,
    market: Market | None = None,
    traffic: Mapping[str, Any] | None = None,
    render_mode: None = None,
) -> PhantomDefenceEnv:
    """PHANTOM's defensive pricing loop as a Gymnasium environment, `MarlPricing/PhantomDefence-v0`.

    Args:
        radius: ε around the nominal share of agents.  num_candidates: shares tried in it.
        market: another market of one seller with discrete prices and sessions.
        traffic: settings of the traffic to change.
        render_mode: None; it draws nothing.

    Raises:
        ConfigError: for settings that cannot be had.
        ValueError: for a market that does not fit, a radius outside [0, 1], or fewer candidates than the radius needs.
    """
    from marl_pricing.config import ConfigError, phantom_defence
    from marl_pricing.environments import PhantomDefenceEnv

    _refuse_rendering(render_mode)
    if market is not None and traffic is not None:
        raise ConfigError("traffic: accepted only without a market; a finished market has its own")
    own = phantom_defence(**(traffic or {})) if market is None else market
    return PhantomDefenceEnv(*own, radius=radius, num_candidates=num_candidates)


def register_gymnasium() -> None:
    """Make the environments known to `gymnasium.make`; `import marl_pricing` does it."""
    import gymnasium

    makers = {"PhantomPrototype": "phantom_prototype_env", "PhantomDefence": "phantom_defence_env"}
    for name, maker in (makers | {"OneSeller": "one_seller_env"}).items():
        identity = f"MarlPricing/{name}-v0"
        if identity not in gymnasium.registry:
            gymnasium.register(identity, entry_point=f"marl_pricing:{maker}")


with suppress(ImportError):  # an exported policy is read without it
    register_gymnasium()

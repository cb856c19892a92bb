"""People who may wait for a lower price: what the settings mean, and where nobody can."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.config.market_settings import MarketSettings
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.demand import PatienceParams
from marl_pricing.equilibrium.patience import expected_falls

MOST_GROUPS = 64  # of people who wait; each adds to every step


def waiting_epochs(settings: MarketSettings) -> int:
    """W, epochs that people wait at most after the one in which they came."""
    longest = settings.episode_length - 1
    return min(settings.patience.epochs or longest, longest)


def build_patience(settings: MarketSettings, visitors: Traffic) -> PatienceParams | None:
    """The numbers of people who may wait; None where nobody does.

    Raises:
        ConfigError: for markets in which waiting is not known, naming what they would have to be.
    """
    own = settings.patience
    if own.share == 0.0:
        return None
    _refuse_unfit(settings, visitors)
    steps = settings.episode_length - 1
    floor = own.floor
    if own.fall == "rational":
        floor = _rational_floor(settings)
        falls = expected_falls(own.discount, settings.episode_length)
    else:
        falls = np.asarray(own.fall, np.float64)
        if falls.ndim and falls.size != steps:
            raise refuse("market.patience.fall", own.fall, f"a number, or a list of {steps} (steps of an episode)")
    return PatienceParams(
        share=jnp.float32(own.share),
        discount=jnp.float32(own.discount),
        fall=jnp.asarray([*np.broadcast_to(falls, steps), 0.0], jnp.float32),
        floor=jnp.float32(floor),
    )


def _refuse_unfit(settings: MarketSettings, visitors: Traffic) -> None:
    share, offers = settings.patience.share, settings.num_sellers * settings.num_products
    needs = [
        (
            visitors.model == "analytic",
            f"traffic.model={visitors.model}, whose sessions come once",
        ),
        (visitors.order_law == "poisson", "traffic.order_law=multinomial"),
        (settings.sub_slots == 1, f"market.sub_slots={settings.sub_slots}"),
        (settings.sold_out == "asked", "market.sold_out=passed_over"),
        (settings.bankruptcy.initial_cash is None, "bankruptcy (market.bankruptcy.initial_cash)"),
        (settings.types.spread == 0.0, f"market.types.spread={settings.types.spread}"),
        (settings.episode_length > 1, "market.episode_length=1"),
        (
            settings.demand.model == "logit" or offers == 1,
            f"market.demand.model={settings.demand.model} and {offers} offers; logit can have several",
        ),
    ]
    for fits, other in needs:
        if not fits:
            raise refuse("market.patience.share", share, f"0 with {other}")
    if waiting_epochs(settings) > MOST_GROUPS:
        accepted = f"at most {MOST_GROUPS} with market.episode_length={settings.episode_length}"
        raise refuse("market.patience.epochs", settings.patience.epochs, accepted)


def _rational_floor(settings: MarketSettings) -> float:
    """The unit cost of the market whose prices fall as `expected_falls` says."""
    own = settings.patience
    needs = [
        (own.arrive == "at_once", "market.patience.arrive=at_once"),
        (settings.num_sellers * settings.num_products == 1, "one seller of one product"),
        (settings.demand.model == "linear", "market.demand.model=linear"),
        (settings.agent is None, "no class of agents (market.agent=null)"),
        (settings.inventory.rule == "unlimited", "market.inventory.rule=unlimited"),
        (waiting_epochs(settings) == settings.episode_length - 1, "market.patience.epochs=null"),
        (own.floor == 0.0, "market.patience.floor=0: it is the unit cost"),
        (
            not (np.any(settings.level.volatility) or np.any(settings.level.noise) or settings.season.cosine)
            and settings.shocks.probability == 0.0,
            "demand that does not move (market.level, season and shocks)",
        ),
    ]
    for fits, need in needs:
        if not fits:
            raise ConfigError(f"market.patience.fall='rational': needs {need}; else accepted is a number or a list")
    return float(np.asarray(settings.reward.unit_cost).reshape(-1)[0])

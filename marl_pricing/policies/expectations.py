"""What a rule that knows the market expects of the coming epoch."""

from __future__ import annotations

import jax.numpy as jnp

from marl_pricing.market import MarketParams, MarketShape, MarketState
from marl_pricing.traffic import Conditions
from marl_pricing.traffic.analytic import expected_orders
from marl_pricing.traffic.params import Array


class RuleError(ValueError):
    """A rule that this market cannot have; the message says why."""


def expected_demand(shape: MarketShape, params: MarketParams, prices: Array, available: Array | None = None) -> Array:
    """Units [N] ordered in an epoch on average, at latent level 1 and without a shock.

    Args:
        prices: [N] money.
        available: [N] bool, offers whose seller is in the market; None for all.
    """
    listed = available
    if available is None:
        available = jnp.ones((shape.num_offers,), bool)
    level = jnp.ones((shape.num_offers,), prices.dtype)
    conditions = Conditions(prices, level, available, params.demand.scale, listed)
    own = params.traffic
    return expected_orders(
        shape.traffic, shape.demand, params.demand, conditions, own.agent_share, own.session_orders(own.agent_share)
    ).sum(0)


def need_expectations(shape: MarketShape, rule: str) -> None:
    """Refuse a market whose expected orders this room does not know.

    Raises:
        RuleError: for scripted sessions.
    """
    if shape.traffic.model == "scripted":
        raise RuleError(f"{rule}: expected orders of traffic.model=scripted have no closed form")


def in_market(shape: MarketShape, state: MarketState) -> Array | None:
    """Offers [N] bool whose seller has not left the market; None where nobody can."""
    if state.active is None:
        return None
    return jnp.repeat(state.active, shape.num_products, total_repeat_length=shape.num_offers)

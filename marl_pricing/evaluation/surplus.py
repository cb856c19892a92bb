"""Consumer surplus of an epoch: what its shoppers gain by there being offers at all."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.demand import logit_surplus
from marl_pricing.market import MarketParams, MarketShape, Outcome
from marl_pricing.traffic.params import class_shares

Array = jax.Array


def unknown(shape: MarketShape) -> str:
    """Why consumer surplus cannot be given in a market; empty where it can."""
    if shape.demand.model != "logit":
        return f"consumer surplus is the log-sum of logit demand; demand here is {shape.demand.model}"
    if shape.traffic.model == "scripted" or shape.traffic.comparison:
        return "these sessions do not buy by their log-sum"
    if shape.demand.waits:
        return "some shoppers wait, and gain what they do later"
    if shape.traffic.pays_apart:
        return "sessions pay another price than the posted one, each its own"
    return ""


def _per_epoch(
    shape: MarketShape,
    params: MarketParams,
    prices: Array,
    level: Array,
    available: Array,
    intensity: Array,
    agent_share: Array,
) -> Array:
    by_class = logit_surplus(shape.demand, params.demand, prices, level, available)
    share = class_shares(shape.demand.num_classes, agent_share) * params.traffic.session_orders(agent_share)
    return shape.traffic.sessions * intensity * (share * by_class).sum()


def of_epoch(shape: MarketShape, params: MarketParams, outcome: Outcome) -> Array:
    """Expected surplus [] of the shoppers of an epoch at its posted prices, money, were all orders served.

    Classes are weighted by how many of their sessions come (the mixture), each by its own log-sum. NaN where it is
    unknown.
    """
    if unknown(shape):
        return jnp.full((), jnp.nan)
    available = jnp.repeat(outcome.acted, shape.num_products, total_repeat_length=shape.num_offers)
    return _per_epoch(shape, params, outcome.prices, outcome.level, available, outcome.intensity, outcome.agent_share)


def at_prices(shape: MarketShape, params: MarketParams, prices: np.ndarray) -> float:
    """The same at given prices [N], level 1 and no shock: what benchmarks are worth to shoppers.

    Raises:
        ValueError: where it is unknown, with the reason.
    """
    reason = unknown(shape)
    if reason:
        raise ValueError(reason)
    everything, level = jnp.ones((shape.num_offers,), bool), jnp.ones((shape.num_offers,))
    at = jnp.asarray(prices, jnp.float32)
    return float(_per_epoch(shape, params, at, level, everything, params.demand.scale, params.traffic.agent_share))

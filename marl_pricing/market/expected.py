"""What an epoch is expected to bring in other worlds: expectations over the shoppers, and nothing that is drawn."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing import traffic
from marl_pricing.market import inventory
from marl_pricing.market.market import open_epoch, settle_epoch
from marl_pricing.market.types import Action, Array, MarketParams, MarketShape, MarketState, Variants, vary
from marl_pricing.traffic import Conditions

# Counts at which a law of orders is summed, and how many standard deviations they reach to either side.
_POINTS, _REACH = 32, 4.5


class Expectation(struct.PyTreeNode):
    """One epoch in C worlds, as expected from the state and the joint action; every array [C, ...]."""

    state: Array  # [C, G] global state after an epoch that goes as expected
    local: Array  # [C, S, O] the sellers' views of it
    reward: Array  # [C, S] as learners use it
    terminated: Array  # [C, S] bool
    demand: Array  # [C, N] units
    served: Array  # [C, N] probability that one more order is served


def order_law(rate: Array) -> tuple[Array, Array]:
    """Poisson laws of several worlds, on counts that they share.

    The counts step by one where they reach far enough; beyond, by more, with the weights of those counts.

    Args:
        rate: [C, N] units.

    Returns:
        (counts [P, N], probabilities [C, P, N]).
    """
    high = rate.max(0) + _REACH * jnp.sqrt(rate.max(0)) + 4.0
    low = jnp.floor(jnp.maximum(rate.min(0) - _REACH * jnp.sqrt(rate.min(0)) - 1.0, 0.0))
    stride = jnp.maximum(jnp.ceil((high - low) / (_POINTS - 1)), 1.0)
    counts = low + stride * jnp.arange(_POINTS, dtype=rate.dtype)[:, None]
    safe = jnp.maximum(rate, 1e-20)[:, None]
    return counts, jax.nn.softmax(counts * jnp.log(safe) - jax.lax.lgamma(counts + 1.0), axis=1)


def expect_candidates(
    shape: MarketShape, state: MarketState, action: Action, params: MarketParams, agent_shares: Array
) -> Expectation:
    """The epoch that `step_candidates` draws, as it is expected.

    Each offer's orders have the mean of `traffic.expected_traffic`; sales, unmet orders, stock left and what is ordered
    from the supplier are their expectations under a Poisson law of that mean, in one wave. The state afterwards holds
    these means, and what moves by itself as it does on average.

    Args:
        agent_shares: [C] candidates for α.
    """
    opened = open_epoch(shape, params, state, action, None)
    visits = traffic.expected_traffic(
        shape.traffic, params.traffic, shape.demand, params.demand, opened.found, agent_shares
    )
    demand, stock = visits.orders.sum(1), opened.stock
    ordered: Array | None = None
    if opened.pipeline is None:
        left, sales, unmet = jax.vmap(inventory.sell, in_axes=(None, 0))(stock, demand)
        served = jnp.ones_like(demand)
    else:
        if shape.traffic.model == "analytic" and not shape.traffic.random_orders:
            counts, law = demand[:, None], jnp.ones_like(demand[:, None])
        else:
            counts, law = order_law(demand)
        # Each [P, N], or [C, 1, N] where orders are not random.
        then, _, unmet = inventory.sell(stock, counts)
        chosen = None if action.order is None else action.order.reshape(-1)
        wanted = inventory.order_quantity(shape.inventory, params.inventory, then, opened.pipeline.sum(-1), chosen)
        left, ordered, unmet, served = (
            (law * each).sum(1) for each in (then, jnp.broadcast_to(wanted, then.shape), unmet, counts < stock)
        )
        sales = demand - unmet
    if ordered is None:
        ordered = jnp.zeros_like(demand)
    after, seen, outcome = jax.vmap(lambda *world: settle_epoch(shape, params, state, action, opened, *world))(
        agent_shares, visits, left, sales, unmet, ordered
    )
    del after
    return Expectation(seen.state, seen.local, outcome.learning, outcome.terminated, demand, served)


def expect_variants(
    shape: MarketShape,
    state: MarketState,
    action: Action,
    params: MarketParams,
    variants: Variants | None,
    agent_shares: Array,
) -> Expectation:
    """The same in every variant [G] under every share of agents [C]: arrays [G·C, ...]; None: the market alone."""
    if variants is None:
        return expect_candidates(shape, state, action, params, agent_shares)
    worlds = jax.vmap(lambda own: expect_candidates(shape, state, action, vary(params, own), agent_shares))(variants)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), worlds)


def expected_demand(
    shape: MarketShape,
    params: MarketParams,
    found: Conditions,
    variants: Variants | None,
    agent_shares: Array,
) -> Array:
    """Units [K, N] that an epoch's shoppers order on average at what they find, in every world.

    Args:
        found: prices, level and intensity as they were in the market's own world.
    """

    def one(own: MarketParams) -> Array:
        here = found.replace(intensity=found.intensity * own.demand.scale / params.demand.scale)
        visits = traffic.expected_traffic(shape.traffic, own.traffic, shape.demand, own.demand, here, agent_shares)
        return visits.orders.sum(1)

    if variants is None:
        return one(params)
    worlds = jax.vmap(lambda own: one(vary(params, own)))(variants)
    return worlds.reshape(-1, worlds.shape[-1])

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
from marl_pricing.traffic.draws import log_gamma

# Counts at which a law of orders is summed, and how many standard deviations they reach to either side.
_POINTS, _REACH = 16, 4.0


class Expectation(struct.PyTreeNode):
    """One epoch in C worlds, as expected from the state and the joint action, in two cases of equal chance.

    An offer's orders are in their lower half in one case and in their upper half in the other; neighbouring offers are
    in opposite halves. What is linear in each offer's orders is exact as the mean of both, and what is curved nearly;
    whether an order is placed is exact where counts step by one (`order_law`), up to about four units an epoch.
    """

    state: Array  # [C, 2, G] global state after the epoch
    local: Array  # [C, 2, S, O] the sellers' views of it
    reward: Array  # [C, 2, S] as learners use it
    terminated: Array  # [C, 2, S] bool
    demand: Array  # [C, N] units
    served: Array  # [C, N] probability that one more order is served


def order_law(rate: Array) -> tuple[Array, Array]:
    """Poisson laws of several worlds, on counts that they share.

    The counts step by one where they reach far enough; beyond, by more, with the weights of those counts.

    Args:
        rate: [C, N] units.

    Returns:
        (counts [N, P], probabilities [C, N, P]).
    """
    high, low = rate.max(0), rate.min(0)
    high = high + _REACH * jnp.sqrt(high) + 3.0
    low = jnp.floor(jnp.maximum(low - _REACH * jnp.sqrt(low) - 1.0, 0.0))
    stride = jnp.maximum(jnp.ceil((high - low) / (_POINTS - 1)), 1.0)
    counts = low[:, None] + stride[:, None] * jnp.arange(_POINTS, dtype=rate.dtype)
    safe = jnp.maximum(rate, 1e-20)
    return counts, jax.nn.softmax(counts * jnp.log(safe)[..., None] - log_gamma(counts + 1.0))


def lower_half(law: Array) -> Array:
    """The half of a law's mass [..., P] that lies on its smallest counts."""
    below = law @ jnp.triu(jnp.ones((law.shape[-1],) * 2, law.dtype), 1)
    return jnp.clip(0.5 - below, 0.0, law)


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
    mean, stock = visits.orders.sum(1), opened.stock
    if shape.traffic.model == "analytic" and not shape.traffic.random_orders:
        counts, law = mean[..., None], jnp.ones_like(mean[..., None])  # [C, N, 1]
        lower = 0.5 * law
    else:
        counts, law = order_law(mean)  # [N, P], [C, N, P]
        lower = lower_half(law)
    even = jnp.arange(mean.shape[-1]) % 2 == 0

    def cases(values: Array) -> Array:
        """Means [C, 2, N] of [N, P] (or [C, N, 1]) in both cases."""
        low = 2.0 * (lower * values).sum(-1)
        high = 2.0 * (law * values).sum(-1) - low
        return jnp.stack([jnp.where(even, low, high), jnp.where(even, high, low)], 1)

    demand = cases(counts)
    if opened.pipeline is None:
        left, sales, unmet = inventory.sell(stock, demand)
        ordered, served = jnp.zeros_like(demand), jnp.ones_like(mean)
        placed = ordered
    else:
        chosen = None if action.order is None else action.order.reshape(-1, 1)
        on_order = opened.pipeline.sum(-1, keepdims=True)
        columns = jax.tree.map(lambda own: own[..., None], params.inventory).replace(
            order_levels=params.inventory.order_levels
        )
        then, sold, missed = inventory.sell(stock[:, None], counts)
        wanted = inventory.order_quantity(shape.inventory, columns, then, on_order, chosen)
        wanted = jnp.broadcast_to(wanted, then.shape)
        sales, unmet, ordered, placed = (
            cases(each) for each in (sold, missed, wanted, (wanted > 0).astype(then.dtype))
        )
        left = stock - sales
        served = (law * (counts < stock[:, None])).sum(-1)
    ratio = demand / jnp.maximum(mean, 1e-20)[:, None]

    def settle(share: Array, visits: traffic.Traffic, *cases: Array) -> tuple:
        def case(ratio: Array, *quantities: Array) -> tuple:
            happened = visits.replace(orders=visits.orders * ratio)
            return settle_epoch(shape, params, state, action, opened, share, happened, *quantities)[1:]

        return jax.vmap(case)(*cases)

    seen, outcome = jax.vmap(settle)(agent_shares, visits, ratio, left, sales, unmet, ordered, placed)
    return Expectation(seen.state, seen.local, outcome.learning, outcome.terminated, mean, served)


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

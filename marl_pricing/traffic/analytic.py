"""The analytic model: no sessions, orders straight from the demand model."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.demand import DemandParams, DemandShape, patience, propensities, propensities_by_type
from marl_pricing.traffic import browsing, information
from marl_pricing.traffic.draws import poisson
from marl_pricing.traffic.params import Array, TrafficParams, TrafficShape, class_shares
from marl_pricing.traffic.types import Conditions, Traffic


def expected_orders(
    shape: TrafficShape,
    demand: DemandShape,
    params: DemandParams,
    conditions: Conditions,
    agent_share: Array,
    purchase_rate: Array | float = 1.0,
) -> Array:
    """Expected units ordered [Y, N]: M · intensity · share of the class · its purchase rate · propensity.

    It holds for sessions as well (see `sessions`), unless some agents compare. People who waited and come back order
    beside those who come for the first time.

    Args:
        purchase_rate: [Y] units that a session comes to, `TrafficParams.session_orders`.
    """
    rate = propensities(demand, params, conditions.prices, conditions.level, conditions.available, conditions.listed)
    share = class_shares(demand.num_classes, agent_share)
    each = share * purchase_rate
    if conditions.waiting is None:
        return shape.sessions * conditions.intensity * each[:, None] * rate
    found = (conditions.prices, conditions.level, conditions.available)
    fresh, returning = patience.orders(demand, params, *found, conditions.waiting, conditions.listed)
    orders = shape.sessions * conditions.intensity * each[:, None] * rate.at[0].set(fresh)
    return orders.at[0].add(jnp.broadcast_to(jnp.asarray(purchase_rate), share.shape)[0] * returning)


def expected_paid(shape: TrafficShape, own: TrafficParams, demand: DemandShape, prices: Array) -> Array:
    """Mean price [Y, N] that a class pays for a unit at posted prices [N]: these times what mark-ups and the quotes
    that it buys at come to on average."""

    def marked(quote: Array | float) -> Array:
        """Mean mark-up [Y, N] on one quote, up to the highest price."""
        if not shape.markup:
            return jnp.ones((demand.num_classes, prices.size))
        assert own.markup is not None and own.sessions is not None and own.sessions.interest is not None
        headroom = jnp.maximum(own.markup.highest_price / jnp.maximum(prices, 1e-30), 1.0)
        return information.expected_factor(own.sessions.interest, own.markup, headroom / quote)

    if not shape.quotes:
        return prices * marked(1.0)
    assert own.quotes is not None
    return prices * information.expected_quoted(jax.vmap(marked)(own.quotes.factors), own.quotes)


def knows_orders(shape: TrafficShape) -> bool:
    """Whether `expected_orders` is what this traffic orders on average, in one wave."""
    return shape.model != "scripted" and not shape.comparison


def expected_traffic(
    shape: TrafficShape,
    own: TrafficParams,
    demand: DemandShape,
    params: DemandParams,
    conditions: Conditions,
    agent_shares: Array,
) -> Traffic:
    """What a wave does on average under each candidate share of agents [C]; nothing is drawn.

    Orders are exact where `knows_orders`. Events follow each class's attention; they are those of the market's own
    kernels. Mark-ups are left out. `scores` [1] is the sum over the sessions.
    """
    by_type, weight = propensities_by_type(
        demand, params, conditions.prices, conditions.level, conditions.available, conditions.listed
    )
    rate = jnp.tensordot(jnp.asarray(weight), by_type, axes=1)
    inside = by_type.sum(-1)
    if own.sessions is not None and own.sessions.units is not None:
        inside = inside * own.sessions.units
    coming = browsing.visiting(shape, own, conditions, inside)
    accepted = jnp.ones_like(coming)
    if not shape.counts_refused:
        accepted = browsing.accepting(inside / coming, jnp.asarray(weight))
    total = rate.sum(-1, keepdims=True)
    attention = jnp.where(total > 0, rate / jnp.maximum(total, 1e-30), 1.0 / rate.shape[-1])

    def one(agent_share: Array) -> Traffic:
        units = own.session_orders(agent_share)
        orders = expected_orders(shape, demand, params, conditions, agent_share, units)
        share = class_shares(demand.num_classes, agent_share)
        visits = shape.sessions * conditions.intensity * own.visits_factor(agent_share)
        if conditions.listed is not None:
            visits = jnp.where(conditions.listed.any(), visits, 0.0)
        events, scores, means = orders.sum(0), jnp.zeros((0,)), jnp.zeros((2,))
        if shape.walks_sessions:
            share = share * coming
            each = jnp.broadcast_to(own.event_scale, share.shape)
            if own.session_events is not None and own.session_purchases is not None:
                each = own.session_events + accepted * own.session_purchases
            events = visits * ((share * each)[:, None] * attention).sum(0)
            if own.sessions is not None:
                kept, lost = own.sessions.mean_scores, own.sessions.refused_scores
                means = lost + jnp.resize(accepted, (2,)) * (kept - lost)
            scores = (visits * (share * means[: share.size]).sum())[None]
            visits = visits * share.sum()
        return Traffic(
            orders=orders,
            events=events,
            price_paid=conditions.prices,
            price_linked=conditions.prices,
            scores=scores,
            class_scores=means,
            visits=visits,
            views=jnp.zeros(()),
        )

    return jax.vmap(one)(agent_shares)


def one_unit_sessions(
    key: Array,
    shape: TrafficShape,
    demand: DemandShape,
    params: DemandParams,
    conditions: Conditions,
    agent_share: Array,
    visits_factor: Array | float = 1.0,
) -> tuple[Array, Array, Array]:
    """Sessions that take one unit of one offer or nothing, one by one; places M.

    Session m is an agent's where its first uniform is below α. It takes the offer in whose stretch of its class's
    choice probabilities its second one lies; nothing comes last. So one draw serves all candidates and all prices.

    Args:
        visits_factor: [] on the number of sessions.

    Returns:
        (sessions of each class that came [Y, M], those that would take one of the offers up to n [Y, N, M], sessions
        that came []: M · intensity · factor, rounded up or down at random).
    """
    count = shape.num_sessions
    uniform = jax.random.uniform(key, (2, count + 1))
    came = jnp.minimum(jnp.floor(shape.sessions * conditions.intensity * visits_factor + uniform[0, -1]), count)
    kind, choice = uniform[:, :count]
    agent = kind < agent_share
    belongs = jnp.stack([~agent, agent]) if demand.num_classes > 1 else jnp.ones((1, count), bool)
    there = belongs & (jnp.arange(count) < came)
    rate = propensities(demand, params, conditions.prices, conditions.level, conditions.available, conditions.listed)
    return there, (choice < jnp.cumsum(rate, -1)[:, :, None]) & there[:, None], came


def one_unit_orders(
    key: Array,
    shape: TrafficShape,
    demand: DemandShape,
    params: DemandParams,
    conditions: Conditions,
    agent_share: Array,
    visits_factor: Array | float = 1.0,
) -> tuple[Array, Array]:
    """Their orders, multinomial, of a single offer binomial; arguments as in `one_unit_sessions`.

    Returns:
        (units ordered [Y, N], sessions that came []).
    """
    _, up_to, came = one_unit_sessions(key, shape, demand, params, conditions, agent_share, visits_factor)
    return jnp.diff(up_to.sum(-1).astype(jnp.float32), axis=-1, prepend=0.0), came


def simulate(
    key: Array,
    shape: TrafficShape,
    own: TrafficParams,
    demand: DemandShape,
    params: DemandParams,
    conditions: Conditions,
    agent_shares: Array,
) -> Traffic:
    """Orders of one wave, for every candidate share of agents, from one draw.

    Args:
        agent_shares: [C] candidates for α.

    Returns:
        `Traffic` with a leading axis [C]. Prices paid are the posted ones, the proxy is the orders themselves,
        and there are no sessions to score.
    """

    def one(agent_share: Array) -> Traffic:
        factor = own.visits_factor(agent_share)
        visits = shape.sessions * conditions.intensity * factor
        if shape.order_law == "multinomial":
            orders, visits = one_unit_orders(key, shape, demand, params, conditions, agent_share, factor)
        else:
            rate = own.session_orders(agent_share)
            orders = expected_orders(shape, demand, params, conditions, agent_share, rate)
            orders = poisson(key, orders) if shape.random_orders else orders
        return Traffic(
            orders=orders,
            events=orders.sum(0),
            price_paid=conditions.prices,
            price_linked=conditions.prices,
            scores=jnp.zeros((0,)),
            class_scores=jnp.zeros((2,)),
            visits=visits,
            views=orders.sum(),
        )

    return jax.vmap(one)(agent_shares)

"""What sessions do at the prices they find: browse, buy, pay. The models `chain` and `bank`.

Browsing attention follows the class's propensities. A purchase event becomes an order only if the session's latent type
accepts the prices: E[orders of offer j] = purchase rate of the class · its propensity for j, so that the benchmarks of
`equilibrium` hold for sessions as well. One draw serves every candidate share of agents: place m holds a person's and
an agent's session, and the candidate decides which of the two came.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.demand import DemandParams, DemandShape, propensities_by_type
from marl_pricing.traffic import browsing, chain, detection, information
from marl_pricing.traffic.params import Array, Rows, SessionParams, TrafficParams, TrafficShape
from marl_pricing.traffic.types import Conditions, Traffic

_GRID = 65_536.0


class _Luck(NamedTuple):
    """Random numbers of the places for sessions, the same under every candidate. M places."""

    row: Array  # [M] in [0, 1), row of the bank
    agent: Array  # [M] in [0, 1), an agent's where below α
    accept: Array  # [M] in [0, 1), latent type: how much the session wants to buy
    comes: Array  # [M] in [0, 1), the session comes where below the share that does at these prices
    turn: Array  # [M] uint16, turns the products of a row, so that a row is never the same twice
    kind: Array  # [M] in [0, 1), latent type θ
    compares: Array  # [M] in [0, 1), an agent compares where below the share
    round: Array  # [] in [0, 1), rounds the number of sessions
    says: Array | None  # [M] in [0, 1), what a session says of itself; None: nothing
    quote: Array | None  # [M] in [0, 1), the price that a session is shown; None: all see one


def _luck(key: Array, count: int, quotes: bool, says: bool) -> _Luck:
    bits = jax.random.bits(key, (5, count))
    # The lower bits of a word that make no other number.
    spare = ((bits[0] & 0xFF) << 16) | ((bits[1] & 0xFF) << 8) | (bits[2] & 0xFF)

    def uniform(word: Array) -> Array:
        return (word >> 8).astype(jnp.float32) * 2.0**-24

    # The upper bits of one word round the number of sessions; its lower 16 turn the products.
    return _Luck(
        row=uniform(bits[0]),
        agent=uniform(bits[1]),
        accept=uniform(bits[2]),
        comes=spare.astype(jnp.float32) * 2.0**-24,
        turn=(bits[3] & 0xFFFF).astype(jnp.uint16),
        kind=(bits[4] >> 16).astype(jnp.float32) / _GRID,
        compares=(bits[4] & 0xFFFF).astype(jnp.float32) / _GRID,
        round=(bits[3, 0] >> 16).astype(jnp.float32) / _GRID,
        says=jax.random.uniform(jax.random.fold_in(key, 2), (count,)) if says else None,
        quote=jax.random.uniform(jax.random.fold_in(key, 1), (count,)) if quotes else None,
    )


class _Appeal(NamedTuple):
    """What the prices mean to the classes. Y classes, N offers, G latent types."""

    limits: Array  # [Y, N − 1] int32, thresholds in [0, 2^16] between the offers' shares of attention
    visiting: Array  # [Y] share of a class's sessions that come
    inside: Array  # [G, Y] units that a purchase event of a type orders on average, in a session that came
    accepting: Array  # [Y] chance that it orders any
    type_limits: Array  # [G − 1] thresholds that turn a uniform number into a type


def _appeal(
    shape: TrafficShape, own: TrafficParams, demand: DemandShape, params: DemandParams, conditions: Conditions
) -> _Appeal:
    by_type, weight = propensities_by_type(
        demand, params, conditions.prices, conditions.level, conditions.available, conditions.listed
    )
    mean = jnp.tensordot(jnp.asarray(weight), by_type, axes=1)
    total = mean.sum(-1, keepdims=True)
    # Where nobody would buy anything, people still look around at what there is, be it sold out.
    shown = browsing.shown(conditions)
    there = shown / jnp.maximum(shown.sum(), 1)
    share = jnp.where(total > 0, mean / jnp.maximum(total, 1e-30), there)
    limits = jnp.round(jnp.cumsum(share, -1)[:, :-1] * _GRID).astype(jnp.int32)
    inside = by_type.sum(-1)
    assert own.sessions is not None
    if own.sessions.units is not None:
        inside = inside * own.sessions.units
    visiting = browsing.visiting(shape, own, conditions, inside)
    inside = inside / visiting
    accepting = browsing.accepting(inside, jnp.asarray(weight))
    return _Appeal(limits, visiting, inside, accepting, jnp.cumsum(jnp.asarray(weight))[:-1])


def _up_to(item: Array, weight: Array, limits: Array) -> Array:
    """Weights [..., L] of the slots whose place of attention means one of the offers up to n: [..., N].

    Args:
        item: [..., L] places of attention.  limits: [..., N − 1], where each offer's share of it ends.
    """
    # Slot by slot: a sum over a short last axis is not vectorised on a CPU, and takes 1.6 times as long.
    below = jnp.zeros((*item.shape[:-1], limits.shape[-1]))
    for slot in range(item.shape[-1]):
        below += jnp.where(item[..., slot, None] < limits, weight[..., slot, None], 0.0)
    return jnp.concatenate([below, weight.sum(-1, keepdims=True)], -1)


def _each(up_to: Array) -> Array:
    """What is of each offer, out of what is of the offers up to it: [..., N]."""
    return jnp.diff(up_to, axis=-1, prepend=0.0)


def cheapest_seen(seen: Array, bought: Array, prices: Array, num_products: int) -> Array:
    """Move purchases to the cheapest comparable offer that the session saw.

    Offers are comparable if they are the same product of different sellers. Of two that cost the same, the first.

    Args:
        seen: [..., N] bool.  bought: [..., N] purchases.  prices: [N] money.  num_products: P.

    Returns:
        [..., N] purchases.
    """
    shape = (*bought.shape[:-1], -1, num_products)
    wanted = bought.reshape(shape).sum(-2)
    offered = jnp.where((seen | (bought > 0)).reshape(shape), prices.reshape(-1, num_products), jnp.inf)
    best = jax.nn.one_hot(offered.argmin(-2), offered.shape[-2], axis=-2)
    return (best * wanted[..., None, :]).reshape(bought.shape)


class _Visits(NamedTuple):
    """What the sessions of each place do. Axes [..., M] for one class each, or [Y, M] for both."""

    browsed: Array  # [..., M, N] weight of events about the offers up to n, without purchases
    purchases: Array  # [..., M, N] purchase events
    orders: Array  # [..., M, N] units
    paid: Array | None  # [..., M] factor on the posted price that the session pays
    linked: Array | None  # [..., M] the same, had recon and purchase been linked
    score: Array  # [..., M] suspicion f
    views: Array  # [..., M]


def _visit(
    shape: TrafficShape,
    params: TrafficParams,
    demand: DemandShape,
    appeal: _Appeal,
    prices: Array,
    luck: _Luck,
    rows: Rows,
    classes: Array,
) -> _Visits:
    """Sessions [..., M] of the given classes [..., M] at today's prices."""
    own = params.sessions
    assert own is not None
    limits = appeal.limits[classes]
    turned = (rows.item + luck.turn[:, None]).astype(jnp.int32)
    browsed = _up_to(turned, rows.weight, limits)
    kind = (luck.kind[:, None] >= appeal.type_limits).sum(-1)
    units = jnp.floor(appeal.inside[kind, classes] + luck.accept)
    bought_at = (rows.purchase_item + luck.turn[:, None]).astype(jnp.int32)
    bought = orders = _each(_up_to(bought_at, rows.purchases, limits))
    if shape.comparison:
        compares = (classes == 1) & (luck.compares < own.comparison)
        moved = cheapest_seen(_each(browsed) > 0, orders, prices, demand.num_products)
        orders = jnp.where(compares[..., None], moved, orders)
    accepted = None
    purchases = bought
    if not shape.counts_refused:  # an order refused is no purchase event, neither in the proxy nor to a detector
        accepted = units > 0
        purchases = jnp.where(accepted[..., None], orders, 0.0)
    paid = linked = None
    if shape.markup:
        assert params.markup is not None
        linked = information.session_markup(rows.signal, params.markup)
        clean = information.session_markup(params.markup.clean_signal, params.markup)
        paid = jnp.where(classes == 1, clean, linked)
    if shape.quotes:
        assert params.quotes is not None and luck.quote is not None
        one = jnp.ones(classes.shape)
        paid, linked = (one if paid is None else paid), (one if linked is None else linked)
        shown, lowest = information.session_quotes(luck.quote, params.quotes)
        paid, linked = paid * jnp.where(classes == 1, lowest, shown), linked * shown
    odds: Array | float = 0.0
    if own.identity is not None:
        assert luck.says is not None
        said = jnp.cumsum(own.identity.rates, -1)[:, :-1][classes]
        odds = own.identity.odds[(luck.says[:, None] >= said).sum(-1)]
    score = scores_of(shape, own, rows, accepted, odds)
    return _Visits(browsed, purchases, orders * units[..., None], paid, linked, score, rows.views)


def _price_each(factor: Array, prices: Array, highest: Array | None) -> Array:
    """What a session pays for a unit [..., M, N]; factor [..., M] on the posted prices [N], capped at the highest."""
    each = prices * factor[..., None]
    return each if highest is None else jnp.minimum(each, jnp.maximum(highest, prices))


def _gather(bank: Rows, classes: Array, row: Array) -> Rows:
    return jax.tree.map(lambda leaf: leaf[classes, row], bank)


class Wave(NamedTuple):
    """Sessions of one wave before anything is added up. M places, C candidate shares of agents."""

    visits: _Visits  # [M, ...] of the class that each place holds, or [Y, M, ...] of both
    agent: Array  # [C, M] bool, the place holds an agent's session
    present: Array  # [C, M] bool, or [1, M]: a session came
    came: Array  # [C, 1] or [1] sessions that came, were there places for all
    accepting: Array  # [Y] chance that a purchase event orders anything


def wave(
    key: Array,
    shape: TrafficShape,
    params: TrafficParams,
    demand: DemandShape,
    demand_params: DemandParams,
    conditions: Conditions,
    agent_shares: Array,
) -> Wave:
    """One wave, session by session; arguments as in `simulate`."""
    own = params.sessions
    assert own is not None
    count, num_classes = shape.num_sessions, demand.num_classes
    key_luck, key_walk = jax.random.split(key)
    luck = _luck(key_luck, count, shape.quotes, own.identity is not None)
    appeal = _appeal(shape, params, demand, demand_params, conditions)
    came = shape.sessions * conditions.intensity
    if params.session_weight is not None:  # the candidates differ by how many sessions come
        came = came * jax.vmap(params.visits_factor)(agent_shares)[:, None]
    came = jnp.floor(came + luck.round)
    if conditions.listed is not None:  # nobody visits a market that every seller has left
        came = jnp.where(conditions.listed.any(), came, 0.0)
    present = jnp.arange(count) < came
    agent = luck.agent < agent_shares[:, None] if num_classes > 1 else jnp.zeros((agent_shares.size, count), bool)
    if shape.price_visits:
        present = present & (luck.comes < jnp.where(agent, appeal.visiting[-1], appeal.visiting[0]))
    # One candidate needs one session a place; several need both classes' sessions in each.
    alone = agent_shares.size == 1 or num_classes == 1
    if alone:
        classes = agent[0].astype(jnp.int32)
    else:
        classes = jnp.broadcast_to(jnp.arange(num_classes, dtype=jnp.int32)[:, None], (num_classes, count))
    if shape.model == "chain":
        rows = chain.walk(key_walk, shape, own, classes, shape.max_events)
    else:
        assert own.bank is not None
        number = (luck.row * own.bank.signal.shape[-1]).astype(jnp.int32)
        rows = _gather(own.bank, classes, jnp.broadcast_to(number, classes.shape))
    visits = _visit(shape, params, demand, appeal, conditions.prices, luck, rows, classes)
    return Wave(visits, agent, present, came, appeal.accepting)


def simulate(
    key: Array,
    shape: TrafficShape,
    params: TrafficParams,
    demand: DemandShape,
    demand_params: DemandParams,
    conditions: Conditions,
    agent_shares: Array,
) -> Traffic:
    """One wave of sessions for every candidate share of agents, from one draw.

    Args:
        agent_shares: [C] candidates for α.

    Returns:
        `Traffic` with a leading axis [C]; scores of places without a session are 0.
    """
    own = params.sessions
    assert own is not None
    visits, agent, present, came, accepting = wave(key, shape, params, demand, demand_params, conditions, agent_shares)
    highest = None if params.markup is None else params.markup.highest_price
    who = jnp.stack([~agent, agent][: demand.num_classes]) & present
    worlds = _worlds(visits, who, conditions.prices, highest, own)
    if shape.price_visits:
        came = present.sum(-1).astype(jnp.float32)
    else:
        came = jnp.minimum(came[:, 0] if params.session_weight is not None else came, shape.num_sessions)
    scores = own.mean_scores
    if not shape.counts_refused:
        scores = own.refused_scores + jnp.resize(accepting, (2,)) * (own.mean_scores - own.refused_scores)
    return worlds.replace(
        visits=jnp.broadcast_to(came, agent_shares.shape),
        class_scores=jnp.broadcast_to(scores, (agent_shares.size, 2)),
    )


def _worlds(visits: _Visits, came: Array, prices: Array, highest: Array | None, own: SessionParams) -> Traffic:
    """Traffic [C, ...] of places that hold a session of each class, visits [2, M, ...], or of one, [M, ...].

    Args:
        came: [Y, C, M] places where a session of a class came.
    """
    weight = came.astype(jnp.float32)

    def by_class(what: Array) -> Array:
        """Sums [Y, C, N] over the places, one product for all candidates; what [..., M, N]."""
        # Whole precision: accelerators would round counts and money to a few digits.
        return jnp.matmul(weight, what, precision=jax.lax.Precision.HIGHEST)

    parts = [visits.orders, visits.purchases, visits.browsed, visits.views[..., None]]
    sums = by_class(jnp.concatenate(parts, -1))
    orders, bought, browsed, views = jnp.split(sums, np.cumsum([prices.size] * 3), -1)
    units = orders.sum(0)

    def price(factor: Array | None) -> Array:
        """Mean price [C, N] that units were sold at; the posted price where nobody ordered."""
        if factor is None:
            return jnp.broadcast_to(prices, units.shape)
        revenue = by_class(visits.orders * _price_each(factor, prices, highest)).sum(0)
        return jnp.where(units > 0, revenue / jnp.maximum(units, 1e-30), prices)

    score = jnp.broadcast_to(visits.score, came.shape[::2])[:, None]  # [Y, 1, M]
    num = came.shape[1]
    return Traffic(
        orders=orders.swapaxes(0, 1),
        events=_each(browsed.sum(0)) + (own.weights * own.purchase).sum() * bought.sum(0),
        price_paid=price(visits.paid),
        price_linked=price(visits.linked),
        scores=jnp.where(came, score, 0.0).sum(0),
        class_scores=jnp.zeros((num, 2)),
        visits=jnp.zeros((num,)),
        views=views.sum((0, 2)),
    )


def scores_of(
    shape: TrafficShape, params: SessionParams, rows: Rows, accepted: Array | None, odds: Array | float = 0.0
) -> Array:
    """Suspicion f of sessions, any shape, as the market's detector reads it.

    Args:
        accepted: where a session takes what its purchase events mean; None: everywhere.
        odds: by what each says of itself.
    """
    if shape.detector == "rule":
        assert rows.times is not None
        taken: Array | float = 1.0 if accepted is None else accepted.astype(jnp.float32)
        bought, clock = rows.purchases.sum(-1), rows.times
        seconds = clock.refused_duration + taken * (clock.duration - clock.refused_duration)
        return detection.flagged(clock.length - (1.0 - taken) * bought, seconds, taken * bought, rows.views)
    gap = rows.gap
    if accepted is not None:
        assert rows.refused_gap is not None
        gap = jnp.where(accepted, rows.gap, rows.refused_gap)
    return detection.suspicion(gap, params.temperature, odds)


def _class_scores(shape: TrafficShape, params: SessionParams, rows: Rows) -> tuple[Array, Array]:
    """Mean suspicion [2] of people's and of agents' sessions of a bank [Y, B, ...], if none refuses and if all do."""
    there = jnp.ones(rows.signal.shape, bool)

    def mean(accepted: Array) -> Array:
        if params.identity is None:
            return jnp.resize(scores_of(shape, params, rows, accepted).mean(-1), (2,))
        each = [scores_of(shape, params, rows, accepted, odds).mean(-1) for odds in params.identity.odds]
        return (params.identity.rates * jnp.stack([jnp.resize(own, (2,)) for own in each], -1)).sum(-1)

    return mean(there), mean(~there)


# Once a market: one program, that its parts are not compiled one by one.
class_scores = jax.jit(_class_scores, static_argnames="shape")


def purchase_rate(rows: Rows) -> np.ndarray:
    """Purchases of a session, averaged over a bank [Y, B, ...]: [Y]."""
    return np.asarray(rows.purchases).sum(-1).mean(-1)


# Interest is a sum of weights that are whole halves (`events.WEIGHTS`).
_HALVES = 2


def interest_of_rows(rows: Rows, most: int) -> np.ndarray:
    """Shares [Y, F] of a class's purchases whose session showed an interest of 0, ½, … `most`; rows [Y, B, ...]."""
    bought = np.asarray(rows.purchases, np.float64).sum(-1)
    place = np.round(np.asarray(rows.signal, np.float64) * _HALVES).astype(int)
    law = np.stack([np.bincount(p, own, _HALVES * most + 1) for p, own in zip(place, bought, strict=True)])
    return law / np.maximum(law.sum(-1, keepdims=True), 1e-300)


def interest_of_kernels(params: SessionParams, max_events: int) -> np.ndarray:
    """The same for sessions that walk the kernels and are cut off after `max_events`, exactly: [Y, F].

    Probabilities of (state, interest so far), and purchases expected with them, are moved on event by event.
    """
    kernels, shares, purchase, weights = (
        np.asarray(part, np.float64) for part in (params.kernels, params.kind_shares, params.purchase, params.weights)
    )
    steps = np.round(_HALVES * weights * (1.0 - purchase)).astype(int)
    width = _HALVES * most_interest(params, max_events) + 1
    there = np.zeros((*kernels.shape[:-1], width))  # [Y, G, E, F]
    there[..., 0, 0] = 1.0
    bought = np.zeros_like(there)
    for _ in range(max_events):
        there, bought = (np.einsum("ygsf,ygse->ygef", law, kernels) for law in (there, bought))
        for state, step in enumerate(steps):
            for law in (there, bought):
                law[..., state, :] = np.roll(law[..., state, :], step, -1)  # never past the end: `width` is the most
        bought += purchase[:, None] * there
    law = (shares[..., None] * bought.sum(-2)).sum(1)
    return law / np.maximum(law.sum(-1, keepdims=True), 1e-300)


def most_interest(params: SessionParams, max_events: int) -> int:
    """The most interest that a session of so many events can show."""
    return int(np.ceil(float(np.asarray(params.weights).max()) * max_events))


def session_totals(params: SessionParams, max_events: int) -> tuple[np.ndarray, np.ndarray]:
    """(purchases, weight of other events about products) of a session cut off after `max_events`, expected: [Y] each.

    Sums of powers of the kernel: Σ_{1 ≤ t ≤ max} e_start T^t.
    """
    kernels, shares, purchase, weights = (
        np.asarray(part, np.float64) for part in (params.kernels, params.kind_shares, params.purchase, params.weights)
    )
    law = np.zeros(kernels.shape[:-1])
    law[..., 0] = 1.0
    visits = np.zeros_like(law)
    for _ in range(max_events):
        law = (law[..., None, :] @ kernels)[..., 0, :]
        visits += law
    mean = (shares[..., None] * visits).sum(1)
    product = 1.0 if params.product is None else np.asarray(params.product, np.float64)
    return mean @ purchase, mean @ (weights * product * (1.0 - purchase))

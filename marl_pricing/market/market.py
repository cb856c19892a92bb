"""The market: reset and step. It composes demand, traffic, stock, reward and observation, and does nothing else.

Both functions are pure and for one market; a batch is the caller's `vmap`. The shape is static, the rest is traced.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marl_pricing import traffic
from marl_pricing.demand import level as demand_level
from marl_pricing.demand import patience
from marl_pricing.market import contracts, inventory, prices, reward
from marl_pricing.market.observation import observe, proxy_share
from marl_pricing.market.types import (
    Action,
    Array,
    MarketParams,
    MarketShape,
    MarketState,
    Observation,
    Outcome,
    Variants,
    epoch_share,
    vary,
)
from marl_pricing.traffic import Conditions, Traffic, detection
from marl_pricing.traffic.params import class_shares

# Of an epoch's key, which is split in four; policies that are seated at the market fold small numbers into it.
_NOISE = 2**31 - 2


def reset(key: Array, shape: MarketShape, params: MarketParams) -> tuple[MarketState, Observation]:
    """The start of an episode.

    Args:
        key: a random key; it matters where the first prices or the latent level are random.
    """
    num_offers = shape.num_offers
    key_price, key_level, key_shock = jax.random.split(key, 3)
    none_running = jnp.zeros((), jnp.int32)
    limited = not shape.inventory.unlimited
    nothing = jnp.zeros(()) if shape.traffic.walks_sessions else None
    state = MarketState(
        epoch=jnp.zeros((), jnp.int32),
        prices=prices.start(key_price, shape.prices, params.prices),
        demand=jnp.zeros((num_offers,)),
        events=jnp.zeros((num_offers,)),
        trend=jnp.zeros((num_offers,)) if shape.traffic.walks_sessions else None,
        suspicion=nothing,
        share_estimate=nothing,
        visited_epochs=jnp.zeros((), jnp.int32) if shape.traffic.walks_sessions else None,
        agent_share=params.traffic.agent_share if shape.traffic.process != "static" else None,
        stock=params.inventory.initial_stock if limited else None,
        pipeline=jnp.zeros((num_offers, shape.inventory.max_lead_time)) if limited else None,
        log_level=demand_level.draw_log_level(key_level, params.demand) if shape.demand.moving_level else None,
        shock_remaining=demand_level.advance_shock(key_shock, none_running, params.demand)
        if shape.demand.shocks
        else None,
        cash=params.reward.initial_cash if shape.bankruptcy else None,
        active=jnp.ones((shape.num_sellers,), bool) if shape.bankruptcy else None,
        quiet_epochs=jnp.zeros((), jnp.int32) if shape.collapse_patience else None,
        excess=jnp.zeros((num_offers,)) if shape.reward.persistence else None,
        contracts=contracts.start(
            shape.contracts, params.contracts, params.inventory.initial_stock, shape.inventory.max_lead_time
        )
        if shape.contracts is not None and params.contracts is not None
        else None,
        waiting=patience.nobody(shape.demand) if shape.demand.waits else None,
    )
    return state, observe(shape, params, state)


def step(
    key: Array, shape: MarketShape, state: MarketState, action: Action, params: MarketParams
) -> tuple[MarketState, Observation, Outcome]:
    """One epoch, in the order of DESIGN section 2; what comes at random with the next one is drawn at its end.

    Args:
        action: prices [S, P] and, where sellers choose orders, order levels [S, P].

    Returns:
        The state after the epoch, its observation, and what happened. At the end of an episode the state is that of
        the last epoch: resetting is the caller's, so that a truncated episode can bootstrap from it.
    """
    worlds = step_candidates(key, shape, state, action, params, epoch_share(params, state)[None])
    return jax.tree.map(lambda leaf: leaf[0], worlds)


class Opening(NamedTuple):
    """An epoch before its shoppers come."""

    stock: Array  # [N] units, after arrivals
    pipeline: Array | None
    arrivals: Array
    found: Conditions
    after: MarketState  # the state with posted prices and what moves by itself
    paid: Array | None = None  # [N] money to suppliers for what came, where supply is bargained for
    fines: Array | None = None  # [N] money from suppliers in default


def open_epoch(
    shape: MarketShape, params: MarketParams, state: MarketState, action: Action, key: Array | None
) -> Opening:
    """Steps 1 to 3 of an epoch, and what comes at random with the next one.

    Args:
        key: of the epoch; None: what moves by itself goes on as it does on average, and no shock starts.
    """
    key_shock = key_level = key_share = None
    if key is not None:
        key_shock, key_level, _, key_share = jax.random.split(key, 4)
    stock, pipeline, arrivals = _receive(shape, state)
    posted = prices.post(shape.prices, params.prices, state.prices, action.price.reshape(-1))
    in_market = _repeat_products(shape, _active(shape, state))
    if shape.bankruptcy:  # who has left posts no prices: the last ones stay in the books, and nobody reads them
        posted = jnp.where(in_market, posted, state.prices)
    shock, shock_remaining = jnp.ones(()), state.shock_remaining
    if state.shock_remaining is not None:
        shock = demand_level.shock_factor(state.shock_remaining, params.demand)
        shock_remaining = jnp.maximum(state.shock_remaining - 1, 0)
        if key_shock is not None:
            shock_remaining = demand_level.advance_shock(key_shock, state.shock_remaining, params.demand)
    level, log_level = jnp.ones((shape.num_offers,)), state.log_level
    if state.log_level is not None:
        level = demand_level.level_factor(state.log_level, params.demand)
        log_level = params.demand.level_persistence * state.log_level
        if key_level is not None:
            log_level = demand_level.advance_log_level(key_level, state.log_level, params.demand)
    if shape.demand.noisy_level and key is not None:
        level = level * demand_level.noise_factor(jax.random.fold_in(key, _NOISE), params.demand)
    if params.demand.season is not None:
        level = level * demand_level.season_factor(state.epoch, params.demand.season)
    listed = in_market if shape.bankruptcy else None
    available = in_market & (stock > 0) if shape.pass_over else in_market
    intensity = shock * params.demand.scale
    if shape.demand.at_once:
        intensity = jnp.where(state.epoch == 0, intensity, 0.0)
    facing = None
    if state.waiting is not None:
        facing = patience.face(shape.demand, params.demand, state.waiting, state.epoch, posted, level, available)
    conditions = Conditions(posted, level, available, intensity, listed, facing)
    share = state.agent_share
    if share is not None and key_share is not None:
        share = traffic.advance_share(key_share, shape.traffic, params.traffic, share)
    after = state.replace(prices=posted, log_level=log_level, shock_remaining=shock_remaining, agent_share=share)
    if state.contracts is None or shape.contracts is None:
        return Opening(stock, pipeline, arrivals, conditions, after)
    came = contracts.deliver(shape.contracts, state.contracts, arrivals)
    stock, after = stock - arrivals + came.arrivals, after.replace(contracts=came.state)
    return Opening(stock, pipeline, came.arrivals, conditions, after, came.paid, came.fines)


def step_candidates(
    key: Array, shape: MarketShape, state: MarketState, action: Action, params: MarketParams, agent_shares: Array
) -> tuple[MarketState, Observation, Outcome]:
    """The same epoch under every candidate share of agents, from one draw of the shoppers.

    Args:
        agent_shares: [C] candidates for α.

    Returns:
        As `step`, each array with a leading axis [C].
    """
    key_traffic = jax.random.split(key, 4)[2]
    opened = open_epoch(shape, params, state, action, key)
    stock, conditions = opened.stock, opened.found

    # Suppliers fail alike in every candidate world.
    key_default = jax.random.fold_in(key, 1) if shape.contracts is not None and shape.contracts.defaults else None

    def settle(agent_share: Array, visits: Traffic, stock_left: Array, sales: Array, unmet: Array) -> tuple:
        books = (agent_share, visits, stock_left, sales, unmet)
        return settle_epoch(shape, params, state, action, opened, *books, key_default=key_default)

    if shape.sub_slots == 1:
        visits = traffic.simulate(
            key_traffic, shape.traffic, params.traffic, shape.demand, params.demand, conditions, agent_shares
        )
        left, sales, unmet = jax.vmap(inventory.sell, in_axes=(None, 0))(stock, visits.orders.sum(1))
        return jax.vmap(settle)(agent_shares, visits, left, sales, unmet)
    waves = jax.vmap(lambda share: _waves(key_traffic, shape, params, conditions, stock, share))(agent_shares)
    return jax.vmap(settle)(agent_shares, *waves)


def step_variants(
    key: Array,
    shape: MarketShape,
    state: MarketState,
    action: Action,
    params: MarketParams,
    variants: Variants,
    agent_shares: Array,
) -> tuple[MarketState, Observation, Outcome]:
    """The same epoch in every variant under every share of agents, with the same random numbers.

    Args:
        variants: [G] of them.  agent_shares: [C] candidates for α.

    Returns:
        As `step`, each array with a leading axis [G·C], the shares of one variant together.
    """
    worlds = jax.vmap(lambda own: step_candidates(key, shape, state, action, vary(params, own), agent_shares))(variants)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), worlds)


def choose_world(worlds: Any, index: Array) -> Any:
    """The part of one candidate out of what `step_candidates` answers.

    Args:
        worlds: a tree of arrays with a leading axis [C].  index: [] int32.
    """

    return jax.tree.map(lambda leaf: leaf[index], worlds)


def _active(shape: MarketShape, state: MarketState) -> Array:
    return jnp.ones((shape.num_sellers,), bool) if state.active is None else state.active


def _repeat_products(shape: MarketShape, values: Array) -> Array:
    return jnp.repeat(values, shape.num_products, total_repeat_length=shape.num_offers)


def _receive(shape: MarketShape, state: MarketState) -> tuple[Array, Array | None, Array]:
    if state.stock is None or state.pipeline is None:
        return jnp.full((shape.num_offers,), jnp.inf), None, jnp.zeros((shape.num_offers,))
    return inventory.receive(state.stock, state.pipeline)


def _waves(
    key: Array, shape: MarketShape, params: MarketParams, conditions: Conditions, stock: Array, agent_share: Array
) -> tuple[Traffic, Array, Array, Array]:
    """An epoch's shoppers in `sub_slots` waves; a wave chooses among what is left."""

    def wave(left: Array, wave_key: Array) -> tuple[Array, tuple[Traffic, Array, Array]]:
        found = conditions.replace(
            available=conditions.available & (left > 0), intensity=conditions.intensity / shape.sub_slots
        )
        visits = traffic.simulate(
            wave_key, shape.traffic, params.traffic, shape.demand, params.demand, found, agent_share[None]
        )
        visits = jax.tree.map(lambda leaf: leaf[0], visits)
        left, sales, unmet = inventory.sell(left, visits.orders.sum(0))
        return left, (visits, sales, unmet)

    left, (visits, sales, unmet) = jax.lax.scan(wave, stock, jax.random.split(key, shape.sub_slots))
    return traffic.combine(visits), left, sales.sum(0), unmet.sum(0)


def settle_epoch(
    shape: MarketShape,
    params: MarketParams,
    before: MarketState,
    action: Action,
    opened: Opening,
    agent_share: Array,
    visits: Traffic,
    left: Array,
    sales: Array,
    unmet: Array,
    ordered: Array | None = None,
    placed: Array | None = None,
    key_default: Array | None = None,
) -> tuple[MarketState, Observation, Outcome]:
    """Steps 5 to 9 of an epoch for one candidate world: replenishment, reward, shaping, end.

    Args:
        key_default: of suppliers that may default.
        ordered: [N] units, where the rule has been asked already.
        placed: [N] probability that these are an order at all; None: wherever they are above 0.
    """
    stock, pipeline, arrivals, found, after, *_ = opened
    chosen = None if action.order is None else action.order.reshape(-1)
    demand = visits.orders.sum(0)
    acted = _active(shape, before)
    on_order = jnp.zeros_like(demand)
    costs, supplied = params.reward, None
    if pipeline is None:
        ordered = on_order
    elif shape.contracts is not None:
        level = action.price.reshape(-1) if shape.prices.map == "levels" else None
        supplied, signed, pipeline = _supply(
            key_default, shape, params, opened, left, sales, demand, level, chosen, acted
        )
        after, ordered, on_order = after.replace(contracts=signed), supplied.quantity, pipeline.sum(-1)
        costs = contracts.booked(costs, supplied, sales)
    else:
        if ordered is None:
            ordered = inventory.order_quantity(shape.inventory, params.inventory, left, pipeline.sum(-1), chosen)
        ordered = jnp.where(_repeat_products(shape, acted), ordered, 0.0)
        pipeline = inventory.place(pipeline, ordered, params.inventory.lead_time)
        on_order = pipeline.sum(-1)
    profit = reward.profit(
        shape.reward,
        costs,
        price_paid=visits.price_paid,
        sales=sales,
        unmet=unmet,
        stock_left=None if pipeline is None else left,
        ordered=ordered,
        placed=placed,
    )
    if supplied is not None:
        profit += supplied.fines
    raw = reward.by_seller(profit, shape.num_sellers)
    excess = before.excess
    if excess is not None:
        excess = reward.running_excess(excess, after.prices, params.reward)
    if shape.reward.penalties:
        raw -= reward.penalties(
            shape.reward,
            params.reward,
            shape.num_sellers,
            prices=after.prices,
            last_prices=before.prices,
            people=visits.orders[0],
            events=visits.events,
            leaked=(visits.price_linked - visits.price_paid) * sales,
            scores=visits.scores,
            log_prob=action.log_prob,
            excess=excess,
        )
    raw = jnp.where(acted, raw, 0.0)
    shaped = jnp.where(acted, reward.shape_reward(raw, params.reward.omega), 0.0)
    money = raw
    if supplied is not None:  # profit counts what the units sold have cost, the till what was paid
        money = raw + reward.by_seller(supplied.cost_of_sales - supplied.paid, shape.num_sellers)
    cash, active, quiet, terminated = _endings(shape, params, before, money, demand)
    epoch = before.epoch + 1
    waiting = before.waiting
    if found.waiting is not None:
        assert params.demand.patience is not None
        people = class_shares(shape.demand.num_classes, agent_share)[0] * shape.traffic.sessions * found.intensity
        came = params.demand.patience.share * people * params.traffic.visits_factor(agent_share)
        waiting = patience.advance(found.waiting, came)
    state = after.replace(
        epoch=epoch,
        demand=demand,
        events=visits.events,
        **_watched(params, before, visits),
        stock=None if pipeline is None else left,
        pipeline=pipeline,
        cash=cash,
        active=active,
        quiet_epochs=quiet,
        excess=excess,
        waiting=waiting,
    )
    outcome = Outcome(
        prices=after.prices,
        price_paid=visits.price_paid,
        stock=stock,
        arrivals=arrivals,
        orders=visits.orders,
        demand=demand,
        sales=sales,
        unmet=unmet,
        ordered=ordered,
        on_order=on_order,
        events=visits.events,
        price_linked=visits.price_linked,
        visits=visits.visits,
        views=visits.views,
        suspicion=visits.mean_score,
        agent_share=agent_share,
        level=found.level,
        intensity=found.intensity,
        reward=raw,
        shaped=shaped,
        learning=shaped * reward.learning_scale(shape.reward, params.reward.omega),
        acted=acted,
        terminated=terminated,
        truncated=epoch >= shape.episode_length,
        supplied=supplied,
    )
    return state, observe(shape, params, state), outcome


def _supply(
    key: Array | None,
    shape: MarketShape,
    params: MarketParams,
    opened: Opening,
    left: Array,
    sales: Array,
    demand: Array,
    level: Array | None,
    exponent: Array | None,
    acted: Array,
) -> tuple[contracts.Supplied, contracts.ContractState, Array]:
    """Step 6 where supply is bargained for: the books after sales, who bargains, and what is agreed upon.

    Returns:
        (contracts of the epoch, their state after it, pipeline [N, L] with what was agreed upon).
    """
    own, state = params.contracts, opened.after.contracts
    assert shape.contracts is not None and own is not None and state is not None and opened.pipeline is not None
    assert opened.paid is not None and opened.fines is not None
    sold = sales * contracts.average_cost(state, opened.stock)
    # The last unit takes with it what rounding left in the books.
    value = jnp.where(left > 0, state.value - sold, 0.0)
    state = contracts.expect_demand(own, state.replace(value=value), demand)
    on_order = opened.pipeline.sum(-1)
    asks = inventory.bargains(shape.inventory, params.inventory, left, on_order) & _repeat_products(shape, acted)
    terms = contracts.bargain(own, state, left + on_order, opened.after.prices, exponent, level)
    signs = jnp.zeros_like(asks) if shape.contracts.outside else asks & (terms.quantity > 0)
    state, quantity, paid = contracts.sign(key, shape.contracts, own, state, terms, signs)
    supplied = contracts.Supplied(
        asked=asks,
        quantity=quantity,
        unit_cost=jnp.where(signs, terms.unit_cost, 0.0),
        lead_time=jnp.where(signs, terms.lead_time, 0),
        supplier=jnp.where(signs, terms.supplier, -1),
        outcome=jnp.where(signs, terms.outcome, -1),
        exponent=jnp.zeros_like(terms.outcome) if exponent is None else exponent,
        paid=opened.paid + paid,
        fines=opened.fines,
        cost_of_sales=sold,
        value=value,
        due=state.due.sum(-1),
    )
    return supplied, state, inventory.place(opened.pipeline, quantity, terms.lead_time)


# How far back the running mean of scores reaches: an epoch's sessions are few, and the share of agents may move.
_MEMORY = 0.1


def _watched(params: MarketParams, before: MarketState, visits: Traffic) -> dict[str, Array]:
    """What sellers keep of an epoch's sessions for the next observation. An epoch that nobody visits tells nothing."""
    if before.suspicion is None or before.share_estimate is None or before.visited_epochs is None:
        return {}
    estimate = visits.mean_score
    if params.traffic.sessions is not None:
        estimate = detection.estimate_share(estimate, visits.class_scores, bounded=False)
    visited = visits.visits > 0
    # The first epochs that had visitors are a plain mean; later ones forget.
    rate = jnp.maximum(1.0 / (before.visited_epochs + 1.0), _MEMORY)
    share = before.share_estimate + rate * (estimate - before.share_estimate)
    seen = (before.events.sum() > 0) & (visits.events.sum() > 0)
    return {
        "trend": jnp.where(seen, proxy_share(visits.events) - proxy_share(before.events), 0.0),
        "suspicion": jnp.where(visited, visits.mean_score, before.suspicion),
        "share_estimate": jnp.where(visited, share, before.share_estimate),
        "visited_epochs": before.visited_epochs + visited,
    }


def _endings(
    shape: MarketShape, params: MarketParams, before: MarketState, money: Array, demand: Array
) -> tuple[Array | None, Array | None, Array | None, Array]:
    """Step 9: who goes bankrupt, whether the market collapses, and whether a season is over.

    Args:
        money: [S] that the epoch brought into the till.
    """
    active = acted = _active(shape, before)
    cash, quiet = before.cash, before.quiet_epochs
    if cash is not None:
        cash = cash + money
        active = acted & (cash >= params.reward.cash_limit)
    terminated = acted & ~active
    if quiet is not None:
        quiet = jnp.where(demand.sum() > 0, 0, quiet + 1)
        terminated |= acted & (quiet >= shape.collapse_patience)
    if shape.demand.at_once:  # nobody comes after the season: there is no value in what would follow
        terminated |= acted & (before.epoch + 1 >= shape.episode_length)
    return cash, None if before.active is None else active, quiet, terminated

"""What sellers and a central critic see, scaled to about one.

Each feature is a function of the market that answers [S, width]; `layout` names every entry with its unit, so that a
policy that leaves the house can say what it wants to be fed.
"""

from __future__ import annotations

import jax.numpy as jnp

from marl_pricing.demand import patience
from marl_pricing.market import contracts, inventory
from marl_pricing.market.types import Array, MarketParams, MarketShape, MarketState, Observation, epoch_share


def _sellers(values: Array, shape: MarketShape) -> Array:
    return values.reshape(shape.num_sellers, shape.num_products)


def scaled_prices(params: MarketParams, prices: Array) -> Array:
    """Prices [N] as 2 (p − low) / (high − low) − 1: the range that may be posted becomes −1 … 1."""
    prices_params = params.prices
    width = jnp.maximum(prices_params.high - prices_params.low, 1e-6)
    return 2.0 * (prices - prices_params.low) / width - 1.0


def price_ends(params: MarketParams) -> tuple[Array, Array]:
    """The lowest and the highest prices [N] that may be posted."""
    offers = jnp.zeros_like(params.inventory.initial_stock)
    return params.prices.low + offers, params.prices.high + offers


def stock_scale(params: MarketParams) -> Array:
    """Units [N] that count as one in an observation: the largest position that the parameters speak of."""
    own = params.inventory
    largest = jnp.maximum(jnp.maximum(own.initial_stock, own.order_up_to), own.reorder_point + own.order_quantity)
    largest = jnp.maximum(largest, own.order_levels.max())
    # An offer that never has any stock is seen as 0, not as 0 / 0.
    return jnp.where(largest > 0, largest, 1.0)


def demand_scale(shape: MarketShape) -> float:
    """Units that count as one: an equal share of the epoch's sessions."""
    return shape.traffic.sessions / shape.num_offers


def proxy_share(events: Array) -> Array:
    """Shares [N] of the demand proxy: q̃ / 100 of the PHANTOM methodology."""
    return events / jnp.maximum(events.sum(), 1e-6)


def rival_means(values: Array, num_sellers: int, active: Array | None = None) -> Array:
    """Mean [S, P] over the other sellers in the market, product by product; zeros where there is none.

    Args:
        values: [S, P].  active: [S] bool, still in the market; None: all.
    """
    if num_sellers == 1:
        return jnp.zeros_like(values)
    if active is None:
        return (values.sum(0) - values) / (num_sellers - 1)
    present = active[:, None]
    values = jnp.where(present, values, 0.0)
    return (values.sum(0) - values) / jnp.maximum(active.sum() - present, 1)


def rivals(values: Array, num_sellers: int) -> Array:
    """The other sellers' values [S, (S − 1)·P], beginning with the next seller and going round."""
    order = (jnp.arange(num_sellers)[:, None] + jnp.arange(1, num_sellers)) % num_sellers
    return values[order].reshape(num_sellers, -1)


def on_hand(shape: MarketShape, state: MarketState) -> Array:
    """Units [N] that can be sold in the coming epoch: stock plus what is due at its start (I_t)."""
    assert state.stock is not None and state.pipeline is not None
    return state.stock + state.pipeline[:, 0]


def _shown_prices(params: MarketParams, state: MarketState, num_sellers: int) -> Array:
    """Scaled prices [N] of the last epoch; 0 for offers whose seller has left."""
    scaled = scaled_prices(params, state.prices)
    if state.active is None:
        return scaled
    return jnp.where(jnp.repeat(state.active, scaled.size // num_sellers), scaled, 0.0)


def _feature(name: str, shape: MarketShape, params: MarketParams, state: MarketState) -> Array:
    num_sellers = shape.num_sellers
    ones = jnp.ones((num_sellers, 1))
    if name == "own_price":
        return _sellers(scaled_prices(params, state.prices), shape)
    if name == "rival_price":
        return rival_means(_sellers(scaled_prices(params, state.prices), shape), num_sellers, state.active)
    if name == "all_rival_prices":
        return rivals(_sellers(_shown_prices(params, state, num_sellers), shape), num_sellers)
    if name == "stock":
        return _sellers(on_hand(shape, state) / stock_scale(params), shape)
    if name == "on_order":
        assert state.pipeline is not None
        return _sellers(state.pipeline[:, 1:].sum(-1) / stock_scale(params), shape)
    if name == "pipeline":
        assert state.pipeline is not None
        due = state.pipeline[:, 1:] / stock_scale(params)[:, None]
        return due.reshape(num_sellers, due.size // num_sellers)
    if name == "demand":
        return _sellers(state.demand / demand_scale(shape), shape)
    if name == "events":
        return _sellers(state.events / (demand_scale(shape) * params.traffic.event_scale), shape)
    if name == "proxy_share":
        # 1 is an equal share.
        return _sellers(proxy_share(state.events) * shape.num_offers, shape)
    if name == "proxy_trend":
        assert state.trend is not None
        return _sellers(state.trend * shape.num_offers, shape)
    if name in ("suspicion", "share_estimate"):
        value = getattr(state, name)
        assert value is not None
        # The running mean of an unbiased estimate may leave [0, 1]; what is told stays in it.
        return ones * jnp.clip(value, 0.0, 1.0)
    if name == "agent_share":
        return ones * epoch_share(params, state)
    if name == "omega":
        return ones * params.reward.omega[..., None]
    if name == "time":
        return ones * state.epoch / shape.episode_length
    if name == "shock":
        assert state.shock_remaining is not None
        return ones * (state.shock_remaining > 0)
    if name == "cash":
        assert state.cash is not None
        return scaled_cash(params, state.cash)[:, None]
    if name in ("held_cost", "ordered_cost", "last_agreement"):
        return _contract_feature(name, shape, params, state)
    raise ValueError(f"observation.features={name!r} is no feature")


def scaled_cost(params: MarketParams, cost: Array) -> Array:
    """Costs [N] of a unit: 0 the lowest, 1 the highest that is bargained over."""
    assert params.contracts is not None
    low, high = params.contracts.table.least[1], params.contracts.table.most[1]
    return (cost - low) / jnp.maximum(high - low, 1e-6)


def _contract_feature(name: str, shape: MarketShape, params: MarketParams, state: MarketState) -> Array:
    """What a seller sees of its contracts [S, width]; −1 where there are none to see."""
    own, table = state.contracts, params.contracts.table if params.contracts else None
    assert own is not None and table is not None and state.stock is not None and state.pipeline is not None
    if name == "held_cost":
        shown = jnp.where(state.stock > 0, scaled_cost(params, contracts.average_cost(own, state.stock)), -1.0)
        return _sellers(shown, shape)
    if name == "ordered_cost":
        units = state.pipeline.sum(-1)
        cost = own.due.sum(-1) / jnp.maximum(units, 1e-6)
        return _sellers(jnp.where(units > 0, scaled_cost(params, cost), -1.0), shape)
    quantity, cost, lead_time = own.last.T
    parts = [quantity / table.most[0], scaled_cost(params, cost), lead_time / table.most[2]]
    shown = jnp.where((quantity > 0)[:, None], jnp.stack(parts, -1), -1.0)
    return shown.reshape(shape.num_sellers, -1)


def scaled_cash(params: MarketParams, cash: Array) -> Array:
    """Distance [S] of the cash from the limit, in units of the first distance."""
    first = jnp.maximum(params.reward.initial_cash - params.reward.cash_limit, 1e-6)
    return (cash - params.reward.cash_limit) / first


def layout(shape: MarketShape) -> list[str]:
    """Names of the entries of a seller's local observation, in order, with units."""
    products = [f"[product {k}]" if shape.num_products > 1 else "" for k in range(shape.num_products)]
    names: list[str] = []
    for feature in shape.features:
        if feature == "all_rival_prices":
            names += [
                f"price of the seller {r} further on{product} (-1 lowest, 1 highest)"
                for r in range(1, shape.num_sellers)
                for product in products
            ]
        elif feature == "pipeline":
            names += [
                f"units that come in {wait} epoch{'s' if wait > 1 else ''}{product} (share of the largest position)"
                for product in products
                for wait in range(1, shape.inventory.max_lead_time)
            ]
        elif feature == "last_agreement":
            names += [
                f"{text} of the last agreement{product} (-1 none yet, {scale})"
                for product in products
                for text, scale in (
                    ("units", "1 the most"), ("unit cost", "0 lowest, 1 highest"), ("lead time", "1 the longest"),
                )
            ]  # fmt: skip
        elif feature in ("time", "shock", "cash", "suspicion", "share_estimate", "agent_share", "omega"):
            names.append(
                {
                    "suspicion": "mean suspicion of the sessions of the last epoch that had any (0 to 1)",
                    "share_estimate": "share of agents, estimated from the sessions so far (0 to 1)",
                    "agent_share": "share of agents of the coming epoch (0 to 1)",
                    "omega": "own weight of its own profit (0 to 1)",
                    "time": "epoch (share of the episode)",
                    "shock": "shock in the coming epoch (0 or 1)",
                    "cash": "cash above the limit (share of the first)",
                }[feature]
            )
        else:
            text = {
                "own_price": "own price of the last epoch{} (-1 lowest, 1 highest)",
                "rival_price": "rivals' mean price of the last epoch{} (-1 lowest, 1 highest)",
                "stock": "stock{} (share of the largest position)",
                "on_order": "units on the way{} (share of the largest position)",
                "demand": "units ordered in the last epoch{} (equal shares of the sessions)",
                "events": "demand proxy of the last epoch{} (equal shares of the sessions)",
                "proxy_share": "share of the demand proxy of the last epoch{} (equal shares)",
                "proxy_trend": "change of that share{} (equal shares)",
                "held_cost": "average cost of the stock{} (-1 no stock, 0 lowest, 1 highest)",
                "ordered_cost": "average cost of what is on the way{} (-1 nothing, 0 lowest, 1 highest)",
            }[feature]
            names += [text.format(product) for product in products]
    return names


def observe(shape: MarketShape, params: MarketParams, state: MarketState) -> Observation:
    """The observation at the start of an epoch."""
    local = jnp.concatenate([_feature(name, shape, params, state) for name in shape.features], axis=-1)
    if state.active is not None:
        local = jnp.where(state.active[:, None], local, 0.0)
    mask = None
    if shape.chooses_orders:
        assert state.pipeline is not None
        allowed = inventory.order_mask(shape.inventory, params.inventory, state.pipeline[:, 1:].sum(-1))
        mask = allowed.reshape(shape.num_sellers, shape.num_products, -1)
    return Observation(local=local, state=global_state(shape, params, state), order_mask=mask)


def global_state(shape: MarketShape, params: MarketParams, state: MarketState) -> Array:
    """The whole market [G] for a central critic: prices, demand, stock, pipeline, level, shock, cash, who waits, …"""
    parts = [_shown_prices(params, state, shape.num_sellers), state.demand / demand_scale(shape)]
    if state.stock is not None and state.pipeline is not None:
        parts.append(on_hand(shape, state) / stock_scale(params))
        parts.append((state.pipeline[:, 1:] / stock_scale(params)[:, None]).reshape(-1))
    if state.log_level is not None:
        parts.append(state.log_level)
    if state.agent_share is not None:
        parts.append(state.agent_share[None])
    if state.suspicion is not None:
        parts += [state.events / (demand_scale(shape) * params.traffic.event_scale), state.suspicion[None]]
    if state.shock_remaining is not None:
        parts.append((state.shock_remaining / jnp.maximum(params.demand.shock_duration, 1))[None])
    if state.cash is not None:
        parts.append(scaled_cash(params, state.cash))
    if state.active is not None:
        parts.append(state.active.astype(jnp.float32))
    if state.quiet_epochs is not None:
        parts.append((state.quiet_epochs / shape.collapse_patience)[None])
    if state.excess is not None:
        parts.append(state.excess)
    if state.contracts is not None:
        names = ("held_cost", "ordered_cost", "last_agreement")
        parts += [_contract_feature(name, shape, params, state).reshape(-1) for name in names]
        parts.append(state.contracts.forecast / demand_scale(shape))
    if state.waiting is not None:
        parts.append(state.waiting.sessions / shape.traffic.sessions)
        parts.append(patience.scaled_index(shape.demand, params.demand, state.waiting.reached, *price_ends(params)))
    parts.append((state.epoch / shape.episode_length)[None])
    return jnp.concatenate(parts)

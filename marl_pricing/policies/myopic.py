"""Myopic best response: the best prices for one epoch, were rivals to keep their last ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Policy, RewardShape
from marl_pricing.market.observation import on_hand
from marl_pricing.market.reward import profit
from marl_pricing.policies.constant import nothing
from marl_pricing.policies.expectations import expected_demand, in_market, need_expectations
from marl_pricing.policies.orders import SAFETY, order_towards, order_up_to
from marl_pricing.policies.targets import candidate_prices, no_surprise, price_choices
from marl_pricing.traffic.params import Array

_SWEEPS = 4  # rounds of coordinate ascent over a seller's products; one is exact for one product


class MyopicParameters(struct.PyTreeNode):
    """Numbers of the myopic rule."""

    safety: Array  # [] standard deviations of safety stock where sellers choose orders


def one_epoch_profit(shape: MarketShape, params: MarketParams, state: MarketState, prices: Array) -> Array:
    """Expected profit [N] of one epoch at `prices` [N]: latent level 1, no shock.

    Expected sales are taken as min(stock on hand, expected demand), which is above the true E[min(I, D)] where the
    two are close. Unmet demand and stock left cost what they cost in the market; a unit sold costs its unit cost also
    where units are paid for when ordered, because it has to be replaced; the reward's other penalties are left out.
    """
    demand = expected_demand(shape, params, prices, in_market(shape, state))
    left = None
    sales, unmet = demand, jnp.zeros_like(demand)
    if state.stock is not None:
        stock = on_hand(shape, state)
        sales, unmet = jnp.minimum(stock, demand), jnp.maximum(demand - stock, 0.0)
        left = stock - sales
    return profit(
        RewardShape(),
        params.reward,
        price_paid=prices,
        sales=sales,
        unmet=unmet,
        stock_left=left,
        ordered=jnp.zeros_like(sales),
    )


def best_response(shape: MarketShape, params: MarketParams, state: MarketState) -> tuple[Array, Array]:
    """Each seller's best choice against the rivals' last prices.

    Returns:
        (choice [S, P] int32 index into `targets.price_choices`, expected demand [N] of each offer, at its seller's new
        prices and its rivals' last ones).
    """
    last = state.prices
    candidates = candidate_prices(shape, params, last)
    num_products = shape.num_products
    sweeps = _SWEEPS if num_products > 1 else 1
    # Ascent starts at the candidate nearest to each last price, so that rivals and one's own other products are alike.
    start = jnp.abs(candidates - last[:, None]).argmin(-1)

    def value(prices: Array, seller: Array) -> Array:
        by_seller = one_epoch_profit(shape, params, state, prices).reshape(shape.num_sellers, num_products).sum(-1)
        return by_seller[seller]

    def respond(seller: Array) -> tuple[Array, Array]:
        own = seller * num_products + jnp.arange(num_products)

        def improve(turn: Array, choice: Array) -> Array:
            product = turn % num_products
            prices = last.at[own].set(candidates[own, choice])
            values = jax.vmap(lambda p: value(prices.at[own[product]].set(p), seller))(candidates[own[product]])
            return choice.at[product].set(values.argmax())

        choice = jax.lax.fori_loop(0, sweeps * num_products, improve, start[own])
        prices = last.at[own].set(candidates[own, choice])
        return choice, expected_demand(shape, params, prices, in_market(shape, state))[own]

    choice, demand = jax.vmap(respond)(jnp.arange(shape.num_sellers))
    return choice.astype(jnp.int32), demand.reshape(-1)


@lru_cache(maxsize=64)
def _act(shape: MarketShape) -> Callable[..., tuple[Action, Any]]:
    def act(
        parameters: MyopicParameters,
        key: Array,
        memory: Any,
        observation: Observation,
        state: MarketState,
        params: MarketParams,
    ) -> tuple[Action, Any]:
        choice, demand = best_response(shape, params, state)
        price = choice
        if not shape.discrete_prices:
            tried = price_choices(shape, params)
            price = jnp.take_along_axis(tried, choice.reshape(-1, 1), 1).reshape(choice.shape)
        level = order_up_to(params, demand, parameters.safety)
        order = order_towards(shape, params, state, observation, level)
        return Action(price, order, no_surprise(shape)), memory

    return act


def myopic(shape: MarketShape, params: MarketParams, safety: float = SAFETY) -> Policy:
    """Each seller takes the prices that maximise its own expected profit of the coming epoch.

    It knows the true demand model, its stock and the rivals' last prices. Several products are set by coordinate
    ascent; where the price action is continuous the best of a fine grid is taken (`targets.price_choices`).

    Raises:
        RuleError: for scripted sessions.
    """
    need_expectations(shape, "myopic")
    return Policy("myopic", MyopicParameters(jnp.asarray(safety, jnp.float32)), nothing, _act(shape))

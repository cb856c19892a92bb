"""A rule of a few numbers: the price moves with stock and with the level of demand, orders fill up to a level.

price = base + a · (stock relative to its middle or its even path) + b · (demand so far relative to what the prices let
expect) + c · (a shock runs). What a planner would write on a card; the numbers are what a fit looks for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
from flax import struct

from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Policy
from marl_pricing.market.observation import demand_scale, on_hand, stock_scale
from marl_pricing.policies.expectations import expected_demand, in_market
from marl_pricing.policies.orders import order_towards
from marl_pricing.policies.targets import no_surprise, price_towards
from marl_pricing.traffic.params import Array


class StockPriceParameters(struct.PyTreeNode):
    """Numbers of the rule, traced: a search over them is one program."""

    base: Array  # [N] money, the price where nothing calls for another
    stock_slope: Array  # [N] money per largest position of more stock; below 0: dear while stock is short
    demand_slope: Array  # [N] money per whole of demand more than expected
    memory: Array  # [N] in (0, 1], weight of the last epoch in the running demand
    shock_slope: Array  # [N] money on top while a shock runs
    order_up_to: Array  # [N] units, level of the position where sellers choose orders


def shows_level(shape: MarketShape) -> bool:
    """Whether demand has a level that moves, and orders at given prices an expectation to read it by."""
    return shape.demand.level_moves and shape.traffic.model != "scripted"


def shows_shocks(shape: MarketShape) -> bool:
    """Whether sellers are told of shocks; the rule knows no more than they."""
    return shape.demand.shocks and "shock" in shape.features


def relative_stock(shape: MarketShape, params: MarketParams, state: MarketState) -> Array:
    """Stock [N] for the coming epoch in largest positions, above its reference; 0 where it is unlimited.

    The reference is half the largest position, or, where nothing is replenished, what would be left were the first
    stock sold evenly over the episode.
    """
    if state.stock is None:
        return jnp.zeros((shape.num_offers,))
    if shape.inventory.rule == "none":
        left = 1.0 - state.epoch / shape.episode_length
        first = jnp.where(params.inventory.initial_stock > 0, params.inventory.initial_stock, 1.0)
        return on_hand(shape, state) / first - left
    return on_hand(shape, state) / stock_scale(params) - 0.5


@lru_cache(maxsize=64)
def _start(shape: MarketShape) -> Callable[[], Any]:
    def start() -> Any:
        if not shows_level(shape):
            return ()
        # As if an epoch had gone before in which all bought, as expected: the first ones do not throw the price about.
        usual = jnp.full((shape.num_offers,), demand_scale(shape), jnp.float32)
        return usual, usual

    return start


@lru_cache(maxsize=64)
def _act(shape: MarketShape) -> Callable[..., tuple[Action, Any]]:
    def act(
        own: StockPriceParameters,
        key: Array,
        memory: Any,
        observation: Observation,
        state: MarketState,
        params: MarketParams,
    ) -> tuple[Action, Any]:
        wanted = own.base + own.stock_slope * relative_stock(shape, params, state)
        if shows_level(shape):
            came, expected = memory
            usual = expected_demand(shape, params, state.prices, in_market(shape, state))
            weight = jnp.where(state.epoch > 0, own.memory, 0.0)
            came = came + weight * (state.demand - came)
            expected = expected + weight * (usual - expected)
            wanted += own.demand_slope * (came / jnp.maximum(expected, 1e-6) - 1.0)
            memory = (came, expected)
        if shows_shocks(shape):
            assert state.shock_remaining is not None
            wanted += own.shock_slope * (state.shock_remaining > 0)
        price = price_towards(shape, params, state.prices, jnp.clip(wanted, params.prices.low, params.prices.high))
        order = order_towards(shape, params, state, observation, own.order_up_to)
        return Action(price, order, no_surprise(shape)), memory

    return act


def stock_and_price(shape: MarketShape, parameters: StockPriceParameters, name: str = "stock_and_price") -> Policy:
    """The rule with given numbers for all sellers. It knows what demand to expect at level 1, and never the level."""
    return Policy(name, parameters, _start(shape), _act(shape))

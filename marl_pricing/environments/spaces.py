"""Gymnasium spaces of a market, and actions checked against them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from gymnasium import spaces

from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.market.prices import action_ends


def action_space(shape: MarketShape, params: MarketParams, seller: int = 0) -> spaces.Space:
    """A seller's actions; only `Box`es of prices may differ between sellers.

    `Discrete(K)` for one product whose order is not chosen; `MultiDiscrete` for several: the price level of every
    product, then, where orders are chosen, the order level of every product; `Box` [P] of prices, in money, for the
    price map `range`, of relative price changes for `adjust`.
    """
    num_products = shape.num_products
    if not shape.discrete_prices:
        ends = action_ends(shape.prices, params.prices)
        low, high = (np.array(end).reshape(shape.num_sellers, num_products)[seller] for end in ends)
        return spaces.Box(low, high, (num_products,), np.float32)
    heads = [shape.prices.num_levels] * num_products
    if shape.chooses_orders:
        heads += [shape.inventory.num_order_levels] * num_products
    return spaces.Discrete(heads[0]) if len(heads) == 1 else spaces.MultiDiscrete(heads)


def check_action(agent: str, action: Any, space: spaces.Space) -> np.ndarray | int:
    """The action as an array [heads], or as an index for `Discrete`, if the space holds it.

    Raises:
        ValueError: naming the agent, the action and what is accepted.
    """
    if isinstance(space, spaces.Discrete):
        try:
            index = -1 if isinstance(action, (bool, np.bool_)) else operator.index(action)
        except TypeError:
            index = -1
        if not 0 <= index < space.n:
            raise _refused(agent, action, f"a whole number from 0 to {space.n - 1}")
        return index
    try:
        array = np.asarray(action)
    except ValueError:
        raise _refused(agent, action, f"an array of shape {space.shape}") from None
    if array.shape != space.shape:
        raise _refused(agent, action, f"an array of shape {space.shape}")
    if isinstance(space, spaces.MultiDiscrete):
        if not np.issubdtype(array.dtype, np.integer):
            raise _refused(agent, action, "whole numbers")
        if (array < 0).any() or (array >= space.nvec).any():
            raise _refused(agent, action, f"whole numbers from 0 to below {space.nvec.tolist()}")
        return array.astype(np.int32)
    assert isinstance(space, spaces.Box)
    is_real = np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)
    if not is_real or not np.isfinite(array).all():
        raise _refused(agent, action, "finite numbers")
    # The ends are float32; a user's 0.3 may lie a rounding outside.
    margin = 1e-6 * np.maximum(np.abs(space.low), np.abs(space.high))
    if (array < space.low - margin).any() or (array > space.high + margin).any():
        low, high = (end[0] if (end == end[0]).all() else end.tolist() for end in (space.low, space.high))
        raise _refused(agent, action, f"numbers between {_short(low)} and {_short(high)}")
    return np.clip(array.astype(np.float32), space.low, space.high)


def _short(end: Any) -> str:
    return f"{end:g}" if np.ndim(end) == 0 else f"[{', '.join(f'{own:g}' for own in end)}]"


def one_line(value: Any) -> str:
    """A value as messages show it: one line, not much longer than it has to be."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 120 else f"{text[:117]}..."


def _refused(agent: str, action: Any, accepted: str) -> ValueError:
    return ValueError(f"actions[{agent!r}]={one_line(action)}: accepted is {accepted}")


def need_known_information(shape: MarketShape) -> None:
    """Refuse a reward that asks how probable an action was, which an environment cannot know.

    Raises:
        ValueError: naming the setting and what is accepted.
    """
    if shape.reward.information_value != "constant":
        raise ValueError(
            f"reward.information_value={shape.reward.information_value!r}: accepted is 'constant' in an "
            "environment, which does not know how probable an action was"
        )

"""Gymnasium spaces of a market, and actions checked against them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from gymnasium import spaces

from marl_pricing.market import MarketParams, MarketShape


def action_space(shape: MarketShape, params: MarketParams) -> spaces.Space:
    """One seller's actions.

    `Discrete(K)` for one product whose order is not chosen; `MultiDiscrete` for several: the price level of every
    product, then, where orders are chosen, the order level of every product; `Box` [P] of relative price changes for
    the price map `adjust`.
    """
    num_products = shape.num_products
    if not shape.discrete_prices:
        limit = float(params.prices.max_change)
        return spaces.Box(-limit, limit, (num_products,), np.float32)
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
    # The limit is a float32; a user's 0.3 may lie a rounding above it.
    if (np.abs(array) > space.high * (1 + 1e-6)).any():
        raise _refused(agent, action, f"numbers between {space.low[0]:g} and {space.high[0]:g}")
    return array.astype(np.float32)


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

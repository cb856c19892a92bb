"""Stock: arrivals, sales, replenishment rules.

`pipeline[:, l]` holds the units that join the stock l epochs after the coming epoch starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array
ReplenishmentRule = Literal["none", "threshold", "base_stock", "s_S", "chosen", "contract", "contract_chosen"]


@dataclass(frozen=True)
class InventoryShape:
    """Static half.

    Attributes:
        rule: how orders are placed; `none` lets the first stock run out.
        unlimited: every order is served and there is no stock to keep.
        single_order: an offer has one order on the way at most.
        max_lead_time: L, length of the pipeline.
        num_order_levels: Q, what a seller can choose from: quantities (`chosen`), or how long to stay tough in a
            bargain (`contract_chosen`).
    """

    rule: ReplenishmentRule = "threshold"
    unlimited: bool = False
    single_order: bool = True
    max_lead_time: int = 1
    num_order_levels: int = 1


class InventoryParams(struct.PyTreeNode):
    """Traced half."""

    initial_stock: Array  # [N] units
    lead_time: Array  # [N] int32 epochs, 1 … L; of contracts the longest
    reorder_point: Array  # [N] units, R_th (`threshold`), s (`s_S`), or below which a seller bargains (`contract`)
    order_quantity: Array  # [N] units, R_amt (`threshold`)
    order_up_to: Array  # [N] units, the level of `base_stock`, S of `s_S`
    order_cap: Array  # [N] units, the largest order of any rule
    order_levels: Array  # [Q] units, the quantities of `chosen`


def receive(stock: Array, pipeline: Array) -> tuple[Array, Array, Array]:
    """Step 1 of an epoch: the orders that are due join the stock.

    Args:
        stock: [N] units.  pipeline: [N, L] units.

    Returns:
        (stock after arrivals [N], pipeline moved on by one epoch [N, L], arrivals [N]).
    """
    arrivals = pipeline[:, 0]
    moved = jnp.concatenate([pipeline[:, 1:], jnp.zeros_like(pipeline[:, :1])], axis=1)
    return stock + arrivals, moved, arrivals


def sell(stock: Array, demand: Array) -> tuple[Array, Array, Array]:
    """Step 5: S = min(I, D), unmet = max(0, D − I).

    Returns:
        (stock left, sales, unmet), all [N] units; the stock never goes below zero.
    """
    sales = jnp.minimum(stock, demand)
    return stock - sales, sales, jnp.maximum(demand - stock, 0.0)


def order_quantity(
    shape: InventoryShape, params: InventoryParams, stock: Array, on_order: Array, chosen: Array | None
) -> Array:
    """Step 6: units [N] ordered now, by the rule.

    Every rule looks at the inventory position, stock left plus units on order:
    `threshold` orders R_amt where it is below R_th, `s_S` orders up to S where it is below s, `base_stock` orders up
    to its level, `chosen` takes the seller's own quantity. With `single_order`, an offer with an order on the way
    orders nothing, so that its position is its stock: the formal document's rule.

    Args:
        stock: [N] units left after sales.  on_order: [N] units on the way.
        chosen: [N] int32 index of an order level, for `chosen` only.
    """
    position = stock + on_order
    if shape.rule == "none":
        return jnp.zeros_like(stock)
    if shape.rule == "threshold":
        quantity = jnp.where(position < params.reorder_point, params.order_quantity, 0.0)
    elif shape.rule == "base_stock":
        quantity = jnp.maximum(params.order_up_to - position, 0.0)
    elif shape.rule == "s_S":
        quantity = jnp.where(position < params.reorder_point, params.order_up_to - position, 0.0)
    else:
        assert chosen is not None, "the rule 'chosen' needs the sellers' order levels"
        quantity = params.order_levels[chosen]
    quantity = jnp.minimum(quantity, params.order_cap)
    if shape.single_order:
        quantity = jnp.where(on_order > 0, 0.0, quantity)
    return quantity


def place(pipeline: Array, quantity: Array, lead_time: Array) -> Array:
    """Put orders [N] of epoch t on the way: they join the stock at the start of epoch t + lead_time.

    Args:
        pipeline: [N, L] units, already moved on past epoch t, so that slot 0 joins at t + 1.
        lead_time: [N] int32, 1 … L.
    """
    slot = jnp.arange(pipeline.shape[1]) == (lead_time - 1)[:, None]
    return pipeline + jnp.where(slot, quantity[:, None], 0.0)


def bargains(shape: InventoryShape, params: InventoryParams, stock: Array, on_order: Array) -> Array:
    """Step 6 of the rules `contract` and `contract_chosen`: offers [N] bool whose seller bargains now.

    Args:
        stock: [N] units left after sales.  on_order: [N] units on the way.
    """
    wants = stock + on_order < params.reorder_point
    return wants & (on_order == 0) if shape.single_order else wants


def order_mask(shape: InventoryShape, params: InventoryParams, on_order: Array) -> Array:
    """Order levels [N, Q] that are allowed: those within the cap and, with `single_order`, nothing while one is due.

    Exponents of a bargain are always allowed.
    """
    if shape.rule == "contract_chosen":
        return jnp.ones((on_order.shape[0], shape.num_order_levels), bool)
    nothing = params.order_levels == 0
    allowed = params.order_levels <= params.order_cap[:, None]
    if shape.single_order:
        allowed &= nothing | ~(on_order > 0)[:, None]
    return allowed | nothing

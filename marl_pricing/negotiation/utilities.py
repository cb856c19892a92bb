"""What a supply contract is worth to who buys and to who supplies, money over the buyer's horizon.

Demand is Poisson. The buyer's utility is the exercise of NegMAS's overview for a seller with stock:

    u(q, w, L) = p·E[min(x + q, D)] − w·q − h·E[(x + q − D)⁺] − b·E[(D − x − q)⁺] − (p + h + b)·lost(q, L),

where D is the demand of the horizon, and lost(q, L) are the units that x + q could have served had q come at once:
demand that finds the stock x gone while q is waited for. What is not sold by the end of the horizon is held, what is
not served is missed, so the last term is exact and not an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.scipy.special import gammaln, xlogy

from marl_pricing.negotiation.outcomes import LEAD_TIME, PAYMENT_DELAY, QUANTITY, REBATE, UNIT_COST, OutcomeSpace

Array = jax.Array


class BuyerCosts(struct.PyTreeNode):
    """What stock costs who buys; arrays of any shape, one buyer each."""

    holding_cost: Array  # money per unit left at the end of the horizon, h
    shortage_cost: Array  # money per unit of demand not served, b
    capital_cost: Array  # share of a payment that one epoch's delay is worth


class SupplierCosts(struct.PyTreeNode):
    """What supplying costs; arrays of any shape, one supplier each."""

    unit_cost: Array  # money per unit, c_s
    rush_cost: Array  # money per unit where it has one epoch; with L epochs an L-th of it
    capacity: Array  # units, the most that it takes on in an epoch
    capital_cost: Array  # share of a payment that one epoch's delay costs it


class Worth(NamedTuple):
    """What the outcomes of a space are worth to one side. Outcomes that cannot be have −inf."""

    utility: Array  # [..., O] money
    reserved: Array  # [...] money, without a contract


@dataclass(frozen=True)
class Stock:
    """Static sizes of the buyer's question: positions 0 … `max_position` units, a horizon of so many epochs."""

    max_position: int
    horizon: int


def _probabilities(mean: Array, size: int) -> Array:
    """P(D = k), k = 0 … size, of Poisson demand."""
    k = jnp.arange(size + 1.0)
    return jnp.exp(xlogy(k, mean) - mean - gammaln(k + 1.0))


def _served(mean: Array, size: int) -> Array:
    """E[min(n, D)], n = 0 … size: Σ_{k<n} P(D > k)."""
    above = jnp.maximum(1.0 - jnp.cumsum(_probabilities(mean, size)), 0.0)
    return jnp.concatenate([jnp.zeros(1), jnp.cumsum(above)[:-1]])


def expected_sales(demand: Array, quantities: np.ndarray, lead_times: np.ndarray, stock: Stock) -> Array:
    """Units sold within the horizon from a stock of x and a delivery of q after L epochs: [X, Q, L].

    With D_L the demand until the delivery: min(x, D_L) + min((x − D_L)⁺ + q, D − D_L).

    Args:
        demand: [] units per epoch.
        quantities: [Q] whole units; 0 is no delivery.  lead_times: [L] whole epochs, at most the horizon.
        stock: positions X = 0 … max_position.
    """
    most = stock.max_position + int(quantities.max())
    positions = np.arange(stock.max_position + 1)
    used = np.maximum(positions[:, None] - positions[None], 0)  # units sold before: [x, left]

    def one(lead_time: Array) -> Array:
        before = demand * lead_time
        early = _served(before, stock.max_position)[:, None]
        drawn = _probabilities(before, stock.max_position)
        # Stock left where q arrives: exactly x − left units were asked for, or, for none, x or more.
        left = jnp.where(positions[None] <= positions[:, None], drawn[used], 0.0)
        gone = 1.0 - jnp.concatenate([jnp.zeros(1), jnp.cumsum(drawn)[:-1]])
        left = left.at[:, 0].set(jnp.maximum(gone, 0.0))
        late = _served(demand * (stock.horizon - lead_time), most)[positions[:, None] + quantities]
        return early + jnp.matmul(left, late, precision="highest")

    return jnp.moveaxis(jax.vmap(one)(jnp.asarray(lead_times, jnp.float32)), 0, -1)


def paid(space: OutcomeSpace) -> np.ndarray:
    """Money that changes hands [O]: w·q less the rebate on units above half of the largest quantity."""
    quantity, unit_cost = space.column(QUANTITY), space.column(UNIT_COST)
    above = np.maximum(quantity - quantity.max() / 2, 0.0)
    return unit_cost * (quantity - space.column(REBATE, 0.0) * above)


def _grid(space: OutcomeSpace, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(values of an issue, the number of its value in every outcome [O])."""
    values, number = np.unique(space.column(name), return_inverse=True)
    return values.astype(int), number


def buyer_worth(space: OutcomeSpace, stock: Stock, price: Array, demand: Array, costs: BuyerCosts) -> Worth:
    """The buyer's utilities in every stock position.

    Args:
        price: [] money per unit that it sells at.  demand: [] units per epoch that it expects at that price.

    Returns:
        utility [X, O], reserved [X].
    """
    quantities, own_quantity = _grid(space, QUANTITY)
    lead_times, own_lead_time = _grid(space, LEAD_TIME)
    quantities = np.concatenate([[0], quantities])
    sales = expected_sales(demand, quantities, lead_times, stock)
    units = jnp.arange(stock.max_position + 1)[:, None, None] + quantities[:, None]
    asked = demand * stock.horizon
    value = price * sales - costs.holding_cost * (units - sales) - costs.shortage_cost * (asked - sales)
    due = paid(space) * (1.0 - costs.capital_cost * space.column(PAYMENT_DELAY, 0.0))
    return Worth(value[:, own_quantity + 1, own_lead_time] - due, value[:, 0, 0])


def supplier_worth(space: OutcomeSpace, costs: SupplierCosts) -> Worth:
    """The supplier's utilities: (w − c_s)·q − rush·q/L, nothing without a contract, and no more than it can make.

    Returns:
        utility [O], reserved [].
    """
    quantity, lead_time = space.column(QUANTITY), space.column(LEAD_TIME)
    due = paid(space) * (1.0 - costs.capital_cost * space.column(PAYMENT_DELAY, 0.0))
    utility = due - costs.unit_cost * quantity - costs.rush_cost * (quantity / lead_time)
    return Worth(jnp.where(quantity <= costs.capacity, utility, -jnp.inf), jnp.zeros(()))

"""Supply contracts: units that were bargained for, what they cost, and suppliers that default.

The inventory rules `contract` and `contract_chosen`: a seller whose position falls below its trigger bargains with its
suppliers (`negotiation.table`), and what is agreed upon is on the way for the agreed lead time. The seller's books
carry its stock at average cost, so that the profit of a sale is its price less what the unit really cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing.market.reward import RewardParams
from marl_pricing.negotiation import AgreementTable, BuyerCosts, OutcomeSpace, Stock, SupplierCosts, Terms, look_up

Array = jax.Array


@dataclass(frozen=True)
class ContractShape:
    """Static half.

    Attributes:
        space: what is bargained over.
        stock: sizes of the buyer's question.
        rounds: of a bargain.
        pay_on_signing: money is paid when a contract is signed, else when its units come.
        defaults: suppliers may deliver a part only.
        outside: contracts are signed by who runs the market, between its epochs (`market.outside`); it says who would
            bargain and signs nothing itself.
    """

    space: OutcomeSpace
    stock: Stock
    rounds: int
    pay_on_signing: bool = False
    defaults: bool = False
    outside: bool = False


class ContractParams(struct.PyTreeNode):
    """Traced half. V suppliers an offer, E exponents that a seller can choose from."""

    table: AgreementTable
    buyer: BuyerCosts  # [N] what stock costs in a bargain
    suppliers: SupplierCosts  # [N, V]
    toughness: Array  # [N, V] exponent of a supplier's aspiration
    exponents: Array  # [N, E] of the seller's aspiration: how long it stays tough
    first_cost: Array  # [N] money per unit of the first stock
    first_forecast: Array  # [N] units per epoch that are expected before anything was sold
    forecast_memory: Array  # [] weight of the past in the forecast of demand
    default_probability: Array  # [N, V] of a contract
    delivered_share: Array  # [N, V] of the units of a contract in default, rounded down
    default_penalty: Array  # [N, V] money per unit that did not come


class ContractState(struct.PyTreeNode):
    """What is on the way at which cost, and what the stock on hand has cost."""

    due: Array  # [N, L] money that the units on the way cost, by when they are to come
    failing: Array | None  # [3, N, L] of them that will not come: units, money, and what the supplier pays for it
    value: Array  # [N] money, what the stock has cost
    forecast: Array  # [N] units per epoch
    last: Array  # [N, 3] units, money per unit and epochs of the last agreement; 0 before there is one


class Delivered(NamedTuple):
    """What a new epoch brings."""

    arrivals: Array  # [N] units that come
    state: ContractState  # moved on by an epoch, its value with them
    paid: Array  # [N] money to suppliers for them, where it is paid on delivery
    fines: Array  # [N] money from suppliers in default


class Supplied(struct.PyTreeNode):
    """Contracts of one epoch, beside what `market.Outcome` says of every rule."""

    asked: Array  # [N] bool, the seller bargained
    quantity: Array  # [N] units agreed upon; 0: no agreement
    unit_cost: Array  # [N] money per unit of that
    lead_time: Array  # [N] int32 epochs of that
    supplier: Array  # [N] int32, with whom; −1: no agreement
    outcome: Array  # [N] int32 number of the outcome; −1: no agreement
    exponent: Array  # [N] int32 number of the seller's exponent
    paid: Array  # [N] money to suppliers in this epoch
    fines: Array  # [N] money from suppliers in default
    cost_of_sales: Array  # [N] money, what the units sold had cost
    value: Array  # [N] money, what the stock left has cost
    due: Array  # [N] money, what the units on the way cost if all of them come


def booked(costs: RewardParams, supplied: Supplied, sales: Array) -> RewardParams:
    """What an epoch cost where supply is bargained for: a unit sold what it really cost, on average.

    Args:
        supplied: [..., N].  sales: [..., N] units.
    """
    return costs.replace(unit_cost=jnp.where(sales > 0, supplied.cost_of_sales / jnp.maximum(sales, 1e-6), 0.0))


def start(shape: ContractShape, params: ContractParams, stock: Array, max_lead_time: int) -> ContractState:
    """Before the first epoch.

    Args:
        stock: [N] units on hand.
    """
    nothing = jnp.zeros((stock.size, max_lead_time))
    return ContractState(
        due=nothing,
        failing=jnp.zeros((3, *nothing.shape)) if shape.defaults else None,
        value=stock * params.first_cost,
        forecast=params.first_forecast,
        last=jnp.zeros((stock.size, 3)),
    )


def _moved(pipeline: Array) -> Array:
    return jnp.concatenate([pipeline[..., 1:], jnp.zeros_like(pipeline[..., :1])], axis=-1)


def deliver(shape: ContractShape, state: ContractState, due_units: Array) -> Delivered:
    """Units that are due come, as far as their suppliers deliver.

    Args:
        due_units: [N] units that were agreed upon for this epoch.
    """
    due, after = state.due[:, 0], state.replace(due=_moved(state.due))
    missing = lost = fines = jnp.zeros_like(due)
    if state.failing is not None:
        missing, lost, fines = state.failing[..., 0]
        after = after.replace(failing=_moved(state.failing))
    # What was paid at signing for units that do not come is paid back.
    paid = -lost if shape.pay_on_signing else due - lost
    return Delivered(due_units - missing, after.replace(value=state.value + due - lost), paid, fines)


def average_cost(state: ContractState, stock: Array) -> Array:
    """What a unit of the stock [N] has cost; of no stock 0."""
    return jnp.where(stock > 0, state.value / jnp.maximum(stock, 1e-6), 0.0)


def bargain(
    params: ContractParams,
    state: ContractState,
    position: Array,
    price: Array,
    exponent: Array | None,
    level: Array | None = None,
) -> Terms:
    """What each offer's seller would agree upon now.

    Args:
        position: [N] units left and on the way.  price: [N] money, posted.
        exponent: [N] int32 number of the exponent, where sellers choose it.
        level: [N] int32 number of the price, where prices are levels.
    """
    if exponent is None:
        exponent = jnp.zeros(position.shape, jnp.int32)
    return look_up(params.table, position, price, state.forecast, exponent, level)


def sign(
    key: Array | None, shape: ContractShape, params: ContractParams, state: ContractState, terms: Terms, signs: Array
) -> tuple[ContractState, Array, Array]:
    """Put contracts on the way, and whether their suppliers will default, which nobody knows before they are due.

    Args:
        key: None: nobody defaults.  terms: agreed upon.  signs: [N] bool, the offers that have an agreement.

    Returns:
        (state, units [N] on the way by `terms.lead_time`, money [N] paid at once).
    """
    quantity = jnp.where(signs, terms.quantity, 0.0)
    money = terms.unit_cost * quantity
    slot = jnp.arange(state.due.shape[1]) == (terms.lead_time - 1)[:, None]

    def put(pipeline: Array, amount: Array) -> Array:
        return pipeline + jnp.where(slot, amount[..., None], 0.0)

    failing = state.failing
    if failing is not None and key is not None:
        offer, supplier = jnp.arange(quantity.size), jnp.maximum(terms.supplier, 0)
        fails = jax.random.uniform(key, quantity.shape) < params.default_probability[offer, supplier]
        comes = jnp.floor(quantity * params.delivered_share[offer, supplier])
        missing = jnp.where(fails, quantity - comes, 0.0)
        fines = missing * params.default_penalty[offer, supplier]
        failing = put(failing, jnp.stack([missing, missing * terms.unit_cost, fines]))
    agreed = jnp.stack([terms.quantity, terms.unit_cost, terms.lead_time.astype(quantity.dtype)], -1)
    after = state.replace(
        due=put(state.due, money),
        failing=failing,
        last=jnp.where(signs[:, None], agreed, state.last),
    )
    return after, quantity, money if shape.pay_on_signing else jnp.zeros_like(money)


def expect_demand(params: ContractParams, state: ContractState, demand: Array) -> ContractState:
    """The forecast after an epoch in which these units [N] were asked for."""
    memory = params.forecast_memory
    return state.replace(forecast=memory * state.forecast + (1.0 - memory) * demand)

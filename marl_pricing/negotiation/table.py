"""Agreements, tabulated: a buyer's bargains in every situation that it may come into; playing one is one gather.

With both sides conceding by the clock an agreement is a function of the buyer's stock position, its price, the demand
that it expects and the two exponents (`alternating_offers`). A buyer bargains with all its suppliers and signs what is
best for itself.
"""

from __future__ import annotations

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from marl_pricing.negotiation.alternating_offers import agree, arrange
from marl_pricing.negotiation.outcomes import LEAD_TIME, QUANTITY, OutcomeSpace
from marl_pricing.negotiation.utilities import (
    BuyerCosts,
    Stock,
    SupplierCosts,
    Worth,
    buyer_worth,
    paid,
    supplier_worth,
)

Array = jax.Array


class AgreementTable(struct.PyTreeNode):
    """Agreements of N buyers with V suppliers each, over O outcomes."""

    prices: Array  # [N, K] money, ascending, the prices at which bargains were played
    demands: Array  # [N, M] units per epoch, from 0 in even steps
    code: Array  # [N, K, M, E, X] int32: v·O + outcome; −1: no agreement
    terms: Array  # [O, 3] units, money per unit that is paid (rebates taken off), epochs
    most: Array  # [3] the largest of each
    least: Array  # [3] the smallest of each


class Terms(struct.PyTreeNode):
    """What buyers agreed upon; 0 units where nothing. Arrays [N]."""

    quantity: Array  # units
    unit_cost: Array  # money per unit
    lead_time: Array  # int32 epochs
    supplier: Array  # int32 number of the supplier; −1: no agreement
    outcome: Array  # int32 number of the outcome; −1: no agreement


def _sort(utility: np.ndarray) -> np.ndarray:
    """Outcomes [..., O] in ascending order of utility, equal ones by number. XLA's own sort takes ten times as long."""
    return np.argsort(utility, axis=-1, kind="stable").astype(np.int32)


@partial(jax.jit, static_argnames=("space", "stock"))
def _buyer_worths(
    space: OutcomeSpace, stock: Stock, price: Array, demands: Array, costs: BuyerCosts
) -> tuple[Array, Array]:
    """Utilities [M·X, O] and reserved values [M·X] at one price."""
    own = jax.vmap(lambda demand: buyer_worth(space, stock, price, demand, costs))(demands)
    return own.utility.reshape(-1, space.cardinality), own.reserved.reshape(-1)


@partial(jax.jit, static_argnames="rounds")
def _play(
    own: Worth, order: Array, supplier: Worth, supplier_order: Array, exponents: Array, tough: Array, rounds: int
) -> tuple[Array, Array]:
    """Outcomes [E, B] int32 of B buyers with one supplier, and what they are worth to the buyers; −1 and −inf: none.

    Args:
        own: utilities [B, O], reserved values [B].  order: [B, O] of `_sort`.
        supplier: utilities [O].  supplier_order: [O].  exponents: [E] of the buyers.  tough: [] of the supplier.
    """

    def one(utility: Array, reserved: Array, order: Array, exponent: Array) -> tuple[Array, Array]:
        buyer = arrange(Worth(utility, reserved), supplier.utility, order)
        other = arrange(supplier, utility, supplier_order)
        outcome = agree(buyer, other, exponent, tough, rounds).outcome
        return outcome, jnp.where(outcome >= 0, utility[outcome], -jnp.inf)

    many = jax.vmap(one, in_axes=(0, 0, 0, None))
    return jax.vmap(lambda exponent: many(own.utility, own.reserved, order, exponent))(exponents)


@lru_cache(maxsize=64)
def _codes(
    space: OutcomeSpace, stock: Stock, rounds: int, tree: jax.tree_util.PyTreeDef, leaves: tuple[tuple, ...]
) -> np.ndarray:
    """Codes of one buyer [K, M, E, X]; markets are built again and again, and buyers are often alike.

    Args:
        tree, leaves: (prices, demands, exponents, costs, suppliers, their exponents), arrays as (shape, bytes).
    """
    arrays = [jnp.asarray(np.frombuffer(content, np.float32).reshape(shape)) for shape, content in leaves]
    prices, demands, exponents, costs, others, tough = tree.unflatten(arrays)
    worths = [supplier_worth(space, jax.tree.map(lambda leaf, v=v: leaf[v], others)) for v in range(tough.size)]
    supplier_orders = [_sort(np.asarray(worth.utility)) for worth in worths]
    table = []
    for price in prices:
        utility, reserved = _buyer_worths(space, stock, price, demands, costs)
        best = np.full((exponents.size, reserved.size), -np.inf, np.float32)
        code = np.full(best.shape, -1, np.int32)
        for v, worth in enumerate(worths):
            own = Worth(jnp.where(jnp.isfinite(worth.utility), utility, -jnp.inf), reserved)
            order = _sort(np.asarray(own.utility))
            outcome, gain = _play(own, order, worth, supplier_orders[v], exponents, tough[v], rounds)
            better = np.asarray(gain) > best
            best = np.where(better, gain, best)
            code = np.where(better, v * space.cardinality + np.asarray(outcome), code)
        table.append(code.reshape(exponents.size, demands.size, -1).swapaxes(0, 1))
    return np.stack(table).astype(np.int32)


def tabulate(
    space: OutcomeSpace,
    stock: Stock,
    rounds: int,
    *,
    prices: Array,
    demands: Array,
    exponents: Array,
    buyer: BuyerCosts,
    suppliers: SupplierCosts,
    supplier_exponents: Array,
) -> AgreementTable:
    """Play every bargain once, before anything is compiled: not for use inside of `jit`.

    Args:
        rounds: N of the protocol.
        prices: [N, K] money.  demands: [N, M] units per epoch, from 0 in even steps.  exponents: [N, E] of the buyer.
        buyer: arrays [N].  suppliers: arrays [N, V].  supplier_exponents: [N, V].
    """
    buyers = (prices, demands, exponents, buyer, suppliers, supplier_exponents)
    leaves, tree = jax.tree.flatten(jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), buyers))
    codes = [
        _codes(space, stock, rounds, tree, tuple((leaf[row].shape, leaf[row].tobytes()) for leaf in leaves))
        for row in range(prices.shape[0])
    ]
    quantity = space.column(QUANTITY)
    terms = jnp.asarray(np.stack([quantity, paid(space) / quantity, space.column(LEAD_TIME)], -1), jnp.float32)
    return AgreementTable(
        prices=prices,
        demands=demands,
        code=jnp.asarray(np.stack(codes)),
        terms=terms,
        most=terms.max(0),
        least=terms.min(0),
    )


def _nearest(grid: Array, value: Array) -> Array:
    """The number [N] of the grid's value [N, K] that lies nearest to a value [N]; the lower of two."""
    return (value[:, None] > (grid[:, 1:] + grid[:, :-1]) / 2).sum(-1)


def look_up(
    table: AgreementTable, position: Array, price: Array, demand: Array, exponent: Array, level: Array | None = None
) -> Terms:
    """What each buyer agrees upon, by the nearest situation that was played.

    Args:
        position: [N] units; above the table's last, as there.  price: [N] money.  demand: [N] units per epoch.
        exponent: [N] int32 number of the buyer's exponent.
        level: [N] int32 number of the price in `table.prices`, where it is known: nothing is searched then.
    """
    offer = jnp.arange(table.prices.shape[0])
    held = jnp.clip(jnp.round(position).astype(jnp.int32), 0, table.code.shape[-1] - 1)
    last = table.demands.shape[1] - 1
    step = jnp.maximum(table.demands[:, -1] / max(last, 1), 1e-9)
    expected = jnp.clip(jnp.round(demand / step).astype(jnp.int32), 0, last)
    if level is None:
        level = _nearest(table.prices, price)
    # One flat number, known to lie inside: five of them, each checked, take several times as long.
    _, _, num_demands, num_exponents, num_positions = table.code.shape
    place = (offer * table.code.shape[1] + level) * num_demands + expected
    place = (place * num_exponents + exponent) * num_positions + held
    code = table.code.reshape(-1).at[place].get(mode="promise_in_bounds")
    cardinality, agreed = table.terms.shape[0], code >= 0
    outcome = jnp.where(agreed, code % cardinality, -1)
    terms = table.terms.at[jnp.maximum(outcome, 0)].get(mode="promise_in_bounds")
    quantity, unit_cost, lead_time = terms.T
    return Terms(
        quantity=jnp.where(agreed, quantity, 0.0),
        unit_cost=jnp.where(agreed, unit_cost, 0.0),
        lead_time=jnp.where(agreed, lead_time, 1.0).astype(jnp.int32),
        supplier=jnp.where(agreed, code // cardinality, -1),
        outcome=outcome,
    )

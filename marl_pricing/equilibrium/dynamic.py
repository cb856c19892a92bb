"""Exact values where stock matters: finite stock sold slot by slot, and one seller that sets price and order.

Everything is float64 on the host or in JAX: figures to compare with, not something that a training step computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp, softmax, wrightomega

Array = np.ndarray
_PRICE_TOLERANCE = 1e-12
_MOST_ROUNDS = 20_000
_MOST_STATES = 200_000
_MOST_ACTIONS = 30_000_000


@dataclass(frozen=True)
class FiniteStock:
    """Sellers of one product each with stock that is never replenished; one shopper comes a slot.

    Logit demand with an outside option of utility 0: seller i is chosen with probability proportional to
    exp((quality_i - price_i) / scale). What is left at the end is worth nothing.

    Attributes:
        quality, cost: [S] money.  scale: money, above 0.
        slots: T, shoppers that come, one after the other.  stock: [S] units at the start.
    """

    quality: tuple[float, ...]
    cost: tuple[float, ...]
    scale: float
    slots: int
    stock: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.quality) == len(self.cost) == len(self.stock) > 0:
            raise ValueError("quality, cost, stock: accepted are lists of one length, a number a seller")
        if not self.scale > 0 or self.slots < 1 or min(self.stock) < 0:
            raise ValueError(
                f"scale={self.scale!r}, slots={self.slots!r}, stock={self.stock!r}: accepted are a scale above 0, at "
                "least one slot and stock of 0 or more"
            )
        if np.prod(np.array(self.stock) + 1) > _MOST_STATES:
            raise ValueError(f"stock={self.stock!r}: accepted are at most {_MOST_STATES:,} combinations of stock")


@dataclass(frozen=True)
class FiniteStockValue:
    """Values [S] (or their sum alone, for the joint optimum) and first prices [S] from the start; NaN for a seller
    without stock."""

    value: Array
    first_prices: Array


def _start(own: FiniteStock) -> tuple[Array, Array, Array]:
    """(all combinations of stock [S, n_1 + 1, …, n_S + 1], cost [S, 1, …], prices like stock to search from)."""
    stock = np.indices(tuple(units + 1 for units in own.stock))
    cost = np.reshape(own.cost, (-1, *(1,) * len(own.stock)))
    return stock, cost, np.broadcast_to(cost + own.scale, stock.shape).astype(float)


def _at_start(own: FiniteStock, value: Array, prices: Array) -> FiniteStockValue:
    at: tuple[Any, ...] = (slice(None), *own.stock)
    return FiniteStockValue(value[at], np.where(np.array(own.stock) > 0, prices[at], np.nan))


def _after_sale(value: Array, seller: int) -> Array:
    """`value` [·, n_1 + 1, …] in the state in which that seller has one unit less; as it is where it has none."""
    axis = seller + 1  # after that of whose value it is
    shifted = np.roll(value, 1, axis=axis)
    first = [slice(None)] * value.ndim
    first[axis] = slice(0, 1)
    shifted[tuple(first)] = value[tuple(first)]
    return shifted


def _chances(own: FiniteStock, prices: Array, stock: Array) -> Array:
    """Choice probabilities [S, …] of the sellers that have stock."""
    extra = (1,) * (stock.ndim - 1)
    quality = np.reshape(own.quality, (-1, *extra))
    utility = np.where(stock > 0, (quality - prices) / own.scale, -np.inf)
    return softmax(np.concatenate([utility, np.zeros((1, *utility.shape[1:]))]), axis=0)[:-1]


def _best_response(own: FiniteStock, prices: Array, stock: Array, by_sale: Array, seller: int) -> Array:
    """The best price [n_1 + 1, …] of one seller in all states, the others' as they are.

    With R the seller's expected gain from what shoppers do that do not buy from it, it earns s (p - k) + R at the cost
    k = c - g + R of a sale. Its choice probability s is logit, so that p = k + μ (1 + ω(y)), ω Wright's omega function
    and y = (a - k) / μ - 1 - log(what the others and the outside weigh). No iteration, and nothing overflows.
    """
    utility = np.where(stock > 0, (np.reshape(own.quality, (-1, *(1,) * len(own.stock))) - prices) / own.scale, -np.inf)
    others = np.concatenate([np.delete(utility, seller, 0), np.zeros((1, *utility.shape[1:]))])
    chance = softmax(others, axis=0)[:-1]
    rest = (chance * np.delete(by_sale[seller], seller, 0)).sum(0)
    cost = own.cost[seller] - by_sale[seller, seller] + rest
    margin = wrightomega((own.quality[seller] - cost) / own.scale - 1.0 - logsumexp(others, axis=0))
    return cost + own.scale * (1.0 + margin)


def _solve_prices(own: FiniteStock, stock: Array, by_sale: Array, start: Array) -> Array:
    """Prices [S, …] that are best responses to each other, in all states at once.

    Args:
        by_sale: [S, S, …] what seller i's value gains where j sells a unit.
    """
    prices = start.copy()
    for round_ in range(_MOST_ROUNDS):
        moved = 0.0
        step = 1.0 if round_ < _MOST_ROUNDS // 2 else 0.5
        for seller in range(len(own.stock)):
            wanted = _best_response(own, prices, stock, by_sale, seller)
            change = np.where(stock[seller] > 0, wanted - prices[seller], 0.0)
            prices[seller] += step * change
            moved = max(moved, float(np.abs(change).max()))
        if moved < _PRICE_TOLERANCE * max(1.0, float(np.abs(prices).max())):
            return prices
    raise ValueError("prices: best responses did not settle, so that no equilibrium is reported")


def markov_perfect(own: FiniteStock) -> FiniteStockValue:
    """The Markov-perfect equilibrium by backward induction over slots and stock.

    In a state, seller i gains g_i = p_i - c_i + V_i(n - e_i) - V_i(n) by its own sale and h_ij = V_i(n - e_j) - V_i(n)
    by j's; its first-order condition is g_i (1 - s_i) - Σ_j s_j h_ij = μ.

    Raises:
        ValueError: where best responses do not settle.
    """
    *_, (value, prices) = _perfect(own)
    return _at_start(own, value, prices)


def _perfect(own: FiniteStock) -> Iterator[tuple[Array, Array]]:
    """(values, prices), both [S, n_1 + 1, …], of the Markov-perfect equilibrium, slot by slot, the last one first."""
    stock, cost, prices = _start(own)
    sellers = range(len(own.stock))
    value = np.zeros(stock.shape)
    for _ in range(own.slots):
        by_sale = np.stack([_after_sale(value, j) - value for j in sellers], 1)  # [of whom, whose sale, …]
        prices = _solve_prices(own, stock, by_sale, prices)
        chances = _chances(own, prices, stock)
        margin = np.where(stock > 0, prices - cost, 0.0)
        value = value + chances * margin + np.einsum("ij...,j...->i...", by_sale, chances)
        yield value, prices


def joint_optimum(own: FiniteStock) -> FiniteStockValue:
    """The most that the sellers can earn together, and their first prices.

    With one value for all, every offer has the same margin over its cost and the value of the unit that it gives up,
    m (1 - Σ s) = μ, so that m = μ (1 + ω(log Σ exp((a - c - given up) / μ) - 1)), ω Wright's omega function.
    """
    *_, (value, prices) = _joint(own)
    return _at_start(own, value, prices)


def _joint(own: FiniteStock) -> Iterator[tuple[Array, Array]]:
    """(value of all [1, n_1 + 1, …], prices [S, n_1 + 1, …]) of the joint optimum, slot by slot, the last one first."""
    stock, cost, prices = _start(own)
    sellers = range(len(own.stock))
    quality = np.reshape(own.quality, (-1, *(1,) * len(own.stock)))
    value = np.zeros((1, *stock.shape[1:]))
    for _ in range(own.slots):
        given_up = np.concatenate([value - _after_sale(value, j) for j in sellers])
        worth = np.where(stock > 0, (quality - cost - given_up) / own.scale, -np.inf)
        with np.errstate(divide="ignore"):  # where nobody has stock, nothing is worth anything
            total = logsumexp(worth, axis=0)
        prices = cost + given_up + own.scale * (1.0 + wrightomega(total - 1.0))
        chances = _chances(own, prices, stock)
        margin = np.where(stock > 0, prices - cost - given_up, 0.0)
        value = value + (chances * margin).sum(0)
        yield value, prices


def price_plan(own: FiniteStock, *, together: bool) -> Array:
    """Prices [T, S, n_1 + 1, …, n_S + 1] in each slot, the first one first, by the stock that each seller has then.

    Args:
        together: of the joint optimum; else of the Markov-perfect equilibrium. The price of a seller that is sold out
            is a number that means nothing.

    Raises:
        ValueError: as `markov_perfect`, and where slots and combinations of stock are more than 200,000.
    """
    if own.slots * np.prod(np.array(own.stock) + 1) > _MOST_STATES:
        raise ValueError(f"slots={own.slots!r}, stock={own.stock!r}: accepted are at most {_MOST_STATES:,} states")
    found = _joint(own) if together else _perfect(own)
    return np.stack([prices for _, prices in found][::-1])


@dataclass(frozen=True)
class PriceAndOrder:
    """One seller that sets a price and an order in each period; unmet demand is lost.

    Attributes:
        demand: [K, D] probabilities of 0, 1, … units in a period at each price.
        prices: [K] money.  orders: [Q] units that may be ordered, decided with the price; nothing, 0, first.
        unit_cost: money per unit, paid when ordered.  holding: money per unit left at the end of a period.
        penalty: money per unit of unmet demand.
        gamma: discount a period, below 1.  most_stock: units beyond which what arrives is thrown away.
        lead_time: periods until an order is usable, at least 1.
        order_cost: money for placing an order, whatever its size.
    """

    demand: Array
    prices: Array
    orders: Array
    unit_cost: float
    holding: float
    penalty: float
    gamma: float
    most_stock: int
    lead_time: int = 1
    order_cost: float = 0.0

    def __post_init__(self) -> None:
        chances = np.asarray(self.demand)
        if chances.ndim != 2 or len(chances) != len(self.prices):
            raise ValueError(f"demand of shape {chances.shape}: accepted is a row a price, {len(self.prices)}")
        if np.any(chances < 0) or np.abs(chances.sum(1) - 1.0).max() > 1e-6:
            raise ValueError("demand: accepted are rows of probabilities that sum to 1")
        if not 0 <= self.gamma < 1:
            raise ValueError(f"gamma={self.gamma!r}: accepted is a number from 0 to below 1")
        units = np.asarray(self.orders)
        if units[0] != 0 or np.any(units < 0) or np.any(units != np.round(units)):
            raise ValueError(f"orders={units.tolist()}: accepted are whole numbers that begin with 0")
        if self.lead_time < 1 or not 0 <= self.order_cost < np.inf:
            raise ValueError(
                f"lead_time={self.lead_time!r}, order_cost={self.order_cost!r}: accepted are at least 1, and 0 or more"
            )
        entries = (self.most_stock + 1.0) * len(units) ** self.lead_time * len(self.prices)
        if entries > _MOST_ACTIONS:
            raise ValueError(
                f"lead_time={self.lead_time!r}: accepted is less with {len(units)} orders, {len(self.prices)} prices "
                f"and {self.most_stock} units: {entries:,.0f} actions in all states are too many for value iteration"
            )


@dataclass(frozen=True)
class PriceAndOrderValue:
    """Value [X] of each stock at the start of a period, and the best price and order [X] there.

    At lead times L above 1 there are L - 1 further axes [Q], orders on the way by index, the one due next first.
    """

    value: Array
    price: Array
    order: Array


@partial(jax.jit, static_argnames="sweeps")
def _iterate(
    value: jax.Array, reward: jax.Array, left: jax.Array, orders: jax.Array, paid: jax.Array, gamma: float, sweeps: int
):
    """(value [X, Q, …] after so many sweeps, its last change, [X, K, Q, …, Q] of each action; the order comes last)."""
    top = value.shape[0] - 1
    arriving = jnp.minimum(jnp.arange(top + 1)[:, None] + orders, top)  # [X, order due]; at L = 1 the one placed now
    own = reward.reshape(*reward.shape, *(1,) * value.ndim)

    def action_values(value: jax.Array) -> jax.Array:
        return own - paid + gamma * jnp.tensordot(left, value[arriving], axes=1)

    def sweep(_: int, carry: tuple[jax.Array, jax.Array]):
        value, _change = carry
        after = action_values(value).max((1, -1))
        return after, jnp.abs(after - value).max()

    value, change = jax.lax.fori_loop(0, sweeps, sweep, (value, jnp.inf))
    return value, change, action_values(value)


def price_and_order(own: PriceAndOrder, tolerance: float = 1e-9) -> PriceAndOrderValue:
    """The best value and policy by value iteration, within `tolerance` of the fixed point.

    Raises:
        ValueError: where it does not settle in 100,000 sweeps.
    """
    units, demand = np.arange(own.most_stock + 1), np.arange(own.demand.shape[1])
    sold = np.minimum(units[:, None], demand)  # [X, D]
    remaining = units[:, None] - sold
    money = own.prices[None, :, None] * sold[:, None] - own.penalty * (demand - sold)[:, None]
    money = money - own.holding * remaining[:, None]
    reward = (own.demand[None] * money).sum(-1)
    left = np.zeros((len(units), len(own.prices), len(units)))
    for x in units:
        np.add.at(left[x].T, remaining[x], own.demand.T)
    orders = np.asarray(own.orders, int)
    paid = own.unit_cost * orders + own.order_cost * (orders > 0)
    with jax.enable_x64(True):
        value = jnp.zeros((len(units), *(len(orders),) * (own.lead_time - 1)))
        arrays = [jnp.asarray(part) for part in (reward, left, orders, paid)]
        for _ in range(1_000):
            value, change, by_action = _iterate(value, *arrays, own.gamma, 100)
            if float(change) * own.gamma / (1.0 - own.gamma) < tolerance:
                flat = np.moveaxis(np.asarray(by_action), 1, -2).reshape(*value.shape, -1).argmax(-1)
                price, order = np.divmod(flat, len(orders))
                return PriceAndOrderValue(np.asarray(value), np.asarray(own.prices)[price], orders[order])
    raise ValueError("value iteration did not settle in 100,000 sweeps")

"""The one-shot game that benchmarks are solved on: profits at given prices, slopes, best responses.

Sellers set prices once, every order is served, the latent level is 1, no shock runs. Seller i maximises
ω_i π_i + (1 − ω_i) Σ_j π_j. Callers compute in float64 (`in_float64` under `jax.enable_x64`), on the host: these are
figures to compare with, not something a training step computes.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.traffic import Conditions
from marl_pricing.traffic.analytic import expected_orders, expected_paid

Array = np.ndarray

_GRID = 512  # candidate prices of a coordinate-wise best response


class NoEquilibriumError(ValueError):
    """No equilibrium was found; the message says what was tried and how far from one the best point is."""


class CyclingError(NoEquilibriumError):
    """Best responses do not settle; `cycles.best_response_cycle` says where they go instead."""


def refuse_unknown_orders(shape: MarketShape) -> None:
    """Refuse traffic whose expected orders are not the propensities times a rate."""
    if shape.traffic.model == "scripted":
        raise NoEquilibriumError("traffic.model=scripted: its expected orders have no closed form; accepted are others")
    if shape.demand.at_once:
        raise NoEquilibriumError(
            "market.patience.arrive=at_once: shoppers come once an episode, and benchmarks are of one epoch"
        )
    if shape.traffic.comparison:
        raise NoEquilibriumError(
            "traffic.comparison: agents that buy the cheapest offer make profits jump where prices cross; accepted is 0"
        )


def _orders(shape: MarketShape, params: MarketParams, prices: jax.Array) -> jax.Array:
    """Expected units [Y, N] ordered in an epoch by class, at level 1, without a shock."""
    everything = jnp.ones((shape.num_offers,), bool)
    level = jnp.ones((shape.num_offers,), prices.dtype)
    conditions = Conditions(prices, level, everything, params.demand.scale)
    own = params.traffic
    return expected_orders(
        shape.traffic, shape.demand, params.demand, conditions, own.agent_share, own.session_orders(own.agent_share)
    )


@partial(jax.jit, static_argnums=0)
def demand(shape: MarketShape, params: MarketParams, prices: jax.Array) -> jax.Array:
    """Expected units [N] ordered in an epoch at level 1, without a shock."""
    return _orders(shape, params, prices).sum(0)


@partial(jax.jit, static_argnums=0)
def profits(shape: MarketShape, params: MarketParams, prices: jax.Array) -> jax.Array:
    """Raw profits [S], money per epoch; every order is served, at what its session pays on average."""
    if shape.traffic.pays_apart:
        paid = expected_paid(shape.traffic, params.traffic, shape.demand, prices)
        margin = ((paid - params.reward.unit_cost) * _orders(shape, params, prices)).sum(0)
    else:
        margin = (prices - params.reward.unit_cost) * demand(shape, params, prices)
    return margin.reshape(shape.num_sellers, -1).sum(-1)


def objective(shape: MarketShape, params: MarketParams, prices: jax.Array, seller: jax.Array) -> jax.Array:
    """What a seller maximises, [] money: ω_i π_i + (1 − ω_i) Σ_j π_j."""
    own = profits(shape, params, prices)
    omega = params.reward.omega[seller]
    return omega * own[seller] + (1.0 - omega) * own.sum()


@partial(jax.jit, static_argnums=0)
def along(shape: MarketShape, params: MarketParams, prices: jax.Array, offer: jax.Array, points: jax.Array):
    """Objective [G] of the offer's seller with that offer at each of `points` [G]."""
    seller = offer // shape.num_products
    return jax.vmap(lambda p: objective(shape, params, prices.at[offer].set(p), seller))(points)


@partial(jax.jit, static_argnums=0)
def slopes(shape: MarketShape, params: MarketParams, prices: jax.Array) -> jax.Array:
    """First-order conditions [N]: slope of each seller's objective in its own prices."""

    def one(offer: jax.Array) -> jax.Array:
        seller = offer // shape.num_products
        return jax.grad(lambda p: objective(shape, params, p, seller))(prices)[offer]

    return jax.vmap(one)(jnp.arange(shape.num_offers))


@partial(jax.jit, static_argnums=0)
def curvature(shape: MarketShape, params: MarketParams, prices: jax.Array) -> jax.Array:
    """Slopes [N, N] of the first-order conditions."""
    return jax.jacfwd(lambda p: slopes(shape, params, p))(prices)


def in_float64(params: MarketParams) -> MarketParams:
    """The same parameters in float64, with the decimals that people wrote (0.1, not the float32 next to it)."""

    def one(leaf: jax.Array) -> jax.Array:
        array = np.asarray(leaf)
        if array.dtype != np.float32:
            return jax.device_put(array)
        short = [float(np.format_float_positional(x, unique=True)) for x in array.ravel()]
        # Not `jnp.asarray`, which compiles a program for each shape.
        return jax.device_put(np.asarray(short, np.float64).reshape(array.shape))

    return jax.tree.map(one, params)


def highest_prices(shape: MarketShape, params: MarketParams, cost: Array) -> Array:
    """Prices [N] at which nobody would buy any more; the search for best responses ends there."""
    start = np.asarray(demand(shape, params, cost))
    reach = np.maximum(np.abs(cost), 1.0)
    for _ in range(40):
        high = np.asarray(demand(shape, params, cost + reach))
        if np.all((cost + reach) * high <= 1e-9 * np.maximum(start, 1e-12) * np.maximum(cost + reach, 1.0)):
            return cost + reach
        reach = reach * 2.0
        if reach.max() > 1e7:
            break
    return cost + np.minimum(reach, 1e5)


def best_price(shape: MarketShape, params: MarketParams, prices: Array, offer: int, low: float, high: float):
    """Best price of one offer with all others as they are, to about 1e-10 of the range, and its objective."""
    for _ in range(5):
        points = np.linspace(low, high, _GRID)
        values = np.asarray(along(shape, params, prices, offer, points))
        best = int(np.argmax(values))
        step = points[1] - points[0]
        low, high = max(low, points[best] - step), min(high, points[best] + step)
    return points[best], values[best]


def largest_gain(shape: MarketShape, params: MarketParams, prices: Array, cost: Array, high: Array) -> float:
    """Largest gain left from changing one price."""
    gains = []
    for offer in range(shape.num_offers):
        _, best = best_price(shape, params, prices, offer, float(cost[offer]), float(high[offer]))
        here = along(shape, params, prices, offer, prices[offer : offer + 1])
        gains.append(float(best) - float(here[0]))
    return max(0.0, *gains)


@partial(jax.jit, static_argnums=0)
def value_and_slopes(
    shape: MarketShape, params: MarketParams, prices: jax.Array, seller: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A seller's objective and its slopes [N] in all prices; seller S stands for the sum of profits."""

    def value(p: jax.Array) -> jax.Array:
        together = profits(shape, params, p).sum()
        return jnp.where(seller == shape.num_sellers, together, objective(shape, params, p, seller))

    return jax.value_and_grad(value)(prices)


def best_prices(
    shape: MarketShape, params: MarketParams, prices: Array, seller: int, cost: Array, high: Array
) -> tuple[Array, float]:
    """Best prices of all of a seller's products at once, the others' as they are, and the objective there.

    Seller S stands for all sellers as one. Profits of several products have local maxima (one product sold to all,
    another priced out), so the climb starts from many points: the given one, every product at a low, middle and high
    mark-up, each single product cheap with the others dear, and random ones (always the same).
    """
    from scipy import optimize  # a training that solves no game would wait for it

    count, width = shape.num_offers, shape.num_products
    own = np.arange(count) if seller == shape.num_sellers else np.arange(seller * width, (seller + 1) * width)
    reach = high[own] - cost[own]
    starts = [prices[own], *(cost[own] + share * reach for share in (0.02, 0.1, 0.3))]
    typical = np.maximum(prices[own] - cost[own], 0.02 * reach)
    for product_ in range(own.size if own.size > 1 else 0):
        alone = cost[own] + 0.5 * reach
        alone[product_] = cost[own][product_] + typical[product_]
        starts.append(alone)
    random = np.random.default_rng(0)
    starts += [cost[own] + typical * random.uniform(0.2, 3.0, own.size) for _ in range(12)]

    def worse(point: Array) -> tuple[float, Array]:
        everything = prices.copy()
        everything[own] = point
        value, slopes = value_and_slopes(shape, params, everything, seller)
        return -float(value), -np.asarray(slopes)[own]

    bounds = list(zip(cost[own], high[own], strict=True))
    best, least = prices[own], worse(prices[own])[0]
    for start in starts:
        begin = np.clip(start, cost[own], high[own])
        found = optimize.minimize(worse, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14})
        if found.fun < least - 1e-12 * max(1.0, abs(least)):
            best, least = found.x, float(found.fun)
    everything = prices.copy()
    everything[own] = best
    return everything, -least

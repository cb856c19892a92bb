"""One-shot benchmarks: Bertrand–Nash prices, joint-profit prices, and the equilibrium for any omega.

Sellers set prices once, every order is served, the latent level is 1, no shock runs. Seller i maximises
ω_i π_i + (1 − ω_i) Σ_j π_j, so ω = 1 is Nash and ω = 0 joint profit. Everything here is float64 on the host: these
are figures to compare with, not something a training step computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.traffic import Conditions
from marl_pricing.traffic.analytic import expected_orders

Array = np.ndarray

_GRID = 512  # candidate prices of a coordinate-wise best response
_SWEEPS = 200
_LARGEST_GAME = 4_000_000


class NoEquilibriumError(ValueError):
    """No equilibrium was found; the message says what was tried and how far from one the best point is."""


def _check(shape: MarketShape) -> None:
    """Refuse traffic whose expected orders are not the propensities times a rate."""
    if shape.traffic.model == "scripted":
        raise NoEquilibriumError("traffic.model=scripted: its expected orders have no closed form; accepted are others")
    if shape.traffic.comparison:
        raise NoEquilibriumError(
            "traffic.comparison: agents that buy the cheapest offer make profits jump where prices cross; accepted is 0"
        )


@dataclass(frozen=True)
class Equilibrium:
    """A one-shot equilibrium.

    Attributes:
        prices: [N] money.  demand: [N] units per epoch.  profits: [S] money per epoch.
        residual: largest gain, in money per epoch, that a seller has left from changing one of its prices.
    """

    prices: Array
    demand: Array
    profits: Array
    residual: float


@partial(jax.jit, static_argnums=0)
def _demand(shape: MarketShape, params: MarketParams, prices: jax.Array) -> jax.Array:
    everything = jnp.ones((shape.num_offers,), bool)
    level = jnp.ones((shape.num_offers,), prices.dtype)
    conditions = Conditions(prices, level, everything, params.demand.scale)
    own = params.traffic
    orders = expected_orders(shape.traffic, shape.demand, params.demand, conditions, own.agent_share, own.purchase_rate)
    return orders.sum(0)


@partial(jax.jit, static_argnums=0)
def _profits(shape: MarketShape, params: MarketParams, prices: jax.Array) -> jax.Array:
    margin = (prices - params.reward.unit_cost) * _demand(shape, params, prices)
    return margin.reshape(shape.num_sellers, -1).sum(-1)


def _objective(shape: MarketShape, params: MarketParams, prices: jax.Array, seller: jax.Array) -> jax.Array:
    profits = _profits(shape, params, prices)
    omega = params.reward.omega[seller]
    return omega * profits[seller] + (1.0 - omega) * profits.sum()


@partial(jax.jit, static_argnums=0)
def _along(shape: MarketShape, params: MarketParams, prices: jax.Array, offer: jax.Array, points: jax.Array):
    """Objective [G] of the offer's seller with that offer at each of `points` [G]."""
    seller = offer // shape.num_products
    return jax.vmap(lambda p: _objective(shape, params, prices.at[offer].set(p), seller))(points)


@partial(jax.jit, static_argnums=0)
def _slopes(shape: MarketShape, params: MarketParams, prices: jax.Array) -> jax.Array:
    """First-order conditions [N]: slope of each seller's objective in its own prices."""

    def one(offer: jax.Array) -> jax.Array:
        seller = offer // shape.num_products
        return jax.grad(lambda p: _objective(shape, params, p, seller))(prices)[offer]

    return jax.vmap(one)(jnp.arange(shape.num_offers))


@partial(jax.jit, static_argnums=0)
def _curvature(shape: MarketShape, params: MarketParams, prices: jax.Array) -> jax.Array:
    return jax.jacfwd(lambda p: _slopes(shape, params, p))(prices)


def _double(params: MarketParams) -> MarketParams:
    """The same parameters in float64, with the decimals that people wrote (0.1, not the float32 next to it)."""

    def one(leaf: jax.Array) -> jax.Array:
        array = np.asarray(leaf)
        if array.dtype != np.float32:
            return jnp.asarray(array)
        short = [float(np.format_float_positional(x, unique=True)) for x in array.ravel()]
        return jnp.asarray(np.asarray(short, np.float64).reshape(array.shape))

    return jax.tree.map(one, params)


def _highest_price(shape: MarketShape, params: MarketParams, cost: Array) -> Array:
    """Prices [N] at which nobody would buy any more; the search for best responses ends there."""
    start = np.asarray(_demand(shape, params, jnp.asarray(cost)))
    reach = np.maximum(np.abs(cost), 1.0)
    for _ in range(40):
        high = np.asarray(_demand(shape, params, jnp.asarray(cost + reach)))
        if np.all((cost + reach) * high <= 1e-9 * np.maximum(start, 1e-12) * np.maximum(cost + reach, 1.0)):
            return cost + reach
        reach = reach * 2.0
        if reach.max() > 1e7:
            break
    return cost + np.minimum(reach, 1e5)


def _best_point(shape: MarketShape, params: MarketParams, prices: Array, offer: int, low: float, high: float):
    """Best price of one offer with all others as they are, to about 1e-10 of the range, and its objective."""
    for _ in range(5):
        points = np.linspace(low, high, _GRID)
        values = np.asarray(_along(shape, params, jnp.asarray(prices), jnp.asarray(offer), jnp.asarray(points)))
        best = int(np.argmax(values))
        step = points[1] - points[0]
        low, high = max(low, points[best] - step), min(high, points[best] + step)
    return points[best], values[best]


def _gain(shape: MarketShape, params: MarketParams, prices: Array, cost: Array, high: Array) -> float:
    """Largest gain left from changing one price."""
    gains = []
    for offer in range(shape.num_offers):
        _, best = _best_point(shape, params, prices, offer, float(cost[offer]), float(high[offer]))
        here = _along(shape, params, jnp.asarray(prices), jnp.asarray(offer), jnp.asarray(prices[offer : offer + 1]))
        gains.append(float(best) - float(here[0]))
    return max(0.0, *gains)


@partial(jax.jit, static_argnums=0)
def _value_and_slopes(
    shape: MarketShape, params: MarketParams, prices: jax.Array, seller: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A seller's objective and its slopes [N] in all prices; seller S stands for the sum of profits."""

    def value(p: jax.Array) -> jax.Array:
        together = _profits(shape, params, p).sum()
        return jnp.where(seller == shape.num_sellers, together, _objective(shape, params, p, seller))

    return jax.value_and_grad(value)(prices)


def _best_prices(
    shape: MarketShape, params: MarketParams, prices: Array, seller: int, cost: Array, high: Array
) -> tuple[Array, float]:
    """Best prices of all of a seller's products at once, the others' as they are, and the objective there.

    Seller S stands for all sellers as one. Profits of several products have local maxima (one product sold to all,
    another priced out), so the climb starts from many points: the given one, every product at a low, middle and high
    mark-up, each single product cheap with the others dear, and random ones (always the same).
    """
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
        value, slopes = _value_and_slopes(shape, params, jnp.asarray(everything), jnp.asarray(seller))
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


def _leave_local_maxima(
    shape: MarketShape, params: MarketParams, prices: Array, cost: Array, high: Array, sellers: list[int]
) -> tuple[Array, float]:
    """Let each of the `sellers` set all its prices at once until none gains; (prices, gain left in the last round)."""
    gain = np.inf
    for _ in range(20):
        gain = 0.0
        for seller in sellers:
            here = float(_value_and_slopes(shape, params, jnp.asarray(prices), jnp.asarray(seller))[0])
            prices, value = _best_prices(shape, params, prices, seller, cost, high)
            gain = max(gain, value - here)
        if gain <= 1e-9 * max(1.0, float(np.abs(_profits(shape, params, jnp.asarray(prices))).max())):
            break
    return prices, gain


def _solve(shape: MarketShape, params: MarketParams, what: str, together: bool = False) -> Equilibrium:
    """Where no seller gains; with `together`, where all sellers as one do not gain."""
    cost = np.asarray(params.reward.unit_cost)
    high = _highest_price(shape, params, cost)
    scale = 1e-9 + float(np.abs(np.asarray(_profits(shape, params, jnp.asarray(cost + 0.1 * (high - cost))))).max())
    prices = cost + 0.02 * (high - cost)
    moved = np.inf
    for _ in range(_SWEEPS):
        before = prices.copy()
        for offer in range(shape.num_offers):
            prices[offer], _ = _best_point(shape, params, prices, offer, float(cost[offer]), float(high[offer]))
        moved = float(np.abs(prices - before).max())
        if moved <= 1e-7 * float(high.max()):
            break
    if np.any(prices >= cost + 0.999 * (high - cost)):
        raise NoEquilibriumError(
            f"{what}: a seller gains from ever higher prices; demand must fall faster than 1/price"
        )
    left = 0.0
    if together:
        prices, left = _leave_local_maxima(shape, params, prices, cost, high, [shape.num_sellers])
    elif shape.num_products > 1:
        prices, left = _leave_local_maxima(shape, params, prices, cost, high, list(range(shape.num_sellers)))
    polished = optimize.root(
        lambda p: np.asarray(_slopes(shape, params, jnp.asarray(p))),
        prices,
        jac=lambda p: np.asarray(_curvature(shape, params, jnp.asarray(p))),
        tol=1e-13,
    )
    candidates = [prices]
    if np.all(np.isfinite(polished.x)) and np.abs(polished.x - prices).max() < 1e-2 * float((high - cost).max()):
        candidates.insert(0, polished.x)
    residuals = [max(left, _gain(shape, params, point, cost, high)) for point in candidates]
    best = int(np.argmin(residuals))
    profits = np.asarray(_profits(shape, params, jnp.asarray(candidates[best])))
    if residuals[best] > 1e-6 * max(scale, float(np.abs(profits).max())):
        raise NoEquilibriumError(
            f"{what}: best responses do not settle; after {_SWEEPS} rounds prices move by {moved:.3g} and the best "
            f"point leaves a gain of {residuals[best]:.3g} an epoch from deviating"
        )
    at = candidates[best]
    return Equilibrium(at, np.asarray(_demand(shape, params, jnp.asarray(at))), profits, residuals[best])


def omega_equilibrium(shape: MarketShape, params: MarketParams, omega: float | Array | None = None) -> Equilibrium:
    """Prices at which no seller gains on ω_i π_i + (1 − ω_i) Σ_j π_j.

    Args:
        omega: a number, [S], or None for the market's own.

    Returns:
        The equilibrium; its profits are raw ones.

    Raises:
        NoEquilibriumError: where best responses cycle, or no finite price is best.
    """
    return _equilibrium(shape, params, omega, together=False)


def _equilibrium(shape: MarketShape, params: MarketParams, omega: float | Array | None, together: bool) -> Equilibrium:
    _check(shape)
    with jax.enable_x64(True):
        exact = _double(params)
        value = (
            exact.reward.omega if omega is None else jnp.broadcast_to(jnp.asarray(omega, float), (shape.num_sellers,))
        )
        exact = exact.replace(reward=exact.reward.replace(omega=value))
        what = "joint profit" if together else f"equilibrium at omega={np.round(np.asarray(value), 4).tolist()}"
        return _solve(shape, exact, what, together)


def nash(shape: MarketShape, params: MarketParams) -> Equilibrium:
    """One-shot Bertrand–Nash prices (ω = 1); see `omega_equilibrium`."""
    return omega_equilibrium(shape, params, 1.0)


def joint_profit(shape: MarketShape, params: MarketParams) -> Equilibrium:
    """Prices that maximise the sum of profits, all set by one hand; errors as in `omega_equilibrium`.

    At ω = 0 these are an equilibrium, but not every equilibrium is the best one.
    """
    return _equilibrium(shape, params, 0.0, together=True)


def profits_at(shape: MarketShape, params: MarketParams, prices: Array) -> Array:
    """Expected one-shot profits [S], money per epoch, at given prices [N]; errors as in `omega_equilibrium`."""
    _check(shape)
    with jax.enable_x64(True):
        return np.asarray(_profits(shape, _double(params), jnp.asarray(np.asarray(prices, np.float64))))


def demand_at(shape: MarketShape, params: MarketParams, prices: Array) -> Array:
    """Expected one-shot demand [N], units per epoch, at given prices [N]; errors as in `omega_equilibrium`."""
    _check(shape)
    with jax.enable_x64(True):
        return np.asarray(_demand(shape, _double(params), jnp.asarray(np.asarray(prices, np.float64))))


def implied_costs(shape: MarketShape, params: MarketParams, prices: Array) -> Array:
    """Unit costs [N] at which given prices [N] are a Nash equilibrium (Bresnahan 1987; Berry 1994, section 6).

    From the first-order conditions q + Ω (p − c) = 0, where Ω_jk = ∂q_k/∂p_j if one seller owns j and k, else 0. Costs
    can be negative: prices below what any positive cost explains.

    Raises:
        NoEquilibriumError: where the conditions determine no cost, and as in `omega_equilibrium`.
    """
    _check(shape)
    with jax.enable_x64(True):
        exact, at = _double(params), jnp.asarray(np.asarray(prices, np.float64))
        demand = np.asarray(_demand(shape, exact, at))
        slopes = np.asarray(jax.jacfwd(lambda p: _demand(shape, exact, p))(at))
    seller = np.arange(shape.num_offers) // shape.num_products
    owned = np.where(seller[:, None] == seller, slopes.T, 0.0)
    try:
        return np.asarray(prices, np.float64) + np.linalg.solve(owned, demand)
    except np.linalg.LinAlgError:
        raise NoEquilibriumError(
            "costs: demand does not react to these prices, so that no cost explains them"
        ) from None


def grid_payoffs(shape: MarketShape, params: MarketParams) -> Array:
    """Shaped one-shot payoffs of the game restricted to the price grid.

    Returns:
        [K^P, …, K^P, S], one axis a seller; an index along an axis counts the seller's price vectors, last product
        fastest.

    Raises:
        ValueError: if the market has no grid, or the game has more than four million entries.
    """
    _check(shape)
    if shape.prices.map != "levels":
        raise ValueError(f"market.prices.map={shape.prices.map!r}: a grid game needs 'levels'")
    own = shape.prices.num_levels**shape.num_products
    if own**shape.num_sellers > _LARGEST_GAME:
        raise ValueError(
            f"the game on this grid has {own**shape.num_sellers:,} entries; at most {_LARGEST_GAME:,} are enumerated"
        )
    with jax.enable_x64(True):
        exact = _double(params)
        levels = np.asarray(exact.prices.levels)
        actions = np.array(list(product(range(shape.prices.num_levels), repeat=shape.num_products)))
        joint = np.indices((own,) * shape.num_sellers).reshape(shape.num_sellers, -1).T
        choice = actions[joint].reshape(len(joint), shape.num_offers)
        prices = jnp.asarray(levels[np.arange(shape.num_offers), choice])
        raw = jax.lax.map(lambda p: _profits(shape, exact, p), prices, batch_size=65_536)
        omega = exact.reward.omega
        shaped = omega * raw + (1.0 - omega) * raw.sum(-1, keepdims=True)
        return np.asarray(shaped).reshape((own,) * shape.num_sellers + (shape.num_sellers,))


def grid_equilibria(shape: MarketShape, params: MarketParams) -> Array:
    """All pure equilibria of the game restricted to the price grid, at the market's omega.

    Returns:
        [E, N] int indices of price levels, one row an equilibrium; no row where none exists.

    Raises:
        ValueError: as `grid_payoffs`.
    """
    payoffs = grid_payoffs(shape, params)
    stable = np.ones(payoffs.shape[:-1], bool)
    for seller in range(shape.num_sellers):
        own = payoffs[..., seller]
        best = own.max(axis=seller, keepdims=True)
        stable &= own >= best - 1e-12 * np.maximum(np.abs(best), 1.0)
    actions = np.array(list(product(range(shape.prices.num_levels), repeat=shape.num_products)))
    return actions[np.argwhere(stable)].reshape(-1, shape.num_offers)

"""One-shot benchmarks: Bertrand–Nash prices, joint-profit prices, the equilibrium for any omega, the game on a grid."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.equilibrium import grid, one_shot
from marl_pricing.equilibrium.one_shot import CyclingError, NoEquilibriumError
from marl_pricing.market import MarketParams, MarketShape

Array = np.ndarray

# Below this share of Nash two benchmarks, Nash and joint profit, are too close to divide by their distance.
SMALLEST_GAP = 0.02
_SWEEPS = 200
_REMEMBERED = 64
_KNOWN: dict[Hashable, Equilibrium] = {}

__all__ = [
    "SMALLEST_GAP",
    "CyclingError",
    "Equilibrium",
    "NoEquilibriumError",
    "demand_at",
    "grid_equilibria",
    "grid_payoffs",
    "implied_costs",
    "joint_profit",
    "nash",
    "omega_equilibrium",
    "profits_at",
]


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


def _leave_local_maxima(
    shape: MarketShape, params: MarketParams, prices: Array, cost: Array, high: Array, sellers: list[int]
) -> tuple[Array, float]:
    """Let each of the `sellers` set all its prices at once until none gains; (prices, gain left in the last round)."""
    gain = np.inf
    for _ in range(20):
        gain = 0.0
        for seller in sellers:
            here = float(one_shot.value_and_slopes(shape, params, prices, seller)[0])
            prices, value = one_shot.best_prices(shape, params, prices, seller, cost, high)
            gain = max(gain, value - here)
        if gain <= 1e-9 * max(1.0, float(np.abs(one_shot.profits(shape, params, prices)).max())):
            break
    return prices, gain


def _solve(shape: MarketShape, params: MarketParams, what: str, together: bool = False) -> Equilibrium:
    """Where no seller gains; with `together`, where all sellers as one do not gain."""
    from scipy import optimize  # a training that solves no game would wait for it

    cost = np.asarray(params.reward.unit_cost)
    high = one_shot.highest_prices(shape, params, cost)
    scale = 1e-9 + float(np.abs(np.asarray(one_shot.profits(shape, params, cost + 0.1 * (high - cost)))).max())
    prices = cost + 0.02 * (high - cost)
    moved = np.inf
    for _ in range(_SWEEPS):
        before = prices.copy()
        for offer in range(shape.num_offers):
            prices[offer], _ = one_shot.best_price(shape, params, prices, offer, float(cost[offer]), float(high[offer]))
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
        lambda p: np.asarray(one_shot.slopes(shape, params, p)),
        prices,
        jac=lambda p: np.asarray(one_shot.curvature(shape, params, p)),
        tol=1e-13,
    )
    candidates = [prices]
    if np.all(np.isfinite(polished.x)) and np.abs(polished.x - prices).max() < 1e-2 * float((high - cost).max()):
        candidates.insert(0, polished.x)
    residuals = [max(left, one_shot.largest_gain(shape, params, point, cost, high)) for point in candidates]
    best = int(np.argmin(residuals))
    earned = np.asarray(one_shot.profits(shape, params, candidates[best]))
    if residuals[best] > 1e-6 * max(scale, float(np.abs(earned).max())):
        raise CyclingError(
            f"{what}: best responses do not settle; after {_SWEEPS} rounds prices move by {moved:.3g} and the best "
            f"point leaves a gain of {residuals[best]:.3g} an epoch from deviating"
        )
    at = candidates[best]
    return Equilibrium(at, np.asarray(one_shot.demand(shape, params, at)), earned, residuals[best])


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
    one_shot.refuse_unknown_orders(shape)
    own = params.reward.omega if omega is None else omega
    value = np.broadcast_to(np.asarray(own, np.float32), (shape.num_sellers,))
    # A bank of sessions does not matter to a closed form.
    bare = params.replace(reward=params.reward.replace(omega=value), traffic=params.traffic.without_bank())
    # Rules, benchmarks and figures ask for the same few points again and again, each a second or more.
    leaves = tuple((leaf.shape, leaf.tobytes()) for leaf in map(np.asarray, jax.tree.leaves(bare)))
    key = (shape, jax.tree.structure(bare), leaves, together)
    if key not in _KNOWN:
        while len(_KNOWN) >= _REMEMBERED:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = _find(shape, bare, together)
    found = _KNOWN[key]
    return replace(found, prices=found.prices.copy(), demand=found.demand.copy(), profits=found.profits.copy())


def _find(shape: MarketShape, params: MarketParams, together: bool) -> Equilibrium:
    with jax.enable_x64(True):
        exact = one_shot.in_float64(params)
        what = (
            "joint profit"
            if together
            else f"equilibrium at omega={np.round(np.asarray(params.reward.omega, np.float64), 4).tolist()}"
        )
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
    one_shot.refuse_unknown_orders(shape)
    with jax.enable_x64(True):
        return np.asarray(one_shot.profits(shape, one_shot.in_float64(params), np.asarray(prices, np.float64)))


def demand_at(shape: MarketShape, params: MarketParams, prices: Array) -> Array:
    """Expected one-shot demand [N], units per epoch, at given prices [N]; errors as in `omega_equilibrium`."""
    one_shot.refuse_unknown_orders(shape)
    with jax.enable_x64(True):
        return np.asarray(one_shot.demand(shape, one_shot.in_float64(params), np.asarray(prices, np.float64)))


def implied_costs(shape: MarketShape, params: MarketParams, prices: Array) -> Array:
    """Unit costs [N] at which given prices [N] are a Nash equilibrium (Bresnahan 1987; Berry 1994, section 6).

    From the first-order conditions q + Ω (p − c) = 0, where Ω_jk = ∂q_k/∂p_j if one seller owns j and k, else 0. Costs
    can be negative: prices below what any positive cost explains.

    Raises:
        NoEquilibriumError: where the conditions determine no cost, and as in `omega_equilibrium`.
    """
    one_shot.refuse_unknown_orders(shape)
    if shape.traffic.pays_apart:
        raise NoEquilibriumError(
            "traffic.markup, quotes: prices paid are not those posted; accepted are a strength of 0 and one quote"
        )
    with jax.enable_x64(True):
        exact, at = one_shot.in_float64(params), np.asarray(prices, np.float64)
        demand = np.asarray(one_shot.demand(shape, exact, at))
        slopes = np.asarray(jax.jacfwd(lambda p: one_shot.demand(shape, exact, p))(at))
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
    one_shot.refuse_unknown_orders(shape)
    with jax.enable_x64(True):
        exact = one_shot.in_float64(params)
        prices = jnp.asarray(grid.joint_prices(shape, np.asarray(exact.prices.levels)))
        raw = jax.lax.map(lambda p: one_shot.profits(shape, exact, p), prices, batch_size=65_536)
        omega = exact.reward.omega
        shaped = omega * raw + (1.0 - omega) * raw.sum(-1, keepdims=True)
        return grid.as_game(shape, np.asarray(shaped))


def grid_equilibria(shape: MarketShape, params: MarketParams) -> Array:
    """All pure equilibria of the game restricted to the price grid, at the market's omega.

    Returns:
        [E, N] int indices of price levels, one row an equilibrium; no row where none exists.

    Raises:
        ValueError: as `grid_payoffs`.
    """
    return grid.pure_equilibria(shape, grid_payoffs(shape, params))

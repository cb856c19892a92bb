"""Benchmarks that know of stock: the one-shot game in which an offer can't sell more than can be had of it.

The fluid (deterministic) problem of Gallego and van Ryzin (1994): demand is what is expected, the same in every epoch,
and an offer sells at most what its first stock and its replenishment rule can bring, spread over the episode. At prices
at which demand would be higher, a seller asks more until it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from marl_pricing.equilibrium import one_shot, static
from marl_pricing.equilibrium.static import Equilibrium, NoEquilibriumError
from marl_pricing.market import MarketParams, MarketShape

Array = np.ndarray
_STEPS = 6  # from what static prices sell down to what there is
_TOLERANCE = 1e-6
_SMOOTH = 1e-16  # so that the corner, where both are 0, has a slope


@dataclass(frozen=True)
class Fluid:
    """Equilibrium at prices that the supply can serve.

    Attributes:
        at: prices, demand and profits; `residual` is the most a seller gains from other prices that can be served.
        supply: [N] most units an epoch.  worth: [N] money an epoch that one more unit an epoch would be worth.
    """

    at: Equilibrium
    supply: Array
    worth: Array


def supply_rate(shape: MarketShape, params: MarketParams) -> Array:
    """The most units [N] an epoch that an offer can sell over an episode, whatever is asked for; inf: unlimited.

    The first stock, and as many orders of the largest size as can arrive before the end: with one order on the way one
    in L epochs, else one an epoch. A rule that orders up to a position sells at most that position in any L epochs.
    """
    own, rule = params.inventory, shape.inventory.rule
    if shape.inventory.unlimited:
        return np.full(shape.num_offers, np.inf)
    first, lead, epochs = np.asarray(own.initial_stock, float), np.asarray(own.lead_time), shape.episode_length
    if params.contracts is not None:  # as if all agreements were of the largest quantity and the shortest lead time
        lead = np.full_like(lead, int(params.contracts.table.least[2]))
    if rule == "none":
        return first / epochs
    allowed = np.asarray(own.order_levels, float)[None] <= np.asarray(own.order_cap, float)[:, None]
    largest = {
        "threshold": np.asarray(own.order_quantity, float),
        "contract": np.asarray(own.order_quantity, float),
        "contract_chosen": np.asarray(own.order_quantity, float),
        "base_stock": np.asarray(own.order_up_to, float),
        "s_S": np.asarray(own.order_up_to, float),
        "chosen": np.where(allowed, np.asarray(own.order_levels, float), 0.0).max(-1),
    }[rule]
    largest = np.minimum(largest, np.asarray(own.order_cap, float))
    arrivals = (epochs - 1) // lead if shape.inventory.single_order else np.maximum(epochs - lead, 0)
    most = first + arrivals * largest
    if rule != "chosen":
        position = (
            largest + np.asarray(own.reorder_point, float)
            if rule in ("threshold", "contract", "contract_chosen")
            else np.asarray(own.order_up_to)
        )
        windows = np.ceil(np.maximum(epochs - lead, 0) / lead)
        most = np.minimum(most, first + windows * np.maximum(first, position))
    return most / epochs


@partial(jax.jit, static_argnums=0)
def _conditions(
    shape: MarketShape, params: MarketParams, prices: jax.Array, worth: jax.Array, supply: jax.Array
) -> jax.Array:
    """First-order conditions and complementarity [2N]: zero at a fluid equilibrium (Fischer and Burmeister 1992)."""
    dearer = params.replace(reward=params.reward.replace(unit_cost=params.reward.unit_cost + worth))
    demand = one_shot.demand(shape, params, prices)
    left = (supply - demand) / supply
    both = worth + left - jnp.sqrt(worth**2 + left**2 + _SMOOTH)
    return jnp.concatenate([one_shot.slopes(shape, dearer, prices) / jnp.maximum(supply, 1e-9), both])


@partial(jax.jit, static_argnums=0)
def _jacobian(shape: MarketShape, params: MarketParams, prices: jax.Array, worth: jax.Array, supply: jax.Array):
    found = jax.jacfwd(lambda p, w: _conditions(shape, params, p, w, supply), argnums=(0, 1))(prices, worth)
    return jnp.concatenate(found, -1)


def _solve(shape: MarketShape, params: MarketParams, start: Equilibrium, supply: Array) -> tuple[Array, Array]:
    """(prices, worth of units) by continuation from prices that sell all that is wanted, to what there is."""
    count = shape.num_offers
    point = np.concatenate([start.prices, np.full(count, 1e-3)])
    wanted = np.maximum(start.demand, supply)
    for share in np.linspace(1.0, 0.0, _STEPS + 1)[1:]:
        now = jnp.asarray(supply * (wanted / supply) ** share)

        def off(z: Array, now: jax.Array = now) -> Array:
            return np.asarray(_conditions(shape, params, jnp.asarray(z[:count]), jnp.asarray(z[count:]), now))

        def slopes(z: Array, now: jax.Array = now) -> Array:
            return np.asarray(_jacobian(shape, params, jnp.asarray(z[:count]), jnp.asarray(z[count:]), now))

        found = optimize.root(off, point, jac=slopes, tol=1e-12)
        if not np.all(np.isfinite(found.x)):
            break
        point = found.x
    return point[:count], np.maximum(point[count:], 0.0)


def _gain(shape: MarketShape, params: MarketParams, prices: Array, together: bool) -> float:
    """Largest gain left to a seller, or to all as one, from changing its prices."""
    cost = np.asarray(params.reward.unit_cost)
    high = one_shot.highest_prices(shape, params, cost)
    high = np.maximum(high, prices)
    if shape.num_products == 1 and not together:
        return one_shot.largest_gain(shape, params, prices, np.minimum(cost, prices), high)
    gains = []
    for seller in [shape.num_sellers] if together else range(shape.num_sellers):
        here = float(one_shot.value_and_slopes(shape, params, jnp.asarray(prices), jnp.asarray(seller))[0])
        gains.append(one_shot.best_prices(shape, params, prices, seller, cost, high)[1] - here)
    return max(0.0, *gains)


def fluid_equilibrium(shape: MarketShape, params: MarketParams, *, together: bool) -> Fluid | None:
    """Nash prices, or with `together` those of the highest joint profit, that the supply can serve.

    Where demand is the same in every epoch, units are paid for when sold, and revenue is concave in sales (logit demand
    of one class), no policy of the sellers together earns more on average than the joint profit here: chance, lead
    times, holding and penalties only take away from it.

    Returns:
        None where supply is enough at the static prices, which then stand.

    Raises:
        NoEquilibriumError: as `static.nash`, and where no point was found that nobody gains from leaving.
    """
    supply = supply_rate(shape, params)
    start = static.joint_profit(shape, params) if together else static.nash(shape, params)
    if np.all(start.demand <= supply * (1.0 + 1e-9)):
        return None
    if np.any(supply <= 0):
        raise NoEquilibriumError("stock: an offer that can never be had has no price")
    omega = np.full(shape.num_sellers, 0.0 if together else 1.0, np.float32)
    bare = params.replace(reward=params.reward.replace(omega=omega), traffic=params.traffic.without_bank())
    with jax.enable_x64(True):
        exact = one_shot.in_float64(bare)
        # Where supply is no bound it has to be a number all the same.
        enough = np.minimum(supply, 1e3 * np.maximum(start.demand.max(), 1.0))
        prices, worth = _solve(shape, exact, start, enough)
        demand = np.asarray(one_shot.demand(shape, exact, jnp.asarray(prices)))
        earned = np.asarray(one_shot.profits(shape, exact, jnp.asarray(prices)))
        dearer = exact.replace(reward=exact.reward.replace(unit_cost=exact.reward.unit_cost + jnp.asarray(worth)))
        residual = _gain(shape, dearer, prices, together) + float(worth @ np.abs(enough - demand))
    short = float(((demand - supply) / supply).max())
    if not (short <= _TOLERANCE and residual <= _TOLERANCE * max(1e-9, float(np.abs(earned).max()))):
        raise NoEquilibriumError(
            "stock: no prices were found that the supply can serve and nobody gains from leaving; the best point wants "
            f"{short:+.3g} of the supply too much and leaves a gain of {residual:.3g} an epoch"
        )
    return Fluid(Equilibrium(prices, demand, earned, residual), supply, worth)

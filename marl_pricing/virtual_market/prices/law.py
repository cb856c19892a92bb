"""The law of a session: which offer it takes at the prices that it is shown, or none. The market's own logit, and more.

The utility of offer j on day d is a_j − b · p_j + γ_j · (day's mean price of j − its mean over the log) + η_dj. The
last two are the demand that the log does not show: γ what the shop's prices know of it (Mundlak 1978), η ~ N(0, τ²)
what they do not. With them b rests on prices that moved within a day, while demand stood still.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from marl_pricing.virtual_market.prices.log import Cells

Array = jax.Array
_WIDE = 10.0  # standard deviation that is believed beforehand of utilities and of what moves them
_ODDS = 3.0  # the same of the log odds of being a buyer at all, and of the nest
_MOST_NESTING = 0.95


class Unknowns(NamedTuple):
    """What is estimated. Arrays: N offers, D days, F features."""

    base: Any  # [N] a, utility at the mean prices
    slope: Any  # [] b, over the scale of prices
    follows: Any  # [N] γ, likewise
    day: Any  # [D, N] η
    buyers: Any  # [] log odds that a session would buy at all
    nest: Any  # [] log odds of nesting over its largest
    bends: Any  # [F] what a richer law adds: see `features`


class Free(NamedTuple):
    """What of it may move; numbers, so that all laws share one program."""

    days: float = 1.0
    buyers: float = 0.0
    nest: float = 0.0
    bends: float = 0.0


class Rows(NamedTuple):
    """Cells as the likelihood takes them. C cells."""

    day: Array  # [C]
    own: Array  # [C, N] price less its mean, over the scale
    mean: Array  # [C, N] the day's mean price less the mean of days, over the scale
    features: Array  # [C, N, F]
    counts: Array  # [C, 1 + N]


class Scales(NamedTuple):
    """Units of prices."""

    middle: np.ndarray  # [N] money, mean price shown
    scale: float  # money


def rows_of(cells: Cells, days: int) -> tuple[Rows, Scales]:
    """Cells in units of prices: of each offer around its mean, over the standard deviation of all."""
    sessions = cells.counts.sum(1)
    middle = np.average(cells.prices, axis=0, weights=sessions)
    scale = float(np.sqrt(np.average(((cells.prices - middle) ** 2).mean(1), weights=sessions)))
    own = (cells.prices - middle) / max(scale, 1e-12)
    weight = np.bincount(cells.day, sessions, days)
    summed = np.stack([np.bincount(cells.day, sessions * column, days) for column in own.T], 1)
    mean = summed / np.maximum(weight, 1e-12)[:, None]
    parts = (cells.day, own, mean[cells.day], features(own), cells.counts.astype(float))
    return Rows(*(jnp.asarray(part) for part in parts)), Scales(middle, scale)


def features(own: np.ndarray) -> np.ndarray:
    """[C, N, F] what a richer law has beside the price: each offer's own slope, its bend, the mean of the others'."""
    count = own.shape[1]
    each: list[np.ndarray] = [own[:, :, None] * np.eye(count), (own**2)[:, :, None] * np.eye(count)]
    if count > 1:
        others = (own.sum(1, keepdims=True) - own) / (count - 1)
        each.append(others[:, :, None] * np.eye(count))
    return np.concatenate(each, axis=2)


@jax.jit
def choice(found: Unknowns, rows: Rows, free: Free) -> Array:
    """Probabilities [C, 1 + N] of nothing and of each offer."""
    utility = found.base - found.slope * rows.own + (rows.features * found.bends).sum(-1) * free.bends
    utility = utility + free.days * (found.follows * rows.mean + found.day[rows.day])
    rest = 1.0 - nesting_of(found, free)
    inclusive = jax.nn.logsumexp(utility / rest, axis=-1, keepdims=True)
    inside = jax.nn.sigmoid(rest * inclusive) * buyers_of(found, free)
    taken = inside * jnp.exp(utility / rest - inclusive)
    return jnp.concatenate([1.0 - inside, taken], axis=-1)


def buyers_of(found: Unknowns, free: Free) -> Array:
    """Share of the sessions that would buy at some price; 1 where that may not move."""
    return 1.0 - free.buyers / (1.0 + jnp.exp(found.buyers))


def nesting_of(found: Unknowns, free: Free) -> Array:
    """ρ of the one nest of all offers, as in `demand.choice.logit`; 0 where that may not move."""
    return free.nest * _MOST_NESTING / (1.0 + jnp.exp(-found.nest))


def _lost(found: Unknowns, rows: Rows, free: Free, spread: Array, weight: Array) -> Array:
    """− log posterior, constants aside; weight [D] how often each day counts."""
    chance = jnp.maximum(choice(found, rows, free), 1e-300)
    told = (weight[rows.day, None] * rows.counts * jnp.log(chance)).sum()
    wide = (found.base**2).sum() + found.slope**2 + (found.follows**2).sum() + (found.bends**2).sum()
    odds = found.buyers**2 + found.nest**2
    return -told + 0.5 * (wide / _WIDE**2 + odds / _ODDS**2 + ((found.day / spread) ** 2).sum())


@partial(jax.jit, static_argnames="shapes")
def _value_and_slopes(flat: Array, rows: Rows, free: Free, spread: Array, weight: Array, shapes: tuple):
    return jax.value_and_grad(lambda x: _lost(_unflat(x, shapes), rows, free, spread, weight))(flat)


def _unflat(flat: Any, shapes: tuple[tuple[int, ...], ...]) -> Unknowns:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = (flat[end - int(np.prod(s)) : end].reshape(s) for end, s in zip(ends, shapes, strict=True))
    return Unknowns(*parts)


class Solved(NamedTuple):
    """A law at its most likely: unknowns, what may move, τ, and the log posterior, constants aside."""

    found: Unknowns
    free: Free
    spread: float
    value: float


def start_of(rows: Rows, days: int) -> Unknowns:
    """Where the search begins: shares at the mean prices, and demand that falls."""
    share = np.asarray(rows.counts).sum(0) + 0.5
    base = np.log(share[1:] / share[0])
    count = len(base)
    nothing = np.zeros(count), np.zeros((days, count)), np.float64(0.0), np.float64(0.0)
    return Unknowns(base, np.float64(0.5), *nothing, np.zeros(rows.features.shape[-1]))


def _steps(rows: Rows, start: Unknowns, spread: float) -> np.ndarray:
    """How far each unknown is told, roughly: its unit in the search, in which all directions are about as steep."""
    sessions = float(np.asarray(rows.counts).sum())
    days = start.day.shape[0]
    shared, day, odds = (1.0 / np.sqrt(told) for told in (
        0.2 * sessions + 1.0 / _WIDE**2, 0.2 * sessions / days + 1.0 / spread**2, 0.02 * sessions + 1.0 / _ODDS**2
    ))  # fmt: skip
    units = Unknowns(shared, shared, shared, day, odds, odds, shared)
    each = [np.full(np.size(part), unit) for part, unit in zip(start, units, strict=True)]
    return np.concatenate(each)


def solve(rows: Rows, start: Unknowns, free: Free, spread: float, weight: np.ndarray) -> Solved:
    """The most likely unknowns at a given τ, by L-BFGS from `start`. Call it under `jax.enable_x64`."""
    shapes = tuple(np.shape(part) for part in start)
    units = _steps(rows, start, spread)

    def lost(steps: np.ndarray) -> tuple[float, np.ndarray]:
        value, slopes = _value_and_slopes(
            steps * units, rows, free, np.float64(spread), np.asarray(weight, float), shapes
        )
        return float(value), np.asarray(slopes) * units

    first = np.concatenate([np.asarray(part, float).reshape(-1) for part in start]) / units
    end = optimize.minimize(lost, first, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-3})
    found = _unflat(end.x * units, shapes)
    return Solved(found, free, spread, -float(end.fun))


@jax.jit
def _told_of_days(found: Unknowns, rows: Rows, free: Free) -> Array:
    """Curvature [D, N, N] of − log likelihood in each day's η; days do not meet in it."""

    def slopes(day: Array) -> Array:
        def told(own: Array) -> Array:
            chance = choice(found._replace(day=own), rows, free)
            return -(rows.counts * jnp.log(jnp.maximum(chance, 1e-300))).sum()

        return jax.grad(told)(day)

    count = rows.own.shape[1]
    each = [jnp.broadcast_to(jnp.eye(count)[offer], found.day.shape) for offer in range(count)]
    return jnp.stack([jax.jvp(slopes, (found.day,), (own,))[1] for own in each], -1)


def _precision(solved: Solved, rows: Rows) -> np.ndarray:
    """[D, N, N] of what is left open of η."""
    told = np.asarray(_told_of_days(solved.found, rows, solved.free))
    return told + np.eye(told.shape[-1]) / solved.spread**2


def spread_of_days(solved: Solved, rows: Rows) -> float:
    """τ anew: the mean of η² and of what is left open of it (a step of expectation–maximisation)."""
    open_ = np.linalg.inv(_precision(solved, rows)).diagonal(axis1=1, axis2=2)
    return float(np.sqrt(max((np.asarray(solved.found.day) ** 2 + open_).mean(), 0.0)))


def evidence(solved: Solved, rows: Rows) -> float:
    """log posterior with the days' η summed out (Laplace), so that laws whose η mean other things can be compared."""
    if not solved.free.days:
        return solved.value
    _, told = np.linalg.slogdet(_precision(solved, rows))
    return solved.value - solved.found.day.size * float(np.log(solved.spread)) - 0.5 * float(told.sum())

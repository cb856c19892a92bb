"""Maximising a worst expectation: along a line, and over several prices at once.

A worst expectation is the least of many smooth functions, q · v(x) for every law q of a set. A climb along its slope
stops at the first kink; here it is maximised as what it is, t under the constraints t ≤ q · v(x), with the laws that
were found to be the worst so far (cutting planes, Kelley 1960).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from flax import struct
from scipy import optimize

from marl_pricing.market import MarketParams

Array = np.ndarray

_GRID = 512
_CUTS = 40


class Game(struct.PyTreeNode):
    """The numbers of a robust one-shot game, float64. K worlds, S sellers."""

    stacked: MarketParams  # [K] worlds
    omega: jax.Array  # [S]
    weights: jax.Array  # [K] nominal law
    radius: jax.Array  # []
    metric: jax.Array | None  # [K, K]


def highest_point(along: Callable[[Array], Array], low: float, high: float) -> tuple[float, float]:
    """(the point of an interval where a function is highest, to about 1e-10 of it, the height)."""
    points, values, best = np.array([low]), np.array([-np.inf]), 0
    for _ in range(5):
        points = np.linspace(low, high, _GRID)
        values = along(points)
        best = int(np.argmax(values))
        step = points[1] - points[0]
        low, high = max(low, points[best] - step), min(high, points[best] + step)
    return float(points[best]), float(values[best])


def maximise(
    by_world: Callable[[Array], tuple[Array, Array]],
    worst: Callable[[Array], tuple[float, Array]],
    at: Array,
    low: Array,
    high: Array,
    near: bool = False,
) -> tuple[Array, float]:
    """The point of a box with the highest worst expectation, from many starts, and the expectation.

    Args:
        by_world: point [n] → (values [K] in each world, their slopes [K, n]).
        worst: point [n] → (worst expectation, its law [K]).
        at: [n] a point to start from; never left for a worse one.
        near: start from there only, for a first approach.
    """
    best, value = at, worst(at)[0]
    for start in [at] if near else _starts(at, low, high):
        point, reached = _climb(by_world, worst, np.clip(start, low, high), low, high)
        if reached > value + 1e-13 * max(1.0, abs(value)):
            best, value = point, reached
    return best, value


def _starts(at: Array, low: Array, high: Array) -> list[Array]:
    """The point itself, all at a low, middle and high mark-up, each product alone cheap, random ones (always the same).

    Profits of several products have local maxima: one product sold to all, another priced out.
    """
    reach = high - low
    starts = [at, *(low + share * reach for share in (0.02, 0.1, 0.3))]
    typical = np.maximum(at - low, 0.02 * reach)
    for product in range(at.size if at.size > 1 else 0):
        alone = low + 0.5 * reach
        alone[product] = low[product] + typical[product]
        starts.append(alone)
    random = np.random.default_rng(0)
    return starts + [low + typical * random.uniform(0.2, 3.0, at.size) for _ in range(4)]


def _climb(
    by_world: Callable[[Array], tuple[Array, Array]],
    worst: Callable[[Array], tuple[float, Array]],
    start: Array,
    low: Array,
    high: Array,
) -> tuple[Array, float]:
    """A local maximum: t is raised under the laws met so far, until its point meets no worse law."""
    point = start
    value, law = worst(point)
    best, highest = point, value
    laws = [law]
    scale = max(abs(value), 1e-9)
    count = point.size
    for _ in range(_CUTS):
        cuts = np.array(laws)

        def room(x: Array, cuts: Array = cuts) -> Array:
            return cuts @ by_world(x[:count])[0] / scale - x[count]

        def room_slopes(x: Array, cuts: Array = cuts) -> Array:
            return np.column_stack([cuts @ by_world(x[:count])[1] / scale, -np.ones(len(cuts))])

        found = optimize.minimize(
            lambda x: -x[count],
            np.append(point, (cuts @ by_world(point)[0]).min() / scale),
            jac=lambda x: np.append(np.zeros(count), -1.0),
            method="SLSQP",
            bounds=[*zip(low, high, strict=True), (None, None)],
            constraints={"type": "ineq", "fun": room, "jac": room_slopes},
            options={"ftol": 1e-14, "maxiter": 200},
        )
        if not np.all(np.isfinite(found.x)):
            break
        point = np.clip(found.x[:count], low, high)
        value, law = worst(point)
        if value > highest:
            best, highest = point, value
        # The program's optimum is a bound from above for the laws that it knows.
        if found.x[count] * scale - value <= 1e-12 * scale or any(np.abs(law - own).max() <= 1e-14 for own in laws):
            break
        laws.append(law)
    return best, highest

"""How the share of views that become orders answers to the price, from windows of a live shop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

# Normal law of an elasticity before anything is seen: mean and standard deviation.
PRIOR = (-1.0, 1.0)
_STEPS, _SETTLED = 50, 1e-10


class Elasticity(NamedTuple):
    """An estimate, its standard error, and whether prices moved at all: where they did not, both are the prior's."""

    value: float
    error: float
    estimated: bool


class Point(NamedTuple):
    """What a window says of a product."""

    log_price: float  # log(price / base price)
    views: float
    orders: float


def estimate(points: Sequence[Point], prior: tuple[float, float] = PRIOR) -> Elasticity:
    """Posterior mode of ε in orders ~ Poisson(a · views · (price / base)^ε), a free, ε ~ N(prior).

    Given its sum, the orders are multinomial over the windows with shares ∝ views · e^(ε x) (McCullagh and Nelder
    1989, section 6.4), so that a drops out. Views stand for traffic: prices that follow browsing do not look like
    demand that follows prices. It is the elasticity of conversion alone: shoppers who do not even come are not in it.
    """
    mean, width = prior
    used = [own for own in points if own.views > 0]
    orders = sum(own.orders for own in used)
    if orders <= 0 or len({own.log_price for own in used}) < 2:
        return Elasticity(mean, width, False)
    told = sum(own.orders * own.log_price for own in used)
    value = mean
    information = 1.0 / width**2
    for _ in range(_STEPS):
        weights = [own.views * math.exp(value * own.log_price) for own in used]
        total = sum(weights)
        first = sum(w * own.log_price for w, own in zip(weights, used, strict=True)) / total
        second = sum(w * (own.log_price - first) ** 2 for w, own in zip(weights, used, strict=True)) / total
        slope = told - orders * first - (value - mean) / width**2
        information = orders * second + 1.0 / width**2
        step = max(-1.0, min(1.0, slope / information))  # concave: a bounded Newton step climbs
        value += step
        if abs(step) < _SETTLED:
            break
    return Elasticity(value, 1.0 / math.sqrt(information), True)

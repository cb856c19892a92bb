"""An unbiased estimator of a worst expectation from draws alone: the referee of what the learner chooses laws by.

The worst expectation of means over few draws is too low, because they are noisy; over more draws it is less so. Levels
of ever more draws, each weighed by how rarely it is drawn, add up to the limit (Blanchet and Glynn 2015; Liu et al.
2022 for robust learning): with N of P(N = n) = (1 − r) rⁿ, and 2^(n₀ + N + 1) draws x,

    worst(mean of the first 2^n₀) + [worst(mean x) − ½ worst(mean of even x) − ½ worst(mean of odd x)] / P(N).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Between ½, above which the work is finite on average, and ¼, below which the variance is not.
RATE = 2.0**-1.5
Draw = Callable[[int], np.ndarray]
Worst = Callable[[np.ndarray], np.ndarray]


def multilevel(draw: Draw, worst: Worst, random: np.random.Generator, first: int = 4) -> np.ndarray:
    """One unbiased estimate of worst(E[x]).

    Args:
        draw: so many independent draws [n, ..., K].
        worst: [..., K] → [...], concave.
        first: 2^first draws make the lowest level.
    """
    level = int(random.geometric(1.0 - RATE)) - 1
    chance = (1.0 - RATE) * RATE**level
    drawn = np.asarray(draw(2 ** (first + level + 1)), np.float64)
    halves = 0.5 * (worst(drawn[::2].mean(0)) + worst(drawn[1::2].mean(0)))
    return worst(drawn[: 2**first].mean(0)) + (worst(drawn.mean(0)) - halves) / chance

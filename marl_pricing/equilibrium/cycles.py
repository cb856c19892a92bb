"""Where best responses go that do not settle: cycles of undercutting and relenting.

Very elastic shoppers (agents that compare every price) leave a pricing game without a pure equilibrium (Edgeworth 1925;
Maskin and Tirole 1988). What is left to compare with is the path of sellers that answer each other in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.equilibrium import one_shot
from marl_pricing.market import MarketParams, MarketShape

Array = np.ndarray
_BURN_IN, _WINDOW = 100, 100  # rounds in which every offer's price is set anew


@dataclass(frozen=True)
class Cycle:
    """The path of best responses, one answer after the other.

    Attributes:
        prices: [C, N] money after each answer of one cycle; of the last 100 rounds where none repeats.
        period: answers in a cycle; None where the path does not repeat within 100 rounds.
        mean_prices: [N] money.  mean_profits: [S] money per epoch, raw.  Both over `prices`.
        residual: money per epoch; the largest gain from changing one price, at the point of the path where it is least.
    """

    prices: Array
    period: int | None
    mean_prices: Array
    mean_profits: Array
    residual: float


def _period(path: Array, tolerance: float) -> int | None:
    """The shortest number of rounds after which the path [R, answers, N] comes again."""
    for rounds in range(1, len(path) // 2 + 1):
        if np.abs(path[-rounds:] - path[-2 * rounds : -rounds]).max() <= tolerance:
            return rounds
    return None


def best_response_cycle(shape: MarketShape, params: MarketParams, omega: float | Array = 1.0) -> Cycle:
    """Let offers answer each other in turn, each by its best price while all others keep theirs.

    Where best responses settle after all, the cycle is one round long and its residual 0.

    Args:
        omega: a number or [S]; sellers maximise ω_i π_i + (1 − ω_i) Σ_j π_j.

    Raises:
        NoEquilibriumError: for traffic whose expected orders have no closed form.
    """
    one_shot.refuse_unknown_orders(shape)
    with jax.enable_x64(True):
        exact = one_shot.in_float64(params)
        value = jnp.broadcast_to(jnp.asarray(omega, float), (shape.num_sellers,))
        exact = exact.replace(reward=exact.reward.replace(omega=value))
        cost = np.asarray(exact.reward.unit_cost)
        high = one_shot.highest_prices(shape, exact, cost)
        prices = cost + 0.02 * (high - cost)
        path = np.empty((_BURN_IN + _WINDOW, shape.num_offers, shape.num_offers))
        for round_ in path:
            for offer in range(shape.num_offers):
                prices[offer], _ = one_shot.best_price(
                    shape, exact, prices, offer, float(cost[offer]), float(high[offer])
                )
                round_[offer] = prices
        path = path[_BURN_IN:]
        rounds = _period(path, 1e-6 * float(high.max()))
        seen = path[-(rounds or _WINDOW) :].reshape(-1, shape.num_offers)
        profits = np.asarray(jax.lax.map(lambda p: one_shot.profits(shape, exact, p), jnp.asarray(seen)))
        # The point with the least left to gain: a sample is enough where the path is long.
        sample = seen[:: max(1, len(seen) // 24)]
        residual = min(one_shot.largest_gain(shape, exact, point, cost, high) for point in sample)
    return Cycle(seen, None if rounds is None else rounds * shape.num_offers, seen.mean(0), profits.mean(0), residual)

"""How near policies that were played come to the exact optimum of a market's stock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing.equilibrium import replenishment
from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.metrics import Parts
from marl_pricing.evaluation.play import Record, play
from marl_pricing.evaluation.stock_benchmarks import best_values, replenishment_of
from marl_pricing.market import MarketParams, MarketShape, Policy

COLUMNS = {
    "run": "text",
    "figure": "text; what is measured: average cost of an epoch, or discounted value from a stock",
    "seeds": "training seeds",
    "optimal": "money; exact",
    "base_stock": "money; exact cost of the best base-stock rule; empty for a value",
    "learned": "money; mean over seeds",
    "low": "money; lower end of its 95 % bootstrap interval over seeds; empty with one seed",
    "high": "money; upper end",
    "ratio": "learned over optimal; on the better side of 1 within its error only",
    "worst": "ratio of the worst seed",
    "error": "largest standard error of a seed's ratio, of its simulated episodes",
    "ratios": "text; ratio of each seed, in order",
}
# What the rewards that are cut off a discounted value still count.
_REMAINDER = 1e-5


@dataclass(frozen=True)
class StockRun:
    """A market and the policies that were learned for it, one a training seed.

    Attributes:
        gamma: discount of the values that are compared where the price is chosen.
    """

    name: str
    shape: MarketShape
    params: MarketParams
    policies: Sequence[Policy]
    gamma: float


def stock_cost(record: Record, params: MarketParams, warm_up: int) -> np.ndarray:
    """Average cost of an epoch [E], as `stock_benchmarks` counts it: h I' + (P_so + p − C) · unmet + K · 1{ordered}.

    Args:
        record: of one offer whose stock is limited.  warm_up: epochs of each episode that do not count.
    """
    own = params.reward
    lost = np.asarray(own.stockout_penalty) + record.price - np.asarray(own.unit_cost)
    cost = np.asarray(own.holding_cost) * (record.stock - record.sales) + lost * record.unmet
    if own.order_cost is not None:
        cost = cost + np.asarray(own.order_cost) * (np.asarray(record.ordered) > 0)
    return np.asarray(cost[:, warm_up:, 0], np.float64).mean(1)


def discounted_value(record: Record, gamma: float) -> np.ndarray:
    """Σ_t γ^t r_t [E] of the first seller's raw rewards."""
    rewards = np.asarray(record.reward_raw[:, :, 0], np.float64)
    return rewards @ gamma ** np.arange(rewards.shape[1])


def _row(run: StockRun, figure: str, optimal: float, base_stock: float, by_seed: list[np.ndarray], worst) -> dict:
    """One row of the table.

    Args:
        by_seed: of each seed, the figure by episode [E].  worst: of several ratios, the worst.
    """
    means = np.array([own.mean() for own in by_seed])
    errors = [own.std(ddof=1) / np.sqrt(own.size) / optimal for own in by_seed]
    scores = means[None, :, None]
    found = statistics.estimate(Parts(scores, np.ones_like(scores)))
    mean, low, high = (float(end[0]) for end in (found.value, found.low, found.high))
    ratios = " ".join(f"{own / optimal:.4f}" for own in means)
    values = (run.name, figure, means.size, optimal, base_stock, mean, low, high, mean / optimal,
              worst(means) / optimal, max(errors), ratios)  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _cost_row(run: StockRun, key: jax.Array, episodes: int, epochs: int, tell: Callable[[], None]) -> dict:
    own = replenishment_of(run.shape, run.params)
    warm_up = epochs // 10
    longer = replace(run.shape, episode_length=warm_up + epochs)
    by_seed = []
    for number, policy in enumerate(run.policies):
        record = play(jax.random.fold_in(key, number), longer, run.params, policy, episodes)
        by_seed.append(stock_cost(record, run.params, warm_up))
        tell()
    figure = f"cost, p = {own.penalty:g}, L = {own.lead_time}"
    best = replenishment.best_base_stock(own).cost
    return _row(run, figure, replenishment.best_cost(own), best, by_seed, np.max)


def _value_rows(
    run: StockRun, key: jax.Array, episodes: int, stocks: Sequence[int], tell: Callable[[], None]
) -> list[dict]:
    optimal = best_values(run.shape, run.params, run.gamma, stocks)
    longer = replace(run.shape, episode_length=int(np.ceil(np.log(_REMAINDER) / np.log(run.gamma))))
    by_stock: list[list[np.ndarray]] = [[] for _ in stocks]
    for number, policy in enumerate(run.policies):
        for stock, found in zip(stocks, by_stock, strict=True):
            own = run.params.replace(inventory=run.params.inventory.replace(initial_stock=jnp.full((1,), float(stock))))
            record = play(jax.random.fold_in(key, number), longer, own, policy, episodes)
            found.append(discounted_value(record, run.gamma))
        tell()
    return [
        _row(run, f"value from {stock} units", float(best), np.nan, found, np.min)
        for stock, best, found in zip(stocks, optimal, by_stock, strict=True)
    ]


def stock_gap(
    runs: Sequence[StockRun],
    *,
    episodes: int,
    epochs: int,
    stocks: Sequence[int],
    seed: int,
    tell: Callable[[], None] = lambda: None,
) -> pd.DataFrame:
    """Play every run's policies and set what they reach beside the exact optimum.

    Where the price is given, that is the average cost of an epoch; where it is chosen, the discounted value from each
    of some stocks.

    Args:
        episodes: of each policy.  epochs: of an episode of a cost, after a tenth as many that do not count.
        stocks: units that the episodes of a value begin with.
        seed: of the shoppers; seed k of every run meets the same ones.  tell: called after each policy.

    Returns:
        A frame with the columns of `COLUMNS`.

    Raises:
        NoStockBenchmarkError: for a market without an exact benchmark.
    """
    key = jax.random.key(seed)
    rows: list[dict] = []
    for run in runs:
        if run.shape.prices.num_levels == 1:
            rows.append(_cost_row(run, key, episodes, epochs, tell))
        else:
            rows += _value_rows(run, key, episodes, stocks, tell)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"low": float, "high": float})

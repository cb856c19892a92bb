"""`python -m marl_pricing.studies.stock RUN …`: how near learned ordering comes to the exact optimum."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from marl_pricing.config import ConfigError
from marl_pricing.equilibrium import replenishment
from marl_pricing.evaluation.metrics import ratio_interval
from marl_pricing.evaluation.play import play
from marl_pricing.evaluation.stock_benchmarks import (
    NoStockBenchmarkError,
    best_values,
    discounted_value,
    replenishment_of,
    stock_cost,
)
from marl_pricing.learning.runs import RunError
from marl_pricing.presentation.files import write_atomically
from marl_pricing.studies.single import LoadedRun, load_run

COLUMNS = {
    "run": "text",
    "figure": "text; what is measured: cost an epoch, or discounted value from a stock",
    "seeds": "training seeds",
    "optimal": "money; exact",
    "base_stock": "money; exact cost of the best base-stock rule; empty for a value",
    "learned": "money; mean over seeds, greedy actions",
    "low": "money; lower end of the 95 % bootstrap interval over seeds; empty with one seed",
    "high": "money; upper end",
    "ratio": "learned over optimal; below 1 is better for a cost only within its error",
    "worst": "ratio of the worst seed",
    "error": "largest standard error of a seed's ratio, from its simulated episodes",
}
# What an episode's later rewards still count in a discounted value.
_REMAINDER = 1e-5


def _row(run: LoadedRun, figure: str, optimal: float, base_stock: float, by_seed: list[np.ndarray], worst) -> dict:
    """Args: by_seed: [R] of a figure by episode [E].  worst: min or max of ratios."""
    means = np.array([own.mean() for own in by_seed])
    errors = [own.std(ddof=1) / np.sqrt(own.size) / optimal for own in by_seed]
    interval = ratio_interval(means, np.ones_like(means))
    values = (
        run.settings.name, figure, len(by_seed), optimal, base_stock, interval.value, interval.low, interval.high,
        interval.value / optimal, worst(means) / optimal, max(errors),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _costs(run: LoadedRun, key: jax.Array, episodes: int, epochs: int, tell: Callable[[], None]) -> list[dict]:
    shape, params = run.experiment.market
    own = replenishment_of(shape, params)
    warm_up = epochs // 10
    longer = replace(shape, episode_length=warm_up + epochs)
    by_seed = []
    for number, policy in enumerate(run.policies(greedy=True)):
        record = play(jax.random.fold_in(key, number), longer, params, policy, episodes)
        by_seed.append(stock_cost(record, params, warm_up))
        tell()
    figure = f"cost, p = {own.penalty:g}, L = {own.lead_time}"
    best = replenishment.best_base_stock(own).cost
    return [_row(run, figure, replenishment.best_cost(own), best, by_seed, np.max)]


def _values(
    run: LoadedRun, key: jax.Array, episodes: int, stocks: Sequence[int], tell: Callable[[], None]
) -> list[dict]:
    shape, params = run.experiment.market
    gamma = run.settings.learner.gamma
    optimal = best_values(shape, params, gamma, stocks)
    longer = replace(shape, episode_length=int(np.ceil(np.log(_REMAINDER) / np.log(gamma))))
    by_stock: list[list[np.ndarray]] = [[] for _ in stocks]
    for number, policy in enumerate(run.policies(greedy=True)):
        for stock, found in zip(stocks, by_stock, strict=True):
            own = params.replace(inventory=params.inventory.replace(initial_stock=jnp.full((1,), float(stock))))
            record = play(jax.random.fold_in(key, number), longer, own, policy, episodes)
            found.append(discounted_value(record, gamma))
        tell()
    return [
        _row(run, f"value from {stock} units", float(best), np.nan, found, np.min)
        for stock, best, found in zip(stocks, optimal, by_stock, strict=True)
    ]


def compare(
    runs: Sequence[LoadedRun],
    *,
    episodes: int,
    epochs: int,
    stocks: Sequence[int],
    seed: int,
    tell: Callable[[], None] = lambda: None,
) -> pd.DataFrame:
    """Play every run's greedy sellers and set them beside the exact optimum.

    Where the price is given, the average cost of an epoch is measured; where it is chosen, the discounted value from
    each stock, with the discount that the run was trained with.

    Args:
        episodes: of each seed.  epochs: of each episode of a cost, after a tenth as many that do not count.
        stocks: units that the episodes of a value begin with.
        tell: called after each seed.

    Returns:
        A frame with the columns of `COLUMNS`.

    Raises:
        NoStockBenchmarkError: for a market without an exact benchmark.
    """
    key = jax.random.key(seed)
    rows: list[dict] = []
    for run in runs:
        if run.experiment.market.shape.prices.num_levels == 1:
            rows += _costs(run, key, episodes, epochs, tell)
        else:
            rows += _values(run, key, episodes, stocks, tell)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 2 and one line on standard error where it cannot be made."""
    parser = argparse.ArgumentParser(
        "python -m marl_pricing.studies.stock",
        description="How near learned ordering, or learned prices and orders, of one seller come to the exact optimum.",
        epilog="Train such runs with experiment=lost_sales or experiment=price_and_order; see docs/stock.md.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder")
    parser.add_argument("--checkpoint", choices=("latest", "best"), default="latest")
    parser.add_argument("--episodes", type=int, default=256, help="of each training seed (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2000, help="of an episode of a cost (default: %(default)s)")
    parser.add_argument(
        "--stocks", type=int, nargs="+", default=[0, 5, 10], help="units that a value begins with (default: 0 5 10)"
    )
    parser.add_argument("--seed", type=int, default=1_000_003, help="of the shoppers (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write the table there too")
    given = parser.parse_args(arguments)
    columns = (TextColumn("playing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        if given.episodes < 2 or given.epochs < 10 or min(given.stocks) < 0:
            raise ConfigError("accepted are --episodes of at least 2, --epochs of at least 10, --stocks of at least 0")
        loaded = [load_run(folder, given.checkpoint) for folder in given.runs]
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=sum(run.settings.learner.num_seeds for run in loaded))
            table = compare(
                loaded,
                episodes=given.episodes,
                epochs=given.epochs,
                stocks=given.stocks,
                seed=given.seed,
                tell=lambda: bar.advance(task),
            )
    except (ConfigError, RunError, NoStockBenchmarkError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    print(table.to_string(index=False, float_format="{:.4f}".format, na_rep=""))
    if given.out is not None:
        write_atomically(given.out, table.to_csv(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The benchmarks of all runs as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from marl_pricing.evaluation.benchmarks import Benchmarks, cycle_line, surplus_at
from marl_pricing.evaluation.runs import RunToEvaluate

COLUMNS = {
    "run": "text",
    "benchmark": "text; Nash, joint profit, both stock-aware, both by simulation, at the run's omega, or a cycle",
    "seller": "text; a seller's number, or all; equal sellers have no rows of their own",
    "price": "money per unit; mean over products, and over sellers for all",
    "profit": "money per epoch",
    "consumer_surplus": "money per epoch; empty where it is unknown",
    "welfare": "money per epoch, consumer surplus plus all profits; empty where it is unknown",
    "note": "text; what the benchmark ignores, or how it is to be read",
}


def _rows(
    run: RunToEvaluate, name: str, prices: np.ndarray, profits: np.ndarray, value: float, note: str
) -> list[dict]:
    by_seller = prices.reshape(run.shape.num_sellers, -1).mean(-1)
    first = {"run": run.name, "benchmark": name, "note": note}
    together = first | {
        "seller": "all",
        "price": by_seller.mean(),
        "profit": profits.sum(),
        "consumer_surplus": value,
        "welfare": value + profits.sum(),
    }
    if np.ptp(by_seller) <= 1e-6 * abs(by_seller.mean()) and np.ptp(profits) <= 1e-6 * max(abs(profits.mean()), 1e-9):
        return [together]  # equal sellers: theirs say nothing more
    return [together] + [
        first | {"seller": str(seller), "price": price, "profit": profit, "consumer_surplus": np.nan, "welfare": np.nan}
        for seller, (price, profit) in enumerate(zip(by_seller, profits, strict=True))
    ]


def benchmark_table(runs: Sequence[RunToEvaluate], benchmarks: Mapping[str, Benchmarks]) -> pd.DataFrame:
    """One row a run, benchmark and seller; see `COLUMNS`."""
    rows: list[dict] = []
    for run in runs:
        own = benchmarks[run.name]
        omega = ", ".join(f"{value:g}" for value in np.unique(np.round(np.asarray(run.params.reward.omega), 4)))
        named = {"Nash": own.nash, "joint profit": own.joint, f"equilibrium at omega={omega}": own.at_omega}
        for name, point in named.items():
            if point is not None:
                value = surplus_at(run.shape, run.params, point.prices)
                rows += _rows(run, name, point.prices, point.profits, value, own.label)
        for name, bound in (("Nash, stock-aware", own.fluid_nash), ("joint profit, stock-aware", own.fluid_joint)):
            if bound is not None:
                value = surplus_at(run.shape, run.params, bound.at.prices)
                rows += _rows(run, name, bound.at.prices, bound.at.profits, value, own.stock_label)
        for name, tried in zip(("Nash", "joint profit"), own.simulated or (), strict=False):
            note = f"{own.simulated_label}; ± {1.96 * tried.total_error:.2g} of chance (95 %)"
            rows += _rows(run, f"{name}, by simulation", tried.prices, tried.profits, np.nan, note)
        if own.stock_note and rows:
            rows[-1]["note"] += f"; no stock-aware benchmark: {own.stock_note}"
        if own.cycle is not None:
            seen = own.cycle
            sample = seen.prices[:: max(1, len(seen.prices) // 64)]
            value = float(np.mean([surplus_at(run.shape, run.params, prices) for prices in sample]))
            rows += _rows(run, "cycle of best responses", seen.mean_prices, seen.mean_profits, value, cycle_line(seen))
    return pd.DataFrame(rows, columns=list(COLUMNS))

"""What theory says of a sweep's markets: one-shot equilibria at their own ω, benchmarks, and the game on the grid."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from marl_pricing.equilibrium import static
from marl_pricing.equilibrium.static import Equilibrium, NoEquilibriumError
from marl_pricing.evaluation.benchmarks import Benchmarks, static_benchmarks, surplus_at
from marl_pricing.evaluation.markets import market_key
from marl_pricing.evaluation.sweep.play import SweptRun
from marl_pricing.market import MarketParams, MarketShape

_CURVE = 41  # points of the curve over ω
COLUMNS = {
    "over": "text; value of the second dimension, empty without",
    "x": "value on the x axis",
    "price_mean": "money; mean over offers of the one-shot equilibrium's prices at the market's omega",
    "profit": "money per epoch, of all sellers there",
    "profit_gain": "of that profit: 0 at Nash, 1 at joint profit; empty where withheld",
    "consumer_surplus": "money per epoch there; empty where it is unknown",
    "nash_price": "money; mean over offers",
    "joint_price": "money; mean over offers",
}


@dataclass(frozen=True)
class Exact:
    """One-shot theory of one run's market.

    Attributes:
        own: the equilibrium at the market's own ω; None where there is none.
        grid: [E, N] all equilibria of the game on the price grid, as levels; None where the market is not that game.
        no_grid: why not.
    """

    benchmarks: Benchmarks
    own: Equilibrium | None
    grid: np.ndarray | None
    no_grid: str


def _own(shape: MarketShape, params: MarketParams, omega: float | None = None) -> Equilibrium | None:
    try:
        return static.omega_equilibrium(shape, params, omega)
    except NoEquilibriumError:
        return None


def _grid(shape: MarketShape, params: MarketParams, benchmarks: Benchmarks) -> tuple[np.ndarray | None, str]:
    if benchmarks.ignores:
        return None, f"the game on the grid is a {benchmarks.label}"
    try:
        return static.grid_equilibria(shape, params), ""
    except ValueError as error:  # no grid, or too large
        return None, str(error)


def solve(runs: Sequence[SweptRun]) -> dict[str, Exact]:
    """The theory of every run's market, by run."""
    known: dict[Hashable, Benchmarks] = {}
    found = {}
    for run in runs:
        key = market_key(run.shape, run.params, with_omega=False)
        if key not in known:
            known[key] = static_benchmarks(run.shape, run.params)
        found[run.name] = Exact(known[key], _own(run.shape, run.params), *_grid(run.shape, run.params, known[key]))
    return found


def _row(run: SweptRun, x: float, own: Equilibrium, benchmarks: Benchmarks) -> dict:
    profit = float(own.profits.sum())
    prices = [None if end is None else float(end.prices.mean()) for end in (benchmarks.nash, benchmarks.joint)]
    return {
        "over": "" if run.over is None else str(run.over),
        "x": x,
        "price_mean": float(own.prices.mean()),
        "profit": profit,
        "profit_gain": None if benchmarks.reason else benchmarks.profit_gain(profit),
        "consumer_surplus": surplus_at(run.shape, run.params, own.prices),
        "nash_price": prices[0],
        "joint_price": prices[1],
    }


def curve(runs: Sequence[SweptRun], exact: dict[str, Exact], *, omega: bool) -> pd.DataFrame:
    """Exact equilibria along the x axis: the columns of `COLUMNS`.

    Args:
        omega: ω is on the x axis, so that the curve is also drawn between the runs; otherwise it has their points.
    """

    def rows() -> Iterator[dict]:
        if not omega:
            for run in runs:
                own = exact[run.name].own
                if own is not None:
                    yield _row(run, run.x, own, exact[run.name].benchmarks)
            return
        for over in dict.fromkeys(run.over for run in runs):
            alike = [run for run in runs if run.over == over]
            ends = min(run.x for run in alike), max(run.x for run in alike)
            for value in np.unique([*np.linspace(*ends, _CURVE), *(run.x for run in alike)]):
                point = _own(alike[0].shape, alike[0].params, float(value))
                if point is not None:
                    yield _row(alike[0], float(value), point, exact[alike[0].name].benchmarks)

    frame = pd.DataFrame(list(rows()), columns=list(COLUMNS))
    return frame.astype({name: float for name in COLUMNS if name != "over"})

"""What is measured of every seed in a sweep. A measure more is a line of `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation import metrics
from marl_pricing.evaluation.metrics import Episodes
from marl_pricing.evaluation.play import Record
from marl_pricing.evaluation.sweep.exact import Exact
from marl_pricing.evaluation.sweep.play import SweptRun

Array = np.ndarray

COLUMNS = {
    "run": "text",
    "over": "text; value of the second dimension, empty without",
    "x": "value on the x axis",
    "seed": "number of the training seed; seed k of every run meets the k-th set of shoppers",
    "measure": "text; a key of MEASURES",
    "value": "of the seed's greedy policy over all its episodes",
}


@dataclass(frozen=True)
class Seed:
    """What one seed's measures are made of.

    Attributes:
        scores: of the whole market, by the names of `metrics.MEASURES`; NaN where there was nothing to measure.
    """

    run: SweptRun
    exact: Exact
    episodes: Episodes
    scores: dict[str, float]


Reason = Callable[[SweptRun, Exact], str]


def _never(run: SweptRun, exact: Exact) -> str:
    return ""


@dataclass(frozen=True)
class Measure:
    """A number of a seed.

    Attributes:
        label, unit, explanation: for people.
        of: the number; NaN where the play does not determine it.
        withheld: why a market has no such number; empty where it has.
        percent: shown in per cent.
    """

    label: str
    unit: str
    explanation: str
    of: Callable[[Seed], float]
    withheld: Reason = _never
    percent: bool = False


def _taken(name: str, needs: Reason = _never) -> Measure:
    """A measure of `metrics`, of the whole market."""
    own = metrics.MEASURES[name]

    def withheld(run: SweptRun, exact: Exact) -> str:
        return own.withheld(run.shape, run.params) or needs(run, exact)

    return Measure(own.label, own.unit, own.explanation, lambda seed: seed.scores[name], withheld, own.percent)


def _needs_stock(run: SweptRun, exact: Exact) -> str:
    return "stock is unlimited" if run.shape.inventory.unlimited else ""


def _needs_agents(run: SweptRun, exact: Exact) -> str:
    return "" if run.shape.demand.num_classes > 1 else "there are no agents"


def _needs_sessions(run: SweptRun, exact: Exact) -> str:
    return "" if run.shape.traffic.walks_sessions else "demand comes without sessions (traffic.model=analytic)"


def _needs_gain(run: SweptRun, exact: Exact) -> str:
    return exact.benchmarks.reason


def _needs_own(run: SweptRun, exact: Exact) -> str:
    return "" if exact.own is not None else "there is no one-shot equilibrium"


def _needs_grid(run: SweptRun, exact: Exact) -> str:
    return exact.no_grid


def _profit_gain(seed: Seed) -> float:
    return float(seed.exact.benchmarks.profit_gain(seed.scores["profit"]))


def _price_gap(seed: Seed) -> float:
    assert seed.exact.own is not None
    return float(np.abs(posted(seed.episodes.record) - seed.exact.own.prices).mean())


def _on_grid(seed: Seed) -> float:
    assert seed.exact.grid is not None
    levels = np.asarray(seed.run.params.prices.levels)
    return float(plays_equilibria(posted(seed.episodes.record), levels, seed.exact.grid))


def _proxy_correlation(seed: Seed) -> float:
    proxy, people = proxy_and_people(seed.episodes)
    return correlation(proxy, people)


def _proxy_inflation(seed: Seed) -> float:
    proxy, people = proxy_and_people(seed.episodes)
    return float(proxy.sum() / people.sum()) if people.sum() else float("nan")


def proxy_and_people(own: Episodes) -> tuple[Array, Array]:
    """Demand proxy, and units that people ordered, of all offers and epochs that ran: each [M], float64."""
    ran = own.offered > 0
    proxy, people = own.record.events[ran], own.record.orders[..., 0, :][ran]
    return np.asarray(proxy, np.float64), np.asarray(people, np.float64)


def posted(record: Record) -> Array:
    """Joint prices [M, N] of all epochs in which every seller was in the market."""
    return np.asarray(record.price, np.float64)[record.live.all(-1)]


def plays_equilibria(prices: Array, levels: Array, equilibria: Array) -> bool:
    """Whether every joint price is one of the equilibria of the game on the grid.

    Args:
        prices: [M, N] money.  levels: [N, K] the grid.  equilibria: [E, N] levels.
    """
    index = np.abs(np.asarray(levels, np.float64)[None] - prices[..., None]).argmin(-1)
    played = np.unique(index, axis=0)
    return bool((played[:, None] == equilibria[None]).all(-1).any(-1).all())


def correlation(one: Any, other: Any) -> float:
    """Pearson's, of all entries; NaN where one of them does not vary."""
    x, y = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(np.corrcoef(x, y)[0, 1]) if x.size > 1 and x.std() > 0 and y.std() > 0 else float("nan")


MEASURES: dict[str, Measure] = {
    "profit": _taken("profit"),
    "profit_gain": Measure(
        "profit gain Δ", "0 Nash, 1 joint", "(profit − Nash) / (joint − Nash), one-shot benchmarks",
        _profit_gain, _needs_gain,
    ),
    "consumer_surplus": _taken("consumer_surplus"),
    "price_mean": _taken("price_mean"),
    "price_gap": Measure(
        "distance from equilibrium", "money per unit",
        "mean distance of a posted price from the one-shot equilibrium at the market's omega", _price_gap, _needs_own,
    ),
    "grid_equilibrium": Measure(
        "plays a grid equilibrium", "seeds",
        "every joint price posted is an equilibrium, at the market's omega, of the game on the price grid",
        _on_grid, _needs_grid, percent=True,
    ),
    "price_spread": _taken("price_spread"),
    "fill_rate": _taken("fill_rate", _needs_stock),
    "stockout_share": _taken("stockout_share", _needs_stock),
    "stock": _taken("stock"),
    "bullwhip": _taken("bullwhip"),
    "coi": _taken("coi", _needs_agents),
    "proxy_correlation": Measure(
        "correlation of proxy and demand", "−1 to 1",
        "correlation of an offer's demand proxy with the units that people ordered in the same epoch",
        _proxy_correlation, _needs_sessions,
    ),
    "proxy_inflation": Measure(
        "proxy per unit", "weighted events", "demand proxy over units that people ordered", _proxy_inflation,
        _needs_sessions,
    ),
}  # fmt: skip


def measure_run(run: SweptRun, exact: Exact, records: Sequence[Record]) -> pd.DataFrame:
    """All measures that a run's market has, one row a seed and measure: `COLUMNS`."""
    wanted = {name: own for name, own in MEASURES.items() if not own.withheld(run, exact)}
    rows = []
    for number, record in enumerate(records):
        episodes = Episodes(run.shape, run.params, record)
        parts = metrics.measure(episodes)
        whole = {name: metrics.Parts(own.top[:, 0].sum(), own.bottom[:, 0].sum()).value for name, own in parts.items()}
        seed = Seed(run, exact, episodes, {name: float(value) for name, value in whole.items()})
        for name, own in wanted.items():
            rows.append((run.name, "" if run.over is None else str(run.over), run.x, number, name, own.of(seed)))
    return pd.DataFrame(rows, columns=list(COLUMNS))

"""What happens over an episode, and what a policy does where: the numbers under the figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from marl_pricing.equilibrium.static import Equilibrium
from marl_pricing.evaluation import benchmark_lines
from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.tables import EPISODE
from marl_pricing.policies import Tried

_BINS = 8
_FEWEST = 5  # visits that a cell of a policy map needs


def by_epoch(offers: pd.DataFrame, values: dict[str, str]) -> pd.DataFrame:
    """Each seller's epochs with its products put together: one row per (run, policy, seed, episode, epoch, seller).

    Args:
        values: column and how products are put together ("mean", "sum", "max").
    """
    keys = [*EPISODE, "epoch", "seller"]
    return offers[[*keys, *values]].groupby(keys, observed=True).agg(values).reset_index()


def time_path(epochs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean over episodes for each seller and epoch, with a 95 % interval of that mean (Student's t).

    The interval is over training seeds where there are several, else over episodes.

    Returns:
        Columns `seller`, `epoch`, `mean`, `low`, `high`; the interval has no width where there is one episode.
    """
    frame = epochs[["seed", "episode", "seller", "epoch"]].assign(value=epochs[column].astype(float))
    if frame["seed"].nunique() > 1:
        frame = frame.groupby(["seed", "seller", "epoch"])["value"].mean().reset_index()
    found = frame.groupby(["seller", "epoch"])["value"].agg(["mean", "std", "count"])
    half = stats.t.ppf(0.975, np.maximum(found["count"] - 1, 1)) * found["std"] / np.sqrt(found["count"])
    half = half.fillna(0.0)
    return (
        found.assign(low=found["mean"] - half, high=found["mean"] + half).drop(columns=["std", "count"]).reset_index()
    )


def benchmark_prices(benchmarks: Benchmarks, num_sellers: int) -> dict[str, np.ndarray]:
    """Nash and joint-profit price [S] of each seller, mean over its products; what does not exist is left out.

    Where stock counts, the same given the stock stand beside them, by names of their own: the best constant prices by
    simulation where they are known, else those that the stock can serve where it binds. Where stock is endless, what
    was found by simulation (on a grid, say) is called so.
    """
    found = _named(benchmarks, "Nash price", "joint-profit price")
    return {name: own.prices.reshape(num_sellers, -1).mean(-1) for name, own in found.items()}


def benchmark_profits(benchmarks: Benchmarks) -> dict[str, float]:
    """Nash and joint profit of all sellers, money per epoch, as `benchmark_prices`."""
    return {name: float(own.profits.sum()) for name, own in _named(benchmarks, "Nash profit", "joint profit").items()}


def seller_marks(benchmarks: Benchmarks, measure: str) -> dict[str, np.ndarray]:
    """Each seller's `price_mean` or `profit` [S] at the benchmarks, by the names of `benchmark_prices`."""
    found = _named(benchmarks, "Nash price", "joint-profit price")
    if measure == "profit":
        return {name: own.profits for name, own in found.items()}
    return {name: own.prices.reshape(own.profits.size, -1).mean(-1) for name, own in found.items()}


def _named(own: Benchmarks, nash: str, joint: str) -> dict[str, Equilibrium | Tried]:
    found: dict[str, Equilibrium | Tried | None] = {nash: own.nash, joint: own.joint}
    fluid = [None if bound is None else bound.at for bound in (own.fluid_nash, own.fluid_joint)]
    beside = benchmark_lines.STOCK_AWARE if own.knows_stock else benchmark_lines.PLAYED
    for name, point in zip((nash, joint), own.simulated or fluid, strict=True):
        found[f"{name}{beside}"] = point
    return {name: point for name, point in found.items() if point is not None}


def _edges(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    least = 0.02 * max(abs(high), 1.0)
    if high - low < least:
        return np.array([0.5 * (low + high) - least, 0.5 * (low + high) + least])
    # Means of a few grid prices take few values: a bin around each leaves no empty bins between them.
    distinct = np.unique(values.round(6))
    if len(distinct) <= 2 * _BINS and np.diff(distinct).min() > 0.25 * (high - low) / _BINS:
        middles = 0.5 * (distinct[1:] + distinct[:-1])
        return np.concatenate([[2 * low - middles[0]], middles, [2 * high - middles[-1]]])
    return np.linspace(low, high, _BINS + 1)


def visits(offers: pd.DataFrame) -> pd.DataFrame:
    """What a policy saw and did: `price`, own `stock`, and `rival`, the rivals' mean price of the last epoch.

    The first epoch of an episode is left out. Without rivals `rival` is NaN.
    """
    keys = [*EPISODE, "epoch", "product"]
    frame = offers[[*keys, "seller", "price", "stock"]].astype({"price": float, "stock": float})
    everyone = frame.groupby(keys, observed=True)["price"].agg(["sum", "count"]).reset_index()
    frame = frame.merge(everyone.assign(epoch=everyone["epoch"] + 1), on=keys, how="inner")
    own = offers[[*keys, "seller", "price"]].astype({"price": float}).rename(columns={"price": "own_last"})
    own["epoch"] += 1
    frame = frame.merge(own, on=[*keys, "seller"], how="inner")
    others = frame["count"] - 1
    frame["rival"] = np.where(others > 0, (frame["sum"] - frame["own_last"]) / others.where(others > 0, 1), np.nan)
    return frame[["seed", "seller", "product", "price", "stock", "rival"]]


def above_own_mean(seen: pd.DataFrame) -> pd.DataFrame:
    """`visits` with each price in per cent above the mean that its seed's seller asks for the product.

    Seeds that ask different prices, each always the same, then look like what they are: they answer nothing.
    """
    mean = seen.groupby(["seed", "seller", "product"])["price"].transform("mean")
    return seen.assign(price=100.0 * (seen["price"] / mean - 1.0))


def response_map(seen: pd.DataFrame, rows: str, columns: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean price by bins of two of `visits`' columns.

    Returns:
        (edges of the row bins [R + 1], of the column bins [C + 1], mean price [R, C]: NaN below five visits).
    """
    own, other = seen[rows].to_numpy(), seen[columns].to_numpy()
    bins = (_edges(own), _edges(other))
    count, _, _ = np.histogram2d(own, other, bins)
    total, _, _ = np.histogram2d(own, other, bins, weights=seen["price"].to_numpy())
    with np.errstate(invalid="ignore", divide="ignore"):
        return *bins, np.where(count >= _FEWEST, total / count, np.nan)


def response_line(seen: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean price, and the middle 80 % of prices, by bin of one of `visits`' columns.

    Returns:
        Columns `at` (middle of the bin), `mean`, `low`, `high`; bins below five visits are left out.
    """
    edges = _edges(seen[column].to_numpy())
    place = np.clip(np.digitize(seen[column], edges) - 1, 0, len(edges) - 2)
    grouped = seen["price"].groupby(place)
    line = pd.DataFrame(
        {"mean": grouped.mean(), "low": grouped.quantile(0.1), "high": grouped.quantile(0.9), "count": grouped.size()}
    )
    line.insert(0, "at", (0.5 * (edges[1:] + edges[:-1]))[line.index])
    return line[line["count"] >= _FEWEST].reset_index(drop=True)

"""How prices and profits respond to what was forced: paths against the undisturbed ones, with intervals."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.behaviour.forced import Force, Start, leave_alone

Array = np.ndarray

BEFORE = 5  # undisturbed epochs that a path shows before τ

COLUMNS = {
    "run": "text",
    "policy": "text; the learned sellers",
    "case": "text; what is forced: best reply, cut, rise, stockout or burst",
    "epochs": "whole number; how many epochs it is forced for",
    "forced": "text; the seller to whom it is done, or all (mean over them); everyone for a burst",
    "seller": "text; whose path it is: a seller, or the forced one (itself), or the mean of the others (rivals)",
    "since": "whole number; epochs since it began, 0 is the first forced one, below 0 what came before",
    "undisturbed": "money per unit; price had nothing been forced, under the same shoppers; mean over products",
    "price_change": "money per unit; price less the undisturbed one",
    "price_low": "lower end of its 95 % bootstrap interval; empty where nothing can be resampled",
    "price_high": "upper end",
    "profit_change": "money per epoch; raw reward less the undisturbed one",
    "profit_low": "lower end of its 95 % bootstrap interval",
    "profit_high": "upper end",
    "resampled": "text; what intervals resample: seeds or episodes",
    "count": "how many of them",
}


@dataclass(frozen=True)
class Responses:
    """Branches of several seeds against the undisturbed one. R seeds, F branches, E episodes, H epochs from τ on.

    Attributes:
        before: [R, E, τ, S] undisturbed prices until τ.  base: [R, E, H, S] from τ on.
        price: [R, F, E, H, S] money, less the undisturbed; NaN where a seller is in one of the two markets only.
        reward: [R, F, E, H, S] money, less the undisturbed; who has left earns nothing.
        at: τ.
    """

    before: Array
    base: Array
    price: Array
    reward: Array
    at: int

    def branches(self, which: slice) -> Responses:
        """Some of the branches."""
        return replace(self, price=self.price[:, which], reward=self.reward[:, which])


def _sellers(prices: ArrayLike, num_sellers: int) -> Array:
    """Means over products: [..., N] to [..., S]."""
    own = np.asarray(prices, np.float64)
    return own.reshape(*own.shape[:-1], num_sellers, -1).mean(-1)


def respond(starts: Sequence[Start], forces: Sequence[Force], epochs: int) -> Responses:
    """Play every branch to `epochs` after τ, next to one that is left alone.

    Args:
        starts, forces: one a seed; forces [E, F, ...].
    """
    before, base, price, reward = [], [], [], []
    for start, force in zip(starts, forces, strict=True):
        num_sellers = start.shape.num_sellers
        alone = leave_alone(start.shape, start.num_episodes, 1)
        both = jax.tree.map(lambda *leaves: np.concatenate(leaves, 1), alone, force)
        path = start.branch(both, epochs)
        prices = np.where(path.live, _sellers(path.price, num_sellers), np.nan)
        rewards = np.where(path.live, np.asarray(path.reward, np.float64), 0.0)
        before.append(np.where(start.before.live, _sellers(start.before.price, num_sellers), np.nan))
        base.append(prices[:, 0])
        price.append(np.moveaxis(prices[:, 1:] - prices[:, :1], 1, 0))
        reward.append(np.moveaxis(rewards[:, 1:] - rewards[:, :1], 1, 0))
    return Responses(np.stack(before), np.stack(base), np.stack(price), np.stack(reward), starts[0].at)


def known_mean(values: Array, axis: int | tuple[int, ...]) -> Array:
    """Mean of what is not NaN; NaN where there is nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=axis)


def weighted(values: Array, weights: Array) -> Array:
    """Mean over forced branches and sellers: values [..., F, E, H, S] by weights [F, S] to [..., E, H].

    What is NaN does not count; NaN where nothing does.
    """
    known = np.isfinite(values)
    total = np.einsum("...fehs,fs->...eh", np.where(known, values, 0.0), weights)
    count = np.einsum("...fehs,fs->...eh", known.astype(np.float64), weights)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 1e-9)


def units_of(values: Array) -> tuple[Array, str]:
    """What an interval resamples: seeds where there are several, else episodes.

    Args:
        values: [R, E, ...].

    Returns:
        (one row a unit [U, ...], "seeds" or "episodes").
    """
    if len(values) > 1:
        return known_mean(values, 1), "seeds"
    return values[0], "episodes"


def mean_interval(values: Array) -> tuple[Array, Array, Array]:
    """Means [...] of units [U, ...], with percentile bootstrap intervals of 95 %; NaN ends for less than two units."""
    return known_mean(values, 0), *statistics.bootstrap((np.moveaxis(values, 0, -1),), known_mean)


def path_rows(case: str, epochs: int, found: Responses, views: Mapping[tuple[str, str], Array]) -> pd.DataFrame:
    """Rows of `COLUMNS` without `run` and `policy`.

    Args:
        case, epochs: what is forced, and for how long.
        found: the branches of this case.
        views: by (forced, seller), the weights [F, S] of the mean that the rows are of.
    """
    shown = min(BEFORE, found.at)
    since = np.arange(-shown, found.base.shape[2])
    level = np.concatenate([found.before[:, :, found.at - shown :], found.base], 2)[:, None]
    parts: list[Array] = []
    undisturbed = []
    for weights in views.values():
        share = np.broadcast_to(weights.sum(0), (1, weights.shape[1]))
        undisturbed.append(known_mean(units_of(weighted(level, share))[0], 0))
        for change in (found.price, found.reward):
            values, kind = units_of(weighted(change, weights))
            parts.append(np.concatenate([np.zeros((len(values), shown)), values], 1))
    count = len(parts[0])
    mean, low, high = mean_interval(np.stack(parts, 1))
    frames = []
    for number, (forced, seller) in enumerate(views):
        prices, profits = 2 * number, 2 * number + 1
        frames.append(
            pd.DataFrame(
                {
                    "case": case,
                    "epochs": epochs,
                    "forced": forced,
                    "seller": seller,
                    "since": since,
                    "undisturbed": undisturbed[number],
                    "price_change": mean[prices],
                    "price_low": low[prices],
                    "price_high": high[prices],
                    "profit_change": mean[profits],
                    "profit_low": low[profits],
                    "profit_high": high[profits],
                    "resampled": kind,
                    "count": count,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def each_seller(num_sellers: int) -> dict[tuple[str, str], Array]:
    """Views [S, S] of branches that force one seller each: everyone's path, then the means of forced and of rivals."""
    one = np.eye(num_sellers)
    views = {(str(i), str(j)): np.outer(one[i], one[j]) for i in range(num_sellers) for j in range(num_sellers)} | {
        ("all", "itself"): one
    }
    return views | ({("all", "rivals"): 1.0 - one} if num_sellers > 1 else {})

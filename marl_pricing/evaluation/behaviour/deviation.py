"""Forced deviations: a seller is made to cut or raise its price for some epochs, then acts by its own policy again.

What the others do next is punishment, forgiveness, or nothing (Calvano et al. 2020, section IV). Everything else is
held still: the shoppers' random numbers, the others' policies, and what they remember.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing.evaluation.behaviour.forced import Force, Start, check_epochs, leave_alone
from marl_pricing.evaluation.behaviour.responses import (
    Responses,
    each_seller,
    known_mean,
    mean_interval,
    path_rows,
    respond,
    units_of,
    weighted,
)
from marl_pricing.market import MarketParams, MarketShape, MarketState
from marl_pricing.policies.expectations import need_expectations
from marl_pricing.policies.myopic import best_response
from marl_pricing.policies.targets import candidate_prices

Array = np.ndarray

BAND = 0.05  # share of the largest response within which rivals count as back

COLUMNS = {
    "run": "text",
    "policy": "text; the learned sellers",
    "move": "text; how the seller is made to deviate",
    "epochs": "whole number; for how many epochs",
    "seller": "text; who deviates",
    "seed": "whole number; the training seed",
    "size": "money per unit; price in the first forced epoch less the undisturbed one, mean over episodes and products",
    "depth": "money per unit; largest fall of the rivals' mean price below the undisturbed path afterwards, or 0; "
    "chance makes some, see the interval of the path",
    "depth_share": "the same, as a share of the undisturbed price",
    "height": "money per unit; largest rise of the rivals' mean price above the undisturbed path afterwards, or 0",
    "recovery": "epochs from the last forced one until, after their largest response, the rivals' mean price is back "
    "within 5 % of it or half a grid step; 0 where they never left; empty: not within the episode",
    "gain": "money; sum over the rest of the episode of discount^(t - tau) x (raw reward less the undisturbed one)",
    "pays": "true where the gain is above 0",
}
SUMMARY_COLUMNS = {
    **{name: COLUMNS[name] for name in ("run", "policy", "move", "epochs")},
    "seller": "text; who deviates, or all (mean over them)",
    **{name: f"{COLUMNS[name]}; mean over seeds" for name in ("size", "depth", "depth_share", "height")},
    "recovery": "epochs; mean over the seeds (and sellers) whose rivals were back within the episode",
    "recovered": "share of seeds (and sellers) whose rivals were back within the episode",
    "gain": f"{COLUMNS['gain']}; mean over seeds",
    "low": "lower end of the gain's 95 % bootstrap interval; empty where nothing can be resampled",
    "high": "upper end",
    "pays": "share of seeds (and sellers) where deviating pays",
    "resampled": "text; what the interval resamples: seeds or episodes",
    "count": "how many of them",
}


@dataclass(frozen=True)
class Move:
    """How a seller is made to deviate.

    Its new price is set once, from what it would post at τ and from what it sees there, and kept for all forced epochs;
    with several products, for each. The price map posts what comes nearest.

    Attributes:
        name: what tables and figures call it.
        by: `best_reply` (the myopic best response to the rivals' last prices), `steps` (levels of the price grid), or
            `share` (of the price).
        size: steps, or share; negative: a cut. Without meaning for `best_reply`.
    """

    name: str
    by: Literal["best_reply", "steps", "share"]
    size: float = 0.0


BEST_REPLY = Move("best reply", "best_reply")
CUT, RISE = Move("cut", "share", -0.1), Move("rise", "share", 0.1)


def check_move(shape: MarketShape, move: Move) -> None:
    """Refuse a move that this market does not have.

    Raises:
        RuleError: for a best reply where expected orders have no closed form.
        ValueError: for grid steps where prices are no grid, or a size that makes no price.
    """
    if move.by == "best_reply":
        need_expectations(shape, "best reply")
    elif move.by == "steps" and (shape.prices.map != "levels" or move.size != int(move.size)):
        raise ValueError(
            f"move={move!r}: accepted are whole steps where market.prices.map is 'levels' (here {shape.prices.map!r}), "
            "otherwise by='share'"
        )
    elif move.by == "share" and not -1.0 < move.size < np.inf:
        raise ValueError(f"move={move!r}: accepted is a share above -1")


@partial(jax.jit, static_argnums=0)
def _best_replies(shape: MarketShape, params: MarketParams, states: MarketState) -> jax.Array:
    """Prices [E, N] of each seller's best response to the others' last ones."""

    def one(state: MarketState) -> jax.Array:
        choice = best_response(shape, params, state)[0].reshape(-1)
        candidates = candidate_prices(shape, params, state.prices)
        return jnp.take_along_axis(candidates, choice[:, None], 1)[:, 0]

    return jax.vmap(one)(states)


def _new_prices(start: Start, move: Move, posted: Array) -> Array:
    """What each seller's prices would be by this move [E, N].

    Args:
        posted: [E, N] money, undisturbed prices at τ.
    """
    if move.by == "best_reply":
        return np.asarray(_best_replies(start.shape, start.params, start.moment.state))
    if move.by == "share":
        return posted * np.float32(1.0 + move.size)
    levels = np.asarray(start.params.prices.levels)
    here = np.abs(levels - posted[..., None]).argmin(-1)
    there = np.clip(here + int(move.size), 0, levels.shape[1] - 1)
    return levels[np.arange(levels.shape[0]), there]


def _forces(start: Start, moves: Sequence[Move], lengths: Sequence[int]) -> Force:
    """Branches [E, moves · lengths · S], sellers last."""
    num_sellers, num_offers = start.shape.num_sellers, start.shape.num_offers
    posted = np.asarray(start.branch(leave_alone(start.shape, start.num_episodes, 1), 1).price)[:, 0, 0]
    count = len(moves) * len(lengths) * num_sellers
    force = leave_alone(start.shape, start.num_episodes, count)
    grid = (start.num_episodes, len(moves), len(lengths), num_sellers)
    price = np.empty((*grid, num_offers), np.float32)
    epochs = np.broadcast_to(np.asarray(lengths, np.int32)[:, None], grid)
    own = np.arange(num_offers) // start.shape.num_products == np.arange(num_sellers)[:, None]  # [S, N]
    for number, move in enumerate(moves):
        price[:, number] = np.where(own, _new_prices(start, move, posted)[:, None, None, :], np.nan)
    return force.replace(price=price.reshape(force.price.shape), epochs=epochs.reshape(force.epochs.shape))


def half_step(shape: MarketShape, params: MarketParams) -> float:
    """Half the smallest step between price levels, money; 0 where prices are no grid."""
    if shape.prices.map != "levels" or shape.prices.num_levels < 2:
        return 0.0
    return 0.5 * float(np.diff(np.asarray(params.prices.levels, np.float64), axis=1).min())


def recovery_time(path: Array, forced: int, least: float) -> float:
    """Epochs from the last forced one until a response is over.

    Args:
        path: [H] the rivals' mean price less the undisturbed one.
        forced: k, epochs that were forced.
        least: money, a response of this size is none.

    Returns:
        NaN where it is not over within the path, or where there is none to look at.
    """
    size = np.abs(path)
    if not np.isfinite(size).all():
        return float("nan")
    band = max(BAND * float(size.max()), least)
    if size.max() <= max(least, 1e-6):
        return 0.0
    back = np.flatnonzero(size[size.argmax() :] <= band)
    return float(max(int(size.argmax()) + int(back[0]) - (forced - 1), 0)) if back.size else float("nan")


def _measures(path: Array, level: Array, forced: int, least: float) -> dict[str, float]:
    """What the rivals did.

    Args:
        path, level: [H] their mean price, less the undisturbed one, and that one.
    """
    if not np.isfinite(path).any():
        return dict.fromkeys(("depth", "depth_share", "height", "recovery"), float("nan"))
    worst = int(np.nanargmin(path))
    depth = max(0.0, -float(path[worst]))
    return {
        "depth": depth,
        "depth_share": depth / float(level[worst]),
        "height": max(0.0, float(np.nanmax(path))),
        "recovery": recovery_time(path, forced, least),
    }


def _gains(found: Responses, discount: float) -> Array:
    """Discounted gains [R, S, E] of the deviating seller, money."""
    weights = discount ** np.arange(found.reward.shape[3])
    own = np.einsum("rfehf->rfeh", found.reward)
    return own @ weights


def _by_seed(found: Responses, gains: Array, forced: int, least: float) -> pd.DataFrame:
    """One row a deviating seller and seed, for branches of one move and length.

    Args:
        gains: [R, S, E].  forced: k.  least: see `recovery_time`.
    """
    rows = []
    for seller, one in enumerate(np.eye(gains.shape[1])):
        change = known_mean(weighted(found.price, np.outer(one, 1.0 - one)), 1)  # [R, H]
        level = known_mean(weighted(found.base[:, None], (1.0 - one)[None]), 1)
        for seed in range(len(gains)):
            gain = float(gains[seed, seller].mean())
            rows.append(
                {
                    "seller": str(seller),
                    "seed": seed,
                    "size": float(known_mean(found.price[seed, seller, :, 0, seller], 0)),
                    **_measures(change[seed], level[seed], forced, least),
                    "gain": gain,
                    "pays": gain > 0,
                }
            )
    return pd.DataFrame(rows)


def _summary(rows: pd.DataFrame, gains: Array) -> list[dict]:
    """One row a seller, and one for all.

    Args:
        rows: of one move and length.  gains: [R, S, E].
    """
    found = []
    for seller in (*range(gains.shape[1]), None):
        mine = slice(None) if seller is None else slice(seller, seller + 1)
        own = rows if seller is None else rows[rows["seller"] == str(seller)]
        units, kind = units_of(gains[:, mine].mean(1))
        mean, low, high = mean_interval(units[:, None])
        found.append(
            {
                "move": rows["move"].iloc[0],
                "epochs": rows["epochs"].iloc[0],
                "seller": "all" if seller is None else str(seller),
                **{name: own[name].mean() for name in ("size", "depth", "depth_share", "height", "recovery")},
                "recovered": own["recovery"].notna().mean() if own["depth"].notna().any() else float("nan"),
                "gain": mean[0],
                "low": low[0],
                "high": high[0],
                "pays": own["pays"].mean(),
                "resampled": kind,
                "count": len(units),
            }
        )
    return found


def deviations(
    starts: Sequence[Start],
    moves: Sequence[Move],
    lengths: Sequence[int],
    discount: float,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Every move by every seller, for each of the lengths.

    Args:
        starts: of `forced.follow`, one a training seed.
        lengths: k, numbers of epochs that a deviation is forced for.
        discount: γ of the gain.
        tell: called once at the end.

    Returns:
        (rows of `COLUMNS`, rows of `SUMMARY_COLUMNS`, paths: rows of `responses.COLUMNS`), without `run` and `policy`.

    Raises:
        ValueError, RuleError: for a length that is not within the episode, a discount outside [0, 1], a move that this
            market does not have.
    """
    shape, params, at = starts[0].shape, starts[0].params, starts[0].at
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount={discount!r}: accepted is a number from 0 to 1")
    for length in lengths:
        check_epochs(shape, at, length)
    for move in moves:
        check_move(shape, move)
    num_sellers, pairs = shape.num_sellers, [(move, length) for move in moves for length in lengths]
    everything = respond(starts, [_forces(start, moves, lengths) for start in starts], shape.episode_length - at)
    least, views = half_step(shape, params), each_seller(num_sellers)
    rows: list[pd.DataFrame] = []
    summary: list[dict] = []
    paths = []
    for number, (move, length) in enumerate(pairs):
        found = everything.branches(slice(number * num_sellers, (number + 1) * num_sellers))
        gains = _gains(found, discount)
        paths.append(path_rows(move.name, length, found, views))
        rows.append(_by_seed(found, gains, length, least).assign(move=move.name, epochs=length))
        summary += _summary(rows[-1], gains)
    tell("forced deviations")
    order = [name for name in COLUMNS if name not in ("run", "policy")]
    return pd.concat(rows, ignore_index=True)[order], pd.DataFrame(summary), pd.concat(paths, ignore_index=True)

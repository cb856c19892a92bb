"""Does deviating pay? Each rule in one learned seller's seat, in the same episodes, against what that seller earned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
import pandas as pd

from marl_pricing.evaluation.metrics import ratio_interval
from marl_pricing.evaluation.play import Record, play
from marl_pricing.market import MarketParams, MarketShape, Policy
from marl_pricing.policies import seat

COLUMNS = {
    "run": "text",
    "policy": "text; the learned sellers",
    "rule": "text; the guest in one of their seats",
    "seller": "text; the seat, or all (mean over the seats)",
    "guest": "money per epoch that the guest earns there",
    "learned": "money per epoch that the learned seller earns in the same episodes",
    "gain": "guest less learned",
    "low": "lower end of the gain's 95 % bootstrap interval; empty where nothing can be resampled",
    "high": "upper end",
    "resampled": "text; what the interval resamples: seeds or episodes",
    "count": "how many of them",
}


def _earned(record: Record) -> np.ndarray:
    """Raw rewards of each seller by episode [E, S], money."""
    return np.asarray(record.reward_raw * record.live, np.float64).sum(1)


def deviations(
    key: jax.Array,
    shape: MarketShape,
    params: MarketParams,
    learned: Sequence[Policy],
    rules: Mapping[str, Policy],
    episodes: int,
    tell: Callable[[str], None] = lambda text: None,
) -> pd.DataFrame:
    """What each rule gains in each seat of the learned sellers; positive where deviating pays.

    The guest and the seller that it replaces meet the same shoppers, episode by episode, and are compared by raw reward
    per epoch of the whole episode (who leaves early earns nothing afterwards).

    Args:
        learned: one policy a training seed; seed k plays under `key` with k folded in.
        rules: guests by name.
        tell: called after each rule.

    Returns:
        Rows of `COLUMNS` without `run` and `policy`.
    """
    keys = [jax.random.fold_in(key, number) for number in range(len(learned))]
    base = [_earned(play(own, shape, params, policy, episodes)) for own, policy in zip(keys, learned, strict=True)]
    epochs = np.full((episodes,), float(shape.episode_length))
    rows = []
    for rule, guest in rules.items():
        # [seeds, seats, E] rewards of the guest and of the seller it replaces.
        theirs, ours = np.zeros((2, len(learned), shape.num_sellers, episodes))
        for number, (own_key, host) in enumerate(zip(keys, learned, strict=True)):
            for place in range(shape.num_sellers):
                record = play(own_key, shape, params, seat(host, guest, place, shape.num_sellers), episodes)
                theirs[number, place] = _earned(record)[:, place]
                ours[number, place] = base[number][:, place]
        for place in (*range(shape.num_sellers), None):
            mine = slice(None) if place is None else [place]
            guest_sum, own_sum = (x[:, mine].mean(1) for x in (theirs, ours))  # [seeds, E]
            if len(learned) > 1:
                difference = (guest_sum - own_sum).sum(1)
                units, kind = np.full(len(learned), epochs.sum()), "seeds"
            else:
                difference, units, kind = (guest_sum - own_sum)[0], epochs, "episodes"
            found = ratio_interval(difference, units)
            rows.append(
                {
                    "rule": rule,
                    "seller": "all" if place is None else str(place),
                    "guest": guest_sum.mean() / shape.episode_length,
                    "learned": own_sum.mean() / shape.episode_length,
                    "gain": found.value,
                    "low": found.low,
                    "high": found.high,
                    "resampled": kind,
                    "count": len(units),
                }
            )
        tell(rule)
    frame = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("run", "policy")])
    return frame.astype({"low": float, "high": float})

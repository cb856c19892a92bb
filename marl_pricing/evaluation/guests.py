"""Does deviating pay? Each rule in one learned seller's seat, in the same episodes, against what that seller earned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
import pandas as pd

from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.metrics import Parts
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
_ENOUGH = 8  # episodes of a seed where there are several


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
    sellers: Sequence[int] | None = None,
) -> pd.DataFrame:
    """What each rule gains in each seat of the learned sellers; positive where deviating pays.

    The guest and the seller that it replaces meet the same shoppers, episode by episode, and are compared by raw reward
    per epoch of the whole episode (who leaves early earns nothing afterwards).

    Args:
        learned: one policy a training seed; seed k plays under `key` with k folded in.
        rules: guests by name.
        episodes: of each seed; with several seeds 8 are enough, because seeds are what is resampled.
        tell: called after each rule.
        sellers: in whose seats guests sit; None: in all.

    Returns:
        Rows of `COLUMNS` without `run` and `policy`.
    """
    episodes = min(episodes, _ENOUGH) if len(learned) > 1 else episodes
    places = list(range(shape.num_sellers)) if sellers is None else list(sellers)
    keys = [jax.random.fold_in(key, number) for number in range(len(learned))]
    base = [_earned(play(own, shape, params, policy, episodes)) for own, policy in zip(keys, learned, strict=True)]
    rows = []
    for rule, guest in rules.items():
        # [seats, seeds, E] rewards of the guest and of the seller it replaces.
        theirs, ours = np.zeros((2, len(places), len(learned), episodes))
        for number, (own_key, host) in enumerate(zip(keys, learned, strict=True)):
            for row, place in enumerate(places):
                record = play(own_key, shape, params, seat(host, guest, place, shape.num_sellers), episodes)
                theirs[row, number] = _earned(record)[:, place]
                ours[row, number] = base[number][:, place]
        theirs, ours = (np.concatenate([earned, earned.mean(0, keepdims=True)]) for earned in (theirs, ours))
        gain = statistics.estimate(Parts(theirs - ours, np.full_like(ours, shape.episode_length)))
        for place, seller in enumerate([*map(str, places), "all"]):
            rows.append(
                {
                    "rule": rule,
                    "seller": seller,
                    "guest": theirs[place].mean() / shape.episode_length,
                    "learned": ours[place].mean() / shape.episode_length,
                    "gain": gain.value[place],
                    "low": gain.low[place],
                    "high": gain.high[place],
                    "resampled": gain.resampled,
                    "count": gain.count,
                }
            )
        tell(rule)
    return pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("run", "policy")])

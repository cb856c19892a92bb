"""Runs played in worlds that they were not trained for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing.evaluation.play import Record, play_episodes
from marl_pricing.market import MarketParams, MarketShape, Policy
from marl_pricing.robust import World

Array = jax.Array

COLUMNS = {
    "run": "text",
    "factor": "text; what differs from the world of training",
    "value": "of the factor",
    "world": "text",
    "seed": "number of the training seed",
    "episode": "number of the episode; all runs meet the same shoppers in an episode of a seed and world",
    "profit": "money an epoch, all sellers together: raw reward",
    "fill_rate": "units sold over units wanted",
    "coi": "cost of information: mean price paid less mean unit cost, money a unit (spec/phantom_methodology, def. 1)",
    "price": "mean posted price",
}


@dataclass(frozen=True)
class Tried:
    """A run to be tried.

    Attributes:
        policies: one a training seed, of one kind.
        worlds: the world of training first.
        against: the run that it is compared with; None for none.
    """

    name: str
    policies: Sequence[Policy]
    worlds: Sequence[World]
    against: str | None = None
    config_text: str = ""
    command: str = ""


def _sums(record: Record, params: MarketParams) -> dict[str, Array]:
    """Per episode [E]: what the columns are made of, float32 sums over epochs that ran."""
    live = record.live.any(-1).astype(jnp.float32)  # [E, T]
    ran = live[..., None]
    margin = (record.price_paid - params.reward.unit_cost) * record.sales
    return {
        "reward": (record.reward_raw * record.live).sum((-1, -2)),
        "epochs": live.sum(-1),
        "sales": (record.sales * ran).sum((-1, -2)),
        "demand": (record.demand * ran).sum((-1, -2)),
        "margin": (margin * ran).sum((-1, -2)),
        "price": (record.price.mean(-1) * live).sum(-1),
    }


@partial(jax.jit, static_argnames=("shape", "act", "num_episodes"))
def _play_seeds(
    keys: Array, shape: MarketShape, params: MarketParams, act: Any, parameters: Any, memory: Any, num_episodes: int
) -> dict[str, Array]:
    """Sums [R, E] of R seeds' policies, one seed after the other so that memory stays that of one."""

    def one(own: tuple[Array, Any]) -> dict[str, Array]:
        key, seed_parameters = own
        return _sums(play_episodes(key, shape, params, act, seed_parameters, memory, num_episodes), params)

    return jax.lax.map(one, (keys, parameters))


def try_run(run: Tried, episodes: int, seed: int, step: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Play a run's policies in all its worlds.

    Args:
        episodes: of each seed and world.
        seed: of the shoppers; the k-th seed of every run meets the k-th set of them, in every world.
        step: told each world's label when it is done.

    Returns:
        The columns of `COLUMNS`, one row a world, seed and episode.

    Raises:
        ValueError: for less than one episode, or no policies.
    """
    if episodes < 1:
        raise ValueError(f"episodes={episodes!r}: accepted is a whole number of at least 1")
    if not run.policies:
        raise ValueError(f"run {run.name!r}: has no learned policies")
    first = run.policies[0]
    parameters = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(policy.parameters for policy in run.policies))
    count = len(run.policies)
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(count))
    frames = []
    for world in run.worlds:
        sums = _play_seeds(keys, world.shape, world.params, first.act, parameters, first.start(), episodes)
        own = {name: np.asarray(values, np.float64).ravel() for name, values in sums.items()}
        with np.errstate(invalid="ignore", divide="ignore"):
            frames.append(
                pd.DataFrame(
                    {
                        "run": run.name,
                        "factor": world.factor,
                        "value": world.value,
                        "world": world.label,
                        "seed": np.repeat(np.arange(count), episodes),
                        "episode": np.tile(np.arange(episodes), count),
                        "profit": own["reward"] / own["epochs"],
                        "fill_rate": own["sales"] / own["demand"],
                        "coi": own["margin"] / own["sales"],
                        "price": own["price"] / own["epochs"],
                    }
                )
            )
        step(world.label)
    return pd.concat(frames, ignore_index=True)

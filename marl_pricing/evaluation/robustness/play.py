"""Runs played in worlds that they were not trained for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing.evaluation.play import Record, play_seeds, seeds_of
from marl_pricing.market import MarketParams, Policy, booked
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
    "coi": "cost of information: mean price paid less mean unit cost, money a unit (the PHANTOM methodology, def. 1)",
    "price": "mean posted price",
}
OF_SELLER = "profit_seller_{}"  # one more for each seller


def columns_of(table: pd.DataFrame) -> dict[str, str]:
    """What the columns of a table of `try_run` are."""
    every = [name for name in table.columns if name not in COLUMNS]
    return COLUMNS | dict.fromkeys(every, "the same profit of one seller alone")


@dataclass(frozen=True)
class Tried:
    """A run to be tried.

    Attributes:
        policies: one a training seed, of one kind.
        worlds: the world of training first.
        against: the run that it is compared with; None for none.
        held: by seller that did not learn, who holds its seat here as in training.
        sellers: whose profit it is about, here and in the run compared with; None: that of all together.
    """

    name: str
    policies: Sequence[Policy]
    worlds: Sequence[World]
    against: str | None = None
    sellers: tuple[int, ...] | None = None
    held: Mapping[int, str] = field(default_factory=dict)
    config_text: str = ""
    command: str = ""


def _sums(record: Record, params: MarketParams) -> dict[str, Array]:
    """Per episode [E]: what the columns are made of, float32 sums over epochs that ran; `reward` [E, S]."""
    live = record.live.any(-1).astype(jnp.float32)  # [E, T]
    ran = live[..., None]
    offered = jnp.repeat(record.live.astype(jnp.float32), record.price.shape[-1] // record.live.shape[-1], axis=-1)
    price = (record.price * offered).sum(-1) / jnp.maximum(offered.sum(-1), 1.0)
    costs = params.reward if record.supplied is None else booked(params.reward, record.supplied, record.sales)
    margin = (record.price_paid - costs.unit_cost) * record.sales
    return {
        "reward": (record.reward_raw * record.live).sum(-2),
        "epochs": live.sum(-1),
        "sales": (record.sales * ran).sum((-1, -2)),
        "demand": (record.demand * ran).sum((-1, -2)),
        "margin": (margin * ran).sum((-1, -2)),
        "price": (price * live).sum(-1),
    }


def try_run(run: Tried, episodes: int, seed: int, step: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Play a run's policies in all its worlds.

    Args:
        episodes: of each seed and world.
        seed: of the shoppers; the k-th seed of every run meets the k-th set of them, in every world.
        step: told each world's label when it is done.

    Returns:
        The columns of `COLUMNS` and `OF_SELLER`, one row a world, seed and episode.

    Raises:
        ValueError: for less than one episode, or no policies.
    """
    keys, parameters = seeds_of(run.name, run.policies, episodes, seed)
    first, count = run.policies[0], len(run.policies)
    frames = []
    for world in run.worlds:
        sums = play_seeds(keys, world.shape, world.params, first.act, parameters, first.start(), episodes, _sums)
        rewards = np.asarray(sums.pop("reward"), np.float64).reshape(count * episodes, -1)
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
                        "profit": rewards.sum(-1) / own["epochs"],
                        "fill_rate": own["sales"] / own["demand"],
                        "coi": own["margin"] / own["sales"],
                        "price": own["price"] / own["epochs"],
                        **{OF_SELLER.format(s): part / own["epochs"] for s, part in enumerate(rewards.T)},
                    }
                )
            )
        step(world.label)
    return pd.concat(frames, ignore_index=True)

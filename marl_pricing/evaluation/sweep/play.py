"""The runs of a sweep, played by their greedy policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np

from marl_pricing.evaluation.play import Record, play_seeds, seeds_of
from marl_pricing.market import MarketParams, MarketShape, Policy


@dataclass(frozen=True)
class SweptRun:
    """A run and where it stands.

    Attributes:
        x: value of what is on the x axis.
        over: value of the second dimension; None without.
        policies: one a training seed, all of one kind.
        held: by seller that did not learn, who holds its seat here as in training.
    """

    name: str
    x: float
    over: int | float | str | None
    shape: MarketShape
    params: MarketParams
    policies: Sequence[Policy]
    held: Mapping[int, str] = field(default_factory=dict)


def play_run(run: SweptRun, episodes: int, seed: int) -> list[Record]:
    """Play whole episodes under the policy of every training seed.

    Args:
        episodes: E, of each seed.
        seed: of the shoppers; the k-th seed of every run meets the k-th set of them.

    Returns:
        Of each seed, in NumPy arrays.

    Raises:
        ValueError: for less than one episode, or no policies.
    """
    keys, parameters = seeds_of(run.name, run.policies, episodes, seed)
    first = run.policies[0]
    played = play_seeds(keys, run.shape, run.params, first.act, parameters, first.start(), episodes)
    whole = jax.tree.map(np.asarray, played)
    return [jax.tree.map(lambda x, number=number: x[number], whole) for number in range(len(run.policies))]

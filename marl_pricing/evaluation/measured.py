"""Measures of everything that was played, by run and policy, seed and episode."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from marl_pricing.evaluation.metrics import MEASURES, Episodes, Parts, measure
from marl_pricing.evaluation.play import Record
from marl_pricing.market import MarketParams, MarketShape

COLUMNS = {
    "run": "text",
    "policy": "text",
    "seed": "whole number; the training seed, 0 for a rule",
    "episode": "whole number from 0",
    "seller": "text; a seller's number, or all",
    "<measure>": "the measure in that episode; empty where there was nothing to measure",
    "<measure>_weight": "its denominator: an episode's share when several are put together",
}


@dataclass
class Measured:
    """Parts of measures, [R, E, 1 + S] by (run, policy) and name; column 0 is the market, the others its sellers.

    Attributes:
        markets: by run, for the reasons why a measure is withheld.
    """

    markets: dict[str, tuple[MarketShape, MarketParams]] = field(default_factory=dict)
    _seeds: dict[tuple[str, str], list[dict[str, Parts]]] = field(default_factory=dict)

    def add(self, shape: MarketShape, params: MarketParams, record: Record, run: str, policy: str) -> None:
        """One more seed's episodes of a policy."""
        self.markets[run] = (shape, params)
        self._seeds.setdefault((run, policy), []).append(measure(Episodes(shape, params, record)))

    @property
    def groups(self) -> list[tuple[str, str]]:
        """All (run, policy), in the order in which they came."""
        return list(self._seeds)

    def parts(self, group: tuple[str, str]) -> dict[str, Parts]:
        """By name, [R, E, 1 + S]; measures that the market cannot have are not there."""
        seeds = self._seeds[group]
        return {name: Parts(*(np.stack([own[name][side] for own in seeds]) for side in (0, 1))) for name in seeds[0]}

    def withheld(self, run: str, name: str) -> str:
        """Why a measure means nothing in a run's market; empty where it does."""
        return MEASURES[name].withheld(*self.markets[run])

    def table(self) -> pd.DataFrame:
        """One row per (run, policy, seed, episode, seller); see `COLUMNS`."""
        frames = []
        for run, policy in self.groups:
            parts = self.parts((run, policy))
            seeds, episodes, columns = next(iter(parts.values())).top.shape
            grid = np.indices((seeds, episodes, columns)).reshape(3, -1)
            sellers = np.array(["all", *map(str, range(columns - 1))])
            frame = {"run": run, "policy": policy, "seed": grid[0], "episode": grid[1], "seller": sellers[grid[2]]}
            for name, own in parts.items():
                frame |= {name: own.value.ravel(), f"{name}_weight": own.bottom.ravel()}
            frames.append(pd.DataFrame(frame))
        return pd.concat(frames, ignore_index=True)

"""How far people's and agents' sessions of the study's market lie apart, as the methodology tests it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from marl_pricing.config import read_settings
from marl_pricing.config.behaviour import behaviour_of
from marl_pricing.traffic.cohorts import Separability, separability, transition_contributions
from marl_pricing.traffic.detection import divergences
from marl_pricing.traffic.kernels import Kernel

PEOPLE, AGENTS = 13, 16  # sessions of the methodology's cohorts
_MOST = 10_000  # steps of a drawn session; kernels end before


class Apart(NamedTuple):
    """What tells agents from people.

    Attributes:
        test: Mann–Whitney of the gaps Δ_H − Δ_A of 13 people's and 16 agents' sessions.
        gaps: one row a session: actor, gap.
        transitions: one row a transition, most telling first; see `traffic.cohorts.transition_contributions`.
    """

    test: Separability
    gaps: pd.DataFrame
    transitions: pd.DataFrame


def _walk(random: np.random.Generator, kernel: Kernel) -> np.ndarray:
    """One session as state numbers, from its start to its end."""
    matrix = np.asarray(kernel.matrix, float)
    states = [0]
    while states[-1] != len(matrix) - 1 and len(states) < _MOST:
        states.append(int(random.choice(len(matrix), p=matrix[states[-1]] / matrix[states[-1]].sum())))
    return np.array(states)


def sessions_apart(data: Mapping[str, Any], seed: int) -> Apart:
    """Draw the methodology's cohorts from the market's kernels and test them.

    Args:
        data: settings of the experiment.  seed: of the sessions.
    """
    human, agent = behaviour_of(read_settings(data).traffic).global_kernels
    random = np.random.default_rng(seed)
    drawn = [[_walk(random, kernel) for _ in range(count)] for kernel, count in ((human, PEOPLE), (agent, AGENTS))]
    gaps = [np.array([divergences(own, human.matrix, agent.matrix).gap for own in sessions]) for sessions in drawn]
    actors = np.repeat(["human", "agent"], [PEOPLE, AGENTS])
    return Apart(
        separability(gaps[0], gaps[1], seed=seed),
        pd.DataFrame({"actor": actors, "gap": np.concatenate(gaps)}),
        transition_contributions(human, agent),
    )

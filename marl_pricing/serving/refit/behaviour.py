"""How people and agents behave, and what share of sessions is agents', where nobody said whose a session is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logit

from marl_pricing.traffic.detection import log_kernel
from marl_pricing.traffic.events import END, PURCHASE, START
from marl_pricing.traffic.kernels import Kernel, align, smoothed

_STEPS, _SETTLED = 200, 1e-6


class Behaviour(NamedTuple):
    """Kernels [E, E] of people and of agents over the states, and the share of agents.

    Attributes:
        sessions: that were read.  unknown: events that no state is of.  steps: of the algorithm.
    """

    states: tuple[str, ...]
    human: np.ndarray
    agent: np.ndarray
    share: float
    sessions: int
    unknown: int
    steps: int

    def rows(self) -> dict[str, Any]:
        """As a YAML of kernels has it (`traffic.kernels`)."""

        def of(matrix: np.ndarray) -> dict[str, dict[str, float]]:
            found = {}
            for state, row in zip(self.states, matrix, strict=True):
                told = {name: math.floor(float(p) * 1e6) / 1e6 for name, p in zip(self.states, row, strict=True)}
                if state != END:
                    # What is left goes to the end, as the reader of rows has it.
                    found[state] = {name: p for name, p in told.items() if p > 0 and name not in (START, END)}
            return found

        return {"human": of(self.human), "agent": of(self.agent), "generic": []}


def _count(paths: Sequence[Sequence[str]], states: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, int]:
    """Transitions [sessions, E²] with their ends; the same with a last purchase as an end; events without a state."""
    number = {name: place for place, name in enumerate(states)}
    size, end, unknown = len(states), len(states) - 1, 0
    whole, stops = np.zeros((2, len(paths), size, size))
    for session, path in enumerate(paths):
        known = [number[word] for word in path if word in number and word not in (START, END)]
        unknown += sum(word not in number for word in path)
        for before, after in pairwise([0, *known, end]):
            whole[session, before, after] += 1
        if known and states[known[-1]] == PURCHASE:
            known.pop()
        for before, after in pairwise([0, *known, end]):
            stops[session, before, after] += 1
    return whole.reshape(len(paths), -1), stops.reshape(len(paths), -1), unknown


def _log_stopping(kernel: np.ndarray, states: tuple[str, ...]) -> np.ndarray:
    """`log_kernel`, an end being that or a purchase: which of them it is prices decide, and no kernel tells how."""
    logs = log_kernel(kernel)
    if PURCHASE in states:
        logs[:, -1] = np.logaddexp(logs[:, -1], logs[:, states.index(PURCHASE)])
    return logs


def estimate(paths: Sequence[Sequence[str]], start: tuple[Kernel, Kernel], share: float, strength: float) -> Behaviour:
    """A mixture of two Markov chains by EM, from given kernels on.

    The E step is the posterior of `serving.judging`; the M step gives each class the sessions' transitions by it, with
    the starting kernel as Dirichlet prior of total mass `strength` a row (Cadez et al. 2003, "Model-based clustering
    and visualization of navigation patterns on a Web site"; MAP for maximum likelihood). The prior is what says which
    of the two is the agents'. Sessions are taken to be over.

    Args:
        paths: names of events.  share: of agents, to begin with.
    """
    human, agent = align(start)
    states, size = human.states, len(human.states)
    counts, stops, unknown = _count(paths, states)
    first = np.array([human.matrix, agent.matrix])
    kernels, steps = first.copy(), 0
    while steps < _STEPS:
        steps += 1
        ratio = stops @ (_log_stopping(kernels[1], states) - _log_stopping(kernels[0], states)).reshape(-1)
        theirs = expit(ratio + logit(min(max(share, 1e-6), 1 - 1e-6)))
        new = float(theirs.mean())
        for place, weight in enumerate((1.0 - theirs, theirs)):
            mass = (weight @ counts).reshape(size, size) + strength * first[place]
            kernels[place] = smoothed(mass, 0.0)
        done, share = abs(new - share) < _SETTLED, new
        if done:
            break
    return Behaviour(states, kernels[0], kernels[1], share, len(paths), unknown, steps)

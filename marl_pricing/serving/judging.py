"""Whether a session is an agent's, and what share of a window's sessions is, from the log ratios of two kernels."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from marl_pricing.traffic.events import END, PURCHASE, START, canonical

MOST_EVENTS = 2000  # of a session that are judged; an agent that does more has shown itself
_STEPS, _SETTLED = 200, 1e-9


def _expit(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value >= 0 else math.exp(value) / (1.0 + math.exp(value))


@dataclass(frozen=True)
class Judge:
    """log T_A − log T_H of every transition, of `traffic.detection.log_ratio`, and the chance of an agent before."""

    states: tuple[str, ...]
    ratios: tuple[tuple[float, ...], ...]
    prior: float
    stops: tuple[float, ...] = ()  # log ratio of going no further, by state; (): a session's end is not judged

    def code(self, event: str) -> int | None:
        """The state of an event; None where the kernels do not know it."""
        word = canonical(event)
        return self.states.index(word) if word in self.states and word not in (START, END) else None

    def log_ratio(self, path: Sequence[Sequence[int]], over: bool = False) -> float:
        """log P(session | agents) − log P(session | people) of a session that may go on, or is over.

        A purchase at the end and an end without one are the same: which of them it is, prices decide, and how people
        and agents take prices no kernel tells.

        Args:
            path: [ms, state] in the order of time.
        """
        states = [state for _, state in path]
        over = over and bool(self.stops)
        if over and states and self.states[states[-1]] == PURCHASE:
            states.pop()
        before, total = 0, 0.0
        for state in states:
            total += self.ratios[before][state]
            before = state
        return total + self.stops[before] if over else total

    def chance(self, path: Sequence[Sequence[int]]) -> float:
        """P(agent | session), `traffic.detection.posterior`."""
        return self.chance_at(self.log_ratio(path))

    def chance_at(self, log_ratio: float) -> float:
        """The same of a session whose log ratio is known."""
        return _expit(log_ratio + math.log(self.prior / (1.0 - self.prior)))

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "states": list(self.states), "ratios": [list(row) for row in self.ratios], "prior": self.prior,
            "stops": list(self.stops),
        }  # fmt: skip


def judge_from(data: dict[str, Any] | None) -> Judge | None:
    """The inverse of `to_plain`."""
    if data is None:
        return None
    ratios, stops = tuple(tuple(row) for row in data["ratios"]), tuple(data.get("stops", ()))  # a log may be older
    return Judge(tuple(data["states"]), ratios, data["prior"], stops)


def kernels_of(path: str) -> tuple[Any, Any]:
    """Kernels of people and of agents: `fallback`, `storefront` (both ship), or a YAML as of traffic.kernels.

    Raises:
        ConfigError: naming the file, the row and what is accepted.
    """
    from marl_pricing.config.behaviour import read_kernels
    from marl_pricing.traffic import kernels

    shipped = {"fallback": kernels.default_kernels, "storefront": kernels.storefront_kernels}
    return shipped[path]() if path in shipped else read_kernels(path)


def read_judge(path: str, prior: float) -> Judge:
    """What kernels say of sessions: `fallback`, `storefront`, or a file's. Imports JAX, which takes seconds.

    Raises:
        ConfigError: naming the file, the row and what is accepted.
    """
    from marl_pricing.traffic import detection
    from marl_pricing.traffic.kernels import align

    human, agent = align(kernels_of(path))
    ratios = detection.log_ratio(human.matrix, agent.matrix)
    by_state = tuple(tuple(float(value) for value in row) for row in ratios)
    # Stopping is an end or a purchase, of which nothing follows.
    last = [number for number, name in enumerate(human.states) if name in (END, PURCHASE)]
    chances = [
        [sum(math.exp(row[number]) for number in last) for row in detection.log_kernel(own.matrix)]
        for own in (human, agent)
    ]
    stops = tuple(math.log(ours / theirs) for theirs, ours in zip(*chances, strict=True))
    return Judge(human.states, by_state, prior, stops)


def note(path: list[list[int]], stamp: int, state: int) -> None:
    """Put an event where its time belongs."""
    if len(path) < MOST_EVENTS:
        insort(path, [stamp, state], key=lambda own: own[0])


class Share(NamedTuple):
    """The share of agents among sessions, its standard error, and how many sessions say so."""

    value: float
    error: float
    sessions: int


def share_of_agents(log_ratios: Sequence[float], start: float) -> Share | None:
    """Maximum likelihood of α in Π (α r + 1 − α), r a session's likelihood ratio, by EM; None without sessions.

    McLachlan and Krishnan 2008, section 1.4 (mixing proportions). It does not hang on the prior as a mean of
    posteriors does, and is 0 where there are no agents as surely as many sessions can say. The error is that of the
    observed information; none (infinite) at an end that the data press against without curvature.
    """
    if not log_ratios:
        return None
    ratios = [math.exp(max(-50.0, min(50.0, own))) for own in log_ratios]
    share = min(max(start, 0.01), 0.99)
    for _ in range(_STEPS):
        new = sum(share * r / (share * r + 1.0 - share) for r in ratios) / len(ratios)
        moved, share = abs(new - share), new
        if moved < _SETTLED:
            break
    information = sum(((r - 1.0) / (share * r + 1.0 - share)) ** 2 for r in ratios)
    return Share(share, 1.0 / math.sqrt(information) if information > 0 else math.inf, len(ratios))

"""What learned tables do: the prices they settle on, and how they answer a seller that cuts its price.

Learned strategies have no chance in them, so a session ends in a cycle of states, of length 1 more often than not.
Everything here is NumPy on the host and exact for the strategies that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marl_pricing.policies.q_learning import Learned


@dataclass(frozen=True)
class LongRun:
    """Cycles that B sessions end in.

    Attributes:
        length: [B] periods.
        states: [B, C] the cycle, C the longest length; a shorter one is gone through again.
        prices, profits: [B, S] money per period, mean over the cycle; profits are raw ones.
    """

    length: np.ndarray
    states: np.ndarray
    prices: np.ndarray
    profits: np.ndarray

    @property
    def on_cycle(self) -> np.ndarray:
        """[B, C] bool: the first time that a state of the cycle is gone through."""
        return np.arange(self.states.shape[1]) < self.length[:, None]


def next_states(learned: Learned, session: np.ndarray, states: np.ndarray) -> np.ndarray:
    """States [...] after `states` [...], everyone greedy, in sessions [...]."""
    return learned.game.state_of(learned.greedy[session, states])


def long_run(learned: Learned) -> LongRun:
    """Where the greedy strategies lead from the state in which learning ended."""
    game, sessions = learned.game, np.arange(learned.state.size)
    states = learned.state.astype(np.int64)
    for _ in range(game.num_states):  # after so many periods any path has entered its cycle
        moved = next_states(learned, sessions, states)
        if np.array_equal(moved, states):
            break
        states = moved
    path = [states]
    length = np.zeros(states.size, np.int64)
    while not length.all():
        path.append(next_states(learned, sessions, path[-1]))
        length[(length == 0) & (path[-1] == states)] = len(path) - 1
    cycle = np.stack(path[:-1], 1)
    weights = (np.arange(cycle.shape[1]) < length[:, None]) / length[:, None]
    return LongRun(
        length=length,
        states=cycle,
        prices=np.einsum("bc,bci->bi", weights, game.prices_of(cycle)),
        profits=np.einsum("bc,bci->bi", weights, game.profits[cycle]),
    )


def best_reply(learned: Learned, levels: np.ndarray, seller: int) -> np.ndarray:
    """The level [...] with the highest one-period profit for one seller against the others' levels [..., S]."""
    game = learned.game
    tried = np.repeat(levels[..., None, :], game.num_levels, axis=-2)
    tried[..., seller] = np.arange(game.num_levels)
    return game.profits[game.state_of(tried), seller].argmax(-1)


def deviation_paths(learned: Learned, cycles: LongRun, seller: int, num_periods: int = 15) -> np.ndarray:
    """Prices [B, 1 + num_periods, S], money, around a forced cut of one seller (Calvano et al. 2020, section IV).

    Period 0 is a period of the cycle. In period 1 the seller sets its static best reply to what its rivals set in that
    period, while they know nothing of it; from period 2 on everyone is greedy again. Mean over the points of each
    session's cycle at which the cut can come.

    Args:
        seller: that deviates.  num_periods: after period 0, at least 1.
    """
    if num_periods < 1:
        raise ValueError(f"periods={num_periods!r}: accepted is a whole number of at least 1")
    session, point = np.nonzero(cycles.on_cycle)
    states = cycles.states[session, point]
    levels = learned.greedy[session, states].astype(np.int64)
    levels[:, seller] = best_reply(learned, levels, seller)
    path = [states, learned.game.state_of(levels)]
    while len(path) <= num_periods:
        path.append(next_states(learned, session, path[-1]))
    prices = learned.game.prices_of(np.stack(path, 1))
    total = np.zeros((learned.state.size, *prices.shape[1:]))
    np.add.at(total, session, prices)
    return total / cycles.length[:, None, None]


def responses(learned: Learned, cycles: LongRun, num_periods: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """The same with every seller deviating in turn, averaged over who deviates.

    Returns:
        (price of the deviator, mean price of its rivals), each [B, 1 + num_periods], money.
    """
    deviator, rivals = [], []
    for seller in range(learned.game.num_sellers):
        path = deviation_paths(learned, cycles, seller, num_periods)
        deviator.append(path[..., seller])
        rivals.append(np.delete(path, seller, -1).mean(-1))
    return np.mean(deviator, axis=0), np.mean(rivals, axis=0)

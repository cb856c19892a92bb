"""Several copies of a PettingZoo parallel environment, stepped one after the other, as arrays [E, S, …]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces as kinds
from pettingzoo import ParallelEnv

from marl_pricing.learning.price_laws import NUM_OUTPUTS

Array = np.ndarray


@dataclass(frozen=True)
class Spaces:
    """What an environment asks of its players.

    Attributes:
        agents: names, in the order of the axis S.
        local_size, state_size: O; G, of the environment's own `state()` or of all observations side by side.
        own_state: the environment has a `state()`.
        head_sizes: choices of each part of an action; of a Box the two numbers of each entry's law.
        starts: the number that each part begins to count at.
        single: an action is a number and no array.
        low, high: ends of every entry of a Box, flat; empty where actions are choices.
        action_shape: of a Box.  action_type: its NumPy type.
    """

    agents: tuple[str, ...]
    local_size: int
    state_size: int
    own_state: bool
    head_sizes: tuple[int, ...]
    starts: tuple[int, ...]
    single: bool
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    action_shape: tuple[int, ...] = ()
    action_type: str = "float32"

    @property
    def continuous(self) -> bool:
        """Actions are numbers between two ends, not choices."""
        return bool(self.low)

    @property
    def parts(self) -> int:
        """How often the heads of `head_sizes` are there: once, or for every entry of a Box."""
        return len(self.low) or 1

    def action(self, indices: Array) -> Any:
        """One agent's choices [heads], or places z of every entry of a Box, as its action space has them."""
        if self.continuous:
            low, high = np.asarray(self.low), np.asarray(self.high)
            share = 0.5 + 0.5 * np.tanh(0.5 * np.asarray(indices, np.float64))
            # In the space's own numbers, whose roundings may lie beyond its ends.
            own = (low + (high - low) * share).astype(self.action_type)
            return np.clip(own, low.astype(self.action_type), high.astype(self.action_type)).reshape(self.action_shape)
        action = indices + np.asarray(self.starts)
        return int(action[0]) if self.single else action

    def observations(self, given: Mapping[str, Any]) -> Array:
        """Observations [S, O]; zeros for agents that have left."""
        local = np.zeros((len(self.agents), self.local_size), np.float32)
        for number, agent in enumerate(self.agents):
            if agent in given:
                local[number] = np.asarray(given[agent], np.float32).reshape(-1)
        return local

    def masks(self, infos: Mapping[str, Any]) -> list[Array]:
        """Which choices are allowed: bool [S, 1, n] for each head, from the infos' `action_mask` where there is one."""
        masks = [np.ones((len(self.agents), 1, size), bool) for size in self.head_sizes]
        for number, agent in enumerate(self.agents):
            told = infos.get(agent, {}).get("action_mask")
            if told is not None and self.continuous:
                raise ValueError(f"infos[{agent!r}]['action_mask']: accepted is none beside actions of a Box")
            if told is not None and not self.single and isinstance(told, np.ndarray):  # of all heads, side by side
                told = np.split(told, np.cumsum(self.head_sizes)[:-1])
            if told is not None:
                for mask, own in zip(masks, (told,) if self.single else told, strict=True):
                    mask[number, 0] = np.asarray(own, bool)
        return masks


def read_spaces(env: ParallelEnv) -> Spaces:
    """What an environment asks of its players, who all have to be asked the same.

    Raises:
        ValueError: naming the agent, its space and what is accepted.
    """
    agents = tuple(env.possible_agents)
    seen, acts = env.observation_space(agents[0]), env.action_space(agents[0])
    if not isinstance(seen, kinds.Box):
        raise ValueError(f"observation_space({agents[0]!r})={seen}: accepted is a Box")
    box: dict[str, Any] = {}
    if isinstance(acts, kinds.Discrete):
        sizes, starts = (int(acts.n),), (int(acts.start),)
    elif isinstance(acts, kinds.MultiDiscrete) and acts.nvec.ndim == 1:
        sizes, starts = tuple(acts.nvec.tolist()), tuple(acts.start.tolist())
    elif isinstance(acts, kinds.Box) and acts.shape != (0,) and np.issubdtype(acts.dtype, np.floating):
        ends = acts.low.astype(np.float64), acts.high.astype(np.float64)
        if not (np.isfinite(ends).all() and (ends[0] < ends[1]).all()):
            raise ValueError(f"action_space({agents[0]!r})={acts}: accepted is a Box with finite ends, low below high")
        sizes, starts = (NUM_OUTPUTS,), (0,)
        box = {
            "low": tuple(ends[0].ravel().tolist()), "high": tuple(ends[1].ravel().tolist()),
            "action_shape": tuple(acts.shape), "action_type": str(acts.dtype),
        }  # fmt: skip
    else:
        raise ValueError(
            f"action_space({agents[0]!r})={acts}: accepted is Discrete, MultiDiscrete in one dimension, or a Box of "
            "real numbers"
        )
    for agent in agents[1:]:
        for name, own, first in (
            ("observation_space", env.observation_space(agent), seen),
            ("action_space", env.action_space(agent), acts),
        ):
            if own.shape != first.shape or (name == "action_space" and own != first):
                raise ValueError(f"{name}({agent!r})={own}: accepted is that of {agents[0]!r}, {first}")
    local_size = int(np.prod(seen.shape))
    env.reset(seed=0)
    try:
        state_size, own_state = np.asarray(env.state()).size, True
    except NotImplementedError:
        state_size, own_state = len(agents) * local_size, False
    single = isinstance(acts, kinds.Discrete)
    return Spaces(agents, local_size, state_size, own_state, sizes, starts, single, **box)


@dataclass(frozen=True)
class Step:
    """What a step left, before any reset; [E, ...]."""

    next_local: Array  # [E, S, O]
    next_state: Array  # [E, G]
    reward: Array  # [E, S]
    terminated: Array  # [E, S] bool
    done: Array  # [E, S] bool
    over: Array  # [E] bool, nobody is left


class Copies:
    """E environments side by side; one that is over begins anew.

    Attributes:
        spaces: what they ask of their players.
        local [E, S, O], state [E, G], masks [E, S, 1, n] a head: what players see now.
        first: [E] bool, the coming step begins an episode.
        acting: [E, S] bool, who is still in the spaces.
    """

    def __init__(self, make_env: Callable[[], ParallelEnv], number: int, seed: int) -> None:
        self._envs = [make_env() for _ in range(number)]
        self.spaces = read_spaces(self._envs[0])
        seen = [self._look(env, *env.reset(seed=seed + place)) for place, env in enumerate(self._envs)]
        self._take(seen)
        self.first = np.ones(number, bool)

    def _look(self, env: ParallelEnv, observations: Mapping, infos: Mapping) -> tuple[Array, Array, list[Array]]:
        local = self.spaces.observations(observations)
        state = np.asarray(env.state(), np.float32).reshape(-1) if self.spaces.own_state else local.reshape(-1)
        return local, state, self.spaces.masks(infos)

    def _take(self, seen: Sequence[tuple[Array, Array, list[Array]]]) -> None:
        self.local = np.stack([local for local, _, _ in seen])
        self.state = np.stack([state for _, state, _ in seen])
        self.masks = [np.stack(own) for own in zip(*(masks for _, _, masks in seen), strict=True)]
        self.acting = np.array([[agent in env.agents for agent in self.spaces.agents] for env in self._envs])

    def step(self, indices: Array) -> Step:
        """One step of every environment; choices [E, S, heads], or places [E, S, entries] of a Box."""
        spaces, shape = self.spaces, self.acting.shape
        reward, terminated, done = np.zeros(shape, np.float32), np.zeros(shape, bool), np.zeros(shape, bool)
        after, now, over = [], [], np.zeros(len(self._envs), bool)
        for place, env in enumerate(self._envs):
            actions = {agent: spaces.action(indices[place, spaces.agents.index(agent)]) for agent in env.agents}
            observations, rewards, ended, cut, infos = env.step(actions)
            for number, agent in enumerate(spaces.agents):
                reward[place, number] = rewards.get(agent, 0.0)
                terminated[place, number] = ended.get(agent, False)
                done[place, number] = ended.get(agent, False) or cut.get(agent, False)
            after.append(self._look(env, observations, infos))
            over[place] = not env.agents
            now.append(self._look(env, *env.reset()) if over[place] else after[-1])
        self._take(now)
        self.first = over
        local, state = np.stack([local for local, _, _ in after]), np.stack([state for _, state, _ in after])
        return Step(local, state, reward, terminated, done, over)

    def close(self) -> None:
        """Let go of the environments."""
        for env in self._envs:
            env.close()

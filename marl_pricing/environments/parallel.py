"""The market as a PettingZoo parallel environment: all sellers act at once."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from marl_pricing.environments import packed
from marl_pricing.environments.render import draw_paths, epoch_table
from marl_pricing.environments.spaces import action_space, check_action
from marl_pricing.market import MarketParams, MarketShape, layout

RENDER_MODES = ("ansi", "rgb_array")


class PricingEnv(ParallelEnv):
    """One market.

    Agents are `seller_0` … `seller_{S−1}`. A seller that goes bankrupt terminates and leaves; the horizon truncates
    all; a collapse terminates all. Rewards are the shaped ones, r' = ω r + (1 − ω) Σ r, in money; `infos` hold the raw
    ones. Observations are float32 [O], laid out as `observation_names` says; `state()` is the global state [G].

    An order level that the mask in `infos[agent]["action_mask"]` forbids is not refused: the market orders nothing for
    it while an order is on the way, and no more than the cap.
    """

    def __init__(self, shape: MarketShape, params: MarketParams, render_mode: str | None = None) -> None:
        """Wrap a market.

        Raises:
            ValueError: for an unknown render mode.
        """
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode={render_mode!r}: accepted is None, {', '.join(map(repr, RENDER_MODES))}")
        self.metadata = {"name": "marl_pricing_v0", "render_modes": list(RENDER_MODES), "is_parallelizable": True}
        self.render_mode = render_mode
        self.shape, self.params = shape, jax.device_put(params)
        self.possible_agents = [f"seller_{i}" for i in range(shape.num_sellers)]
        self.agents: list[str] = []
        self.observation_names = layout(shape)
        local_size, state_size = packed.view_sizes(shape, params)
        unbounded = spaces.Box(-np.inf, np.inf, (local_size,), np.float32)
        self.observation_spaces = {agent: spaces.Box(unbounded.low, unbounded.high) for agent in self.possible_agents}
        self.action_spaces = {agent: action_space(shape, params) for agent in self.possible_agents}
        self.state_space = spaces.Box(-np.inf, np.inf, (state_size,), np.float32)
        self._slices = packed.layout(shape, (local_size, state_size))
        self._heads = (
            1
            if isinstance(self.action_spaces["seller_0"], spaces.Discrete)
            else (self.action_spaces["seller_0"].shape or (1,))[0]
        )
        self._seeds = np.random.default_rng()
        self._carry: packed.Carry | None = None
        self._packed = np.zeros(0, np.float32)
        self._history: list[np.ndarray] = []

    def observation_space(self, agent: str) -> spaces.Space:
        """Box [O], the same object at every call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """See `marl_pricing.environments.spaces.action_space`; the same object at every call."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode.

        Args:
            seed: fixes this and the following episodes; None goes on with the seeds that are running.
            options: not used; taken because the interface has it.

        Returns:
            (observations, infos) by agent.

        Raises:
            ValueError: for a seed that is no whole number of at least 0.
        """
        if seed is not None:
            if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)) or seed < 0:
                raise ValueError(f"seed={seed!r}: accepted is None or a whole number of at least 0")
            self._seeds = np.random.default_rng(int(seed))
        own = np.uint32(self._seeds.integers(2**32, dtype=np.uint64))
        self._carry, array = packed.reset(self.shape, self.params, own)
        self._packed = np.asarray(array)
        self.agents = list(self.possible_agents)
        self._history = []
        observations = self._observations()
        masks = self._masks()
        return observations, {agent: ({"action_mask": masks[agent]} if masks else {}) for agent in self.agents}

    def step(self, actions: dict[str, Any]):
        """One epoch.

        Args:
            actions: an action for every agent in `agents`.

        Returns:
            (observations, rewards, terminations, truncations, infos) by agent that acted.

        Raises:
            ValueError: for a missing, unknown or unacceptable action, before the first reset, and after the end. The
                environment stays as it was.
        """
        if self._carry is None:
            raise ValueError("step: the environment has not been reset; call reset() first")
        if not self.agents:
            raise ValueError("step: the episode is over; call reset() first")
        joint = self._joint_action(actions)
        self._carry, array = packed.step(self.shape, self.params, self._carry, joint)
        self._packed = own = np.asarray(array)
        acted, slices = self.agents, self._slices
        shaped, ended = own[slices["shaped"]].tolist(), own[slices["terminated"]] > 0
        over = bool(own[slices["truncated"]][0])
        numbers = [int(agent[7:]) for agent in acted]
        observations = self._observations()
        rewards = {agent: shaped[i] for agent, i in zip(acted, numbers, strict=True)}
        terminations = {agent: bool(ended[i]) for agent, i in zip(acted, numbers, strict=True)}
        truncations = dict.fromkeys(acted, over)
        infos = self._infos()
        if self.render_mode is not None:
            self._history.append(own)
        self.agents = [] if over else [agent for agent in acted if not terminations[agent]]
        return observations, rewards, terminations, truncations, infos

    def _joint_action(self, actions: dict[str, Any]) -> np.ndarray:
        for agent in actions:
            if agent not in self.agents:
                raise ValueError(f"actions[{agent!r}]: accepted are actions of {', '.join(self.agents)}")
        dtype = np.int32 if self.shape.discrete_prices else np.float32
        joint = np.zeros((self.shape.num_sellers, self._heads), dtype)
        for agent in self.agents:
            if agent not in actions:
                raise ValueError(f"actions: there is none of {agent!r}; accepted is one of every agent in the market")
            joint[int(agent[7:])] = check_action(agent, actions[agent], self.action_spaces[agent])
        return joint

    def _observations(self) -> dict[str, np.ndarray]:
        local = self._packed[self._slices["local"]].reshape(self.shape.num_sellers, -1).copy()
        return {agent: local[int(agent[7:])] for agent in self.agents}

    def _masks(self) -> dict[str, tuple[np.ndarray, ...]]:
        """Masks as MultiDiscrete.sample takes them: one array a head."""
        if not self.shape.chooses_orders:
            return {}
        shape = self.shape
        allowed = self._packed[self._slices["order_mask"]].reshape(shape.num_sellers, shape.num_products, -1)
        prices = (np.ones(shape.prices.num_levels, np.int8),) * shape.num_products
        orders = allowed.astype(np.int8)
        return {agent: prices + tuple(orders[int(agent[7:])]) for agent in self.agents}

    def _infos(self) -> dict[str, dict[str, Any]]:
        own, slices, num_products = self._packed, self._slices, self.shape.num_products
        names = ("sales", "stock", "unmet", "demand", "prices", "on_order", "ordered", "arrivals")
        offers = {name: own[slices[name]].copy() for name in names}
        raw, shaped = own[slices["reward"]].tolist(), own[slices["shaped"]].tolist()
        learning = own[slices["learning"]].tolist()
        masks = self._masks()
        infos = {}
        for agent in self.agents:
            i = int(agent[7:])
            part = slice(i * num_products, (i + 1) * num_products)
            info: dict[str, Any] = {name: values[part] for name, values in offers.items()}
            info |= {"reward_raw": raw[i], "reward_shaped": shaped[i], "reward_learning": learning[i]}
            if masks:
                info["action_mask"] = masks[agent]
            infos[agent] = info
        return infos

    def state(self) -> np.ndarray:
        """The global state [G], float32, for a central critic.

        Raises:
            ValueError: before the first reset.
        """
        if self._carry is None:
            raise ValueError("state: the environment has not been reset; call reset() first")
        return self._packed[self._slices["state"]].copy()

    def render(self) -> str | np.ndarray | None:
        """The last epoch as a text table (`ansi`), or prices and stock so far as a picture (`rgb_array`)."""
        if self.render_mode is None:
            return None
        if self._carry is None:
            raise ValueError("render: the environment has not been reset; call reset() first")
        draw = epoch_table if self.render_mode == "ansi" else draw_paths
        return draw(self.shape, self._history, self._slices)

    def close(self) -> None:
        """Nothing is held."""

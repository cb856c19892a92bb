"""The market as a PettingZoo parallel environment: all sellers act at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from marl_pricing.environments import packed
from marl_pricing.environments.render import draw_paths, epoch_table
from marl_pricing.environments.spaces import action_space, check_action, need_known_information, one_line
from marl_pricing.forks import Spawned, refuse_forked
from marl_pricing.market import MarketParams, MarketShape, layout
from marl_pricing.widths import as_32_bits, in_32_bits

RENDER_MODES = ("ansi", "rgb_array")


class PricingEnv(ParallelEnv):
    """One market.

    Agents are `seller_0` … `seller_{S−1}`. A seller that goes bankrupt terminates and leaves; the horizon truncates
    all; a collapse terminates all. Rewards are the shaped ones, r' = ω r + (1 − ω) Σ r, in money. Observations are
    float32 [O], laid out as `observation_names` says; `state()` is the global state [G].

    `infos[agent]` after a step: `prices` (money), `stock` (units on hand when the shoppers came; inf where it is
    unlimited), `arrivals`, `demand`, `sales`, `unmet`, `ordered`, `on_order` (units), each float32 [P]; and
    `reward_raw` (r), `reward_shaped` (r'), `reward_learning` (r' as learners use it), in money. Where sellers choose
    orders, `action_mask` (also after a reset) says for every head which choices are allowed in the next epoch, as
    `action_space(agent).sample(mask=…)` takes it: a tuple of an array a head. With `flat_masks` it is one array, head
    after head, as TorchRL and sb3-contrib take it.

    An order level that the mask forbids is not refused: the market orders nothing for it while an order is on the way,
    and no more than the cap.
    """

    metadata = {"name": "marl_pricing_v0", "render_modes": list(RENDER_MODES), "is_parallelizable": True}  # noqa: RUF012

    @in_32_bits
    def __init__(
        self, shape: MarketShape, params: MarketParams, render_mode: str | None = None, *, flat_masks: bool = False
    ) -> None:
        """Wrap a market.

        Args:
            flat_masks: masks of the infos are one array [sum of the heads' choices] each, not a tuple.

        Raises:
            ValueError: for an unknown render mode.
            ForkedError: in a process that was forked from one in which JAX ran; so do `reset` and `step`.
        """
        self._spawned = Spawned()  # first: see there
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode={render_mode!r}: accepted is None, {', '.join(map(repr, RENDER_MODES))}")
        self.render_mode, self.flat_masks = render_mode, flat_masks
        self.shape, self._params = shape, jax.tree.map(as_32_bits, params)
        need_known_information(shape)
        small, self._bank = packed.split(self._params)
        self._plan = packed.plan(shape, packed.form_of(small))
        self._words = packed.to_words(small)
        self._slices = self._plan.slices
        self.possible_agents = [f"seller_{i}" for i in range(shape.num_sellers)]
        self.agents: list[str] = []
        self._number = {agent: i for i, agent in enumerate(self.possible_agents)}
        self.observation_names = layout(shape)
        local_size, state_size = self._plan.sizes
        self.observation_spaces = {
            agent: spaces.Box(-np.inf, np.inf, (local_size,), np.float32) for agent in self.possible_agents
        }
        self.action_spaces = {agent: action_space(shape, self._params, i) for agent, i in self._number.items()}
        self.state_space = spaces.Box(-np.inf, np.inf, (state_size,), np.float32)
        heads = shape.num_products * (2 if shape.chooses_orders else 1)
        self._no_action = np.zeros((shape.num_sellers, heads), np.int32 if shape.discrete_prices else np.float32)
        self._seeds = np.random.default_rng()
        self._carry: jax.Array | None = None
        self._packed = np.zeros(0, np.float32)
        self._history: list[np.ndarray] = []

    @property
    def params(self) -> MarketParams:
        """The market's numbers; fixed, because the environment keeps them packed as well."""
        return self._params

    def observation_space(self, agent: str) -> spaces.Space:
        """Box [O], the same object at every call. Raises KeyError for another name than in `possible_agents`."""
        return self._of(self.observation_spaces, agent)

    def action_space(self, agent: str) -> spaces.Space:
        """See `marl_pricing.environments.spaces.action_space`; the same object at every call, errors likewise."""
        return self._of(self.action_spaces, agent)

    def _of(self, spaces_: Mapping[str, spaces.Space], agent: str) -> spaces.Space:
        if agent not in spaces_:
            raise KeyError(f"agent={agent!r}: accepted is {', '.join(self.possible_agents)}")
        return spaces_[agent]

    @in_32_bits
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
        refuse_forked()
        own = np.uint32(self._seeds.integers(2**32, dtype=np.uint64))
        self._carry, array = packed.reset(self._plan, self._words, own)
        self._packed = np.asarray(array)
        self.agents = list(self.possible_agents)
        self._history = []
        observations = self._observations(self._packed.copy())
        masks = self._masks()
        return observations, {agent: ({"action_mask": masks[agent]} if masks else {}) for agent in self.agents}

    @in_32_bits
    def step(self, actions: dict[str, Any]):
        """One epoch.

        Args:
            actions: an action for every agent in `agents`.

        Returns:
            (observations, rewards, terminations, truncations, infos) by agent that acted.

        Raises:
            ValueError: for a missing, unknown or unacceptable action, for actions that are no dict, before the first
                reset, and after the end. The environment stays as it was.
        """
        if self._carry is None:
            raise ValueError("step: the environment has not been reset; call reset() first")
        if not self.agents:
            raise ValueError("step: the episode is over; call reset() first")
        joint = self._joint_action(actions)
        refuse_forked()
        self._carry, array = packed.step(self._plan, self._words, self._bank, self._carry, joint)
        # Read-only and never written again. What is handed out are parts of a copy, the caller's to keep and change.
        self._packed = np.asarray(array)
        given = self._packed.copy()
        acted, slices, number = self.agents, self._slices, self._number
        shaped, ended = given[slices["shaped"]].tolist(), given[slices["terminated"]].tolist()
        over = bool(given[slices["truncated"]][0])
        observations = self._observations(given)
        rewards = {agent: shaped[number[agent]] for agent in acted}
        terminations = {agent: ended[number[agent]] > 0 for agent in acted}
        truncations = dict.fromkeys(acted, over)
        infos = self._infos(given, shaped)
        if self.render_mode is not None:
            self._history.append(self._packed)
        self.agents = [] if over else [agent for agent in acted if not terminations[agent]]
        return observations, rewards, terminations, truncations, infos

    def _joint_action(self, actions: dict[str, Any]) -> np.ndarray:
        """Actions [S, heads]; zeros for sellers that have left: the market sells nothing of theirs."""
        if not isinstance(actions, Mapping):
            raise ValueError(
                f"actions={one_line(actions)}: accepted is a dict of an action for every agent in the market"
            )
        for agent in actions:
            if agent not in self.agents:
                raise ValueError(f"actions[{agent!r}]: accepted are actions of {', '.join(self.agents)}")
        joint = self._no_action.copy()
        for agent in self.agents:
            if agent not in actions:
                raise ValueError(f"actions: there is none of {agent!r}; accepted is one of every agent in the market")
            joint[self._number[agent]] = check_action(agent, actions[agent], self.action_spaces[agent])
        return joint

    def _observations(self, given: np.ndarray) -> dict[str, np.ndarray]:
        local = given[self._slices["local"]].reshape(self.shape.num_sellers, -1)
        return {agent: local[self._number[agent]] for agent in self.agents}

    def _masks(self) -> dict[str, Any]:
        """Masks as MultiDiscrete.sample takes them, one array a head, or as one array."""
        if not self.shape.chooses_orders:
            return {}
        shape, (num_levels, num_products) = self.shape, (self.shape.prices.num_levels, self.shape.num_products)
        allowed = self._packed[self._slices["order_mask"]].astype(np.int8)
        orders = allowed.reshape(shape.num_sellers, num_products, -1)
        prices = np.ones((shape.num_sellers, num_products, num_levels), np.int8)
        heads = {agent: (*prices[self._number[agent]], *orders[self._number[agent]]) for agent in self.agents}
        return {agent: np.concatenate(own) for agent, own in heads.items()} if self.flat_masks else heads

    def _infos(self, given: np.ndarray, shaped: list[float]) -> dict[str, dict[str, Any]]:
        slices, num_products = self._slices, self.shape.num_products
        offers = [(name, given[slices[name]]) for name in packed.BY_OFFER]
        raw, learning = given[slices["reward"]].tolist(), given[slices["learning"]].tolist()
        masks = self._masks()
        infos = {}
        for agent in self.agents:
            i = self._number[agent]
            part = slice(i * num_products, (i + 1) * num_products)
            info: dict[str, Any] = {name: values[part] for name, values in offers}
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

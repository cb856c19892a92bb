"""A market of one seller as a Gymnasium environment, for learners of one agent."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from marl_pricing.environments.parallel import RENDER_MODES, PricingEnv
from marl_pricing.market import MarketParams, MarketShape


class OneSellerEnv(gymnasium.Env):
    """`PricingEnv` of one seller: the same spaces, rewards and infos, without the dicts by agent.

    Where the seller chooses orders, `action_masks()` says what is allowed, as sb3-contrib's MaskablePPO asks for it;
    `info["action_mask"]` says it as a tuple of an array a head.
    """

    metadata = {"render_modes": list(RENDER_MODES)}  # noqa: RUF012

    def __init__(self, shape: MarketShape, params: MarketParams, render_mode: str | None = None) -> None:
        """Wrap a market.

        Raises:
            ValueError: for a market of several sellers, or an unknown render mode.
        """
        if shape.num_sellers != 1:
            raise ValueError(f"num_sellers={shape.num_sellers}: accepted is 1; marl_pricing.parallel_env takes more")
        self._market = PricingEnv(shape, params, render_mode)
        (self._agent,) = self._market.possible_agents
        self.render_mode = render_mode
        self.observation_space = self._market.observation_space(self._agent)
        self.action_space = self._market.action_space(self._agent)
        self.observation_names = self._market.observation_names
        self._mask: tuple[np.ndarray, ...] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode; see `gymnasium.Env.reset`. `options` are not used."""
        super().reset(seed=seed)
        observations, infos = self._market.reset(seed)
        self._mask = infos[self._agent].get("action_mask")
        return observations[self._agent], infos[self._agent]

    def step(self, action: Any):
        """One epoch.

        Raises:
            ValueError: for an action that is not in the space, before a reset and after the end.
        """
        answers = self._market.step({self._agent: action})
        seen, reward, terminated, truncated, info = (answer[self._agent] for answer in answers)
        self._mask = info.get("action_mask")
        return seen, reward, terminated, truncated, info

    def action_masks(self) -> np.ndarray:
        """Which choices are allowed in the next epoch, bool [sum of the heads' choices], head after head.

        Raises:
            ValueError: where nothing is ever forbidden, and before the first reset.
        """
        if self._mask is None:
            raise ValueError("action_masks: accepted in markets whose seller chooses orders, after reset()")
        return np.concatenate(self._mask).astype(bool)

    def render(self):
        """See `PricingEnv.render`."""
        return self._market.render()

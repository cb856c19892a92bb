"""PHANTOM's defensive pricing loop as a Gymnasium environment (the PHANTOM methodology, algorithm 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from marl_pricing.environments.single import SeenEntry, SingleSellerEnv
from marl_pricing.market import MarketParams, MarketShape, MarketState
from marl_pricing.market.observation import price_ends
from marl_pricing.market.reward import relative_movement


class PhantomDefenceEnv(SingleSellerEnv):
    """One platform multiplies all its prices by one factor an epoch, against the worst share of agents nearby.

    The sessions of an epoch are drawn once; each candidate α_k on a uniform grid of [α₀ − ε, α₀ + ε] (cut at 0 and 1)
    decides which of them are agents'. The candidate with the smallest reward is the one that happens: its proxy is
    observed, its reward is paid. `info["profit_nominal"]` is the reward at α₀; an even K has no candidate there: then
    it is the mean of the two next to it, at α₀ ± ε/(K − 1). Reward: money earned, less λ Σ f c_info, less price
    movement (rises cost more), less the excess over a competitive anchor, each with its weight in the market. Revenue
    comes from orders, never from the proxy.

    Observation [2N]: shares of the demand proxy in percent (q̃), then prices as shares of the range −1 … 1, both of the
    last epoch. Demand that stays at zero terminates (collapse); the horizon truncates.
    """

    def __init__(
        self, shape: MarketShape, params: MarketParams, *, radius: float = 0.2, num_candidates: int = 5
    ) -> None:
        """Wrap the market of `config.phantom_defence`, or another of one seller with discrete prices.

        Args:
            radius: ε of the ambiguity interval.  num_candidates: K, one if the radius is 0.

        Raises:
            ValueError: for other markets, a radius outside [0, 1], fewer than one candidate, or one with a radius.
        """
        if not 0.0 <= radius <= 1.0:
            raise ValueError(f"radius={radius!r}: accepted is a number from 0 to 1")
        if isinstance(num_candidates, bool) or not isinstance(num_candidates, int) or num_candidates < 1:
            raise ValueError(f"num_candidates={num_candidates!r}: accepted is a whole number of at least 1")
        if radius > 0 and num_candidates == 1:
            raise ValueError(f"num_candidates=1: accepted are at least 2 with radius={radius!r}")
        offsets = np.linspace(-radius, radius, num_candidates) if radius > 0 else np.zeros(1)
        super().__init__(shape, params, offsets)
        if not shape.discrete_prices:
            raise ValueError(f"prices.map={shape.prices.map!r}: accepted is 'scale' or 'levels'")
        if not shape.traffic.walks_sessions:
            raise ValueError(f"traffic.model={shape.traffic.model!r}: accepted are models with sessions")
        self.action_space = spaces.Discrete(shape.prices.num_levels)
        low = np.concatenate([np.zeros(shape.num_offers), np.full(shape.num_offers, -1.0)]).astype(np.float32)
        high = np.concatenate([np.full(shape.num_offers, 100.0), np.ones(shape.num_offers)]).astype(np.float32)
        self.observation_space = spaces.Box(low, high, dtype=np.float32)

    def observation_entries(self) -> list[SeenEntry]:
        """What each number of the observation is, beside `_observe`."""
        products = range(self.shape.num_offers)
        space = self.observation_space
        assert isinstance(space, spaces.Box)
        ends = list(zip(space.low.tolist(), space.high.tolist(), strict=True))
        shares = [(f"share of the demand proxy, product {k}", "percent", ends[k], ends[k]) for k in products]
        low, high = (np.broadcast_to(end, self.shape.num_offers).tolist() for end in price_ends(self.params))
        prices = [
            (f"price of the last epoch, product {k} (-1 lowest, 1 highest)", "money", own, (low[k], high[k]))
            for k, own in zip(products, ends[self.shape.num_offers :], strict=True)
        ]
        return shares + prices

    def _observe(self, state: MarketState) -> np.ndarray:
        events, prices = np.asarray(state.events), np.asarray(state.prices)
        proxy = 100.0 * events / max(float(events.sum()), 1e-6)
        low, high = (np.asarray(end) for end in (self.params.prices.low, self.params.prices.high))
        scaled = 2.0 * (prices - low) / np.maximum(high - low, 1e-6) - 1.0
        both = np.concatenate([proxy, scaled]).astype(np.float32)
        return np.clip(both, self.observation_space.low, self.observation_space.high)  # type: ignore[attr-defined]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode; see `gymnasium.Env.reset`. `options` are not used."""
        return self._observe(self._begin(seed)), {}

    def step(self, action: Any):
        """One epoch.

        Args:
            action: index of the factor (or level) of all prices.

        Raises:
            ValueError: for an action that is not in the space, before a reset and after the end.
        """
        if not self.action_space.contains(action):
            raise ValueError(f"action={action!r:.80}: accepted is a whole number from 0 to {self.action_space.n - 1}")  # type: ignore[attr-defined]
        price = np.full((self.shape.num_offers,), action, np.int32)
        before, state, outcome, worst, rewards = self._advance(price)
        movement = relative_movement(outcome.prices, before.prices, self.params.reward.movement_floor)
        own = self.params.reward
        leak = float(own.information_cost) * float(outcome.suspicion) * float(outcome.visits)
        info = {
            "t": int(state.epoch),
            "alpha_star": float(outcome.agent_share),
            "candidate": worst,
            "candidate_rewards": np.array(rewards, np.float32),
            "revenue": float((outcome.price_paid * outcome.sales).sum()),
            # An even number of candidates has none at the nominal share: the two next to it, one on either side.
            "profit_nominal": float(0.5 * (rewards[(len(rewards) - 1) // 2] + rewards[len(rewards) // 2])),
            "suspicion": float(outcome.suspicion),
            "coi_leak": leak,
            "ux_volatility": float(np.abs(movement).mean()),
            "upward_volatility": float(np.maximum(movement, 0.0).mean()),
            "proxy": np.array(outcome.events, np.float32),
            "orders": np.array(outcome.demand, np.float32),
            "look_to_book": float(outcome.views) / max(float(outcome.demand.sum()), 1.0),
        }
        over = bool(outcome.terminated[0])
        return self._observe(state), float(rewards[worst]), over, bool(outcome.truncated), info

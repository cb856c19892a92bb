"""PHANTOM's prototype as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from marl_pricing.environments.single import SeenEntry, SingleSellerEnv, check_box
from marl_pricing.market import MarketParams, MarketShape, MarketState
from marl_pricing.market.reward import estimate_error, relative_movement


class PhantomPrototypeEnv(SingleSellerEnv):
    """One seller moves the prices of its products by up to ±30 %; scripted sessions of people and agents answer.

    Observation: {"elasticity": {"price": [N] money, "demand": [N] demand proxy}}. Reward: revenue less agent loss,
    price movement and the error of the demand proxy, each with its weight in the market.

    What differs from the prototype: the error in the reward is bounded and symmetric, |D − q̂| / (D + q̂), because
    the prototype's |D − q̂| / (D + 1e-6) reaches a million wherever nothing was bought and drowns the revenue (it stands
    in `info` as `relative_error_raw`); the horizon truncates instead of terminating; observations are copies.
    """

    def __init__(self, shape: MarketShape, params: MarketParams) -> None:
        """Wrap the market of `config.phantom_prototype`, or another of one seller that moves prices by `adjust`.

        Raises:
            ValueError: for other markets.
        """
        super().__init__(shape, params, np.zeros(1))
        if shape.prices.map != "adjust":
            raise ValueError(f"prices.map={shape.prices.map!r}: accepted is 'adjust'")
        count = shape.num_offers
        limit = float(params.prices.max_change)
        self._actions = spaces.Box(-limit, limit, (count,), np.float32)
        self.action_space = self._actions
        low, high = (np.asarray(end, np.float32) for end in (params.prices.low, params.prices.high))
        demand = spaces.Box(0.0, 1e6, (count,), np.float32)
        price = spaces.Box(low, high, (count,), np.float32)
        self.observation_space = spaces.Dict({"elasticity": spaces.Dict({"price": price, "demand": demand})})

    def observation_entries(self) -> list[SeenEntry]:
        """What each number of the observation is, beside `_observe`; they are shown as they are."""
        found: list[SeenEntry] = []
        for name, unit in (("price", "money"), ("demand", "weighted events")):
            space = self.observation_space["elasticity"][name]  # type: ignore[index]
            ends = zip(space.low.tolist(), space.high.tolist(), strict=True)
            text = "price of the last epoch" if name == "price" else "demand proxy of the last epoch"
            found += [(f"elasticity.{name}: {text}, product {k}", unit, own, own) for k, own in enumerate(ends)]
        return found

    def _observe(self, state: MarketState) -> dict[str, Any]:
        price, demand = (np.array(part, np.float32) for part in (state.prices, state.events))
        return {"elasticity": {"price": price, "demand": demand}}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode; see `gymnasium.Env.reset`. `options` are not used."""
        return self._observe(self._begin(seed)), {}

    def step(self, action: Any):
        """One epoch.

        Args:
            action: [N] relative changes of the prices.

        Raises:
            ValueError: for an action that is not in the space, before a reset and after the end.
        """
        before, state, outcome, _, rewards = self._advance(check_box(action, self._actions))
        people = outcome.orders[0]
        agents = outcome.orders[1:].sum()
        units = outcome.demand
        observed = float((outcome.price_paid * units).sum())
        oracle = float((outcome.price_linked * units).sum())
        movement = relative_movement(outcome.prices, before.prices, self.params.reward.movement_floor)
        bought = float(units.sum())
        form = self.shape.reward.error_form
        info = {
            "t": int(state.epoch),
            "revenue_observed": observed,
            "revenue_oracle": oracle,
            "agent_loss": max(0.0, oracle - observed),
            "ux_volatility": float(np.abs(movement).mean()),
            "mean_internal_error": float(np.mean(estimate_error(form, people, outcome.events))),
            "relative_error_raw": float(np.mean(estimate_error("relative", people, outcome.events))),
            "look_to_book": float(outcome.views) / (bought + 1e-6),
            "mean_sale_price": observed / bought if bought else 0.0,
            "true_human_purchases_total": float(people.sum()),
            "true_agent_purchases_total": float(agents),
        }
        return self._observe(state), float(rewards[0]), False, bool(outcome.truncated), info

"""The torch learner on a market that is not ours: `python examples/other_market.py`.

Two coffee stalls, written down as anybody would in NumPy and PettingZoo: every day each posts a price, sees what the
other posted the day before, and sells by logit demand (quality 2, cost 1, taste 1/4, as in Calvano et al. 2020). Stalls
that care for today only (gamma 0) end next to the Nash price 1.4729.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.torch_mappo.environments import train_on_env

PRICES = np.linspace(1.2, 2.0, 17)
NASH = 1.4729


class CoffeeStalls(ParallelEnv):
    """Two stalls for twenty days."""

    metadata = {"name": "coffee_stalls"}  # noqa: RUF012
    possible_agents = ["north", "south"]  # noqa: RUF012

    def observation_space(self, agent: str) -> spaces.Box:
        """Own price and the other's, of the day before."""
        return spaces.Box(0.0, 2.0, (2,), np.float32)

    def action_space(self, agent: str) -> spaces.Discrete:
        """A place in PRICES."""
        return spaces.Discrete(len(PRICES))

    def _observations(self) -> dict[str, np.ndarray]:
        north, south = self._posted
        return {"north": np.array([north, south], np.float32), "south": np.array([south, north], np.float32)}

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """A new season; demand has no luck in it, so a seed changes nothing."""
        self.agents, self._day, self._posted = list(self.possible_agents), 0, np.full(2, PRICES.mean())
        return self._observations(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """One day."""
        self._posted, self._day = PRICES[[actions[agent] for agent in self.agents]], self._day + 1
        pull = np.exp((2.0 - self._posted) / 0.25)
        profit = 100.0 * (self._posted - 1.0) * pull / (1.0 + pull.sum())
        names, over = self.agents, self._day == 20
        self.agents = [] if over else names
        ends = (dict.fromkeys(names, False), dict.fromkeys(names, over))
        return self._observations(), dict(zip(names, profit, strict=True)), *ends, {agent: {} for agent in names}


def main(num_updates: int = 80) -> dict[str, float]:
    """Train, play ten days, say the prices of the last one."""
    settings = LearnerSettings(
        algorithm="torch_mappo", num_envs=16, num_steps=20, num_updates=num_updates, num_minibatches=2, hidden_size=16,
        gamma=0.0, learning_rate=0.005, learning_rate_end=0.0, entropy_start=0.02, entropy_end=0.0,
    )  # fmt: skip
    policy = train_on_env(CoffeeStalls, settings).policy
    env = CoffeeStalls()
    memory, (observations, _) = policy.start(), env.reset()
    for _ in range(10):
        actions, memory = policy.act(observations, memory)
        observations, *_ = env.step(actions)
    prices = {agent: float(PRICES[action]) for agent, action in actions.items()}
    print(", ".join(f"{agent} {price:.2f}" for agent, price in prices.items()), f"(Nash {NASH})")
    return prices


if __name__ == "__main__":
    main()

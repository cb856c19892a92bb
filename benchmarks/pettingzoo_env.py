"""The PettingZoo environment: one market, a Python loop, random actions."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

import marl_pricing
from benchmarks.market import stock_market
from marl_pricing.presentation.output import run_command

NUM_STEPS = 5000


def rows(repeats: int = 5) -> list[dict[str, Any]]:
    """Steps a second for two and three sellers with stock, replenishment and Poisson demand."""
    table = []
    for num_sellers in (2, 3):
        env = marl_pricing.parallel_env(stock_market(num_sellers, random_orders=True, rule="threshold"))
        levels = np.random.default_rng(0).integers(env.shape.prices.num_levels, size=(NUM_STEPS, num_sellers)).tolist()
        agents = env.possible_agents

        def play(env=env, levels=levels, agents=agents) -> float:
            env.reset(seed=0)
            begin = time.perf_counter()
            for chosen in levels:
                env.step(dict(zip(agents, chosen, strict=True)))
                if not env.agents:
                    env.reset()
            return NUM_STEPS / (time.perf_counter() - begin)

        play()
        rates = [play() for _ in range(repeats)]
        table.append(
            {
                "name": f"PettingZoo env, {num_sellers} sellers",
                "value": median(rates),
                "unit": "steps/s",
                "note": "resets included",
            }
        )
    return table


def main() -> int:
    """Print the rates."""
    for row in rows():
        print(f"{row['name']}: {row['value']:,.0f} {row['unit']} ({row['note']})")
    return 0


if __name__ == "__main__":
    run_command(main)

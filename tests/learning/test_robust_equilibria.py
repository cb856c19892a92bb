"""Robust sellers trained in a one-shot market end at robust equilibria; where worlds are alike, at the plain ones."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.equilibrium import robust
from marl_pricing.evaluation.robust_benchmarks import worlds_of
from marl_pricing.learning.parallel import Program
from tests.doors.compose import composed
from tests.learning.test_known_answers import OMEGAS, SEEDS, trained

# The market of known_answers/robust_equilibria.json: people's scale 0.25, agents' 0.1, prices 0.025 apart.
MARKET = (
    "experiment=logit_duopoly", "traffic.agent_share=0.3", "+market.agent.scale=0.1", "market/prices=levels",
    "market.prices.low=1.1", "market.prices.high=2.2", "market.prices.num_price_levels=45",
)  # fmt: skip


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
@pytest.mark.parametrize("sellers", [2, 3])
def test_greedy_prices_are_a_robust_equilibrium_of_the_grid_game(sellers: int) -> None:
    """8 of 8 seeds. Payoffs are flat around an equilibrium: who stops exploring early stays beside it."""
    radius = 0.3
    experiment = composed(
        *MARKET, "robust=interval", f"robust.radius={radius}", f"market.num_sellers={sellers}",
        f"learner.num_seeds={SEEDS * len(OMEGAS)}", "learner.num_envs=64", "learner.entropy_start=0.3",
    )  # fmt: skip
    shape, params = experiment.market
    chosen = trained(Program, experiment, OMEGAS, SEEDS)
    grid = np.asarray(params.prices.levels[0])
    for omega, played in zip(OMEGAS, chosen, strict=True):
        own = params.replace(reward=params.reward.replace(omega=jnp.full((sellers,), omega)))
        known = {
            tuple(row) for row in robust.grid_equilibria(shape, worlds_of(own, experiment.learner.ambiguity)).tolist()
        }
        there = [{tuple(row) for row in episode.tolist()} <= known for episode in played]
        print(f"{sellers} sellers, radius {radius}, omega {omega}: {sum(there)} of {SEEDS} at one of {len(known)}")
        assert all(there), (omega, grid[played[:, -1]].tolist())

"""The torch learner reaches the one-shot logit duopoly's exact equilibria, as the flax one does."""

from __future__ import annotations

import pytest

from marl_pricing.learning.torch_mappo.program import TorchProgram
from tests.doors.compose import composed
from tests.learning.test_known_answers import assert_equilibria, trained

OMEGAS = (1.0, 0.0)  # the Nash price and the joint-profit price
SEEDS = 4


@pytest.mark.slow
def test_greedy_prices_are_nash_or_joint_profit_for_four_seeds_of_four() -> None:
    seeds = f"learner.num_seeds={SEEDS * len(OMEGAS)}"
    experiment = composed("experiment=logit_duopoly", "learner=torch_mappo", seeds)
    assert_equilibria(experiment, OMEGAS, trained(TorchProgram, experiment, OMEGAS, SEEDS))

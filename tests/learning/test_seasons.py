"""A season that ends: what is learned among people who may wait for a lower price is the path in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from marl_pricing.equilibrium.patience import skimming
from marl_pricing.learning.parallel import Program
from tests.doors.compose import composed
from tests.learning.test_known_answers import trained


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_a_seller_learns_the_path_that_people_who_may_wait_leave_it() -> None:
    """Four seeds of five within 2 % in both epochs, and none further than a step of the grid beyond that."""
    experiment = composed("experiment=patient_shoppers", "learner.num_seeds=5")
    grid = np.asarray(experiment.market.params.prices.levels[0], np.float64)
    prices = grid[trained(Program, experiment, (1.0,), 5)[0, :, :, 0]]
    exact = skimming(choke=1.0, slope=1.0, cost=0.0, share=0.5, discount=0.6, epochs=2).prices
    off = np.abs(prices / exact - 1.0).max(1)
    assert (off < 0.02).sum() >= 4, prices
    assert np.abs(prices - exact).max() < 0.02 * exact.max() + grid[1] - grid[0], prices

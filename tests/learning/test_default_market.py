"""The default market is worth a learner: `python -m benchmarks.default_market` says how much, over more seeds."""

from __future__ import annotations

import pytest

from benchmarks.default_market import Learned, in_a_seat


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_learned_sellers_beat_the_best_constant_in_their_seat() -> None:
    """Half of the shipped budget is enough for several per cent in each of two seeds."""
    own = Learned(2, "experiment=competitive", "learner.num_updates=50", "learner.devices=1")
    learned, best = in_a_seat(own)
    assert (learned / best > 1.02).all(), (learned, best)

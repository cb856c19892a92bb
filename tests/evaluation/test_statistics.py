"""Levels of chance kept apart: seeds, episodes, pairs."""

from __future__ import annotations

import numpy as np
import pytest

from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.metrics import Parts


def plain(scores: np.ndarray) -> Parts:
    """Parts [M, R, E] whose values are these."""
    return Parts(scores, np.ones_like(scores))


def test_interquartile_mean_is_that_of_the_middle_half() -> None:
    assert statistics.interquartile_mean(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 700.0])) == 3.5
    assert statistics.interquartile_mean(np.array([1.0, 2.0, 9.0])) == 4.0  # of three nothing can be cut


def test_several_seeds_are_resampled_whole() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 6, 1)) + rng.normal(size=(2, 6, 500)) * 10.0
    found = statistics.estimate(plain(scores))
    means = scores.mean(-1)
    np.testing.assert_allclose(found.value, means.mean(-1))
    assert (found.resampled, found.count) == ("seeds", 6)
    draws = np.random.default_rng(1).integers(0, 6, (20_000, 6))
    low, high = np.quantile(means[:, draws].mean(-1), [0.025, 0.975], axis=-1)
    # 1,000 draws: a quantile's standard error is a twelfth of the mean's.
    np.testing.assert_allclose([found.low, found.high], [low, high], atol=4 * 0.085 * 1.2 / np.sqrt(6))
    np.testing.assert_allclose(found.deviation, means.std(-1, ddof=1))
    # What finitely many episodes add: 10 / sqrt(500) for a seed, over sqrt(6) for their mean.
    np.testing.assert_allclose(found.episode_error, 10.0 / np.sqrt(500 * 6), rtol=0.1)


def test_a_single_seed_resamples_episodes_with_their_weights() -> None:
    rng = np.random.default_rng(1)
    top, bottom = rng.gamma(3.0, 2.0, (1, 1, 60)), rng.uniform(1.0, 3.0, (1, 1, 60))
    found = statistics.estimate(Parts(top, bottom))
    assert found.value[0] == pytest.approx(top.sum() / bottom.sum())
    assert (found.resampled, found.count) == ("episodes", 60) and np.isnan(found.iqm[0])
    draws = np.random.default_rng(2).integers(0, 60, (20_000, 60))
    low, high = np.quantile(top[0, 0][draws].sum(1) / bottom[0, 0][draws].sum(1), [0.025, 0.975])
    assert found.low[0] == pytest.approx(low, rel=0.02) and found.high[0] == pytest.approx(high, rel=0.02)


def test_intervals_cover_the_truth() -> None:
    """95 % intervals of 20 seeds: a percentile bootstrap of so few covers a little less."""
    scores = np.random.default_rng(0).normal(2.0, 1.0, (400, 20, 1))
    found = statistics.estimate(plain(scores))
    share = np.mean((found.low <= 2.0) & (found.high >= 2.0))
    assert 0.88 <= share <= 0.97
    middle = np.mean((found.iqm_low <= 2.0) & (found.iqm_high >= 2.0))
    assert 0.85 <= middle <= 0.97


def test_one_unit_has_no_interval() -> None:
    found = statistics.estimate(plain(np.array([[[3.0]]])))
    assert found.value[0] == 3.0 and np.isnan(found.low[0]) and np.isnan(found.episode_error[0])


def test_pairs_take_out_what_both_runs_met() -> None:
    rng = np.random.default_rng(3)
    shared = rng.normal(0.0, 5.0, (1, 12, 1))
    one, other = shared + 1.0 + rng.normal(0, 0.1, (1, 12, 4)), shared + rng.normal(0, 0.1, (1, 12, 4))
    found = statistics.compare(plain(one), plain(other))
    assert found.difference[0] == pytest.approx(1.0, abs=0.1) and found.low[0] > 0.8
    assert found.effect[0] > 5.0  # of the paired differences
    assert found.above[0] < 0.7  # seeds themselves differ by much more than the runs
    assert (found.units, found.count) == ("seeds", 12)


def test_probability_above_counts_pairs_and_half_of_ties() -> None:
    assert statistics.probability_above(np.array([3.0, 4.0]), np.array([1.0, 3.0])) == pytest.approx(3.5 / 4)
    same = np.array([1.0, 2.0, 3.0])
    assert statistics.probability_above(same, same) == 0.5


def test_runs_of_different_numbers_of_seeds_are_not_paired() -> None:
    with pytest.raises(ValueError, match="runs of 3 and 2 seeds, 4 and 4 episodes"):
        statistics.compare(plain(np.ones((1, 3, 4))), plain(np.ones((1, 2, 4))))


def test_differences_that_do_not_vary_have_no_effect_size() -> None:
    one = np.arange(8.0).reshape(1, 8, 1)
    found = statistics.compare(plain(one + 1.0), plain(one))
    assert found.difference[0] == 1.0 and np.isnan(found.effect[0])


def test_a_mean_of_independent_values_has_students_interval() -> None:
    told = statistics.interval(np.array([1.0, 2.0, 3.0, 4.0]))
    assert told == pytest.approx((2.5, 0.4457, 4.5543), abs=1e-4)  # t of 3 degrees at 0.975: 3.1824
    assert np.isnan(statistics.interval(np.array([1.0]))[1:]).all()
    assert np.isnan(statistics.interval(np.array([1.0, np.inf]))[1])
    random = np.random.default_rng(0)
    ends = np.array([statistics.interval(random.normal(size=5))[1:] for _ in range(1000)])
    assert 0.93 < ((ends[:, 0] < 0) & (ends[:, 1] > 0)).mean() < 0.97

"""Detection: scores, posterior, cohorts; against exact likelihoods."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from marl_pricing.traffic import chain, cohorts, detection, kernels
from tests.traffic.test_kernels import walk
from tests.traffic.visitors import epochs, with_sessions

HUMAN, AGENT = kernels.align(kernels.default_kernels())
NUM_HELD_OUT = 20_000


@pytest.fixture(scope="module")
def held_out():
    """20,000 sessions a class, walked by the product's own chain."""
    own = with_sessions("chain")
    params, shape = own.params.traffic.sessions, own.shape.traffic
    return [
        jax.tree.map(
            np.asarray,
            chain.walk(jax.random.key(10 + label), shape, params, jnp.full(NUM_HELD_OUT, label, jnp.int32), 40),
        )
        for label in (0, 1)
    ]


def area(people: np.ndarray, agents: np.ndarray) -> float:
    return cohorts.separability(people, agents, num_resamples=2).auc


def test_the_chains_ratios_are_the_sessions_likelihood_ratios() -> None:
    for session in walk(HUMAN, 50) + walk(AGENT, 50, 1):
        got = detection.divergences(session, HUMAN.matrix, AGENT.matrix)
        exact = kernels.log_likelihood([session], AGENT.matrix) - kernels.log_likelihood([session], HUMAN.matrix)
        # The kernels share their zeros, so that smoothing changes little.
        assert got.log_ratio == pytest.approx(exact[0], abs=0.01)
        assert got.gap == pytest.approx(got.log_ratio / (len(session) - 1))
        assert got.gap == pytest.approx(got.human - got.agent)
        assert got.human >= -1e-3 and got.agent >= -1e-3


def test_rows_never_visited_do_not_count_and_nothing_underflows() -> None:
    session = kernels.encode(["page_view", "view_item"], HUMAN.states)
    before = detection.divergences(session, HUMAN.matrix, AGENT.matrix)
    other = HUMAN.matrix.copy()
    row = HUMAN.states.index("checkout")
    other[row] = 0.0
    other[row, -1] = 1.0
    assert detection.divergences(session, other, AGENT.matrix) == before
    # A session of 4,000 events has a probability far below the smallest float.
    long = kernels.encode(["page_view", "search"] * 2000, HUMAN.states)
    got = detection.divergences(long, HUMAN.matrix, AGENT.matrix)
    assert np.isfinite(got.log_ratio) and got.gap > 0.1
    assert 0.0 < float(detection.suspicion(jnp.float32(got.gap), jnp.float32(0.2))) < 1.0


@pytest.mark.slow
def test_the_detector_is_as_good_as_the_exact_likelihood_ratio(held_out) -> None:
    people, agents = held_out
    exact = [
        kernels.log_likelihood(sessions, AGENT.matrix) - kernels.log_likelihood(sessions, HUMAN.matrix)
        for sessions in (walk(HUMAN, NUM_HELD_OUT, 3), walk(AGENT, NUM_HELD_OUT, 4))
    ]
    best = area(*exact)
    posterior = area(*(detection.posterior(rows.log_ratio, 0.25) for rows in (people, agents)))
    weak = area(*(expit(rows.gap / 0.2) for rows in (people, agents)))
    assert best == pytest.approx(0.697, abs=0.01)
    assert posterior == pytest.approx(best, abs=0.005 + 4 * 0.0026 * np.sqrt(2))  # two samples of 20,000
    same = area(people.log_ratio, agents.log_ratio)
    assert posterior == pytest.approx(same, abs=1e-6)
    assert weak >= 0.67


def test_the_posterior_is_calibrated(held_out) -> None:
    people, agents = held_out
    prior = 0.25
    agents_kept = NUM_HELD_OUT // 3  # a quarter of all
    scores = np.concatenate([people.log_ratio, agents.log_ratio[:agents_kept]])
    label = np.concatenate([np.zeros(NUM_HELD_OUT), np.ones(agents_kept)])
    told = detection.posterior(scores, prior)
    bins = np.quantile(told, np.linspace(0, 1, 11))
    index = np.clip(np.searchsorted(bins, told, side="right") - 1, 0, 9)
    gaps = [abs(told[index == b].mean() - label[index == b].mean()) * (index == b).mean() for b in np.unique(index)]
    assert sum(gaps) <= 0.02


def test_a_prior_outside_is_refused() -> None:
    for prior in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="prior="):
            detection.posterior(np.zeros(2), prior)


def test_the_share_of_agents_is_read_from_mean_scores_without_bias() -> None:
    for share in (0.0, 0.3, 0.9):
        own = with_sessions("bank", sessions=50, agent_share=share)
        mean = epochs(own, 4000).mean_score[:, 0]
        got = np.asarray(
            detection.estimate_share(jnp.asarray(mean), own.params.traffic.sessions.mean_scores, bounded=False)
        )
        assert abs(got.mean() - share) < 4 * got.std() / np.sqrt(len(got)) + 1e-3
    assert float(detection.estimate_share(jnp.float32(0.9), jnp.array([0.4, 0.6]))) == 1.0
    assert float(detection.estimate_share(jnp.float32(0.9), jnp.array([0.5, 0.5]))) == 0.0


def test_separability_of_two_normal_cohorts() -> None:
    random = np.random.default_rng(0)
    people, agents = random.normal(0, 1, 400), random.normal(1, 1, 300)
    got = cohorts.separability(people, agents)
    from scipy.stats import norm

    exact = norm.cdf(1 / np.sqrt(2))
    assert got.auc == pytest.approx(exact, abs=0.05)
    assert got.auc_interval[0] < exact < got.auc_interval[1]
    assert got.effect == pytest.approx(2 * got.auc - 1)
    assert got.u == pytest.approx(got.auc * 400 * 300)
    assert got.p_value < 1e-10
    assert cohorts.separability(people, people[::-1]).p_value > 0.99
    with pytest.raises(ValueError, match="agents: accepted are at least two"):
        cohorts.separability(people, np.array([1.0]))


def test_judging_other_sessions_takes_the_flattery_out() -> None:
    """Two cohorts of one kernel: centroids that saw the sessions tell them apart."""
    people, agents = walk(HUMAN, 15, 5), walk(HUMAN, 15, 6)
    seen = [kernels.estimate(own, HUMAN.states).matrix for own in (people, agents)]
    flattered = [[detection.divergences(s, *seen).gap for s in own] for own in (people, agents)]
    assert area(*map(np.array, flattered)) > 0.7
    apart = cohorts.held_out_gaps(walk(HUMAN, 400, 7), walk(AGENT, 400, 8), HUMAN.states)
    assert area(*apart) > 0.6 and len(apart[0]) == 200
    with pytest.raises(ValueError, match="at least four of each class"):
        cohorts.held_out_gaps(people[:3], agents, HUMAN.states)


def test_equal_classes_are_told_apart_by_chance_alone() -> None:
    """Of 300 pairs of small cohorts one in twenty by the test; on average nobody's gap is above the other's."""
    found = []
    for number in range(300):
        sessions = walk(HUMAN, 40, 100 + number)
        found.append(cohorts.separability(*cohorts.held_out_gaps(sessions[:20], sessions[20:], HUMAN.states), 2))
    areas = np.array([own.auc for own in found])
    assert abs(areas.mean() - 0.5) < 3 * areas.std() / np.sqrt(len(areas))
    alarms = sum(own.p_value < 0.05 for own in found)
    assert stats.binom.cdf(alarms, 300, 0.05) < 0.999 and alarms > 2


def test_a_table_of_scores_and_the_heuristic() -> None:
    table = cohorts.score_sessions(walk(HUMAN, 20), HUMAN, AGENT, prior=0.3, temperature=0.5)
    np.testing.assert_allclose(table["suspicion"], expit(table["gap"] / 0.5))
    np.testing.assert_allclose(table["posterior"], detection.posterior(table["log_ratio"].to_numpy(), 0.3))
    np.testing.assert_allclose(table["gap"], table["delta_human"] - table["delta_agent"], atol=1e-9)
    features = pd.DataFrame(
        {"events": [12, 11, 40, 40], "velocity": [0.2, 5, 0.1, 3], "conversion": [0.0, 0.0, 0.0, 0.5]}
    )
    assert cohorts.heuristic(features).tolist() == [True, False, False, False]

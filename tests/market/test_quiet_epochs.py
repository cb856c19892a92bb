"""Epochs that nobody visits say nothing about agents."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.demand import propensities
from marl_pricing.learning.measures import segment_measures
from marl_pricing.market import Action
from tests.learning.helpers import learner_of, rolled, started
from tests.markets import programs
from tests.traffic.visitors import with_sessions

SHARE, SESSIONS = 0.4, 40
FEATURES = ["own_price", "stock", "suspicion", "share_estimate", "proxy_trend"]


def epochs(scales: list[float], seed: int = 0):
    """(states, outcomes, observations) [T, ...] of a market whose epochs have these factors on demand."""
    own = with_sessions("bank", sessions=SESSIONS, agent_share=SHARE, episode_length=len(scales), features=FEATURES)
    shape, params = own
    still = Action(jnp.full((2, 1), 4))

    def epoch(state, at):
        key, scale = at
        own_params = params.replace(demand=params.demand.replace(scale=scale))
        state, seen, outcome = market.step(key, shape, state, still, own_params)
        return state, (state, outcome, seen)

    first, _ = programs.reset(jax.random.key(seed), *own)
    keys = jax.random.split(jax.random.key(seed + 1), len(scales))
    run = jax.jit(lambda s: jax.lax.scan(epoch, first, (keys, s))[1])
    return jax.tree.map(np.asarray, run(jnp.asarray(scales, jnp.float32)))


def test_the_estimate_keeps_its_value_while_nobody_comes() -> None:
    states, outcome, seen = epochs([1.0, 1.0, 0.0, 0.0, 1.0])
    assert outcome.visits.tolist() == [40, 40, 0, 0, 40]
    for name in ("share_estimate", "suspicion"):
        values = getattr(states, name)
        np.testing.assert_allclose(values[2:4], values[1], rtol=1e-6)
        assert abs(values[4] - values[1]) > 1e-4
    np.testing.assert_allclose(seen.local[1, 0, 2:4], seen.local[3, 0, 2:4], rtol=1e-6)
    # A share of no events is no share: there is no change to and from it.
    assert (states.trend[2:] == 0).all() and (states.trend[1] != 0).any()


def test_epochs_without_visitors_leave_the_mean_what_it_would_be_without_them() -> None:
    gaps = epochs([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    own = with_sessions("bank", sessions=SESSIONS, agent_share=SHARE)
    one = jnp.ones(2)
    takes = np.asarray(propensities(own.shape.demand, own.params.demand, gaps[1].prices[0], one, one > 0).sum(-1))
    told = own.params.traffic.sessions
    means = takes * np.asarray(told.mean_scores) + (1.0 - takes) * np.asarray(told.refused_scores)
    each = (gaps[1].suspicion[[2, 4, 5]] - means[0]) / (means[1] - means[0])
    got = gaps[0].share_estimate
    assert got[0] == got[1] == 0.0  # nothing is known yet
    np.testing.assert_allclose(got[[2, 4, 5]], [each[:1].mean(), each[:2].mean(), each.mean()], rtol=1e-4, atol=1e-5)


def test_the_mean_estimate_is_the_share_however_few_come() -> None:
    # One visitor in five epochs: with empty epochs counted as evidence the mean is far below 0.
    rates = [1.0 / (5 * SESSIONS)] * 3000
    states, outcome, _ = epochs(rates)
    assert 0.1 < (outcome.visits > 0).mean() < 0.3
    late = states.share_estimate[500:]
    error = late.std() / np.sqrt(len(late) * 0.2 / 20)  # a tenth a visitor: about 20 visitors are one draw
    assert late.mean() == pytest.approx(SHARE, abs=4 * error)


def test_measured_suspicion_is_a_mean_over_epochs_that_somebody_visited() -> None:
    own = with_sessions("bank", sessions=2, agent_share=SHARE, episode_length=7, demand_scale=0.2)
    learner = learner_of(own)
    _, segment = rolled(learner, own, started(learner, own))
    visited = np.asarray(segment.outcome.visits) > 0
    assert 0.1 < visited.mean() < 0.9
    got = segment_measures(own.shape, own.params, segment, lambda x: x)
    expected = np.asarray(segment.outcome.suspicion)[visited].mean()
    assert float(got["suspicion"]) == pytest.approx(expected, rel=1e-5)

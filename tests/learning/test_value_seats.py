"""Learners of action values among seats that others hold, and against their own past."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from marl_pricing.evaluation.report.html_tables import best_response_table
from marl_pricing.learning.learner import init
from marl_pricing.learning.learners import make_learner, settings_class
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.seats import Holder, Past, SelfPlay, seat_game, seat_params
from marl_pricing.policies import constant
from tests.learning.helpers import INDEX, QUICK, TINY
from tests.markets import one_shot

VALUES = ("pqn", "dqn", "qtable")
MARKET = {"prices": {"map": "levels", "low": 1.2, "high": 2.2, "num_price_levels": 5}, "features": ["own_price"]}


def settings_of(algorithm: str):
    kind = settings_class(algorithm)
    told = TINY | {"num_steps": 6, "cell": "none", "sharing": "per_seller", "learning_rate": 0.1}
    return kind(algorithm=algorithm, **{name: own for name, own in told.items() if name in kind.model_fields})


def updated(learner, params, updates: int):
    """The state before, and the one after some updates."""
    before = jax.jit(lambda: init(learner, jnp.int32(0), params, INDEX), compiler_options=QUICK)()
    update = jax.jit(lambda state: learner.update(state, params, INDEX, lambda x: x), compiler_options=QUICK)
    after = before
    for _ in range(updates):
        after, seen = update(after)
    assert all(np.isfinite(value).all() for value in jax.tree.leaves((after.learnable, seen)))
    return before, after


@pytest.mark.parametrize("algorithm", VALUES)
def test_what_a_held_seat_is_worth_is_not_learned(algorithm: str) -> None:
    own = one_shot(2, episode_length=4, **MARKET)
    rule = constant(*own, [1.45, 1.45])
    params = seat_params(own.params, [Holder(rule.parameters, jnp.array([False, True]))])
    learner = make_learner(settings_of(algorithm), own.shape, params, game=seat_game([rule]))
    before, after = updated(learner, params, 2)
    moved = [np.abs(np.asarray(new) - np.asarray(old)).reshape(2, -1).max(1) for old, new in zip(
        jax.tree.leaves(before.learnable.actor), jax.tree.leaves(after.learnable.actor), strict=True)]  # fmt: skip
    assert max(leaf[0] for leaf in moved) > 1e-3 and all(leaf[1] == 0.0 for leaf in moved)


@pytest.mark.parametrize("algorithm", VALUES)
def test_past_selves_are_kept_and_one_seat_learns_an_episode(algorithm: str) -> None:
    own = one_shot(2, episode_length=4, **MARKET)
    learner = make_learner(settings_of(algorithm), *own)
    itself = learned_policy(learner, None, greedy=False)
    learner = replace(learner, game=replace(seat_game([]), past=SelfPlay(itself.start, itself.act, 2, 1)))
    params = seat_params(own.params, [], Past(jnp.array([True, True]), jnp.float32(0.5)))
    before, after = updated(learner, params, 2)
    pool, first = jax.tree.leaves(after.pool), jax.tree.leaves(before.learnable.actor)
    for kept, start in zip(pool, first, strict=True):  # before update 0, then before update 1
        np.testing.assert_array_equal(kept[0], start)
    assert any((np.asarray(kept[0]) != np.asarray(kept[1])).any() for kept in pool)
    assert (np.asarray(after.rollout.market.learns).sum(-1) == 1).all()


@pytest.mark.parametrize("from_host", [True, False])
def test_a_report_says_what_responders_began_as(from_host: bool) -> None:
    row = dict.fromkeys(("learned", "gain", "low", "high", "share", "share_low", "share_high"), 0.1)
    row |= {"trained": 0.1, "constant": 0.0, "rule": np.nan, "seller": "0", "objective": "raw", "response": "itself",
            "updates": 5, "count": 2, "resampled": "seeds"}  # fmt: skip
    told = best_response_table(pd.DataFrame([row]), from_host=from_host)
    assert ("goes on learning from the host's own network for 5 updates" in told) == from_host
    assert ("learns from a new network, since the host's values actions, for 5 updates" in told) != from_host

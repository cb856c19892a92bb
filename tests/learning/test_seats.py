"""Frozen policies in seats of a market that others learn in."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.learning.mappo import make_learner
from marl_pricing.learning.seats import Holder, seat_game, seat_params
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.market import Action
from marl_pricing.robust import Ambiguity
from tests.evaluation.behaviour.rules import make_duopoly, rule


@pytest.fixture(scope="module")
def duopoly():
    return make_duopoly(omega=0.5)


def test_the_frozen_policy_plays_and_remembers_and_only_the_learner_has_acted(duopoly) -> None:
    """The clock of the frozen seller counts its own decisions: from one segment to the next, and from each reset."""
    host = rule(duopoly.shape, ("constant", "clock"))
    game = seat_game([host])
    params = seat_params(duopoly.params, [Holder(host.parameters, jnp.array([False, True]))])
    action = Action(jnp.full((2, 1), 3, jnp.int32))

    @jax.jit
    def episode(key):
        def epoch(state, time):
            state, _, outcome = game.step(jax.random.fold_in(key, time), duopoly.shape, state, action, params)
            return state, outcome

        return jax.lax.scan(epoch, game.reset(key, duopoly.shape, params)[0], jnp.arange(7))[1]

    for seed in (0, 1):
        outcome = episode(jax.random.key(seed))
        np.testing.assert_allclose(outcome.prices[:, 0], 1.5, atol=1e-6)
        np.testing.assert_allclose(outcome.prices[:, 1], 1.3 + 0.1 * (np.arange(7) % 5), atol=1e-6)
        np.testing.assert_array_equal(outcome.acted, [[True, False]] * 7)
    with pytest.raises(ValueError, match="ambiguity: its candidate worlds are the market's"):
        make_learner(
            LearnerSettings(), *duopoly, Ambiguity("kl", "per_seller", 0.3, (0.0, 0.5), False, (0.5, 0.5)), game
        )

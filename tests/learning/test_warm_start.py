"""A training that starts from given networks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.learning.parallel import Program
from marl_pricing.learning.state import Networks, networks_of
from tests.learning.helpers import learner_of, market_of

STILL = {"learning_rate": 1e-30, "learning_rate_end": 0.0}


@pytest.fixture(scope="module")
def source():
    """Two seeds, trained a little; with the program, its market and the state."""
    own = market_of("stock")
    program = Program(learner_of(own, num_seeds=2, learning_rate=0.05))
    params = program.stack(own.params)
    state, _ = program.train(program.init(params), params, 2)
    return program, params, state, jax.device_get(networks_of(state))


@pytest.mark.slow
def test_a_state_has_the_networks_given_fresh_optimisers_and_the_same_environments(source) -> None:
    program, params, _, networks = source
    begun, new = program.init(params, networks), program.init(params)
    assert jax.tree.all(jax.tree.map(lambda a, b: (np.asarray(a) == b).all(), networks_of(begun), networks))
    assert float(begun.statistics.weight[0]) > 0
    untouched = (begun.learnable.actor_optimiser, begun.learnable.critic_optimiser)
    assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(untouched))
    assert int(begun.update[0]) == 0
    same = jax.tree.map(lambda a, b: bool((a == b).all()), begun.rollout, new.rollout)
    assert jax.tree.all(same)
    assert jax.tree.structure(begun) == jax.tree.structure(program.abstract_state(params))


@pytest.mark.slow
def test_without_a_step_it_plays_as_its_source_and_no_probability_has_moved(source) -> None:
    _, params, _, networks = source
    still = Program(learner_of(market_of("stock"), num_seeds=2, **STILL))
    state, measures = still.train(still.init(params, networks), params, 1)
    assert np.asarray(measures["clipped"]).max() == 0.0
    np.testing.assert_allclose(measures["kl"], 0.0, atol=1e-6)  # the ratio of every step is 1
    same = jax.tree.map(lambda a, b: np.array_equal(a, b), state.learnable.actor, networks.actor)
    assert jax.tree.all(same)
    # New networks would have played another segment.
    _, other = still.train(still.init(params), params, 1)
    assert np.abs(np.asarray(measures["entropy"]) - np.asarray(other["entropy"])).min() > 1e-4
    # What was given is still there, and gives the same again.
    again, _ = still.train(still.init(params, networks), params, 1)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), again, state))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["actor", "statistics"])
def test_networks_of_another_shape_are_refused(source, part: str) -> None:
    program, params, _, networks = source
    cut = jax.tree.map(lambda leaf: leaf[..., :-1] if np.ndim(leaf) > 1 else leaf, getattr(networks, part))
    with pytest.raises(ValueError, match=rf"networks: {part}\..* of shape .*: accepted is \("):
        program.init(params, networks.replace(**{part: cut}))
    assert isinstance(networks, Networks)


@pytest.mark.slow
def test_the_learned_networks_are_kept_apart_from_what_is_trained(source) -> None:
    """The state is donated to the training; on a device the networks that it began with have to outlive it."""
    program, params, _, networks = source
    there = jax.tree.map(jnp.asarray, networks)
    program.train(program.init(params, there), params, 1)
    assert all(not leaf.is_deleted() for leaf in jax.tree.leaves(there))

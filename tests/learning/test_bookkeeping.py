"""The bookkeeping that breaks in recurrent multi-agent code: memories, resets, bootstraps, masks, permutations."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.learning import actions, mappo, normalisation
from marl_pricing.learning.batch import num_blocks
from marl_pricing.learning.gradient import gradient
from tests.learning.helpers import INDEX, MARKETS, QUICK, batch_of, learner_of, market_of, rolled, started
from tests.markets import programs
from tests.sizes import at_once

CASES = [(name, cell, sharing) for name in MARKETS for cell, sharing in (("gru", "shared"), ("lstm", "per_seller"))]


def actor_log_prob(learner, parameters, segment, memory):
    logits, _ = learner.actor.sequence(parameters, segment.observation.local, memory, segment.first)
    heads = learner.heads(learner.shape, logits, segment.observation.order_mask)
    return actions.log_prob(heads, segment.indices)


@pytest.mark.parametrize(("name", "cell", "sharing"), at_once(CASES, 2))
def test_the_ratio_is_one_before_the_first_step_also_across_episodes_and_segments(name, cell, sharing) -> None:
    own = market_of(name)
    learner = learner_of(own, cell=cell, sharing=sharing)
    state = started(learner, own)
    # A first policy that is far from uniform and remembers: large weights everywhere.
    loud = jax.tree.map(lambda x: 3.0 * x, state.learnable.actor)
    state = state.replace(learnable=state.learnable.replace(actor=loud))
    replay = jax.jit(
        lambda segment, memory: actor_log_prob(learner, loud, segment, memory), compiler_options=QUICK
    )  # fmt: skip
    for number in range(2):
        memory = state.rollout.actor_memory
        after, segment = rolled(learner, own, state, seed=number)
        assert np.asarray(segment.restarted).any()
        np.testing.assert_allclose(replay(segment, memory), segment.log_prob, atol=2e-4)
        if number:  # without the memory that was carried over the border, the replay is another one
            assert abs(np.asarray(replay(segment, jnp.zeros_like(memory)) - segment.log_prob)).max() > 1e-3
        state = state.replace(rollout=after)


@pytest.mark.parametrize("critic", at_once(["central", "local"]))
@pytest.mark.parametrize("sharing", at_once(["shared", "per_seller"]))
def test_the_next_value_is_the_next_steps_value_and_the_real_one_at_an_end(critic, sharing) -> None:
    own = market_of("stock")
    learner = learner_of(own, critic=critic, sharing=sharing)
    state = started(learner, own)
    _, segment = rolled(learner, own, state)
    parameters, memory = state.learnable.critic, state.rollout.critic_memory
    values = jax.jit(partial(mappo.critic_values, learner), compiler_options=QUICK)
    value, following, _ = values(parameters, segment, memory)
    restarted = np.asarray(segment.restarted)
    assert restarted[:-1].any()
    going_on = ~restarted[:-1]
    np.testing.assert_allclose(
        np.asarray(following)[:-1][going_on], np.asarray(value)[1:][going_on], rtol=1e-4, atol=1e-5
    )

    def seen(observation):
        return observation.state if critic == "central" else observation.local

    for t in range(10):  # one step of the critic after the other, by hand
        memory = jnp.where(segment.first[t][:, None, None], 0.0, memory)
        now = jax.tree.map(lambda x, t=t: x[t], (segment.observation, segment.following))
        out, memory = learner.critic.step(parameters, seen(now[0]), memory)
        np.testing.assert_allclose(out[..., 0], value[t], rtol=1e-4, atol=1e-5)
        real, _ = learner.critic.step(parameters, seen(now[1]), memory)
        np.testing.assert_allclose(real[..., 0], following[t], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MARKETS)
def test_the_segment_keeps_time_and_environments_apart(name) -> None:
    own = market_of(name)
    learner = learner_of(own)
    _, segment = rolled(learner, own, started(learner, own))
    outcome, local = segment.outcome, np.asarray(segment.observation.local)
    restarted = np.asarray(segment.restarted)
    np.testing.assert_array_equal(np.asarray(segment.first)[1:], restarted[:-1])
    after = np.asarray(segment.following.local)
    np.testing.assert_array_equal(local[1:][~restarted[:-1]], after[:-1][~restarted[:-1]])
    levels = np.asarray(own.params.prices.levels)
    price = np.asarray(segment.indices[0]).reshape(10, 4, -1)
    acted = np.repeat(np.asarray(outcome.acted), levels.shape[0] // outcome.acted.shape[-1], axis=-1)
    chosen = levels[np.arange(levels.shape[0]), price]
    np.testing.assert_allclose(np.asarray(outcome.prices)[acted], chosen[acted], rtol=1e-6)
    # Who has left keeps the price that it left with.
    left, posted = ~acted[1:] & ~restarted[:-1, :, None], np.asarray(outcome.prices)
    np.testing.assert_array_equal(posted[1:][left], posted[:-1][left])
    fresh = programs.reset(jax.random.key(0), *own)[1].local
    np.testing.assert_allclose(local[1:][restarted[:-1]], np.broadcast_to(fresh, (restarted[:-1].sum(), *fresh.shape)))
    gone = ~np.asarray(outcome.acted)
    assert gone.any() == (name == "bankruptcy")


def artificial(learner, seed: int = 0):
    mean, spread = np.array([100.0, -40.0]), np.array([50.0, 9.0])
    return normalisation.ValueStatistics(
        jnp.asarray(mean, jnp.float32), jnp.asarray(mean**2 + spread**2, jnp.float32), jnp.ones(())
    )


def test_values_are_brought_back_to_money_before_the_advantage() -> None:
    own = market_of("stock")
    learner = learner_of(own, normalise_advantage=False)
    state = started(learner, own).replace(statistics=artificial(learner))
    _, segment = rolled(learner, own, state)
    batch = batch_of(learner, state, segment)
    values = jax.jit(partial(mappo.critic_values, learner), compiler_options=QUICK)
    value, following, _ = values(state.learnable.critic, segment, state.rollout.critic_memory)
    value, following = (np.asarray(x) * [50.0, 9.0] + [100.0, -40.0] for x in (value, following))
    reward, done = np.asarray(segment.outcome.learning), np.asarray(segment.done)
    advantage, later = np.zeros_like(value), np.zeros_like(value[0])
    for t in reversed(range(10)):
        delta = reward[t] + 0.99 * following[t] - value[t]  # truncated, never terminated: always bootstraps
        later = delta + 0.99 * 0.95 * np.where(done[t], 0.0, later)
        advantage[t] = later
    np.testing.assert_allclose(batch.advantage, advantage, rtol=1e-3, atol=1e-2)


def gradients(learner, parameters, batch, index, rows=None):
    blocks = num_blocks(len(index), 2, rows)

    def of(parameters, batch):
        loss = partial(mappo.actor_loss, learner, entropy_coefficient=jnp.float32(0.01))
        return gradient(loss, parameters, batch, jnp.asarray(index), blocks)[0]

    return jax.jit(of, compiler_options=QUICK)(parameters, batch)


def close(one, other, tolerance=1e-4) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        scale = np.abs(np.asarray(a)).max() + 1e-6
        np.testing.assert_allclose(np.asarray(a) / scale, np.asarray(b) / scale, atol=tolerance)


@pytest.fixture(scope="module")
def ready():
    own = market_of("stock")
    learner = learner_of(own)
    state = started(learner, own)
    _, segment = rolled(learner, own, state)
    return learner, state, batch_of(learner, state, segment)


def test_the_order_of_environments_does_not_matter(ready) -> None:
    learner, state, batch = ready
    straight = gradients(learner, state.learnable.actor, batch, [0, 1, 2, 3])
    close(straight, gradients(learner, state.learnable.actor, batch, [2, 0, 3, 1]))
    part = gradients(learner, state.learnable.actor, batch, [0, 1])
    with pytest.raises(AssertionError):
        close(straight, part)


def test_blocks_add_up_to_the_whole(ready) -> None:
    learner, state, batch = ready
    whole = gradients(learner, state.learnable.actor, batch, [0, 1, 2, 3])
    assert num_blocks(4, 2, 2) == 4
    close(whole, gradients(learner, state.learnable.actor, batch, [0, 1, 2, 3], rows=2))
    assert [num_blocks(12, 3, rows) for rows in (None, 36, 18, 10, 1)] == [1, 1, 2, 4, 12]
    # A prime number of environments is cut into parts that are not equal, as many as of the number beside it.
    assert [num_blocks(count, 3, 16) for count in (30, 31, 32)] == [6, 7, 7]


def per_seller():
    own = market_of("stock")
    learner = learner_of(own, sharing="per_seller", critic="local")
    state = started(learner, own)
    _, segment = rolled(learner, own, state)
    return learner, state, batch_of(learner, state, segment)


def turn(tree, axis):
    return jax.tree.map(lambda x: jnp.flip(x, axis), tree)


@pytest.mark.slow
def test_sellers_that_change_places_change_their_gradients() -> None:
    learner, state, batch = per_seller()
    index = [0, 1, 2, 3]
    straight = gradients(learner, state.learnable.actor, batch, index)
    segment = batch.segment.replace(
        observation=batch.segment.observation.replace(local=jnp.flip(batch.segment.observation.local, 2)),
        indices=turn(batch.segment.indices, 2),
        log_prob=jnp.flip(batch.segment.log_prob, 2),
    )
    turned = batch.replace(
        segment=segment, actor_memory=jnp.flip(batch.actor_memory, 1), advantage=jnp.flip(batch.advantage, 2),
        live=jnp.flip(batch.live, 2),
    )  # fmt: skip
    other = gradients(learner, turn(state.learnable.actor, 0), turned, index)
    close(straight, turn(other, 0))


def test_one_sellers_rewards_do_not_touch_anothers_network() -> None:
    learner, state, batch = per_seller()
    changed = batch.replace(advantage=batch.advantage.at[..., 0].mul(-3.0), target=batch.target.at[..., 0].add(5.0))
    before = gradients(learner, state.learnable.actor, batch, [0, 1, 2, 3])
    after = gradients(learner, state.learnable.actor, changed, [0, 1, 2, 3])
    own, others = (
        [np.abs(np.asarray(a - b))[seller].max() for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after),
                                                                   strict=True)]
        for seller in (0, 1)
    )  # fmt: skip
    assert max(own) > 1e-3
    assert max(others) == 0.0


def test_steps_after_a_bankruptcy_touch_nothing() -> None:
    own = market_of("bankruptcy")
    learner = learner_of(own, sharing="per_seller", critic="local")
    state = started(learner, own)
    _, segment = rolled(learner, own, state)
    gone = ~segment.outcome.acted
    assert gone.any()
    noise = jnp.where(gone, 1e3, 0.0)
    dirty = segment.replace(
        outcome=segment.outcome.replace(learning=segment.outcome.learning + noise),
        log_prob=segment.log_prob + jnp.where(gone, 0.5, 0.0),
    )
    batches = [batch_of(learner, state, own_segment) for own_segment in (segment, dirty)]
    alive = np.asarray(segment.outcome.acted)
    # What came before the end does not see what came after: the end itself terminates.
    np.testing.assert_allclose(batches[0].advantage[alive], batches[1].advantage[alive], atol=1e-5)
    losses = {
        "actor": lambda p, b: mappo.actor_loss(learner, p, b, jnp.float32(0.01))[0],
        "critic": lambda p, b: mappo.critic_loss(learner, p, b)[0],
    }
    for name, loss in losses.items():
        parameters = getattr(state.learnable, name)
        gradient = jax.jit(jax.grad(loss), compiler_options=QUICK)
        one, other = (gradient(parameters, batch) for batch in batches)
        close(one, other, 1e-6)


def test_environment_numbers_decide_the_draws() -> None:
    own = market_of("stock")
    learner = learner_of(own)
    state = started(learner, own)
    _, together = rolled(learner, own, state)
    from marl_pricing.learning import rollout
    from marl_pricing.learning.rollout import Played, Player

    half = jax.tree.map(lambda x: x[2:], state.rollout)
    played, player = Played(learner.shape, own.params), Player(learner.actor, state.learnable.actor)
    _, apart = rollout.rollout(jax.random.key(5), played, player, half, INDEX[2:], 10)
    np.testing.assert_array_equal(together.indices[0][:, 2:], apart.indices[0])
    np.testing.assert_allclose(together.outcome.reward[:, 2:], apart.outcome.reward, rtol=1e-5, atol=1e-5)

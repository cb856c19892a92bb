"""Frozen policies in seats of a market that others learn in."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.evaluation.play import play
from marl_pricing.learning.mappo import make_learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.seats import (
    Holder,
    Past,
    SelfPlay,
    learners_of,
    learning_seats,
    seat_game,
    seat_params,
    without_past,
)
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.market import Action
from marl_pricing.policies import constant, seat
from marl_pricing.robust import Ambiguity
from tests.evaluation.behaviour.rules import make_duopoly, rule
from tests.markets import one_shot


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
            return state, (outcome, state.learns)

        return jax.lax.scan(epoch, game.reset(key, duopoly.shape, params)[0], jnp.arange(7))[1]

    for seed in (0, 1):
        outcome, learns = episode(jax.random.key(seed))
        np.testing.assert_allclose(outcome.prices[:, 0], 1.5, atol=1e-6)
        np.testing.assert_allclose(outcome.prices[:, 1], 1.3 + 0.1 * (np.arange(7) % 5), atol=1e-6)
        np.testing.assert_array_equal(learns, [[True, False]] * 7)
        assert outcome.acted.all()
    with pytest.raises(ValueError, match="ambiguity: its candidate worlds are the market's"):
        make_learner(LearnerSettings(), *duopoly, Ambiguity("kl", "expected", 0.3, (0.0, 0.5), False, (0.5, 0.5)), game)


def test_seats_are_held_by_policies_of_different_kinds_each_with_its_own_memory_and_the_rest_learn() -> None:
    own = one_shot(3, quality=2.0, episode_length=16,
                   prices={"map": "levels", "low": 1.2, "high": 2.2, "num_price_levels": 11})  # fmt: skip
    still, clock = constant(*own, [1.7] * 3), rule(own.shape, ("clock",) * 3)
    game = seat_game([still, clock])
    holders = [Holder(still.parameters, jnp.array([False, False, True])),
               Holder(clock.parameters, jnp.array([True, False, False]))]  # fmt: skip
    params = seat_params(own.params, holders)
    np.testing.assert_array_equal(learning_seats(params), [False, True, False])
    action = Action(jnp.full((3, 1), 3, jnp.int32))

    def epoch(state, time):
        state, _, outcome = game.step(jax.random.key(time), own.shape, state, action, params)
        return state, (outcome, state.learns)

    state, _ = game.reset(jax.random.key(0), own.shape, params)
    outcome, learns = jax.lax.scan(epoch, state, jnp.arange(7))[1]
    expected = np.stack([1.3 + 0.1 * (np.arange(7) % 5), np.full(7, 1.5), np.full(7, 1.7)], 1)
    np.testing.assert_allclose(outcome.prices, expected, atol=1e-6)
    np.testing.assert_array_equal(learns, [[False, True, False]] * 7)


@pytest.mark.slow
def test_one_seller_trained_against_rivals_at_nash_prices_ends_at_the_best_response() -> None:
    """Networks are shared by all seats; what they learn comes from the seat that learns alone."""
    own = one_shot(2, cost=[1.0, 0.5], prices={"map": "levels", "low": 1.0, "high": 2.2, "num_price_levels": 13})
    grid = np.asarray(own.params.prices.levels, np.float64)
    payoffs = static.grid_payoffs(*own)
    nash = static.grid_equilibria(*own)[0]
    host = constant(*own, grid[np.arange(2), nash])
    params = seat_params(own.params, [Holder(host.parameters, jnp.array([False, True]))])
    settings = LearnerSettings(
        num_envs=16, num_steps=8, num_updates=40, num_epochs=2, num_minibatches=1, hidden_size=8, gamma=0.0,
        learning_rate=0.02, learning_rate_end=0.002, entropy_start=0.01, entropy_end=0.0, devices=1,
    )  # fmt: skip
    learner = make_learner(settings, own.shape, params, game=seat_game([host]))
    program = Program(learner)
    stacked = program.stack(params)
    state, _ = program.train(program.init(stacked), stacked, settings.num_updates)
    policy = learned_policy(learner, jax.tree.map(lambda leaf: leaf[0], state.learnable.actor), greedy=True)
    record = play(jax.random.key(0), *own, seat(host, policy, 0, 2), 1)
    best = grid[0, payoffs[:, nash[1], 0].argmax()]
    np.testing.assert_allclose(record.price[0, :, 0], best, atol=1e-6)
    np.testing.assert_allclose(record.price[0, :, 1], grid[1, nash[1]], atol=1e-6)


@pytest.mark.slow
def test_the_gradient_sees_the_seats_that_learn_only() -> None:
    """What the held seat's rewards are changes nothing of what is learned."""
    own = one_shot(2, prices={"map": "levels", "low": 1.0, "high": 2.2, "num_price_levels": 13})
    host = constant(*own, [1.5, 1.6])
    params = seat_params(own.params, [Holder(host.parameters, jnp.array([False, True]))])
    settings = LearnerSettings(num_envs=4, num_steps=8, num_updates=2, num_minibatches=1, hidden_size=8, devices=1,
                               normalise_advantage=True)  # fmt: skip
    program = Program(make_learner(settings, own.shape, params, game=seat_game([host])))
    dearer = params.replace(reward=params.reward.replace(unit_cost=params.reward.unit_cost.at[1].add(0.7)))
    actors = []
    for each in (params, dearer):
        stacked = program.stack(each)
        state, _ = program.train(program.init(stacked), stacked, 2)
        actors.append(state.learnable)
    same = jax.tree.map(lambda a, b: np.array_equal(a, b), actors[0].actor, actors[1].actor)
    assert jax.tree.all(same)


def self_play(size: int, refresh: int, seats: list[bool], held: list[bool] | None = None, newest: float = 0.5):
    """(market, learner, params) of three sellers of whom some meet their past selves."""
    own = one_shot(3, quality=2.0, episode_length=4,
                   prices={"map": "levels", "low": 1.2, "high": 2.2, "num_price_levels": 11})  # fmt: skip
    settings = LearnerSettings(num_envs=4, num_steps=6, num_updates=9, num_epochs=1, num_minibatches=2, hidden_size=8,
                               learning_rate=0.05, devices=1)  # fmt: skip
    learner = make_learner(settings, *own)
    itself = learned_policy(learner, None, greedy=False)
    rivals = [constant(*own, [1.7] * 3)] if held else []
    game = replace(seat_game(rivals), past=SelfPlay(itself.start, itself.act, size, refresh))
    holders = [Holder(rival.parameters, jnp.array(held)) for rival in rivals]
    params = seat_params(own.params, holders, Past(jnp.array(seats), jnp.float32(newest)))
    return own, replace(learner, game=game), params


@pytest.mark.slow
def test_the_pool_holds_the_latest_snapshots_and_their_law_is_kept() -> None:
    """Snapshots are taken before updates 0, 2, 4, …; a pool of three is a ring."""
    _, learner, params = self_play(3, 2, [True] * 3)
    program = Program(learner)
    stacked = program.stack(params)
    state, actors = program.init(stacked), []
    for update in range(9):
        actors.append(jax.device_get(state.learnable.actor))
        state, _ = program.train(state, stacked, 1)
        pool = jax.device_get(state.pool)
        taken = update // 2 + 1
        for place in range(min(taken, 3)):
            number = max(n for n in range(taken) if n % 3 == place)
            same = jax.tree.map(lambda kept, own, p=place: np.array_equal(kept[0, p], own[0]), pool, actors[2 * number])
            assert jax.tree.all(same)
    past = learner.game.past
    met = past.meet(params, jax.tree.map(lambda leaf: leaf[0], pool), jnp.int32(8)).past
    assert int(met.taken) == 5
    chosen = np.bincount(jax.vmap(lambda k: past.draw(k, met))(jax.random.split(jax.random.key(0), 3000)), minlength=3)
    np.testing.assert_allclose(chosen / 3000, [1 / 6, 4 / 6, 1 / 6], atol=0.04)  # the fifth lies at place 1
    few = met.replace(taken=jnp.int32(2), newest=jnp.float32(0.0))
    chosen = np.bincount(jax.vmap(lambda k: past.draw(k, few))(jax.random.split(jax.random.key(0), 3000)), minlength=3)
    np.testing.assert_allclose(chosen / 3000, [0.5, 0.5, 0.0], atol=0.04)


@pytest.mark.parametrize(
    ("seats", "held", "expected"),
    [
        ([True, True, True], None, {(1, 0, 0): 1 / 3, (0, 1, 0): 1 / 3, (0, 0, 1): 1 / 3}),
        ([False, True, True], None, {(1, 0, 0): 1 / 3, (1, 1, 0): 1 / 3, (1, 0, 1): 1 / 3}),
        ([True, True, False], [False, False, True], {(1, 0, 0): 0.5, (0, 1, 0): 0.5}),
    ],
)
def test_of_the_seats_that_meet_their_past_one_learns_in_each_episode(seats, held, expected) -> None:
    own, learner, params = self_play(2, 1, seats, held)
    keys = jax.random.split(jax.random.key(0), 2000)
    learns = np.asarray(jax.vmap(lambda key: learner.game.reset(key, own.shape, params)[0].learns)(keys)).astype(int)
    found, counts = np.unique(learns, axis=0, return_counts=True)
    assert {tuple(row) for row in found.tolist()} == set(expected)
    for row, count in zip(found.tolist(), counts, strict=True):
        assert count / 2000 == pytest.approx(expected[tuple(row)], abs=0.05)
    np.testing.assert_array_equal(learners_of(params), [True, True, held is None])
    free = without_past(learner.game).reset(keys[0], own.shape, params)[0]
    np.testing.assert_array_equal(free.learns, learners_of(params))


@pytest.mark.slow
def test_past_selves_act_as_the_snapshot_would_with_its_own_memory() -> None:
    """Seat 0 learns at some time; in the others the pool's only snapshot plays on what it sees and remembers."""
    own, learner, params = self_play(2, 1, [True] * 3)
    actors = [learner.actor.init(jax.random.key(number)) for number in (1, 2)]
    pool = jax.tree.map(lambda *leaves: jnp.stack(leaves) * 20, *actors)  # far from uniform
    met = learner.game.past.meet(params, pool, jnp.int32(1))
    key = next(
        key for key in jax.random.split(jax.random.key(0), 30)
        if learner.game.reset(key, own.shape, met)[0].learns.tolist() == [True, False, False]
    )  # fmt: skip
    state, seen = learner.game.reset(key, own.shape, met)
    snapshot = jax.tree.map(lambda leaf: leaf[int(state.snapshot)], pool)
    policy = learned_policy(learner, snapshot, greedy=False)
    memory, action = policy.start(), Action(jnp.full((3, 1), 5, jnp.int32))
    for time in range(4):
        own_key = jax.random.fold_in(key, time)
        wanted, memory = policy.act(snapshot, jax.random.fold_in(own_key, 4), memory, seen, state, met)
        expected = np.asarray(own.params.prices.levels)[np.arange(3), np.asarray(wanted.price)[:, 0]]
        state, seen, outcome = learner.game.step(own_key, own.shape, state, action, met)
        np.testing.assert_allclose(outcome.prices[1:], expected[1:], atol=1e-6)
        assert float(outcome.prices[0]) == pytest.approx(1.7, abs=1e-6)

"""One offer a day for all: its money, its reward, its rules, and the learner that plays it."""

from __future__ import annotations

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.learning import actions, mappo
from marl_pricing.market import Action
from marl_pricing.virtual_market.answers import answer_of
from marl_pricing.virtual_market.counts import draw_orders, expected_taken
from marl_pricing.virtual_market.fair.day import wide_answer, wide_draw, wide_next
from marl_pricing.virtual_market.fair.game import (
    OBSERVED,
    PromotionGame,
    PromotionParams,
    final_reward,
    group_statistics,
    promotion_params,
    shown_left,
)
from marl_pricing.virtual_market.fair.offers import best_calendar, best_cycle, personal_bound, true_tables
from marl_pricing.virtual_market.fair.playing import measure_zero_gmv, play_calendars
from marl_pricing.virtual_market.fair.policy import PolicySettings
from marl_pricing.virtual_market.fair.start import starts_of
from marl_pricing.virtual_market.fair.worlds import TrueWorld, learned_worlds
from marl_pricing.virtual_market.levels import OFFERS
from marl_pricing.virtual_market.memory import features, next_memory
from marl_pricing.virtual_market.model import drawn_answer
from tests.virtual_market.logs import a_log, memories, untrained

DAYS = 3


@cache
def _log():
    return a_log(customers=60, days=14)


@cache
def _true() -> TrueWorld:
    return TrueWorld(_log().truth, _log().customers)


def _game(world, **settings) -> tuple[PromotionGame, object, PromotionParams]:
    starts, weekdays = starts_of(_log().log, "order_days", 4)
    shape, params = promotion_params(world, starts, weekdays, days=DAYS, threshold=6.0)
    return PromotionGame(DAYS, **settings), shape, params


@pytest.mark.slow
@pytest.mark.parametrize("offer", [(0, 1.0), (3, 0.8)])
def test_an_offer_to_all_is_answered_as_each_customer_answers_it(offer: tuple[int, float]) -> None:
    fitted, memory = untrained().fitted, memories(60)
    member = jax.tree.map(lambda leaf: jnp.asarray(leaf[1]), fitted.customers)
    coupons, share = jnp.float32(offer[0]), jnp.float32(offer[1])
    wide = wide_answer(member, jnp.asarray(memory.T, jnp.float32), coupons, share, jnp.int32(3), fitted.usual,
                       fitted.usual_fee)  # fmt: skip
    one = jnp.asarray(memory, jnp.float32)
    everybody = jnp.tile(jnp.stack([coupons, share]), (len(one), 1))
    inputs = features(one, everybody, jnp.full(len(one), 3), fitted.usual)
    for own, theirs in zip(
        wide, answer_of(untrained().settings.width, member, inputs, everybody, one[:, 2], fitted.usual_fee), strict=True
    ):
        np.testing.assert_allclose(own, theirs, atol=2e-5)
    answer = np.stack([np.arange(len(memory)) % 3, np.where(np.arange(len(memory)) % 3, 20.0, 0.0)], axis=-1)
    after = wide_next(one.T, coupons, share, jnp.asarray(answer.T, jnp.float32), "document")
    np.testing.assert_allclose(after.T, next_memory(memory, np.array(offer), answer, "document"), rtol=1e-5)


@pytest.mark.slow
def test_one_word_draws_what_three_do() -> None:
    fitted = untrained().fitted
    member = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), fitted.customers)
    rows = 40_000
    memory = jnp.broadcast_to(jnp.asarray(memories(60)[7, :, None], jnp.float32), (21, rows))
    law = wide_answer(member, memory, jnp.float32(3), jnp.float32(0.7), jnp.int32(2), fitted.usual, fitted.usual_fee)
    one, three = wide_draw(jax.random.key(0), law), drawn_answer(jax.random.key(1), law).T
    for own, other in zip(np.asarray(one), np.asarray(three), strict=True):
        for power in (1, 2):
            error = np.sqrt(((own**power).var() + (other**power).var()) / rows)
            assert abs((own**power).mean() - (other**power).mean()) <= 4 * error + 1e-6


def test_coupons_are_used_by_no_more_orders_than_there_are() -> None:
    chance, more = jnp.float32(0.6), jnp.float32(1.3)
    uniform = jax.random.uniform(jax.random.key(0), (2, 200_000))
    orders = np.asarray(draw_orders(jnp.full(200_000, chance), jnp.full(200_000, more), uniform[0], uniform[1]))
    for coupons in range(6):
        taken = np.minimum(orders, coupons)
        told = float(expected_taken(chance, more, jnp.float32(coupons)))
        assert abs(told - taken.mean()) <= 4 * taken.std() / np.sqrt(len(taken)) + 1e-6


def test_statistics_are_of_all_customers() -> None:
    memory = np.arange(42.0).reshape(21, 2) ** 2
    told = group_statistics(memory, np)
    assert told[[3, 24, 45, 66]].tolist() == [(36 + 49) / 2, 6.5, 49, 36]


@pytest.mark.slow
def test_the_reward_comes_at_the_end_and_its_parts_sum_to_it() -> None:
    game, shape, params = _game(_true())
    params = params.replace(zero_gmv=jnp.float32([3.0]))
    for offer in (2, 40, 0):
        state, seen = game.reset(jax.random.key(1), shape, params)
        assert seen.local.shape == (1, len(OBSERVED))
        action = Action(price=jnp.full((1, 1), offer))
        outcomes = []
        for key in jax.random.split(jax.random.key(2), DAYS):
            state, _, outcome = game.step(key, shape, state, action, params)
            outcomes.append(outcome)
        rewards = [float(own.reward[0]) for own in outcomes]
        gmv, cost = float(state.gmv), float(state.cost)
        roi = gmv / cost if cost else np.inf
        assert rewards[:-1] == [0.0] * (DAYS - 1)
        assert rewards[-1] == pytest.approx(gmv / (3.0 * DAYS) if roi >= 6.0 else roi - 6.0, rel=1e-5)
        assert sum(float(own.learning[0]) for own in outcomes) == pytest.approx(rewards[-1], rel=1e-5)
        assert [bool(own.truncated) for own in outcomes] == [False] * (DAYS - 1) + [True]


@pytest.mark.parametrize(("gmv", "cost", "reward"), [(150.0, 20.0, 1.5), (150.0, 30.0, -2.5), (150.0, 0.0, 1.5)])
def test_the_documents_reward(gmv: float, cost: float, reward: float) -> None:
    told = final_reward(jnp.float32(gmv), jnp.float32(cost), jnp.float32(100.0), jnp.float32(7.5))
    assert float(told) == pytest.approx(reward)


@pytest.mark.slow
def test_money_played_is_what_the_tables_expect() -> None:
    game, shape, params = _game(_true())
    gmv, cost = (table.mean(2) for table in true_tables(_true()))
    plan, runs = np.array([9, 0, 38]), 400
    found = play_calendars(game, shape, params, plan, np.zeros(runs, int), 0)
    first = (int(_log().log.weekdays[-1]) + 1) % 7
    at = (first + np.arange(DAYS)) % 7
    for played, told in ((found.gmv, gmv[plan, at]), (found.cost, cost[plan, at])):
        assert (np.abs(played.mean(0) - told) <= 4 * played.std(0) / np.sqrt(runs) + 1e-5).all()
    np.testing.assert_allclose(found.offers[0], OFFERS[plan], rtol=1e-6)
    zero = measure_zero_gmv(game, shape, params, runs, 0)[0]
    assert abs(zero - gmv[0, at].mean()) <= 4 * played.std() + 0.2


def _tables(rng: np.random.Generator, *more: int) -> tuple[np.ndarray, np.ndarray]:
    gmv, cost = rng.uniform(5, 12, (len(OFFERS), 7, *more)), rng.uniform(0.5, 3, (len(OFFERS), 7, *more))
    gmv[0], cost[0] = 5.0, 0.0
    return gmv, cost


def test_the_best_cycle_is_the_best_of_all_of_them() -> None:
    gmv, cost = _tables(np.random.default_rng(0))
    days, first, threshold = 5, 3, 6.0
    at = (first + np.arange(days)) % 7
    few = [0, 4, 11, 20, 33]  # by brute force over some offers: the others are made worthless
    gmv[np.setdiff1d(np.arange(41), few)] = 0.0
    cost[np.setdiff1d(np.arange(41), few)] = 1.0
    best = 0.0
    for length in (1, 2, 3):
        for own in product(few, repeat=length):
            plan = np.resize(own, days)
            total, spent = gmv[plan, at].sum(), cost[plan, at].sum()
            if total >= threshold * spent:
                best = max(best, total)
    found = best_cycle(gmv, cost, first, days, threshold)
    assert found.gmv == pytest.approx(best) and found.roi >= threshold
    whole = [gmv[list(own), at].sum() for own in product(few, repeat=days)
             if gmv[list(own), at].sum() >= threshold * cost[list(own), at].sum()]  # fmt: skip
    calendar = best_calendar(gmv, cost, first, days, threshold)
    assert calendar.roi >= threshold
    assert max(whole) * 0.998 <= calendar.gmv <= max(whole) * (1 + 1e-9)


def test_personal_offers_are_no_worse_than_one_for_all() -> None:
    gmv, cost = _tables(np.random.default_rng(1), 30)
    one = best_calendar(gmv.sum(2), cost.sum(2), 0, 4, 6.0)
    each, spent = personal_bound(gmv, cost, 0, 4, 6.0)
    assert each >= one.gmv and each >= 6.0 * spent


@pytest.mark.slow
def test_an_episodes_customers_are_every_third() -> None:
    game, shape, params = _game(_true(), customers=20)
    numbered = jnp.broadcast_to(jnp.arange(60.0), params.starts.shape)
    for seed in range(5):
        state, _ = game.reset(jax.random.key(seed), shape, params.replace(starts=numbered))
        assert state.memory.shape == (21, 20) and (jnp.diff(state.memory[0]) == 3).all()


@pytest.mark.slow
def test_doubts_move_everybodys_odds_where_their_offer_is_made() -> None:
    game, shape, params = _game(learned_worlds(untrained()), expected=True)
    state, _ = game.reset(jax.random.key(0), shape, params.replace(doubt=jnp.float32(0.7)))
    by_number = np.asarray(state.doubt[1:]).reshape(5, 8)  # offers are 1 … 5 coupons of each depth
    assert state.doubt[0] == 0 and (by_number == by_number[0]).all() and 0.2 < by_number[0].std() < 1.4
    doubt = jnp.zeros(len(OFFERS)).at[9].set(1.0)
    more, same = (
        [game.step(jax.random.key(1), shape, state.replace(doubt=own), Action(price=jnp.full((1, 1), offer)), params)[0]
         for own in (doubt, jnp.zeros(len(OFFERS)))] for offer in (9, 8)
    )  # fmt: skip
    assert more[0].gmv > more[1].gmv and same[0].gmv == same[1].gmv


@pytest.mark.slow
@pytest.mark.parametrize("moving", [False, True])
def test_customers_answer_by_what_was_known_when_the_episode_began(moving: bool) -> None:
    """The same memories are seen either way; only who moves answers by them."""
    game, shape, params = _game(learned_worlds(untrained()), expected=True, moving=moving)
    state, seen = game.reset(jax.random.key(0), shape, params)
    action = Action(price=jnp.full((1, 1), 9))
    after, later, _ = game.step(jax.random.key(1), shape, state, action, params)
    assert (np.asarray(after.memory) != np.asarray(state.memory)).any() and (later.local != seen.local).any()
    again = after.replace(weekday=state.weekday)
    told = game.step(jax.random.key(1), shape, again, action, params)[0].gmv - after.gmv
    first = after.gmv - state.gmv
    assert (abs(float(told - first)) > 1e-4) == moving


def test_what_is_left_above_the_threshold() -> None:
    # Threshold 6, three days of 30 without coupons; four times the share, at most four.
    told = [float(shown_left(gmv, cost, 6.0, 30.0, DAYS)) for gmv, cost in ((60, 10), (57, 5), (50, 10), (0, 1000))]
    assert told == pytest.approx([0.0, 1.2, -4 / 9, -4.0])


@pytest.mark.slow
def test_the_learner_plays_it_as_it_plays_markets() -> None:
    game, shape, params = _game(learned_worlds(untrained()), customers=20, expected=True)
    own = PolicySettings(days=DAYS, updates=2, episodes=4, hidden=8, customers=20).learner()
    learner = mappo.make_learner(own, shape, params, game=game)
    assert learner.actor.out_size == len(OFFERS)
    state = mappo.init(learner, jnp.int32(0), params, jnp.arange(4))
    batch, *_ = mappo.prepare(learner, state, params, jnp.arange(4))
    segment = batch.segment
    assert segment.restarted.sum(0).tolist() == [1] * 4 and not segment.outcome.reward[:-1].any()
    logits, _ = learner.actor.sequence(
        state.learnable.actor, segment.observation.local, batch.actor_memory, segment.first
    )
    heads = actions.split_heads(shape, logits, None)
    np.testing.assert_allclose(actions.log_prob(heads, segment.indices), segment.log_prob, atol=1e-5)

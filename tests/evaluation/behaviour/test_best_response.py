"""Gains from the best response: exact on small games, and found by learning."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.evaluation.behaviour.best_response import (
    NASH_CONV,
    SeatGame,
    SeatParams,
    best_responses,
    objectives_of,
)
from marl_pricing.evaluation.behaviour.exact import nash_conv, one_shot_gains, price_table, repeated_game
from marl_pricing.learning.mappo import make_learner
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.market import Action
from marl_pricing.policies import constant
from marl_pricing.robust import Ambiguity
from tests.evaluation.behaviour.rules import HIGH, LOW, make_duopoly, rule, trigger
from tests.markets import one_shot

BUDGET = LearnerSettings(
    num_envs=16, num_steps=8, num_updates=30, num_epochs=2, num_minibatches=1, hidden_size=8, gamma=0.0,
    learning_rate=0.02, learning_rate_end=0.002, entropy_end=0.0, devices=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def duopoly():
    return make_duopoly(omega=0.5)


def index(price: float) -> int:
    return round((price - 1.2) / 0.1)


def selfish(own):
    return own.shape, own.params.replace(reward=own.params.reward.replace(omega=np.ones(2, np.float32)))


def test_one_shot_gains_are_zero_at_the_grids_equilibria_only(duopoly) -> None:
    payoffs = static.grid_payoffs(*duopoly)
    stable = {tuple(row) for row in static.grid_equilibria(*duopoly).tolist()}
    assert stable
    for profile in np.ndindex(*payoffs.shape[:-1]):
        gains = one_shot_gains(payoffs, np.array(profile))
        assert (gains >= 0).all()
        assert (nash_conv(gains) < 1e-12) == (profile in stable)
    assert nash_conv(np.array([0.2, -0.5, 0.1])) == pytest.approx(0.3)


def test_who_answers_nothing_is_exploited_by_the_one_shot_best_reply(duopoly) -> None:
    """Against constant prices the repeated game is the one-shot game again and again, at any discount."""
    prices = [HIGH, LOW]
    for own, raw in ((duopoly, False), (selfish(duopoly), True)):
        once = one_shot_gains(static.grid_payoffs(*own), np.array([index(p) for p in prices]))
        for discount in (0.0, 0.9):
            found = repeated_game(*duopoly, constant(*duopoly, prices), discount, raw=raw)
            np.testing.assert_allclose(found.gains, once, atol=1e-8)
            np.testing.assert_allclose(found.largest_gains, once, atol=1e-8)


@pytest.mark.parametrize("discount", [0.2, 0.6])
def test_a_trigger_is_broken_by_the_impatient_only(duopoly, discount: float) -> None:
    """Friedman (1971): to deviate once and be punished for ever, or to stay; here in closed form on the grid."""
    own = selfish(duopoly)
    payoffs = static.grid_payoffs(*own)
    high, low = index(HIGH), index(LOW)
    found = repeated_game(*own, trigger(own[0]), discount)
    for seller in (0, 1):
        of_rival = payoffs[..., seller] if seller == 0 else payoffs[..., seller].T  # own × rival
        stay = of_rival[high, high]
        leave = (1 - discount) * of_rival[:, high].max() + discount * of_rival[:, low].max()
        assert found.gains[seller] == pytest.approx(max(leave - stay, 0.0), abs=1e-8)
        # After a punishment has begun it is LOW for ever, which a better reply may beat.
        punished = np.ravel_multi_index((low, low), payoffs.shape[:-1])
        assert found.value[punished, seller] == pytest.approx(of_rival[low, low], abs=1e-8)
        assert found.best[punished, seller] == pytest.approx(of_rival[:, low].max(), abs=1e-8)
    assert (found.gains.max() > 1e-6) == (discount == 0.2)
    assert found.path.tolist() == [np.ravel_multi_index((high, high), payoffs.shape[:-1])]


def test_who_has_more_state_than_last_prices_is_refused(duopoly) -> None:
    with pytest.raises(ValueError, match="remembers more than last prices"):
        price_table(*duopoly, rule(duopoly.shape, ("punish", "grim")))
    with pytest.raises(ValueError, match=r"discount=1\.0: accepted is a number from 0 to below 1"):
        repeated_game(*duopoly, trigger(duopoly.shape), 1.0)
    stocked = one_shot(2, inventory={"rule": "none", "initial_stock": 5.0})
    with pytest.raises(ValueError, match=r"market\.inventory: stock: an exact best response needs a market whose only"):
        price_table(*stocked, constant(*stocked, [1.5, 1.5]))
    wide = one_shot(3, prices={"map": "levels", "low": 1.0, "high": 2.2, "num_price_levels": 70})
    with pytest.raises(ValueError, match="343,000 combinations"):
        price_table(*wide, constant(*wide, [1.5] * 3))


def test_learning_finds_the_best_reply_to_constant_prices_and_its_exact_gain() -> None:
    """A constant rival makes a bandit of the market: the best of eleven prices, on r' at omega 0.5 and on own money."""
    own = one_shot(
        2, omega=0.5, quality=[2.0, 2.2], episode_length=8,
        prices={"map": "levels", "low": 1.2, "high": 2.2, "num_price_levels": 11},
    )  # fmt: skip
    prices = [2.0, 2.1]
    host = constant(*own, prices)
    found = best_responses(jax.random.key(0), *own, [host], BUDGET, 1, progress=False)
    profile = np.array([index(price) for price in prices])
    for objective, market in (("shaped", own), ("raw", selfish(own))):
        exact = one_shot_gains(static.grid_payoffs(*market), profile)
        rows = found[found["objective"].eq(objective)].set_index("seller")
        assert exact.min() > 0.02
        np.testing.assert_allclose(rows.loc[["0", "1"], "gain"], exact, rtol=1e-3)
        np.testing.assert_allclose(rows.loc[["0", "1"], "discounted"], exact, rtol=1e-3)  # gamma 0: the first epoch's
        assert rows.loc[NASH_CONV, "gain"] == pytest.approx(nash_conv(exact), rel=1e-3)


def test_the_frozen_policy_plays_and_remembers_and_only_the_learner_has_acted(duopoly) -> None:
    """The clock of the frozen seller counts its own decisions: from one segment to the next, and from each reset."""
    host = rule(duopoly.shape, ("constant", "clock"))
    game = SeatGame(host.start, host.act)
    params = SeatParams(**vars(duopoly.params), host=host.parameters, learns=jnp.array([True, False]))
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
        make_learner(BUDGET, *duopoly, Ambiguity("kl", "per_seller", 0.3, (0.0, 0.5), False, (0.5, 0.5)), game)


def test_selfish_sellers_respond_with_their_own_money_only(duopoly) -> None:
    assert objectives_of(duopoly.params) == ("shaped", "raw")
    assert objectives_of(selfish(duopoly)[1]) == ("raw",)


def test_what_cannot_be_responded_to_is_refused(duopoly) -> None:
    pair = [constant(*duopoly, [1.5, 1.5]), trigger(duopoly.shape)]
    with pytest.raises(ValueError, match="learned: accepted are policies of one kind"):
        best_responses(jax.random.key(0), *duopoly, pair, BUDGET, 1, progress=False)
    with pytest.raises(ValueError, match="episodes=0"):
        best_responses(jax.random.key(0), *duopoly, pair[:1], BUDGET, 0, progress=False)
    free = one_shot(2, prices={"map": "adjust", "low": 1.0, "high": 2.0})
    with pytest.raises(ValueError, match=r"market\.prices\.map='adjust': accepted are 'levels' and 'scale'"):
        best_responses(jax.random.key(0), *free, [constant(*free, [1.5, 1.5])], BUDGET, 1, progress=False)

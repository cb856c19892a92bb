"""Gains from the best response: exact on small games, and found by learning."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from marl_pricing.config import market_from
from marl_pricing.equilibrium import static
from marl_pricing.evaluation.behaviour.best_response import NASH_CONV, best_responses, response_steps
from marl_pricing.evaluation.behaviour.exact import nash_conv, one_shot_gains, price_table, repeated_game
from marl_pricing.evaluation.behaviour.responders import (
    UPDATES,
    objectives_of,
    plan_responders,
    responder_settings,
    snapshots_of,
)
from marl_pricing.evaluation.play import play
from marl_pricing.learning.mappo import make_learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.state import networks_of
from marl_pricing.policies import RULES, constant, seat
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


def bandit(omega: float = 0.5):
    """Constant rivals make a bandit of it: the best of eleven prices."""
    return one_shot(
        2, omega=omega, quality=[2.0, 2.2], episode_length=8,
        prices={"map": "levels", "low": 1.2, "high": 2.2, "num_price_levels": 11},
    )  # fmt: skip


def respond(own, hosts, settings=BUDGET, episodes=1, networks=None):
    return best_responses(jax.random.key(0), *own, hosts, settings, episodes, networks)


@pytest.mark.slow
def test_learning_finds_the_best_reply_to_constant_prices_and_its_exact_gain() -> None:
    """On r' at omega 0.5 and on own money; what was trained and the best constant find the same."""
    own = bandit()
    prices = [2.0, 2.1]
    found = respond(own, [constant(*own, prices)])
    profile = np.array([index(price) for price in prices])
    for objective, market in (("shaped", own), ("raw", selfish(own))):
        payoffs = static.grid_payoffs(*market)
        exact = one_shot_gains(payoffs, profile)
        rows = found[found["objective"].eq(objective)].set_index("seller")
        assert exact.min() > 0.02
        for column in ("gain", "trained", "constant", "discounted"):  # gamma 0: the first epoch's
            np.testing.assert_allclose(rows.loc[["0", "1"], column], exact, rtol=1e-3)
        assert rows.loc[NASH_CONV, "gain"] == pytest.approx(nash_conv(exact), rel=1e-3)
        earned = payoffs[tuple(profile)]
        np.testing.assert_allclose(rows.loc[["0", "1"], "share"], exact / earned, rtol=1e-3)
        assert rows.loc[NASH_CONV, "share"] == pytest.approx(nash_conv(exact) / earned.sum(), rel=1e-3)


@pytest.mark.slow
def test_only_those_who_learned_respond_and_nash_conv_is_theirs() -> None:
    own = bandit(omega=1.0)
    prices = [2.0, 2.1]
    exact = one_shot_gains(static.grid_payoffs(*own), np.array([index(price) for price in prices]))
    hosts = [constant(*own, prices)]
    found = best_responses(jax.random.key(0), *own, hosts, BUDGET, 1, None, sellers=[1])
    assert found["seller"].tolist() == ["1", NASH_CONV]
    np.testing.assert_allclose(found["gain"], exact[1], rtol=1e-3)
    assert (
        response_steps(own.params, BUDGET.num_updates, [1])
        == response_steps(own.params, BUDGET.num_updates, [0, 1]) - 1
    )


@pytest.mark.slow
def test_of_any_price_the_best_reply_is_found_between_the_points_of_a_grid() -> None:
    own = one_shot(2, quality=[2.0, 2.2], episode_length=8, prices={"map": "range", "low": 1.2, "high": 2.2})
    prices, quality = np.array([2.0, 2.1]), np.array([2.0, 2.2])
    found = respond(own, [constant(*own, prices)]).set_index("seller")

    def profit(seller: int, price: np.ndarray) -> np.ndarray:
        asked, rival = np.exp((quality[seller] - price) / 0.25), np.exp((quality - prices)[1 - seller] / 0.25)
        return (price - 1.0) * asked / (1.0 + asked + rival)

    for seller in (0, 1):
        exact = profit(seller, np.linspace(1.2, 2.2, 20_001)).max() - profit(seller, prices[seller])
        assert exact > 0.02
        assert found.loc[str(seller), "constant"] == pytest.approx(exact, rel=1e-3)
        assert found.loc[str(seller), "trained"] == pytest.approx(exact, rel=5e-3)
        assert found.loc[str(seller), "gain"] == pytest.approx(exact, rel=5e-3)


def nash_prices(own) -> np.ndarray:
    grid = np.asarray(own.params.prices.levels, np.float64)
    return grid[np.arange(2), static.grid_equilibria(*own)[0]]


NOT_TRAINED = BUDGET.model_copy(update={"learning_rate": 1e-30, "learning_rate_end": 0.0, "num_updates": 2})


@pytest.mark.slow
def test_nothing_is_gained_at_the_grids_nash_prices() -> None:
    own = bandit(omega=1.0)
    found = respond(own, [constant(*own, nash_prices(own))]).set_index("seller")
    assert found["gain"].tolist() == [0.0, 0.0, 0.0]
    assert found.loc[["0", "1"], "response"].tolist() == ["itself", "itself"]
    assert (found.loc[["0", "1"], ["trained", "constant"]] < 1e-6).all(axis=None)


@pytest.mark.slow
def test_chance_is_not_taken_for_a_gain() -> None:
    """Shoppers are drawn: of many responses under few of them some look better than Nash prices, which they are not."""
    own = market_from(
        {
            "num_sellers": 2, "episode_length": 8, "inventory": {"rule": "unlimited"}, "reward": {"unit_cost": 1.0},
            "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
            "prices": {"map": "levels", "low": 1.3, "high": 1.6, "num_price_levels": 31},
        },
        {"sessions_per_epoch": 20},
    )  # fmt: skip
    host = constant(*own, nash_prices(own))
    found = respond(own, [host] * 4, NOT_TRAINED, episodes=64).set_index("seller")
    assert (found["share"] > -0.002).all() and (found["share_high"] < 0.005).all(), found
    # Under the shoppers by which it is chosen, the best constant looks better than it is.
    assert (found.loc[["0", "1"], "constant"] < 0.002 * found.loc[["0", "1"], "learned"]).all()


@pytest.mark.slow
def test_a_responder_that_learns_nothing_leaves_the_gain_of_the_best_constant() -> None:
    own = bandit(omega=1.0)
    prices = [2.0, 2.1]
    found = respond(own, [constant(*own, prices)], NOT_TRAINED).set_index("seller")
    exact = one_shot_gains(static.grid_payoffs(*own), np.array([index(price) for price in prices]))
    np.testing.assert_allclose(found.loc[["0", "1"], "gain"], exact, rtol=1e-3)
    assert found.loc[["0", "1"], "response"].tolist() == ["constant", "constant"]
    assert (found["gain"] >= -0.002 * found["learned"]).all()


@pytest.mark.slow
def test_who_plays_at_random_loses_at_least_what_the_best_constant_gains() -> None:
    own = bandit(omega=1.0)
    host = RULES["random"](*own)
    found = respond(own, [host] * 2, NOT_TRAINED, episodes=32).set_index("seller")
    for seller in (0, 1):
        gains = []
        for price in np.asarray(own.params.prices.levels)[seller]:
            guest = seat(host, constant(*own, np.full(2, price)), seller, 2)
            changes = [
                play(jax.random.fold_in(jax.random.key(0), seed), *own, guest, 32).reward_raw[..., seller].mean()
                - play(jax.random.fold_in(jax.random.key(0), seed), *own, host, 32).reward_raw[..., seller].mean()
                for seed in range(2)
            ]
            gains.append(np.mean(changes))
        assert max(gains) > 0.01
        assert found.loc[str(seller), "gain"] >= 0.98 * max(gains)


def trained_pair(own, updates: int):
    """Two seeds that were trained a little, their networks and settings."""
    settings = BUDGET.model_copy(update={"num_updates": updates, "num_seeds": 2, "learning_rate": 0.01})
    learner = make_learner(settings, *own)
    program = Program(learner)
    stacked = program.stack(own.params)
    state, _ = program.train(program.init(stacked), stacked, updates)
    networks = jax.device_get(networks_of(state))
    actors = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], networks.actor) for seed in range(2)]
    return networks, [learned_policy(learner, actor, greedy=True) for actor in actors], settings


@pytest.mark.slow
def test_responders_begin_as_the_seller_in_whose_seat_they_sit() -> None:
    """A step size of almost nothing leaves the host itself, seed by seed; another start would play otherwise."""
    own = bandit(omega=1.0)
    networks, learned, settings = trained_pair(own, 3)
    still = responder_settings(settings, 2).model_copy(update={"learning_rate": 1e-30, "learning_rate_end": 0.0})
    found = respond(own, learned, still, episodes=4, networks=networks).set_index("seller")
    assert found.loc[["0", "1"], "trained"].tolist() == [0.0, 0.0]
    fresh = respond(own, learned, still, episodes=4).set_index("seller")
    assert np.abs(fresh.loc[["0", "1"], "trained"]).max() > 1e-4


@pytest.mark.slow
def test_responders_gain_where_the_seller_was_trained_a_little() -> None:
    own = bandit(omega=1.0)
    networks, learned, settings = trained_pair(own, 3)
    going_on = respond(own, learned, responder_settings(settings, 20), episodes=4, networks=networks).set_index(
        "seller"
    )
    assert (going_on.loc[["0", "1"], "trained"] > 0).all()


@pytest.mark.slow
def test_the_fitted_rule_is_found_where_prices_have_to_move_with_stock() -> None:
    """A host that holds one price while its stock varies between nothing and plenty: better ones follow the stock."""
    own = market_from(
        {
            "num_sellers": 2, "episode_length": 16, "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
            "prices": {"map": "levels", "low": 1.2, "high": 2.6, "num_price_levels": 15},
            "inventory": {"rule": "none", "initial_stock": 40.0}, "reward": {"unit_cost": 0.0},
        },
        {"sessions_per_epoch": 20},
    )  # fmt: skip
    host = constant(*own, [1.8, 1.8])
    found = respond(own, [host] * 2, NOT_TRAINED, episodes=64).set_index("seller")
    kinds = found.loc[["0", "1"], ["trained", "constant", "rule"]]
    assert (found.loc[["0", "1"], "gain"] >= kinds.max(axis=1) - 0.02 * found.loc[["0", "1"], "learned"]).all()
    assert (kinds["rule"] > kinds["constant"]).all(), found


def test_snapshots_are_spread_over_any_budget() -> None:
    assert snapshots_of(20) == [5, 10, 15, 20]
    assert snapshots_of(1) == [1]
    assert snapshots_of(3) == [1, 2, 3]
    for updates in (7, 97, 150):
        found = snapshots_of(updates)
        assert found[-1] == updates and len(found) <= 5 and np.diff([0, *found]).min() >= 1


def test_responders_are_trained_by_default_where_they_are_few() -> None:
    own = bandit()
    settings = BUDGET.model_copy(update={"num_seeds": 3})
    assert plan_responders(0, *own, settings) == (None, "")
    assert plan_responders("auto", *own, settings).settings.num_updates == UPDATES
    asked = plan_responders(7, *own, settings.model_copy(update={"num_seeds": 50})).settings
    assert asked.num_updates == 7 and asked.gamma == settings.gamma and asked.hidden_size == settings.hidden_size
    longer = settings.model_copy(update={"schedule_updates": 5})  # of a run that was lengthened
    assert plan_responders(7, *own, longer).settings.scheduled_updates == 7
    many = plan_responders("auto", *own, settings.model_copy(update={"num_seeds": 50}))
    assert many.settings is None and "responders × offers are 400, more than 100" in many.reason


def test_selfish_sellers_respond_with_their_own_money_only(duopoly) -> None:
    assert objectives_of(duopoly.params) == ("shaped", "raw")
    assert objectives_of(selfish(duopoly)[1]) == ("raw",)


def test_what_cannot_be_responded_to_is_refused(duopoly) -> None:
    pair = [constant(*duopoly, [1.5, 1.5]), trigger(duopoly.shape)]
    with pytest.raises(ValueError, match="learned: accepted are policies of one kind"):
        best_responses(jax.random.key(0), *duopoly, pair, BUDGET, 1)
    with pytest.raises(ValueError, match="episodes=0"):
        best_responses(jax.random.key(0), *duopoly, pair[:1], BUDGET, 0)

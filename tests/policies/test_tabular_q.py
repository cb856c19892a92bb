"""Tabular Q-learning follows its rule, ends when it should, plays what it learned, and learns what others found."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from benchmarks.tabular_q import calvano_market, numpy_periods
from marl_pricing.evaluation.benchmarks import static_benchmarks
from marl_pricing.evaluation.play import play
from marl_pricing.policies import RuleError, q_learning, q_sessions
from marl_pricing.policies.q_learning import Learned, learn
from marl_pricing.policies.tabular_q import PricingGame, QLearningSettings, first_values, pricing_game, tabular
from tests.markets import make, one_shot, within

KNOWN = Path(__file__).parent.parent / "known_answers"
LEVELS = {"map": "levels", "low": 1.2, "high": 2.1, "num_price_levels": 4}
QUICK = QLearningSettings(exploration_decay=4e-3, patience=500, max_periods=5000)
FIELDS = ("values", "greedy", "state", "periods", "converged")


@pytest.fixture(scope="module")
def market():
    """Two unequal sellers, one of them half cooperative, with four prices each."""
    return one_shot(cost=[1.0, 1.1], omega=[1.0, 0.5], prices=LEVELS)


@pytest.fixture(scope="module")
def learned(market) -> Learned:
    return learn(jax.random.key(0), *market, QUICK, 6)


def of_tables(game: PricingGame, greedy: np.ndarray, state: list[int]) -> Learned:
    """Sessions with given strategies [B, Z, S]."""
    count = np.zeros(len(state), int)
    return Learned(game, np.zeros(0), np.asarray(greedy), np.array(state), count, count == 0)


def test_the_game_is_the_markets(market):
    game = pricing_game(*market)
    state = int(game.state_of(np.array([3, 1])))
    prices = np.array([2.1, 1.5])
    np.testing.assert_allclose(game.prices_of(np.array(state)), prices, rtol=1e-6)
    weight = np.exp((2.0 - prices) / 0.25)
    profits = (prices - [1.0, 1.1]) * weight / (1.0 + weight.sum())
    np.testing.assert_allclose(game.profits[state], profits, rtol=1e-6)
    np.testing.assert_allclose(game.payoffs[state], [profits[0], profits[1] + 0.5 * profits[0]], rtol=1e-6)


def test_first_values_are_those_against_rivals_who_take_every_level_alike(market):
    game = pricing_game(*market)
    first = first_values(game, 0.95)
    assert first.shape == (2, 4)
    assert first[1, 1] == pytest.approx(20.0 * np.mean([game.payoffs[4 * rival + 1, 1] for rival in range(4)]))
    assert first[0, 2] == pytest.approx(20.0 * np.mean([game.payoffs[4 * 2 + rival, 0] for rival in range(4)]))


def test_a_seller_explores_with_probability_epsilon_and_then_all_levels_alike():
    uniform = (np.arange(60_000) + 0.5) / 60_000
    taken = np.asarray(q_learning.choose(uniform.astype(np.float32), np.float32(0.3), np.int32(2), 6))
    counts = np.bincount(taken, minlength=6) / 60_000
    np.testing.assert_allclose(counts, [0.05, 0.05, 0.75, 0.05, 0.05, 0.05], atol=2e-4)


def test_learning_is_the_rule_in_a_plain_loop(market):
    game, chunks = pricing_game(*market), 4
    settings = QLearningSettings(exploration_decay=4e-3)
    keys = jax.random.split(jax.random.key(1), 6)
    numbers, own = q_learning.start(game, settings, keys)
    begin = np.asarray(own.state).tolist()
    own = jax.device_get(q_learning.learn_block(numbers, own, keys, 0, chunks))
    for session, key in enumerate(keys):
        uniform = np.concatenate([np.asarray(q_learning.draw_uniform(key, c, 2)) for c in range(chunks)])
        unchanged, greedy = 0, first_values(game, 0.95).argmax(-1)
        for values, state in numpy_periods(game, settings, uniform, begin[session]):  # noqa: B007
            # Strategies in all states, not only in the one that was visited.
            unchanged = unchanged + 1 if np.all(values.argmax(-1) == greedy) else 0
            greedy = values.argmax(-1)
        np.testing.assert_allclose(own.values[session], values, rtol=2e-6)
        assert own.state[session] == state and own.unchanged[session] == unchanged
        assert own.periods[session] == len(uniform)
    assert len(set(begin)) > 2 and len(set(own.unchanged.tolist())) > 2


def test_a_session_ends_after_so_many_periods_without_change(market, learned):
    assert learned.converged.all() and len(set(learned.periods.tolist())) == 6
    # One that is stopped in the period in which it converged has learned the same, and one period less does not do.
    for session, enough in ((0, 0), (5, 1)):
        limit = QUICK.model_copy(update={"max_periods": int(learned.periods[session]) - enough})
        stopped = learn(jax.random.key(0), *market, limit, 6)
        assert stopped.converged[session] == (not enough)
        assert stopped.periods[session] == limit.max_periods
        if not enough:
            np.testing.assert_array_equal(stopped.values[session], learned.values[session])
            assert stopped.state[session] == learned.state[session]
        assert np.all(stopped.periods <= limit.max_periods)


def test_sessions_do_not_depend_on_who_learns_beside_them(market, learned, monkeypatch):
    seen = []
    monkeypatch.setattr(q_learning, "_LEAST", 1)
    monkeypatch.setattr(q_learning, "_BLOCK", 512)
    own = learn(jax.random.key(0), *market, QUICK, 3, seen.append)  # goes on with one when two have ended
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(own, name), getattr(learned, name)[:3])
    assert [progress.finished for progress in seen] == sorted(progress.finished for progress in seen)
    assert 0 < seen[len(seen) // 2].steps < seen[-1].steps == learned.periods[:3].sum()
    assert seen[-1].finished == 3 and seen[-1].period == learned.periods[:3].max()


def test_numbers_do_not_recompile(market, learned):
    before = q_learning.learn_block._cache_size()
    slow = QLearningSettings(learning_rate=0.3, exploration_decay=1e-2, discount=0.5, patience=100, max_periods=1000)
    learn(jax.random.key(3), *market, slow, 6)
    assert q_learning.learn_block._cache_size() == before


def test_a_market_plays_the_path_of_the_table(market):
    game = pricing_game(*market)
    greedy = np.random.default_rng(0).integers(0, 4, (16, 2))
    policy = tabular(market.shape, greedy)
    record = play(jax.random.key(0), *market, policy, 1)
    start = np.asarray(market.params.prices.start_low)
    state = int(game.state_of(np.abs(game.levels - start[:, None]).argmin(-1)))
    for posted, earned in zip(record.price[0], record.reward_raw[0], strict=True):
        state = int(game.state_of(greedy[state]))
        np.testing.assert_allclose(posted, game.prices_of(np.array(state)), rtol=1e-6)
        np.testing.assert_allclose(earned, game.profits[state], rtol=1e-5)
    assert tabular(market.shape, greedy).act is policy.act


def test_long_run_is_the_mean_of_the_cycle(market):
    game = pricing_game(*market)
    stay, swap = np.zeros((2, 16, 2), int)
    stay[:] = [2, 1]
    swap[:, 0] = np.where(np.arange(16) // 4 == 3, 1, 3)  # 3, 1, 3, 1, … from anywhere
    found = q_sessions.long_run(of_tables(game, np.stack([stay, swap]), [0, 5]))
    assert found.length.tolist() == [1, 2]
    np.testing.assert_allclose(found.prices[0], game.levels[[0, 1], [2, 1]])
    np.testing.assert_allclose(found.prices[1], [game.levels[0, [1, 3]].mean(), game.levels[1, 0]])
    np.testing.assert_allclose(found.profits[1], game.profits[game.state_of(np.array([[1, 0], [3, 0]]))].mean(0))


def test_a_cut_is_answered_as_the_table_says(market):
    game = pricing_game(*market)
    # Both ask the highest price, and the lowest for ever if anyone ever asked less.
    grim = np.where((np.arange(16) == 15)[:, None], 3, 0) * np.ones((1, 2), int)
    # Seller 1 copies seller 0's last level; seller 0 repeats its own.
    copy = np.stack([np.arange(16) // 4, np.arange(16) // 4], -1)
    sessions = of_tables(game, np.stack([grim, copy]), [15, 10])
    cycles = q_sessions.long_run(sessions)
    path = q_sessions.deviation_paths(sessions, cycles, 0, 3)
    reply = [int(game.profits[[own * 4 + rival for own in range(4)], 0].argmax()) for rival in (3, 2)]
    assert 0 < reply[0] < 3 and reply[1] < 2
    levels = [[(3, 3), (reply[0], 3), (0, 0), (0, 0)], [(2, 2), (reply[1], 2), (reply[1], reply[1])]]
    levels[1].append(levels[1][-1])
    np.testing.assert_allclose(path, game.prices_of(game.state_of(np.array(levels))))
    deviator, rival = q_sessions.responses(sessions, cycles, 3)
    other = q_sessions.deviation_paths(sessions, cycles, 1, 3)
    np.testing.assert_allclose(deviator, (path[..., 0] + other[..., 1]) / 2)
    np.testing.assert_allclose(rival, (path[..., 1] + other[..., 0]) / 2)
    with pytest.raises(ValueError, match="periods=0"):
        q_sessions.deviation_paths(sessions, cycles, 0, 0)


QUIET = {"random_orders": False}


@pytest.mark.parametrize(
    ("traffic", "settings", "told"),
    [
        (QUIET, {}, r"market\.inventory\.rule='threshold': accepted is 'unlimited'"),
        ({}, {"inventory": {"rule": "unlimited"}}, r"traffic\.random_orders=True"),
        (QUIET, {"prices": {"map": "scale", "low": 1.1, "high": 2.0}}, r"market\.prices\.map='scale'"),
        (QUIET, {"num_products": 2}, r"market\.num_products=2"),
        (QUIET, {"num_sellers": 1}, r"market\.num_sellers=1"),
        (QUIET, {"level": {"volatility": 0.1}}, r"market\.level\.volatility"),
        (QUIET, {"level": {"noise": 0.1}}, r"market\.level\.noise"),
        (QUIET, {"season": {"cosine": [0.1], "sine": [0.0]}}, r"market\.season"),
        (QUIET, {"shocks": {"probability": 0.1, "duration": 2, "scale": 2.0}}, r"market\.shocks\.probability"),
        (QUIET, {"reward": {"unit_cost": 1.0, "volatility": 0.5}}, r"penalties \['volatility'\]"),
        (QUIET, {"bankruptcy": {"initial_cash": 5.0}}, r"market\.bankruptcy\.initial_cash"),
        (QUIET, {"collapse_patience": 3}, r"market\.collapse_patience=3"),
        ({"model": "chain"}, {}, r"traffic\.model='chain'"),
        (
            QUIET | {"agent_share": 0.1, "process": {"kind": "drift"}},
            {"agent": {"scale": 0.1}},
            r"traffic\.process\.kind='drift'",
        ),
    ],
)
def test_markets_that_are_more_than_a_repeated_game_are_refused(traffic, settings, told):
    with pytest.raises(RuleError, match=told):
        pricing_game(*make(traffic, **settings))


def test_what_is_too_large_or_does_not_fit_is_refused(market):
    with pytest.raises(RuleError, match=r"sessions=5000000: 128 table entries each .* at most 4194304"):
        learn(jax.random.key(0), *market, QUICK, 5_000_000)
    with pytest.raises(ValueError, match="sessions=0"):
        learn(jax.random.key(0), *market, QUICK, 0)
    with pytest.raises(ValueError, match="6,250,000 entries"):
        pricing_game(*one_shot(num_sellers=4, prices=LEVELS | {"num_price_levels": 50}))
    for table in (np.zeros((4, 2), int), np.full((16, 2), 4)):
        with pytest.raises(RuleError, match="accepted are"):
            tabular(market.shape, table)
    for wrong in ({"learning_rate": 0.0}, {"discount": 1.0}, {"exploration_decay": -1e-6}, {"patience": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            QLearningSettings(**wrong)


def test_agents_in_the_mix_change_the_game():
    people, mixed = (one_shot(agent_share=share, agent={"scale": 0.1}, prices=LEVELS) for share in (0.0, 0.5))
    assert np.abs(pricing_game(*people).payoffs - pricing_game(*mixed).payoffs).max() > 0.01


def known_gains(num_sellers: int) -> tuple[float, float]:
    """Mean profit gain of the file, and its standard error."""
    row = pd.read_csv(KNOWN / "calvano_q.csv").set_index("n").loc[num_sellers]
    return float(row["profit_gain_mean"]), float(row["standard_error"])


def gains(own, learned: Learned) -> np.ndarray:
    """Profit gain Δ of each session."""
    cycles = q_sessions.long_run(learned)
    return static_benchmarks(*own).profit_gain(cycles.profits.sum(-1))


@pytest.mark.slow
def test_the_duopoly_gains_and_answers_a_cut_as_in_the_files():
    own, sessions = calvano_market(2), 48
    learned = learn(jax.random.key(7), *own, QLearningSettings(), sessions)
    assert learned.converged.all()
    found, (known, error) = gains(own, learned), known_gains(2)
    assert within(found.mean(), known, np.hypot(error, found.std(ddof=1) / sessions**0.5))
    table = pd.read_csv(KNOWN / "deviation_response.csv")
    cycles = q_sessions.long_run(learned)
    ours = q_sessions.responses(learned, cycles, int(table["period"].max()))
    # The file has one seller deviate in each of 47 sessions: one path of ours has its spread.
    one = q_sessions.deviation_paths(learned, cycles, 0, int(table["period"].max()))
    for path, single, name in zip(ours, (one[..., 0], one[..., 1]), ("deviator_price", "rival_price"), strict=True):
        error = np.hypot(path.std(0, ddof=1) / sessions**0.5, single.std(0, ddof=1) / 47**0.5)
        assert within(path.mean(0), table[name].to_numpy(), error), name


@pytest.mark.slow
def test_the_triopoly_gains_as_in_the_file():
    own, sessions = calvano_market(3), 16
    learned = learn(jax.random.key(7), *own, QLearningSettings(), sessions)
    assert learned.converged.all()
    found, (known, error) = gains(own, learned), known_gains(3)
    assert within(found.mean(), known, np.hypot(error, found.std(ddof=1) / sessions**0.5))

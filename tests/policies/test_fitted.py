"""The fitted stock-and-price rule against known optima, and where there is nothing to gain."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.evaluation import play
from marl_pricing.market.observation import on_hand
from marl_pricing.policies import constant, fit_response, fitted_stock_price, in_words, seat, stock_and_price
from marl_pricing.policies.fitted import HELD_OUT, coordinates, numbers_of, rule_at, sellers_alike
from marl_pricing.policies.search import next_generation
from tests.markets import LOGIT, THRESHOLD, duopoly, make, programs

GRID = np.linspace(1.0, 2.2, 25)


def shares(prices: np.ndarray) -> np.ndarray:
    weight = np.exp((2.0 - prices) / 0.25)
    return weight / (1.0 + weight.sum(-1, keepdims=True))


def nash_on_grid() -> float:
    """A price of the grid that is the best answer to itself."""
    for price in GRID:
        answers = np.stack([GRID, np.full(25, price)], -1)
        profit = (GRID - 1.0) * shares(answers)[:, 0]
        if GRID[profit.argmax()] == price:
            return float(price)
    raise AssertionError("the grid has an equilibrium")


@pytest.mark.parametrize("rival", [1.2, 1.6, 2.2])
def test_against_a_constant_price_the_fit_is_the_best_price_of_the_grid(rival: float) -> None:
    own = duopoly()
    answers = np.stack([GRID, np.full(25, rival)], -1)
    profit = 10.0 * (GRID - 1.0) * shares(answers)[:, 0]
    found = fit_response(jax.random.key(0), *own, constant(*own, np.full(2, rival)), 0)
    assert set(found.numbers) == {"base"}
    nearest = GRID[np.abs(GRID - found.numbers["base"]).argmin()]
    assert nearest == pytest.approx(GRID[profit.argmax()])
    np.testing.assert_allclose(found.rewards, profit.max(), rtol=1e-4)
    at_rival = 10.0 * (rival - 1.0) * shares(np.full(2, rival))[0]
    assert found.gain == pytest.approx(profit.max() - at_rival, rel=1e-3, abs=1e-4)


def test_against_the_equilibrium_nothing_is_gained() -> None:
    price = nash_on_grid()
    exact = duopoly()
    found = fit_response(jax.random.key(0), *exact, constant(*exact, np.full(2, price)), 1)
    assert found.gain == pytest.approx(0.0, abs=1e-5)
    # The same with orders by chance: what the best of many seems to gain where it was found is gone under others.
    noisy = duopoly(random_orders=True)
    found = fit_response(jax.random.key(1), *noisy, constant(*noisy, np.full(2, price)), 0)
    apart = found.rewards - found.host_rewards
    assert len(apart) == HELD_OUT
    assert found.gain <= 2.0 * apart.std() / np.sqrt(len(apart)) + 1e-9


def test_what_a_fit_tells_is_what_is_played_in_that_seat() -> None:
    own = duopoly(random_orders=True)
    host = constant(*own, np.array([1.3, 2.0]))
    found = fit_response(jax.random.key(2), *own, host, 1)
    record = play(jax.random.key(9), *own, seat(host, found.policy, 1, 2), 192)
    played = record.reward_raw[..., 1].mean()
    error = np.hypot(found.rewards.std(), record.reward_raw[..., 1].mean(1).std()) / np.sqrt(192)
    assert abs(played - found.rewards.mean()) < 4 * error
    assert found.host_rewards.mean() < found.rewards.mean()


def test_the_objective_is_the_sellers_own_money_or_the_shaped_reward() -> None:
    own = duopoly(reward={"unit_cost": 1.0, "omega": 0.0})
    host = constant(*own, np.full(2, 1.6))
    raw, shaped = (fit_response(jax.random.key(0), *own, host, 0, objective=name) for name in ("raw", "shaped"))
    answers = np.stack([GRID, np.full(25, GRID[12])], -1)
    profits = (answers - 1.0) * shares(answers)
    for found, value in ((raw, profits[:, 0]), (shaped, profits.sum(1))):
        assert GRID[np.abs(GRID - found.numbers["base"]).argmin()] == pytest.approx(GRID[value.argmax()])
    with pytest.raises(ValueError, match="objective='own': accepted is raw or shaped"):
        fit_response(jax.random.key(0), *own, host, 0, objective="own")
    with pytest.raises(ValueError, match="seller=2: accepted is"):
        fit_response(jax.random.key(0), *own, host, 2)


def test_all_sellers_together_end_at_the_equilibrium_of_the_grid() -> None:
    own = duopoly()
    base = np.asarray(fitted_stock_price(*own).parameters.base)
    assert np.abs(GRID[:, None] - base).argmin(0).tolist() == [np.abs(GRID - nash_on_grid()).argmin()] * 2


FINITE = {
    "num_sellers": 1, "episode_length": 20, "demand": LOGIT, "agent": None,
    "prices": {"map": "levels", "low": 1.2, "high": 2.6, "num_price_levels": 15},
    "inventory": {"rule": "none", "initial_stock": 12.0}, "reward": {"unit_cost": 0.0},
}  # fmt: skip


@pytest.mark.slow
def test_one_seller_of_a_finite_stock_comes_near_the_exact_optimum() -> None:
    shape, params = make({"sessions_per_epoch": 2}, **FINITE)
    policy = fitted_stock_price(shape, params)
    record = play(jax.random.key(5), shape, params, policy, 600)
    earned = record.reward_raw.sum((1, 2))
    prices = np.asarray(params.prices.levels[0], np.float64)
    rates = 2.0 * np.exp((2.0 - prices) / 0.25) / (1.0 + np.exp((2.0 - prices) / 0.25))
    best = exact_value(prices, rates, 12, 20)
    constants = [
        play(jax.random.key(5), shape, params, constant(shape, params, np.array([price])), 600).reward_raw.sum((1, 2))
        for price in prices[4:12]
    ]
    best_constant = max(own.mean() for own in constants)
    assert 0.985 * best < earned.mean() < best + 4 * earned.std() / np.sqrt(600)
    assert earned.mean() > best_constant
    assert numbers_of(shape, policy.parameters, 0)["stock_slope"] < 0


def exact_value(prices: np.ndarray, rates: np.ndarray, stock: int, epochs: int) -> float:
    """Backward induction over stock and time, Poisson orders cut at the stock."""
    from scipy import stats

    value = np.zeros(stock + 1)
    for _ in range(epochs):
        best = np.full(stock + 1, -np.inf)
        for price, rate in zip(prices, rates, strict=True):
            for left in range(stock + 1):
                sold = np.arange(left + 1)
                chance = stats.poisson.pmf(sold, rate)
                chance[-1] = 1.0 - chance[:-1].sum()
                best[left] = max(best[left], (chance * (price * sold + value[left - sold])).sum())
        value = best
    return float(value[-1])


CHOSEN = {"rule": "chosen", "initial_stock": 6.0, "lead_time": 1, "order_levels": [0.0, 1.0, 2.0, 4.0, 8.0, 16.0]}


@pytest.mark.slow
def test_where_orders_are_chosen_the_fit_has_an_order_up_to_level_and_keeps_stock() -> None:
    own = make({"sessions_per_epoch": 6}, num_sellers=1, inventory=CHOSEN, episode_length=24,
               reward={"unit_cost": 1.0, "stockout_penalty": 0.5, "holding_cost": 0.02})  # fmt: skip
    assert coordinates(own.shape) == ("base 0", "stock_slope", "order_up_to")
    policy = fitted_stock_price(*own)
    numbers = numbers_of(own.shape, policy.parameters, 0)
    assert numbers["order_up_to"] > 1.0
    fitted = play(jax.random.key(3), *own, policy, 64).reward_raw.mean()
    still = policy.parameters.replace(order_up_to=jnp.zeros((1,)))
    assert fitted > play(jax.random.key(3), *own, stock_and_price(own.shape, still), 64).reward_raw.mean()


def test_the_rule_is_what_it_says() -> None:
    own = make(
        {"random_orders": False}, level={"persistence": 0.9, "volatility": 0.3}, prices={
            "map": "scale", "factors": [0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.4], "low": 1.1, "high": 2.5,
            "start": 1.8,
        },
    )  # fmt: skip
    assert coordinates(own.shape) == ("base 0", "stock_slope", "demand_slope", "memory")
    points = jnp.array([[0.5, 0.4, 0.7, 1.0], [0.2, 0.5, 0.5, 0.5]])
    rule = rule_at(own.shape, own.params, points)
    np.testing.assert_allclose(rule.base, [1.8, 1.38], rtol=1e-6)
    np.testing.assert_allclose(rule.stock_slope, [-0.4 * 1.4, 0.0], atol=1e-6)
    np.testing.assert_allclose(rule.demand_slope, [0.4 * 1.4, 0.0], atol=1e-6)
    np.testing.assert_allclose(rule.memory, [1.0, np.sqrt(0.02)], rtol=1e-5)
    policy = stock_and_price(own.shape, rule)
    state, seen = programs.reset(jax.random.key(0), *own)
    memory = policy.start()
    for epoch in range(4):
        action, memory = policy.act(rule, jax.random.key(9), memory, seen, state, own.params)
        last = np.asarray(state.prices)
        y = np.asarray(on_hand(own.shape, state)) / 18.0 - 0.5
        weight = np.exp((2.0 - last) / 0.25)
        usual = 10.0 * weight / (1.0 + weight.sum())
        z = np.asarray(state.demand) / usual - 1.0 if epoch else np.zeros(2)
        wanted = np.clip([1.8 - 0.56 * y[0] + 0.56 * z[0], 1.38], 1.1, 2.5)
        factors = np.asarray(own.params.prices.factors)
        nearest = np.abs(np.clip(last[:, None] * factors, 1.1, 2.5) - wanted[:, None]).argmin(1)
        np.testing.assert_array_equal(action.price[:, 0], nearest)
        state, seen, _ = programs.step(jax.random.key(epoch), own.shape, state, action, own.params)


def test_a_search_closes_in_on_the_highest_point() -> None:
    aim = jnp.array([0.9, 0.1, 0.5])
    points = jax.random.uniform(jax.random.key(0), (40, 3))
    best = []
    for number in range(15):
        values = -((points - aim) ** 2).sum(-1)
        best.append(float(values.max()))
        points = next_generation(jax.random.key(number + 1), points, values)
        assert points.min() >= 0.0 and points.max() <= 1.0
    assert best == sorted(best) and best[-1] > -2e-3


def test_sellers_are_alike_where_none_of_their_numbers_differ() -> None:
    assert sellers_alike(*duopoly()) and sellers_alike(*make(num_sellers=3, num_products=2, agent={"scale": 0.1}))
    unlike: list[dict] = [
        {"demand": LOGIT | {"quality": [2.0, 2.1]}},
        {"reward": {"unit_cost": [1.0, 0.9]}},
        {"reward": {"unit_cost": 1.0, "omega": [1.0, 0.5]}},
        {"prices": {"map": "levels", "low": [1.0, 1.1], "high": 2.2, "num_price_levels": 5}},
        {"level": {"persistence": 0.5, "volatility": [0.1, 0.2]}},
        {"inventory": THRESHOLD | {"initial_stock": [12.0, 6.0]}},
    ]
    for changes in unlike:
        assert not sellers_alike(*make(**changes)), changes


def test_the_numbers_are_said_once_where_all_sellers_have_the_same() -> None:
    own = duopoly()
    one = rule_at(own.shape, own.params, jnp.full((2, 1), 0.25))
    assert in_words(own.shape, one) == "every seller: base 1.3"
    two = rule_at(own.shape, own.params, jnp.array([[0.25], [0.5]]))
    assert in_words(own.shape, two) == "seller 0: base 1.3; seller 1: base 1.6"

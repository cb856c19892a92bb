"""Episodes: what a record holds, common random numbers, ends of episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.evaluation.play import play
from marl_pricing.market import Policy
from marl_pricing.policies import RULES, constant, random
from tests.markets import programs
from tests.sizes import at_once


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))


def test_record_equals_a_plain_loop(stocked):
    policy = constant(stocked.shape, stocked.params, [1.4, 1.6])
    record = play(jax.random.key(5), stocked.shape, stocked.params, policy, 3)
    key_market, _ = jax.random.split(jax.random.key(5))
    key = jax.random.fold_in(key_market, 2)
    state, seen = programs.reset(jax.random.fold_in(key, 0), stocked.shape, stocked.params)
    for t in range(stocked.shape.episode_length):
        action, _ = policy.act(policy.parameters, None, (), seen, state, stocked.params)
        state, seen, outcome = programs.step(
            jax.random.fold_in(key, t + 1), stocked.shape, state, action, stocked.params
        )
        for name in ("sales", "demand", "unmet", "stock", "arrivals", "ordered", "on_order", "price_paid"):
            np.testing.assert_array_equal(getattr(record, name)[2, t], getattr(outcome, name), err_msg=name)
        np.testing.assert_array_equal(record.price[2, t], outcome.prices)
        np.testing.assert_allclose(record.reward_raw[2, t], outcome.reward, rtol=1e-6)
        np.testing.assert_allclose(record.reward_shaped[2, t], outcome.shaped, rtol=1e-6)


def test_equal_prices_meet_equal_demand_whatever_the_policy_draws(stocked):
    quiet = constant(stocked.shape, stocked.params, [1.5, 1.5])

    def act(parameters, key, memory, observation, state, params):
        noise = jax.random.uniform(key)  # a policy that draws: the market must not notice
        action, memory = quiet.act(quiet.parameters, key, memory, observation, state, params)
        return action.replace(price=action.price + jnp.int32(noise * 0)), memory

    noisy = Policy("noisy", (), lambda: (), act)
    key = jax.random.key(7)
    assert same(*(play(key, stocked.shape, stocked.params, policy, 4) for policy in (quiet, noisy)))
    again = constant(stocked.shape, stocked.params, [1.5, 1.5], name="other")
    assert same(*(play(key, stocked.shape, stocked.params, policy, 4) for policy in (quiet, again)))


def test_the_first_episodes_do_not_depend_on_how_many_there_are(stocked):
    policy = random(stocked.shape, stocked.params)
    few = play(jax.random.key(0), stocked.shape, stocked.params, policy, 2)
    many = play(jax.random.key(0), stocked.shape, stocked.params, policy, 5)
    assert same(few, jax.tree.map(lambda leaf: leaf[:2], many))


def test_episodes_and_keys_differ(stocked):
    policy = constant(stocked.shape, stocked.params, [1.5, 1.5])
    record = play(jax.random.key(0), stocked.shape, stocked.params, policy, 2)
    other = play(jax.random.key(1), stocked.shape, stocked.params, policy, 2)
    assert not np.array_equal(record.demand[0], record.demand[1])
    assert not np.array_equal(record.demand, other.demand)


def test_policies_of_one_kind_compile_once(stocked):
    from marl_pricing.evaluation.play import _play

    _play.clear_cache()
    for price in (1.3, 1.4, 1.5):
        play(jax.random.key(0), stocked.shape, stocked.params, constant(stocked.shape, stocked.params, [price] * 2), 2)
    assert _play._cache_size() == 1


def test_epochs_after_a_collapse_are_not_live(make_market):
    made = make_market(demand_scale=0.0, collapse_patience=3)
    record = play(jax.random.key(0), made.shape, made.params, constant(made.shape, made.params, [1.5, 1.5]), 2)
    np.testing.assert_array_equal(record.live, np.arange(12)[None, :, None] < np.full((2, 1, 2), 3))


def test_a_bankrupt_seller_is_not_live_and_the_other_is(make_market):
    # Seller 0 sells below cost: a loss in every epoch.
    made = make_market(
        reward={"unit_cost": [2.0, 1.0]},
        bankruptcy={"initial_cash": 5.0},
        prices={"map": "levels", "levels": [1.5, 2.0]},
    )
    policy = constant(made.shape, made.params, [1.5, 1.5])
    record = play(jax.random.key(0), made.shape, made.params, policy, 1)
    lived = int(record.live[0, :, 0].sum())
    cash = 5.0 + np.cumsum(record.reward_raw[0, :, 0])
    assert 0 < lived < 12 and cash[lived - 1] < 0 and np.all(cash[: lived - 1] >= 0)
    assert record.live[0, :lived, 0].all() and record.live[0, :, 1].all()


# The market has no sales behind it, and nobody who waits.
@pytest.mark.parametrize("name", at_once((name for name in RULES if name not in ("observed", "price_skimming")), 2))
def test_profit_of_offers_adds_up_to_reward(make_market, name):
    chosen = {"rule": "chosen", "initial_stock": 6.0, "order_levels": [0.0, 4.0, 8.0], "lead_time": 2}
    reward = {"unit_cost": 1.0, "stockout_penalty": 0.4, "holding_cost": 0.05, "pay_on_order": True}
    made = make_market(random_orders=True, num_products=2, inventory=chosen, reward=reward)
    record = play(jax.random.key(0), made.shape, made.params, RULES[name](made.shape, made.params), 2)
    np.testing.assert_allclose(record.profit.reshape(2, 12, 2, 2).sum(-1), record.reward_raw, rtol=1e-4, atol=1e-4)


def test_no_episodes_are_refused(stocked):
    with pytest.raises(ValueError, match="episodes=0"):
        play(jax.random.key(0), stocked.shape, stocked.params, random(stocked.shape, stocked.params), 0)

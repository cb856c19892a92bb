"""The defensive loop as learners meet it, beside the environment that other people's learners meet."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.config import Market
from marl_pricing.config.study import plan_study
from marl_pricing.environments import single
from marl_pricing.studies.factorial.cells import cells_of, factors_of, market_of
from marl_pricing.studies.factorial.game import DefenceGame, basket_shape, with_radius
from marl_pricing.studies.factorial.game import basket as game_basket
from tests.studies.factorial.helpers import tiny


@pytest.fixture(scope="module")
def there() -> Market:
    plan = plan_study(tiny("market.collapse_patience=0"))
    base = {name: value for name, value in plan.data.items() if name != "study"}
    return market_of(base, plan.study.factorial, cells_of(plan.study.factorial)[1])


def test_the_worst_candidate_happens_as_in_the_environment(there: Market) -> None:
    shape, params = there
    advance = jax.jit(DefenceGame(shape, candidates=5).advance)
    own = with_radius(params, 0.3)
    state, _ = market.reset(jax.random.key(0), shape, params)
    offsets = jnp.linspace(-0.3, 0.3, 5)
    apart = False
    for number, choice in enumerate((0, 4, 2)):
        key, price = jax.random.key(number), jnp.full((1, shape.num_offers), choice)
        after, outcome, _, rewards = single._step(key, shape, params, state, price, offsets)
        ours, happened = advance(key, state, jnp.int32(choice), own)
        assert float(happened.reward[0]) == pytest.approx(float(np.min(rewards)), rel=1e-5)
        assert float(happened.agent_share) == pytest.approx(float(outcome.agent_share))
        np.testing.assert_allclose(ours.events, after.events, rtol=1e-5)
        apart |= float(np.min(rewards)) < float(rewards[2])
        state = ours
    assert apart  # elsewhere than in the nominal world
    # Without a radius all candidates are the nominal world, which is what a game without candidates plays.
    plain = jax.jit(DefenceGame(shape).advance)(jax.random.key(3), state, jnp.int32(1), with_radius(params, 0.0))[1]
    robust = advance(jax.random.key(3), state, jnp.int32(1), with_radius(params, 0.0))[1]
    np.testing.assert_allclose(plain.reward, robust.reward, rtol=1e-5)
    np.testing.assert_allclose(plain.events, robust.events, rtol=1e-5)


def test_the_basket_is_the_sum_of_its_products(there: Market) -> None:
    shape, params = there
    game, told = DefenceGame(shape), basket_shape(shape)
    own = with_radius(params, 0.0)
    state, seen = game.reset(jax.random.key(0), told, own)
    assert seen.local.shape == (1, 2 * shape.num_offers) and told.num_offers == 1
    whole = jax.jit(game.advance)(jax.random.key(1), state, jnp.int32(3), own)[1]
    basket = game_basket(whole)
    assert basket.sales.shape == basket.prices.shape == (1,)
    assert float(basket.sales[0]) == float(np.sum(whole.sales)) > 0
    revenue = float(np.sum(np.asarray(whole.price_paid) * np.asarray(whole.sales)))
    assert float(basket.price_paid[0] * basket.sales[0]) == pytest.approx(revenue, rel=1e-5)
    np.testing.assert_allclose(whole.prices / state.prices, 1.05, rtol=1e-5)


def test_what_a_table_sees_is_two_numbers_of_the_range(there: Market) -> None:
    shape, params = there
    game = DefenceGame(shape, brief=True)
    state, seen = game.reset(jax.random.key(0), basket_shape(shape), params)
    assert seen.local.shape == (1, 2) and float(seen.local[0, 1]) == -1.0
    middle = 0.5 * (params.prices.low + params.prices.high)
    np.testing.assert_allclose(state.prices, middle)
    assert float(seen.local[0, 0]) == pytest.approx(0.0, abs=1e-6)


def test_factors_are_an_even_grid_on_each_side_of_one() -> None:
    study = plan_study(tiny()).study.factorial
    assert factors_of(study, 5) == [0.9, 0.95, 1.0, 1.05, 1.1]
    assert factors_of(study, 3) == [0.9, 1.0, 1.1]

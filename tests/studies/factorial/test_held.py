"""Prices that are held: against play written down epoch by epoch, and against every level that there is."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.config.study import plan_study
from marl_pricing.studies.factorial import play
from marl_pricing.studies.factorial.carry_out import plan_groups
from marl_pricing.studies.factorial.game import DefenceGame
from marl_pricing.studies.factorial.held import KEYS, LEVELS, best_held, nearest_factor
from tests.studies.factorial.helpers import tiny


def test_the_factor_is_the_one_that_comes_nearest_to_the_level() -> None:
    program = plan_groups(plan_study(tiny()))[0].program
    params = next(iter(program.markets.values()))
    low, high, factors = (np.asarray(own) for own in (params.prices.low, params.prices.high, params.prices.factors))
    random = np.random.default_rng(0)
    choose = jax.jit(partial(nearest_factor, program.learner.game.market))
    for _ in range(50):
        prices = random.uniform(low, high)
        level = random.uniform(low.mean(), high.mean())
        apart = [abs(np.clip(prices * factor, low, high).mean() - level) for factor in factors]
        chosen = int(choose(params, jnp.float32(level), jnp.float32(prices)))
        assert apart[chosen] == pytest.approx(min(apart), abs=1e-6)
    ends = {float(end.mean()): int(choose(params, jnp.float32(end.mean()), jnp.float32(end))) for end in (low, high)}
    assert all(np.isclose(np.clip(own * factors[number], low, high), own).all()
               for own, number in zip((low, high), ends.values(), strict=True))  # fmt: skip


def test_the_best_level_is_played_as_the_market_plays_it() -> None:
    plan = plan_study(tiny("study.factorial.factors.alpha=[0.4]", "study.factorial.factors.lambda_coi=[0.3]"))
    study = plan.study.factorial
    program = plan_groups(plan)[0].program
    ((cell, params),) = program.markets.items()
    found = best_held([program], study)
    assert len(found) == 1 and tuple(found.loc[0, list(KEYS)]) == (cell.alpha, cell.lambda_coi, cell.action_levels)

    game = DefenceGame(program.learner.game.market)
    step = jax.jit(lambda key, state, choice: game.advance(key, state, choice, params))

    def by_hand(level: float, seed: int) -> tuple[float, float]:
        """(mean reward, mean price) of an epoch, one episode and one epoch after the other."""
        rewards, prices = [], []
        for episode in range(study.play.episodes):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(play._ROOT), seed), episode)
            state, _ = game.reset(jax.random.fold_in(key, 0), game.market, params)
            for time in range(game.market.episode_length):
                choice = nearest_factor(game.market, params, jnp.float32(level), state.prices)
                state, outcome = step(jax.random.fold_in(key, time + 1), state, choice)
                rewards.append(float(outcome.reward[0]))
                prices.append(float(outcome.prices.mean()))
                if bool(outcome.terminated[0]):
                    break
        return float(np.mean(rewards)), float(np.mean(prices))

    level = float(found.loc[0, "held_price"])
    reward, price = by_hand(level, study.play.seed)
    assert found.loc[0, "reward"] == pytest.approx(reward, rel=1e-4)
    assert found.loc[0, "price"] == pytest.approx(price, rel=1e-4)
    # No other level is better on the shoppers that it was chosen on.
    ends = np.linspace(float(params.prices.low.mean()), float(params.prices.high.mean()), LEVELS)
    chosen = by_hand(level, study.play.seed + 1)[0]
    assert all(chosen >= by_hand(other, study.play.seed + 1)[0] - 1e-4 for other in ends[::4])

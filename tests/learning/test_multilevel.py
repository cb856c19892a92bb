"""The learner's robust targets against an unbiased estimate of the worst expectation from draws alone."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.learning import mappo
from marl_pricing.learning.candidate_worlds import candidate_worlds, expect_worlds
from marl_pricing.learning.robust_critic import discounted, robust_one_step
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.robust import Ambiguity, worst_value
from tests.learning.helpers import QUICK, TINY
from tests.learning.multilevel import multilevel
from tests.traffic.visitors import with_sessions

WEIGHTS = np.full(5, 0.2, np.float32)
METRIC = jnp.abs(jnp.arange(5.0)[:, None] - jnp.arange(5.0))
RADII = {"interval": 0.2, "contamination": 0.3, "total_variation": 0.2, "kl": 0.1, "chi2": 0.2, "wasserstein": 0.5}


def worst_of(name: str):
    """[..., K] → [...] in NumPy."""
    run = jax.jit(lambda v: worst_value(name, v, jnp.asarray(WEIGHTS), jnp.float32(RADII[name]), METRIC))
    return lambda values: np.asarray(run(jnp.asarray(values, jnp.float32)), np.float64)


@pytest.mark.parametrize("name", RADII)
def test_the_referee_is_unbiased_where_few_draws_are_not(name: str) -> None:
    """Three of five worlds are equally bad; draws are as noisy as the worlds are apart."""
    random, means = np.random.default_rng(0), np.array([1.0, 1.0, 1.0, 1.5, 2.0])
    worst, spread = worst_of(name), np.array([1.0, 0.5, 2.0, 1.0, 1.0])

    def draw(count: int) -> np.ndarray:
        return means + spread * random.normal(size=(count, 5))

    found = np.array([multilevel(draw, worst, random) for _ in range(3000)])
    error = found.std() / np.sqrt(len(found))
    exact = float(worst(means))
    assert abs(found.mean() - exact) < 4 * error and error < 0.02
    # As many draws as a level begins with are too few, and one is far too few.
    few = worst(np.stack([draw(16).mean(0) for _ in range(3000)]))
    assert few.mean() < exact - 3 * error
    assert worst(draw(3000)).mean() < few.mean()


# Stock in either half of what is asked for: rewards are curved in orders.
STOCK = {"rule": "threshold", "initial_stock": 6.0, "reorder_point": 5.0, "order_quantity": 6.0, "lead_time": 1}
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["interval", "kl", "chi2", "wasserstein"])
def test_the_learners_targets_are_the_referees(name: str) -> None:
    own = with_sessions("bank", sessions=30, inventory=STOCK, episode_length=40)
    ambiguity = Ambiguity(name, "expected", RADII[name] if name != "wasserstein" else 0.1, SHARES, False, (0.2,) * 5)
    if name == "interval":
        ambiguity = replace(ambiguity, radius=1.0)
    settings = LearnerSettings(**(TINY | {"num_envs": 16, "num_steps": 32, "value_normalisation": "none"}))
    learner = mappo.make_learner(settings, *own, ambiguity)
    index = jnp.arange(16)

    @jax.jit
    def trained():
        state = mappo.init(learner, jnp.int32(0), own.params, index)
        state = jax.lax.fori_loop(0, 12, lambda _, s: mappo.update(learner, s, own.params, index)[0], state)
        seen = state.rollout.observation.state
        memory = jnp.where(state.rollout.first[:, None, None], 0.0, state.rollout.critic_memory)
        return state, learner.critic.step(state.learnable.critic, seen, memory)[1]

    state, memory = trained()
    before = state.rollout.market
    prices = jax.random.randint(jax.random.key(3), (16, 2, 1), 0, own.shape.prices.num_levels)

    @jax.jit
    def draws(keys):
        """(drawn [n, E, K, S], the learner's targets [n, E, S]) from the same states and actions."""

        def one(key, market_state, price):
            action = market.Action(price)
            happened = candidate_worlds(key, own.shape, own.params, market_state, action, ambiguity, 0, True)
            found = expect_worlds(own.shape, own.params, ambiguity, 0, market_state, action, *happened[2:])
            return happened[2], found

        outcome, found = jax.vmap(lambda k: jax.vmap(one)(jax.random.split(k, 16), before, prices))(keys)
        memories = jnp.broadcast_to(memory, (len(keys), *memory.shape))
        drawn = discounted(learner, state, memories, found.seen, found.reward, found.terminated)
        segment = _Segment(outcome, found, jnp.zeros((len(keys), 16), bool))
        plain = jnp.zeros(drawn[:, :, 0].shape)
        return drawn, robust_one_step(learner, state, segment, memories, plain, lambda x: x)[0]

    pool = [draws(jax.random.split(jax.random.key(100 + n), 512)) for n in range(40)]
    drawn, target = (np.concatenate([np.asarray(part[n]) for part in pool]) for n in (0, 1))
    drawn = drawn.swapaxes(2, 3).reshape(len(drawn), -1, 5)  # [n, E · S, K]
    worst, random, used = worst_of_set(ambiguity), np.random.default_rng(1), 0

    def draw(count: int) -> np.ndarray:
        nonlocal used
        used += count
        assert used <= len(drawn), "the pool is used up"
        return drawn[used - count : used]

    referee = np.stack([multilevel(draw, worst, random) for _ in range(160)])
    mean, error = referee.mean(0), referee.std(0) / np.sqrt(len(referee))
    said = target.mean(0).reshape(-1)
    spread = np.ptp(drawn.mean(0), axis=-1)
    off = said - mean
    assert np.all(np.abs(off) < 5 * error + 0.03 * spread), (off / spread).round(3)
    assert abs(off.mean()) < 4 * error.mean() / np.sqrt(len(off)) + 0.01 * spread.mean()
    # Draw by draw the worst is far below.
    assert (worst(drawn[:2000]).mean(0) - mean).mean() < -10 * abs(off.mean())


class _Segment:
    """What `robust_one_step` asks of a segment."""

    def __init__(self, outcome, candidates, first) -> None:
        self.outcome, self.candidates, self.first = outcome, candidates, first


def worst_of_set(ambiguity: Ambiguity):
    weights, radius = jnp.asarray(ambiguity.weights, jnp.float32), jnp.float32(ambiguity.radius)
    metric = ambiguity.metric() if ambiguity.set == "wasserstein" else None
    run = jax.jit(lambda v: worst_value(ambiguity.set, v, weights, radius, metric), compiler_options=QUICK)
    return lambda values: np.asarray(run(jnp.asarray(values, jnp.float32)), np.float64)

"""The learner's robust targets against exact values: one seller, stock up to 9, busy times of two epochs, 30 states.

The expectations of each world come first, then the worst law is taken; `stock_table` sums them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.config import market_from
from marl_pricing.learning import expected_values, mappo, rollout
from marl_pricing.learning.rollout import Played, Player
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.state import Learnable
from marl_pricing.learning.trajectory import Segment
from marl_pricing.robust import Ambiguity
from tests.learning.helpers import QUICK
from tests.learning.stock_table import (
    COST,
    FACTOR,
    GAMMA,
    HOLDING,
    MOST,
    NOMINAL,
    PENALTY,
    PRICES,
    QUANTITY,
    REORDER,
    SESSIONS,
    SHARES,
    STARTS,
    STATES,
    robust_values,
    stock_table,
)  # fmt: skip

ENVS, STEPS, SWEEPS, KEPT = 256, 40, 90, 60


def a_market():
    return market_from(
        {
            "num_sellers": 1,
            "episode_length": STEPS,
            "demand": {"model": "logit", "quality": 1.8, "scale": 0.5},
            "agent": {"scale": 0.12},
            "shocks": {"probability": STARTS, "duration": 2, "scale": FACTOR},
            "prices": {"map": "levels", "levels": list(PRICES)},
            "inventory": {"rule": "threshold", "initial_stock": float(MOST), "reorder_point": float(REORDER),
                          "order_quantity": float(QUANTITY), "lead_time": 1},
            "reward": {"unit_cost": COST, "stockout_penalty": PENALTY, "holding_cost": HOLDING},
        },
        {"model": "analytic", "sessions_per_epoch": SESSIONS, "agent_share": NOMINAL},
    )  # fmt: skip


@dataclass(frozen=True)
class TableCritic:
    """A value a state, in place of a network; it reads stock and busy times from the global state.

    Between two stocks it lies between their values: states that are expected hold means.
    """

    central: bool = True
    stacked: bool = False

    def start(self, num_envs: int) -> jax.Array:
        return jnp.zeros((num_envs, 1, 1))

    def _value(self, table: jax.Array, seen: jax.Array) -> jax.Array:
        stock, busy = seen[..., 2] * (REORDER + QUANTITY), jnp.round(seen[..., 3] * 2.0).astype(jnp.int32)
        below = jnp.clip(jnp.floor(stock + 1e-3), 0, MOST - 1).astype(jnp.int32)
        low, high = table[3 * below + busy], table[3 * below + 3 + busy]
        return (low + jnp.clip(stock - below, 0.0, 1.0) * (high - low))[..., None, None]

    def step(self, table: jax.Array, seen: jax.Array, memory: jax.Array):
        return self._value(table, seen), memory

    def branches(self, table: jax.Array, seen: jax.Array, memory: jax.Array):
        return self._value(table, seen)

    def sequence(self, table: jax.Array, seen: jax.Array, memory: jax.Array, first: jax.Array):
        return self._value(table, seen), jnp.broadcast_to(memory, (seen.shape[0], *memory.shape))


def states_of(segment: Segment) -> np.ndarray:
    seen = np.asarray(segment.observation.state)
    return (3 * np.round(seen[..., 2] * 10) + np.round(seen[..., 3] * 2)).astype(int)


def exact_values(set_name: str, radius: float) -> np.ndarray:
    """Robust values [30] of the policy that takes either price with even chance."""
    return robust_values(stock_table(), np.full((STATES, 2), 0.5), set_name, radius).value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("set_name", "radius"), [("interval", 0.3), ("kl", 0.15), ("chi2", 0.3), ("wasserstein", 0.15)]
)
def test_targets_converge_to_the_exact_robust_values(set_name: str, radius: float) -> None:
    own = a_market()
    weights = (1.0 / len(SHARES),) * len(SHARES)
    ambiguity = Ambiguity(set_name, "expected", radius, SHARES, False, weights)
    settings = LearnerSettings(
        num_envs=ENVS, num_steps=STEPS, num_minibatches=1, hidden_size=8, gamma=GAMMA, gae_lambda=0.9,
        value_normalisation="none", normalise_advantage=False, devices=1,
    )  # fmt: skip
    learner = replace(mappo.make_learner(settings, *own, ambiguity), critic=TableCritic())
    index = jnp.arange(ENVS)
    actor = learner.actor.init(jax.random.key(0))
    actor = jax.tree.map(jnp.zeros_like, actor)  # no preference: either price with even chance
    begin = rollout.start(
        jax.random.split(jax.random.key(1), ENVS), own.shape, own.params, learner.actor, learner.critic
    )

    def sweep(key, state, table, worlds):
        after, segment = rollout.rollout(
            key, Played(own.shape, own.params, ambiguity=ambiguity), Player(learner.actor, actor), state, index, STEPS
        )
        trained = mappo.RobustState(
            learnable=Learnable(actor, table, None, None), statistics=None, rollout=state,
            seed=jnp.int32(0), update=jnp.int32(0), worlds=worlds,
        )  # fmt: skip
        batch, trained, _ = mappo.make_batch(learner, trained, segment, lambda x: x)
        return after, segment, batch.target, trained.worlds

    run = jax.jit(sweep, compiler_options=QUICK)
    state, table, kept, worlds = begin, np.zeros(30), [], expected_values.start(len(SHARES), 1)
    for number in range(SWEEPS):
        key = jax.random.key(100 + number)
        state, segment, target, worlds = run(key, state, jnp.asarray(table, jnp.float32), worlds)
        where, said = states_of(segment).ravel(), np.asarray(target, np.float64).ravel()
        visits = np.bincount(where, minlength=30)
        mean = np.bincount(where, said, 30) / np.maximum(visits, 1)
        table = np.where(visits > 0, table + (1.0 if number < 10 else 0.3) * (mean - table), table)
        if number >= SWEEPS - KEPT:
            kept.append(table)
    exact = exact_values(set_name, radius)
    # An order always comes before an epoch's shoppers do, so that stock is never 0 then.
    assert visits[:3].sum() == 0 and visits[3:].min() > 20
    np.testing.assert_allclose(np.mean(kept, 0)[3:], exact[3:], rtol=0.01)
    # It is the worst case that they converged to: the plain values are far above.
    assert exact_values(set_name, 0.0).mean() > 1.05 * exact.mean()

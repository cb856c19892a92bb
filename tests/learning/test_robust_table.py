"""The learner's robust targets against exact values: one seller, stock up to 9, busy times of two epochs, 30 states.

V(s) = Σ_a π(a | s) min over laws q of Σ_k q_k E_u[r_k(s, a, u) + γ V(s'_k(s, a, u))]. The expectation is summed exactly
here, over all places at which some world's count changes as a uniform number grows; then the worst law is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from marl_pricing.config import market_from
from marl_pricing.learning import expected_values, mappo, rollout
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.robust import Ambiguity, worst_value
from tests.learning.helpers import QUICK

SHARES, NOMINAL, SESSIONS = (0.1, 0.4, 0.7), 0.4, 2
STARTS, FACTOR = 0.3, 1.8  # of a busy time of two epochs
PRICES, COST, PENALTY, HOLDING = (1.6, 2.1), 1.0, 0.4, 0.01
REORDER, QUANTITY, MOST = 9, 1, 9
METRIC = jnp.abs(jnp.asarray(SHARES)[:, None] - jnp.asarray(SHARES))
GAMMA = 0.9
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


def states_of(segment: rollout.Segment) -> np.ndarray:
    seen = np.asarray(segment.observation.state)
    return (3 * np.round(seen[..., 2] * 10) + np.round(seen[..., 3] * 2)).astype(int)


def counts(rates: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """(chance [C] of each piece of [0, 1], count [C, K] of each world there), one uniform number for all."""
    top = int(max(rates) + 10 * np.sqrt(max(rates)) + 10)
    steps = [stats.poisson.cdf(np.arange(top), rate) for rate in rates]
    ends = np.unique(np.concatenate([np.zeros(1), *steps, np.ones(1)]))
    middle = 0.5 * (ends[1:] + ends[:-1])
    return np.diff(ends), np.stack([np.searchsorted(own, middle) for own in steps], 1)


def propensity(price: float, scale: float) -> float:
    attraction = np.exp((1.8 - price) / scale)
    return attraction / (1.0 + attraction)


def exact_values(set_name: str, radius: float) -> np.ndarray:
    """Robust values [30] of the policy that takes either price with even chance; 3 · stock + busy epochs left."""
    parts: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    for stock, busy, chosen, starts in product(range(MOST + 1), (0, 1, 2), (0, 1), (0, 1)):
        # The next busy time is drawn at the end of the last quiet or busy epoch, before anybody prices its first.
        chance, price = 1.0 if busy == 2 else (STARTS if starts else 1.0 - STARTS), PRICES[chosen]
        if busy == 2 and starts:
            continue
        size = SESSIONS * (FACTOR if busy else 1.0)
        people, agents = (
            counts([size * share * propensity(price, scale) for share in of_class])
            for of_class, scale in (([1 - a for a in SHARES], 0.5), (list(SHARES), 0.12))
        )
        weight = chance * np.multiply.outer(people[0], agents[0]).ravel()
        demand = (people[1][:, None] + agents[1][None]).reshape(-1, len(SHARES))
        sales = np.minimum(demand, stock)
        left = stock - sales
        reward = (price - COST) * sales - PENALTY * (demand - sales) - HOLDING * left
        stocked = left + np.where(left < REORDER, QUANTITY, 0)
        following = 3 * stocked + (1 if busy == 2 else 2 * starts)
        kept = weight > 1e-9
        parts.append((2 * (3 * stock + busy) + chosen, weight[kept], reward[kept], following[kept]))
    state = np.concatenate([np.full(len(part[1]), part[0]) for part in parts])
    weight, reward, following = (np.concatenate([part[n] for part in parts]) for n in (1, 2, 3))
    worlds = jnp.full((len(SHARES),), 1.0 / len(SHARES))
    worst = jax.jit(lambda values: worst_value(set_name, values, worlds, jnp.float32(radius), METRIC))
    value = np.zeros(30)
    total = np.bincount(state, weight, 60)
    for _ in range(120):
        drawn = reward + GAMMA * value[following]
        mean = np.stack([np.bincount(state, weight * world, 60) / total for world in drawn.T], 1)  # [60, K]
        value = np.asarray(worst(jnp.asarray(mean, jnp.float32)), np.float64).reshape(30, 2).mean(1)
    return value


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
            key, own.shape, own.params, learner.actor, actor, state, index, STEPS, ambiguity, 0, True
        )
        trained = mappo.TrainState(
            learnable=mappo.Learnable(actor, table, None, None), statistics=None, rollout=state,
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

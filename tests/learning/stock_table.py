"""One seller with stock up to 9 and busy times of two epochs, 30 states, written out: exact laws of an epoch.

Worlds share their random numbers. Expectations are summed exactly, over all places at which some world's count changes
as a uniform number grows.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from marl_pricing.laws import worst_law

SHARES, NOMINAL, SESSIONS = (0.1, 0.4, 0.7), 0.4, 2
STARTS, FACTOR = 0.3, 1.8  # of a busy time of two epochs
PRICES, COST, PENALTY, HOLDING = (1.6, 2.1), 1.0, 0.4, 0.01
REORDER, QUANTITY, MOST = 9, 1, 9
METRIC = jnp.abs(jnp.asarray(SHARES)[:, None] - jnp.asarray(SHARES))
GAMMA = 0.9
STATES, WORLDS = 3 * (MOST + 1), len(SHARES)


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


class Table(NamedTuple):
    """What a price leads to in every world: 3 · stock + busy epochs left is the state; two prices."""

    reward: np.ndarray  # [30, 2, K] expected
    following: np.ndarray  # [30, 2, K, 30] probabilities


def stock_table() -> Table:
    """The market's table, summed exactly."""
    reward = np.zeros((STATES, 2, WORLDS))
    following = np.zeros((STATES, 2, WORLDS, STATES))
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
        demand = (people[1][:, None] + agents[1][None]).reshape(-1, WORLDS)
        sales = np.minimum(demand, stock)
        left = stock - sales
        gained = (price - COST) * sales - PENALTY * (demand - sales) - HOLDING * left
        stocked = left + np.where(left < REORDER, QUANTITY, 0)
        then = 3 * stocked + (1 if busy == 2 else 2 * starts)
        state = 3 * stock + busy
        reward[state, chosen] += weight @ gained
        for world in range(WORLDS):
            following[state, chosen, world] += np.bincount(then[:, world], weight, STATES)
    return Table(reward, following)


class Robust(NamedTuple):
    """A policy in its worst case."""

    value: np.ndarray  # [30]
    action_value: np.ndarray  # [30, 2]
    law: np.ndarray  # [30, 2, K]


@partial(jax.jit, static_argnums=0)
def _worst(set_name: str, values: jax.Array, radius: jax.Array) -> jax.Array:
    return worst_law(set_name, values, jnp.full((WORLDS,), 1.0 / WORLDS), radius, METRIC)


def robust_values(table: Table, policy: np.ndarray, set_name: str, radius: float, best: bool = False) -> Robust:
    """Robust values of a policy [30, 2], or of the best one, by iteration.

    V(s) = Σ_a π(a | s) min over laws q of Σ_k q_k E_u[r_k(s, a, u) + γ V(s'_k(s, a, u))].
    """
    value = np.zeros(STATES)
    for _ in range(300):
        worlds = table.reward + GAMMA * table.following @ value
        law = np.asarray(_worst(set_name, jnp.asarray(worlds, jnp.float32), jnp.float32(radius)), np.float64)
        action_value = (law * worlds).sum(-1)
        before, value = value, action_value.max(1) if best else (policy * action_value).sum(1)
        if np.abs(value - before).max() < 1e-7:
            break
    return Robust(value, action_value, law)

"""The default market is worth a learner: learned sellers beat every constant price. `pytest -s` prints by how much."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from marl_pricing.config import Experiment
from marl_pricing.evaluation.play import Record, play_seeds
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.market import MarketParams, Policy
from marl_pricing.policies import seat
from marl_pricing.policies.constant import constant
from tests.doors.compose import composed

SEEDS, EPISODES = 5, 16


def profits(record: Record, params: MarketParams) -> jax.Array:
    """Raw profit of each seller [S], money an episode."""
    return record.reward_raw.sum(1).mean(0)


def trained(*overrides: str) -> tuple[Experiment, Any]:
    """(experiment, actors [seeds, ...]) of a shipped experiment's training."""
    experiment = composed(f"learner.num_seeds={SEEDS}", *overrides)
    program = Program(experiment.learner)
    params = program.stack(experiment.market.params)
    state, _ = program.train(program.init(params), params, experiment.learner.settings.num_updates)
    return experiment, jax.device_get(state.learnable.actor)


def played(experiment: Experiment, policy: Policy, parameters: Any) -> np.ndarray:
    """[seeds, S] of a policy with a seed's parameters each, on held-out shoppers that are the same for all policies."""
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(1_000_003), seed))(jnp.arange(SEEDS))
    own = play_seeds(keys, *experiment.market, policy.act, parameters, policy.start(), EPISODES, profits)
    return np.asarray(own, np.float64)


def every_seed(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (SEEDS, *jnp.shape(leaf))), tree)


def network(experiment: Experiment, actors: Any, *, greedy: bool = True) -> Policy:
    return learned_policy(experiment.learner, jax.tree.map(lambda leaf: leaf[0], actors), greedy=greedy)


def seated(experiment: Experiment, host: tuple[Policy, Any], guest: tuple[Policy, Any]) -> np.ndarray:
    """What a guest earns in the first seat of the hosts [seeds]."""
    num_sellers = experiment.market.shape.num_sellers
    together = seat(host[0], guest[0], 0, num_sellers)
    parameters = host[1], guest[1], every_seed(jnp.arange(num_sellers) == 0)
    return played(experiment, together, parameters)[:, 0]


def above(one: np.ndarray, other: np.ndarray, what: str) -> tuple[float, float, float]:
    """Mean gain of one over the other, % of the other, paired over seeds, with its 95 % t-interval."""
    gains = 100.0 * (one - other) / np.abs(other).mean()
    half = float(stats.sem(gains) * stats.t.ppf(0.975, SEEDS - 1))
    mean = float(gains.mean())
    print(f"{what}: {mean:+.2f} % ({mean - half:+.2f} to {mean + half:+.2f}), {SEEDS} seeds")
    return mean, mean - half, mean + half


def levels(experiment: Experiment) -> list[Policy]:
    """Every second price of the grid held constant, the same for all sellers: 0.1 apart, where profits are flat."""
    grid = np.asarray(experiment.market.params.prices.levels)
    return [constant(*experiment.market, grid[:, level]) for level in range(0, grid.shape[1], 2)]


@pytest.fixture(scope="module")
def competitive() -> tuple[Experiment, Any]:
    return trained("experiment=competitive")


@pytest.mark.slow
def test_competitive_sellers_beat_the_best_constant_in_their_seat(competitive) -> None:
    experiment, actors = competitive
    host = network(experiment, actors), actors
    own = played(experiment, *host)
    sampled = played(experiment, network(experiment, actors, greedy=False), actors)
    gap = above(own.sum(1), sampled.sum(1), "greedy above sampled")
    assert abs(gap[0]) < 2.0
    guests = [seated(experiment, host, (guest, every_seed(guest.parameters))) for guest in levels(experiment)]
    best = max(guests, key=np.mean)
    assert above(own[:, 0], best, "a learned seat above the best constant in it")[1] > 0.0


@pytest.mark.slow
def test_memory_is_worth_little(competitive) -> None:
    """docs/learning.md says so: a network with memory takes a seat among networks without."""
    experiment, actors = competitive
    host = network(experiment, actors), actors
    blind, forgetful = trained("experiment=competitive", "learner.cell=none")
    there = network(blind, forgetful), forgetful
    memory = above(seated(blind, there, host), played(blind, *there)[:, 0], "GRU in a seat of networks without memory")
    assert abs(memory[0]) < 3.0


@pytest.mark.slow
def test_cooperative_sellers_beat_the_best_constant_of_all() -> None:
    experiment, actors = trained("experiment=cooperative")
    own = played(experiment, network(experiment, actors), actors).sum(1)
    same = [played(experiment, rule, every_seed(rule.parameters)).sum(1) for rule in levels(experiment)]
    assert above(own, max(same, key=np.mean), "cooperative sellers above the best constant of all")[1] > 0.0

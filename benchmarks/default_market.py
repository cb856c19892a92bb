"""`python -m benchmarks.default_market`: what the default market is worth to a learner.

Learned sellers against the best constant price, in a seat of theirs and all together, and against the stock-and-price
rule that is fitted to their seat; and a network with memory in a seat among networks without. Policies that are
compared meet the same held-out shoppers; intervals are over training seeds, paired.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from marl_pricing import config
from marl_pricing.config import Experiment
from marl_pricing.config.composing import compose_settings
from marl_pricing.evaluation.play import Record, play_seeds
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.market import MarketParams, Policy
from marl_pricing.policies import seat
from marl_pricing.policies.constant import constant
from marl_pricing.policies.fitted import fit_response
from marl_pricing.presentation.output import run_command

EPISODES, SHOPPERS = 16, 1_000_003


def profits(record: Record, params: MarketParams) -> jax.Array:
    """Raw profit of each seller [S], money an episode."""
    return (record.reward_raw * record.live).sum(1).mean(0)


class Learned:
    """A shipped experiment, trained: its market, its actors and their play.

    Args:
        overrides: as train.py takes them.
    """

    def __init__(self, seeds: int, *overrides: str) -> None:
        data = compose_settings([f"learner.num_seeds={seeds}", *overrides])
        for name in ("resume", "study"):
            data.pop(name)
        self.experiment: Experiment = config.build(config.read_settings(data))
        self.seeds, self.num_sellers = seeds, self.experiment.market.shape.num_sellers
        program = Program(self.experiment.learner)
        params = program.stack(self.experiment.market.params)
        state, _ = program.train(program.init(params), params, self.experiment.learner.settings.num_updates)
        self.actors = jax.device_get(state.learnable.actor)

    def policy(self, *, greedy: bool = True) -> Policy:
        """One policy of all seeds; their parameters are `actors`."""
        return learned_policy(self.experiment.learner, jax.tree.map(lambda leaf: leaf[0], self.actors), greedy=greedy)

    def play(self, policy: Policy, parameters: Any) -> np.ndarray:
        """[seeds, S] of a policy with a seed's parameters each."""
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(SHOPPERS), seed))(jnp.arange(self.seeds))
        market = self.experiment.market
        own = play_seeds(keys, *market, policy.act, parameters, policy.start(), EPISODES, profits)
        return np.asarray(own, np.float64)

    def seated(self, guest: Policy, parameters: Any) -> np.ndarray:
        """What a guest earns in the first seat [seeds]."""
        first = self.every_seed(jnp.arange(self.num_sellers) == 0)
        together = seat(self.policy(), guest, 0, self.num_sellers)
        return self.play(together, (self.actors, parameters, first))[:, 0]

    def every_seed(self, tree: Any) -> Any:
        """The same for every seed."""
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.seeds, *jnp.shape(leaf))), tree)

    def constants(self) -> list[Policy]:
        """Every second price of the grid, the same for all sellers: 0.1 apart, where profits are flat."""
        grid = np.asarray(self.experiment.market.params.prices.levels)
        return [constant(*self.experiment.market, grid[:, level]) for level in range(0, grid.shape[1], 2)]


def gain(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Mean gain of one over the other, % of the other, paired over seeds, with its 95 % t-interval."""
    gains = 100.0 * (one - other) / np.abs(other).mean()
    half = float(stats.sem(gains) * stats.t.ppf(0.975, len(gains) - 1))
    return float(gains.mean()), float(gains.mean()) - half, float(gains.mean()) + half


def in_a_seat(own: Learned) -> tuple[np.ndarray, np.ndarray]:
    """(what a learned seller earns in the first seat, what the best constant does there) [seeds]."""
    guests = [own.seated(guest, own.every_seed(guest.parameters)) for guest in own.constants()]
    return own.play(own.policy(), own.actors)[:, 0], max(guests, key=np.mean)


def all_together(own: Learned) -> tuple[np.ndarray, np.ndarray]:
    """(what learned sellers earn together, what they would at the best constant of all) [seeds]."""
    same = [own.play(rule, own.every_seed(rule.parameters)).sum(1) for rule in own.constants()]
    return own.play(own.policy(), own.actors).sum(1), max(same, key=np.mean)


def fitted_in_a_seat(own: Learned) -> tuple[np.ndarray, np.ndarray]:
    """(what a learned seller earns in the first seat, what the rule does that was fitted to that seed's sellers)."""
    found = []
    for seed in range(own.seeds):
        actor = jax.tree.map(lambda leaf, seed=seed: leaf[seed], own.actors)
        host = learned_policy(own.experiment.learner, actor, greedy=True)
        found.append(fit_response(jax.random.key(SHOPPERS + seed), *own.experiment.market, host, 0))
    return np.array([rule.host_rewards.mean() for rule in found]), np.array([rule.rewards.mean() for rule in found])


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, play, print a line each."""
    parser = argparse.ArgumentParser("python -m benchmarks.default_market", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="training seeds (default %(default)s)")
    given = parser.parse_args(arguments)
    if given.seeds < 2:
        parser.error(f"--seeds={given.seeds}: accepted is a number of at least 2")

    def say(what: str, one: np.ndarray, other: np.ndarray) -> None:
        mean, low, high = gain(one, other)
        print(f"{what}: {mean:+.2f} % ({low:+.2f} to {high:+.2f}), {given.seeds} seeds", flush=True)

    for name in ("competitive", "cooperative"):
        own = Learned(given.seeds, f"experiment={name}")
        sampled = own.play(own.policy(greedy=False), own.actors).sum(1)
        say(f"{name}, greedy above sampled play", own.play(own.policy(), own.actors).sum(1), sampled)
        if name == "competitive":
            memory = own
            say(f"{name}, a learned seat above the best constant in it", *in_a_seat(own))
            say(f"{name}, a learned seat above the rule fitted to it", *fitted_in_a_seat(own))
        say(f"{name}, all above the best constant of all", *all_together(own))
    blind = Learned(given.seeds, "experiment=competitive", "learner.cell=none")
    there = blind.play(blind.policy(), blind.actors)[:, 0]
    say(
        "a network with memory among those without, above its seat", blind.seated(memory.policy(), memory.actors), there
    )
    say("without memory, a learned seat above the best constant in it", *in_a_seat(blind))
    return 0


if __name__ == "__main__":
    run_command(main)

"""The known answer that needs a memory: a rival that punishes for some epochs, whatever is done meanwhile.

Seller 1 is a rule. It posts HIGH in peace; once it was undercut there it posts LOW for PUNISHED epochs, in which it
looks at nothing, and forgives. Seller 0 learns and observes its own last price only, so it has to remember by itself
whether a price that it posted began a punishment or fell into one, and how much of it is left. What is best is solved
by value iteration over the epochs that are left of a punishment: at γ = 0.2 to undercut again and again, with the best
reply to LOW between, at γ = 0.6 never to undercut (as in Friedman 1971).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import market
from marl_pricing.config import Experiment
from marl_pricing.equilibrium import static
from marl_pricing.learning.learners import make_learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.seats import Holder, seat_game, seat_params
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Policy

HIGH, LOW, PUNISHED = 8, 2, 3  # levels of the grid; epochs
PLAYED = 64  # epochs, by which a policy is judged
TREMBLE = 0.25  # chance that seller 0 posts any price
DISCOUNTS = (0.2, 0.6)
SETTINGS = (
    "experiment=logit_duopoly", "market.demand.quality=[2.0,2.1]", "market/prices=levels", "market.prices.low=1.2",
    "market.prices.high=2.2", "market.prices.num_price_levels=11", "market.prices.start=2.0",
    "market.features=[own_price]", "market.episode_length=32", "learner.num_steps=32", "learner.num_envs=32",
    "learner.num_updates=250", "learner.hidden_size=16", "learner.num_epochs=4", "learner.learning_rate=0.01",
)  # fmt: skip


def nothing_yet() -> jax.Array:
    """Epochs [] that are left of the rival's punishment, before the first."""
    return jnp.zeros((), jnp.int32)


def rival_act(
    parameters: Any, key: Any, left: jax.Array, seen: Observation, state: MarketState, params: MarketParams
) -> tuple[Action, jax.Array]:
    """The rival's price, for both seats; what it remembers are the epochs that are left of its punishment."""
    undercut = state.prices[0] < params.prices.levels[0, HIGH] - 1e-3
    left = jnp.where(left > 0, left - 1, jnp.where(undercut, PUNISHED, 0))
    return Action(jnp.full((2, 1), jnp.where(left > 0, LOW, HIGH))), left


RIVAL = Policy("punishes for some epochs", (), nothing_yet, rival_act)


def best_levels(shape: MarketShape, params: MarketParams, discount: float) -> np.ndarray:
    """Seller 0's best level in peace and with 1, …, PUNISHED epochs left [1 + PUNISHED], by value iteration."""
    payoffs = static.grid_payoffs(shape, params)[..., 0]  # own × rival
    value = np.zeros(1 + PUNISHED)
    undercuts = np.arange(len(payoffs)) < HIGH
    while True:
        peace = payoffs[:, HIGH] + discount * np.where(undercuts, value[PUNISHED], value[0])
        punished = payoffs[:, LOW][None] + discount * value[:-1, None]
        new = np.append(peace.max(), punished.max(1))
        if np.abs(new - value).max() < 1e-10:
            return np.append(peace.argmax(), punished.argmax(1))
        value = new


def levels_of(
    experiment: Experiment, policy: Policy, tremble: float, actor: Any, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Seller 0's levels before any tremble, and the epochs that were left of a punishment [PLAYED] each."""
    shape, params = experiment.market

    def step(carry: Any, own_key: jax.Array) -> Any:
        state, seen, memory, left = carry
        own, memory = policy.act(actor, own_key, memory, seen, state, params)
        rival, left = rival_act((), own_key, left, seen, state, params)
        chance, any_level = jax.random.split(own_key)
        wanted = own.price[0]
        random = jax.random.randint(any_level, wanted.shape, 0, shape.prices.num_levels)
        posted = jnp.where(jax.random.uniform(chance) < tremble, random, wanted)
        state, seen, _ = market.step(own_key, shape, state, Action(rival.price.at[0].set(posted)), params)
        return (state, seen, memory, left), (wanted[0], left)

    start = (*market.reset(key, shape, params), policy.start(), nothing_yet())
    return jax.lax.scan(step, start, jax.random.split(key, PLAYED))[1]


def triggers(seeds: int, built: Experiment) -> None:
    """Train `seeds` seeds at each discount, and say how often they post what is best: as they are, and with trembles.

    Args:
        built: the experiment of `SETTINGS`, with what was changed.
    """
    shape, params = built.market
    seats = seat_params(params, [Holder((), jnp.array([False, True]))])
    for discount in DISCOUNTS:
        settings = built.settings.learner.model_copy(update={"gamma": discount, "num_seeds": seeds})
        learner = make_learner(settings, shape, seats, game=seat_game([RIVAL]))
        program = Program(learner)
        stacked = program.stack(seats)
        state, _ = program.train(program.init(stacked), stacked, settings.num_updates)
        actors = state.learnable.actor
        policy = learned_policy(learner, jax.tree.map(lambda leaf: leaf[0], actors), greedy=True)
        best = best_levels(shape, params, discount)
        told = []
        for tremble in (0.0, TREMBLE):
            play = jax.jit(partial(levels_of, built, policy, tremble))
            right = []
            for seed in range(seeds):
                own = jax.tree.map(lambda leaf, seed=seed: leaf[seed], actors)
                wanted, left = (np.asarray(part) for part in play(own, jax.random.key(seed)))
                right.append((wanted == best[left]).mean())
            told.append(", ".join(f"{share:.2f}" for share in right))
        print(
            f"a rival that punishes, gamma {discount}, best levels {best.tolist()}: share of {PLAYED} epochs at the "
            f"best one, by seed: as they are {told[0]}; with trembles {told[1]}"
        )

"""`python -m benchmarks.known_answers ROW … [--seeds N] [--first SEED] [FIELD=VALUE …]`: seeds at known answers.

The rows are those of docs/known_answers.md that a training has to reach, each as its shipped experiment has it; fields
are settings of train.py that replace some, `learner.cell=mingru` for example.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import triggers
from marl_pricing import config
from marl_pricing.config import Experiment
from marl_pricing.config.composing import compose_settings
from marl_pricing.equilibrium import robust, static
from marl_pricing.evaluation.play import play_seeds
from marl_pricing.evaluation.robust_benchmarks import worlds_of
from marl_pricing.evaluation.stock_gap import StockRun, stock_gap
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.market import MarketParams
from marl_pricing.presentation.output import run_command

Overrides = Sequence[str]
ROBUST = (
    "experiment=logit_duopoly", "traffic.agent_share=0.3", "+market.agent.scale=0.1", "market/prices=levels",
    "market.prices.low=1.1", "market.prices.high=2.2", "market.prices.num_price_levels=45", "robust=interval",
    "robust.radius=0.3", "learner.num_envs=64", "learner.entropy_start=0.3",
)  # fmt: skip


def build(*overrides: str) -> Experiment:
    """An experiment as train.py composes it."""
    data = compose_settings(list(overrides))
    for name in ("resume", "study"):
        data.pop(name)
    return config.build(config.read_settings(data))


def at_omega(params: MarketParams, omega: float) -> MarketParams:
    """The same market, all sellers at one ω."""
    return params.replace(reward=params.reward.replace(omega=jnp.full_like(params.reward.omega, omega)))


def greedy_prices(experiment: Experiment, omegas: Sequence[float], seeds: int) -> np.ndarray:
    """Posted prices [omegas, seeds, T, N] of greedy play, after a training of every ω and seed in one program."""
    shape, params = experiment.market
    program = Program(experiment.learner)
    markets = [at_omega(params, omega) for omega in np.repeat(omegas, seeds)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *markets)
    state, _ = program.train(program.init(stacked), stacked, experiment.learner.settings.num_updates)
    actors = state.learnable.actor
    policy = learned_policy(experiment.learner, jax.tree.map(lambda leaf: leaf[0], actors), greedy=True)
    keys = jax.random.split(jax.random.key(0), len(markets))

    def posted(record, _: MarketParams) -> jax.Array:
        return record.price[0]

    played = play_seeds(keys, shape, params, policy.act, actors, policy.start(), 1, posted)
    return np.asarray(played, np.float64).reshape(len(omegas), seeds, shape.episode_length, -1)


def on_a_grid(name: str, experiment: Experiment, omegas: Sequence[float], seeds: int, *, fearful: bool = False) -> None:
    """Seeds whose every epoch is an equilibrium of the grid game, one next to the exact one where nobody fears."""
    shape, params = experiment.market
    grid = np.asarray(params.prices.levels, np.float64)  # [N, K], an offer's own
    steps = grid[:, 1] - grid[:, 0]
    for omega, prices in zip(omegas, greedy_prices(experiment, omegas, seeds), strict=True):
        own = at_omega(params, omega)
        levels = np.abs(prices[..., None] - grid).argmin(-1)
        if fearful:
            assert experiment.learner.ambiguity is not None
            found = robust.grid_equilibria(shape, worlds_of(own, experiment.learner.ambiguity))
            beside = ""
        else:
            found = static.grid_equilibria(shape, own)
            exact = static.omega_equilibrium(shape, own).prices
            beside = f", {(np.abs(prices - exact) < steps).all((1, 2)).sum()} next to the exact one"
        known = {tuple(row) for row in found.tolist()}
        there = [{tuple(row) for row in episode.tolist()} <= known for episode in levels]
        print(f"{name}, omega {omega}: {sum(there)} of {seeds} at an equilibrium of the grid{beside}")


def off_a_grid(quality: str, omegas: Sequence[float], most: float, seeds: int, overrides: Overrides) -> None:
    """How far greedy prices lie from the exact ones: in the first epoch, in the second, in all later ones."""
    fields = (f"market.demand.quality={quality}", f"learner.num_seeds={seeds * len(omegas)}")
    experiment = build("experiment=logit_duopoly_continuous", *fields, *overrides)
    shape, params = experiment.market
    for omega, prices in zip(omegas, greedy_prices(experiment, omegas, seeds), strict=True):
        exact = static.omega_equilibrium(shape, at_omega(params, omega)).prices
        off = np.abs(prices - exact).max(-1)  # [seeds, T]
        parts = ", ".join(
            f"{part} {own.max():.4f}"
            for part, own in (("first epoch", off[:, 0]), ("second", off[:, 1]), ("later", off[:, 2:]))
        )
        told = ", ".join(f"{price:.5f}" for price in exact)
        print(
            f"any price, quality {quality}, omega {omega} ({told}): {(off.max(1) <= most).sum()} of {seeds} within "
            f"{most} in every epoch; farthest of all seeds: {parts}"
        )


def continuous(seeds: int, overrides: Overrides) -> None:
    """Any price, equal sellers."""
    off_a_grid("2.0", (1.0, 0.5, 0.0), 0.01, seeds, overrides)


def continuous_unequal(seeds: int, overrides: Overrides) -> None:
    """Any price, qualities of 2 and 2.25."""
    off_a_grid("[2.0,2.25]", (1.0,), 0.015, seeds, overrides)


def duopoly(seeds: int, overrides: Overrides) -> None:
    """Equal sellers on a grid."""
    omegas = (1.0, 0.5, 0.0)
    own = build("experiment=logit_duopoly", f"learner.num_seeds={seeds * len(omegas)}", *overrides)
    on_a_grid("equal sellers", own, omegas, seeds)


def values(seeds: int, overrides: Overrides) -> None:
    """Equal sellers on a grid, by learners of action values: `learner=pqn`, or `dqn`."""
    omegas = (1.0, 0.0)
    own = build("experiment=logit_duopoly_values", f"learner.num_seeds={seeds * len(omegas)}", *overrides)
    on_a_grid(f"equal sellers, {own.settings.learner.algorithm}", own, omegas, seeds)


def unequal(seeds: int, overrides: Overrides) -> None:
    """Costs of 1 and 0.5."""
    omegas = (1.0, 0.6, 0.35)
    fields = ("experiment=logit_duopoly", "market.reward.unit_cost=[1.0,0.5]")
    on_a_grid("unequal costs", build(*fields, f"learner.num_seeds={seeds * len(omegas)}", *overrides), omegas, seeds)


def fear(seeds: int, overrides: Overrides) -> None:
    """Sellers that fear the worst share of agents, radius 0.3."""
    omegas = (1.0, 0.5, 0.0)
    own = build(*ROBUST, f"learner.num_seeds={seeds * len(omegas)}", *overrides)
    on_a_grid("robust sellers", own, omegas, seeds, fearful=True)


def price_and_order(seeds: int, overrides: Overrides) -> None:
    """One seller's price and order, as a share of the optimum from 0, 5 and 10 units."""
    experiment = build("experiment=price_and_order", f"learner.num_seeds={seeds}", *overrides)
    program = Program(experiment.learner)
    stacked = program.stack(experiment.market.params)
    state, _ = program.train(program.init(stacked), stacked, experiment.learner.settings.num_updates)
    actors = jax.device_get(state.learnable.actor)
    policies = [
        learned_policy(experiment.learner, jax.tree.map(lambda leaf, seed=seed: leaf[seed], actors), greedy=True)
        for seed in range(seeds)
    ]
    run = StockRun("both", *experiment.market, policies, 0.95)
    found = stock_gap([run], episodes=256, epochs=0, stocks=[0, 5, 10], seed=7)
    for _, row in found.iterrows():
        print(f"price and order, {row['figure']}: worst {row['worst']:.4f} of the optimum, by seed {row['ratios']}")


def punished(seeds: int, overrides: Overrides) -> None:
    """A rival that punishes for some epochs, which has to be remembered; see `benchmarks.triggers`."""
    triggers.triggers(seeds, build(*triggers.SETTINGS, *overrides))


ROWS: dict[str, Callable[[int, Overrides], None]] = {
    "duopoly": duopoly, "values": values, "unequal": unequal, "continuous": continuous,
    "continuous_unequal": continuous_unequal, "price_and_order": price_and_order, "fear": fear, "punished": punished,
}  # fmt: skip


def main() -> int:
    """Train the rows that are asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split(": ")[-1] if __doc__ else "")
    parser.add_argument("rows", nargs="+", metavar="ROW or FIELD=VALUE", help=f"of {', '.join(ROWS)}; or settings")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    asked = parser.parse_intermixed_args()
    overrides = [own for own in asked.rows if "=" in own]
    rows = [own for own in asked.rows if "=" not in own]
    for name in rows:
        if name not in ROWS:
            parser.error(f"ROW={name!r}: accepted is {', '.join(ROWS)}")
    for name in rows:
        began = time.process_time()
        ROWS[name](asked.seeds, [f"learner.seed={asked.first}", *overrides])
        print(f"  ({name}: {time.process_time() - began:.0f} processor seconds)", flush=True)
    return 0


if __name__ == "__main__":
    run_command(main)

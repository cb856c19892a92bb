"""Tiny learners for tests."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.learning import mappo, rollout, runs
from marl_pricing.learning.held_out import CHOOSING_EPISODES, best_constant
from marl_pricing.learning.rollout import Played, Player
from marl_pricing.learning.run_files import metrics_path
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.state import TrainState
from marl_pricing.studies.single import train_run
from tests.markets import UNLIMITED, make

TINY: dict[str, Any] = {
    "num_envs": 4, "num_steps": 10, "hidden_size": 8, "num_updates": 10, "num_epochs": 2, "num_minibatches": 2,
    "devices": 1,
}  # fmt: skip
INDEX = jnp.arange(4)
# A test's program runs once: compile it fast, whatever it then takes.
QUICK = {"xla_backend_optimization_level": 0}
# For what runs long: as users' trainings are compiled (`learning.parallel.compiler_options`).
OPTIMISED = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": True}

CHOSEN = {"rule": "chosen", "initial_stock": 5.0, "lead_time": 3, "order_levels": [0.0, 3.0, 6.0], "single_order": True}
BANKRUPT = {
    "reward": {"unit_cost": [1.0, 1.9]}, "inventory": UNLIMITED,
    "bankruptcy": {"initial_cash": [50.0, 2.0], "cash_limit": 0.0},
}  # fmt: skip
ANY_PRICE = {
    "episode_length": 7,
    "num_products": 2,
    "prices": {"map": "range", "low": [1.1, 1.2, 1.3, 1.4], "high": 2.5},
}
MARKETS: dict[str, dict[str, Any]] = {
    "stock": {"episode_length": 7},
    "own orders, two products": {"episode_length": 7, "num_products": 2, "inventory": CHOSEN},
    "bankruptcy": {"episode_length": 7} | BANKRUPT,
}


def learner_of(market: Any, **settings: Any) -> mappo.Mappo:
    return mappo.make_learner(LearnerSettings(**(TINY | settings)), *market)


def market_of(name: str):
    return make(**MARKETS[name])


# One program a learner and shape, whichever test asks: what is traced and compiled is kept for the next.
@partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def _started(learner: mappo.Mappo, seed: Any, params: Any) -> TrainState:
    return mappo.init(learner, seed, params, INDEX)


@partial(jax.jit, static_argnums=(0, 1), compiler_options=QUICK)
def _rolled(learner: mappo.Mappo, num_steps: int, key: Any, params: Any, actor: Any, own: Any) -> Any:
    played = Played(learner.shape, params)
    return rollout.rollout(key, played, Player(learner.actor, actor, learner.heads), own, INDEX, num_steps)


@partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def _updated(learner: mappo.Mappo, state: TrainState, params: Any) -> Any:
    return mappo.update(learner, state, params, INDEX)


@partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def _batch(learner: mappo.Mappo, state: TrainState, segment: Any) -> mappo.Batch:
    return mappo.make_batch(learner, state, segment, lambda x: x)[0]


def started(learner: mappo.Mappo, market: Any, seed: int = 0) -> TrainState:
    return _started(learner, jnp.int32(seed), market.params)


def rolled(learner: mappo.Mappo, market: Any, state: TrainState, seed: int = 5, num_steps: int = 10):
    """A segment from a state: (state of the rollout after it, segment)."""
    return _rolled(learner, num_steps, jax.random.key(seed), market.params, state.learnable.actor, state.rollout)


def measured_of(gains: np.ndarray) -> np.ndarray:
    """Of gains [..., C, E] of constant prices those that the later episodes measure at the choice of the first."""
    chosen = np.asarray(best_constant(gains[..., :CHOOSING_EPISODES]))[..., None, None]
    return np.take_along_axis(gains[..., CHOOSING_EPISODES:], chosen, -2)[..., 0, :]


def update_of(learner: mappo.Mappo, market: Any):
    return lambda state: _updated(learner, state, market.params)


def batch_of(learner: mappo.Mappo, state: TrainState, segment: Any) -> mappo.Batch:
    return _batch(learner, state, segment)


def trained_whole_and_in_parts(settings: Any, folder: Path) -> Path:
    """A run of four updates, trained in one go; stopped after a checkpoint and resumed, it has the same metrics."""
    whole, parts = folder / "whole", folder / "parts"
    assert train_run(settings, whole, {"command": "test", "revision": "-", "versions": runs.versions()})
    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "checkpoints" / "4")
    assert train_run(settings, parts, None)
    ends = [(metrics_path(own, 4).read_text(), (own / runs.METRICS).read_text()) for own in (whole, parts)]
    assert ends[0] == ends[1]
    return whole

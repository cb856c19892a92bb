"""One run: trained into a folder, and loaded from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from marl_pricing import config
from marl_pricing.config import ConfigError, Experiment, ExperimentSettings
from marl_pricing.learning import runs
from marl_pricing.learning.mappo import Learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.training import Schedule, train
from marl_pricing.market import Policy


def train_run(
    settings: ExperimentSettings, folder: Path, provenance: Mapping[str, Any] | None, *, share: bool = False
) -> bool:
    """Train as the settings say.

    Args:
        folder: of the run; made here.
        provenance: for a new run; None goes on with the run that the folder holds.
        share: make the folder visible to all processes before any of them uses it.

    Returns:
        Whether the training came to its end; False where it was interrupted and saved.

    Raises:
        ConfigError, RunError: for settings or folders that cannot be used.
    """
    experiment = config.build(settings)
    program = _program(experiment.learner)
    first = jax.process_index() == 0
    if provenance is not None and first:
        runs.create(folder, config.to_yaml(settings), provenance)
    if share:
        multihost_utils.sync_global_devices("run folder")
    own = settings.learner
    if first:
        print(
            f"{settings.name}: {settings.market.num_sellers} sellers, {own.num_seeds} seed(s), {own.num_envs} "
            f"environments on {program.mesh.size} device(s); {folder}",
            flush=True,
        )
    _, complete = train(
        program,
        experiment.market.params,
        folder,
        Schedule(settings.run.report_every, settings.run.checkpoint_every),
        resume=provenance is None,
        tensorboard=settings.run.tensorboard,
    )
    return complete


def _program(learner: Learner) -> Program:
    """The training of a learner, in JAX or in torch."""
    try:
        if learner.settings.algorithm == "mappo":
            return Program(learner)
        from marl_pricing.learning.torch_mappo.program import TorchProgram

        return TorchProgram(learner)
    except ValueError as error:  # more devices than there are
        raise ConfigError(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ConfigError(
            "learner.algorithm='torch_mappo': torch is not installed: pip install 'marl-pricing[torch]'"
        ) from None


def is_complete(folder: Path, settings: ExperimentSettings) -> bool:
    """Whether a run folder's training came to its end."""
    with runs.Checkpoints(folder) as checkpoints:
        return bool(checkpoints.updates) and max(checkpoints.updates) == settings.learner.num_updates


@dataclass(frozen=True)
class LoadedRun:
    """A run folder, ready to be played.

    Attributes:
        actors: parameters of every seed [R, ...].
        update: of the checkpoint.
    """

    folder: Path
    settings: ExperimentSettings
    experiment: Experiment
    actors: Any
    config_text: str
    provenance: dict[str, Any]
    update: int

    def policies(self, *, greedy: bool) -> list[Policy]:
        """One policy a training seed."""
        count = self.settings.learner.num_seeds
        own = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], self.actors) for seed in range(count)]
        return [learned_policy(self.experiment.learner, parameters, greedy=greedy) for parameters in own]


def load_run(folder: Path, which: str) -> LoadedRun:
    """Load a run's networks.

    Args:
        which: `latest` or `best`.

    Raises:
        ConfigError, RunError: for folders that cannot be used.
    """
    text = runs.read_config(folder)
    settings = config.from_yaml(text, str(folder / runs.CONFIG))
    # The devices of the training machine need not be here.
    here = settings.model_copy(update={"learner": settings.learner.model_copy(update={"devices": "auto"})})
    experiment = config.build(here)
    program = Program(experiment.learner)
    with runs.Checkpoints(folder) as checkpoints:
        update = checkpoints.find(which)
        state = checkpoints.load(update, program.abstract_state(program.stack(experiment.market.params)))
    actors = jax.device_get(state.learnable.actor)
    return LoadedRun(folder, settings, experiment, actors, text, runs.read_provenance(folder), update)

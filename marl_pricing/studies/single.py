"""One run: trained into a folder, and loaded from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from marl_pricing import config
from marl_pricing.config import ConfigError, Experiment, ExperimentSettings
from marl_pricing.config.errors import refuse
from marl_pricing.learning import runs
from marl_pricing.learning.mappo import Learner, Networks, networks_of
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.training import Member, Schedule, train
from marl_pricing.market import Policy
from marl_pricing.studies.starting import check_start, spread


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
    source = start_of(experiment) if provenance is not None else None
    program = program_of(experiment.learner)
    first = jax.process_index() == 0
    if provenance is not None and first:
        if source is not None:
            provenance = {**provenance, "init_from": source.told}
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
        [member_of(folder, experiment)],
        Schedule(settings.run.report_every, settings.run.checkpoint_every),
        resume=provenance is None,
        tensorboard=settings.run.tensorboard,
    )
    return complete


def start_of(experiment: Experiment) -> LoadedRun | None:
    """The run that an experiment starts from; None where it starts with new networks.

    Raises:
        ConfigError, RunError: for a folder that cannot be used, or whose networks do not fit.
    """
    folder = experiment.settings.init_from
    if folder is None:
        return None
    source = load_run(Path(folder), "latest")
    check_start(folder, source.experiment, experiment)
    return source


def member_of(folder: Path, experiment: Experiment) -> Member:
    """A run as a training takes it; what it starts from is read when it does."""

    def start() -> Networks:
        source = start_of(experiment)
        assert source is not None
        return spread(source.networks, experiment.settings.learner.num_seeds)

    return Member(folder, experiment.market.params, None if experiment.settings.init_from is None else start)


def program_of(learner: Learner, num_runs: int = 1) -> Program:
    """The program of a learner, in JAX or in torch.

    Raises:
        ConfigError: for more devices than there are, or torch where it is not installed.
    """
    try:
        if learner.settings.algorithm == "mappo":
            return Program(learner, num_runs)
        from marl_pricing.learning.torch_mappo.program import TorchProgram

        return TorchProgram(learner, num_runs)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ConfigError(f"learner.algorithm='torch_mappo': {error}") from None


@dataclass(frozen=True)
class LoadedRun:
    """A run folder, ready to be played.

    Attributes:
        name: as tables call it.
        networks: of every seed [R, ...].
        update: of the checkpoint.
    """

    name: str
    folder: Path
    settings: ExperimentSettings
    experiment: Experiment
    networks: Networks
    config_text: str
    provenance: dict[str, Any]
    update: int

    @property
    def told(self) -> dict[str, Any]:
        """Where the networks come from, for provenance.json."""
        return {"folder": str(self.folder), "update": self.update, "revision": self.provenance["revision"]}

    def policies(self, *, greedy: bool) -> list[Policy]:
        """One policy a training seed."""
        count = self.settings.learner.num_seeds
        own = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], self.networks.actor) for seed in range(count)]
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
    networks = jax.device_get(networks_of(state))
    return LoadedRun(settings.name, folder, settings, experiment, networks, text, runs.read_provenance(folder), update)


def load_runs(folders: Sequence[Path], which: str) -> list[LoadedRun]:
    """Load runs as `load_run`, each under a name of its own: a second one of a name has its folder's behind it.

    Raises:
        ConfigError: also for one folder twice.
    """
    found: list[LoadedRun] = []
    for folder in folders:
        run, names = load_run(folder, which), {other.name for other in found}
        if run.name in names:
            run = replace(run, name=f"{run.name} ({folder.name})")
        if run.name in names:
            raise refuse("run", str(folder), "every run folder once")
        found.append(run)
    return found

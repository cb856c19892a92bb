"""Runs that were trained, read from their folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from marl_pricing import config
from marl_pricing.config import Experiment, ExperimentSettings
from marl_pricing.config.calibrated import words_of
from marl_pricing.config.errors import refuse
from marl_pricing.learning import runs
from marl_pricing.learning.evaluations import abstract_best
from marl_pricing.learning.held_out import has_one_objective
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.state import Networks, networks_of
from marl_pricing.market import Policy
from marl_pricing.presentation.words import Words
from marl_pricing.studies.opponents import FrozenRun, take_seats


@dataclass(frozen=True)
class LoadedRun:
    """A run folder, ready to be played.

    Attributes:
        name: as tables call it.
        networks: of every seed [R, ...].
        updates: of each seed's networks [R]; those of a checkpoint `best` differ from seed to seed.
    """

    name: str
    folder: Path
    settings: ExperimentSettings
    experiment: Experiment
    networks: Networks
    config_text: str
    provenance: dict[str, Any]
    updates: tuple[int, ...]

    @property
    def update(self) -> str:
        """The updates in words: one number where they are the same."""
        return ", ".join(map(str, sorted(set(self.updates)) if len(set(self.updates)) == 1 else self.updates))

    @property
    def told(self) -> dict[str, Any]:
        """Where the networks come from, for provenance.json."""
        digest, revision = runs.digest_of(self.networks), self.provenance["revision"]
        return {"folder": str(self.folder), "update": self.updates[0], "revision": revision, "digest": digest}

    def actor(self, seed: int) -> Any:
        """The actor's parameters of a training seed."""
        return jax.tree.map(lambda leaf: np.asarray(leaf[seed]), self.networks.actor)

    @property
    def digests(self) -> list[str]:
        """SHA-256 of each training seed's policy, as policy files say it."""
        return [runs.digest_of(self.actor(seed)) for seed in range(self.settings.learner.num_seeds)]

    @property
    def held(self) -> Mapping[int, str]:
        """By seller that did not learn, who holds its seat."""
        return {} if self.experiment.table is None else self.experiment.table.told

    @property
    def learners(self) -> list[int]:
        """Sellers that learned."""
        return [seller for seller in range(self.settings.market.num_sellers) if seller not in self.held]

    @property
    def words(self) -> Words:
        """What money, an epoch and the sellers are called in its market."""
        return words_of(self.settings.market.calibration)

    def policies(self, *, greedy: bool) -> list[Policy]:
        """One policy a training seed, for all seats: opponents hold theirs, as in training."""
        count = self.settings.learner.num_seeds
        own = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], self.networks.actor) for seed in range(count)]
        learned = [learned_policy(self.experiment.learner, parameters, greedy=greedy) for parameters in own]
        table = self.experiment.table
        return learned if table is None else [table.around(host) for host in learned]


def build_run(settings: ExperimentSettings, folder: Path | None) -> Experiment:
    """What a run's settings mean, with its opponents in their seats.

    Args:
        folder: of the run; where it holds none yet, opponents are read from where they are, and so with None.

    Raises:
        ConfigError, RunError: for settings or opponents that cannot be had.
    """
    there = folder if folder is not None and runs.is_run(folder) else None
    return take_seats(config.build(settings, opponents=True), there, _freeze)


def _freeze(folder: Path) -> FrozenRun:
    run = load_run(folder, "latest")
    return FrozenRun(run.experiment, run.networks.actor, {"run": str(folder), **run.told})


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
    experiment = build_run(here, folder)
    program = Program(experiment.learner)
    if which == "best" and not has_one_objective(experiment.params):
        omega = np.unique(np.asarray(experiment.market.params.reward.omega)).tolist()
        raise refuse(
            "checkpoint",
            "best",
            f"'latest' for {folder}: its sellers have different aims (omega {omega}), so that no state is the best for "
            "all; a best one is kept where one seller learns, or omega is 0",
        )
    abstract = program.abstract_state(program.stack(experiment.params))
    with runs.Checkpoints(folder) as checkpoints:
        latest = checkpoints.latest
        if which == "best" and not checkpoints.has_best(latest):
            raise refuse("checkpoint", "best", f"'latest' for {folder}: it was trained without evaluations")
        if which == "best":
            best = jax.device_get(checkpoints.load_best(latest, abstract_best(abstract)))
            networks, updates = best["networks"], tuple(best["update"].tolist())
        else:
            networks = jax.device_get(networks_of(checkpoints.load(latest, abstract)))
            updates = (latest,) * settings.learner.num_seeds
    _refuse_faults(folder, networks)
    provenance = runs.read_provenance(folder)
    return LoadedRun(settings.name, folder, settings, experiment, networks, text, provenance, updates)


def _refuse_faults(folder: Path, networks: Networks) -> None:
    """Refuse networks [seeds, ...] that hold a number that is not finite; versions before could save such."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(networks):
        seeds = ~np.isfinite(leaf).reshape(len(leaf), -1).all(1)
        if seeds.any():
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise runs.RunError(f"{folder}: {name} of seed {int(seeds.argmax())} is not finite: the training diverged")


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

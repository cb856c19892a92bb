"""Runs whose programs are the same, trained as one: one compilation, their seeds side by side."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from marl_pricing.config import Experiment
from marl_pricing.learning import runs
from marl_pricing.learning.training import train
from marl_pricing.presentation import pulse
from marl_pricing.studies.single import (
    create_run,
    has_ended,
    member_of,
    program_of,
    say_verdict,
    schedule_of,
    standing,
    start_of,
    told_start,
)


@dataclass(frozen=True)
class _Waiting:
    """A run that is not trained to its end.

    Attributes:
        update: at which it stands.
    """

    folder: Path
    experiment: Experiment
    update: int

    @property
    def program(self) -> Hashable:
        """Equal for runs that one program can go on with: the same learner at the same update, and numbers alike.

        Runs that end once they have converged end apart, so that each has its own.
        """
        leaves, structure = jax.tree.flatten(self.experiment.params)
        shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
        own = self.experiment.settings
        alone = self.folder if own.run.until == "converged" else None
        return self.experiment.learner, own.run, own.init_from, structure, shapes, self.update, alone


def train_together(experiments: Sequence[Experiment], folders: Sequence[Path], provenance: Mapping[str, Any]) -> bool:
    """Train runs to their ends; those that are trained already are left as they are.

    Runs are grouped by their programs. Each leaves the folder that it would leave alone, and so goes on, after a stop
    at any moment, from its own checkpoint; a kill between the checkpoints of two runs only parts them into two groups.

    Args:
        provenance: of runs that have no folder yet.

    Returns:
        Whether all came to their ends; False where they were interrupted and saved.

    Raises:
        ConfigError, RunError: for devices or folders that cannot be used.
    """
    groups: dict[Hashable, list[_Waiting]] = {}
    done = trained = 0
    for own, folder in zip(experiments, folders, strict=True):
        update = standing(folder)
        if has_ended(folder, own.settings, update):
            done, trained = done + own.settings.learner.num_updates, trained + 1
            continue
        waiting = _Waiting(folder, own, update)
        groups.setdefault(waiting.program, []).append(waiting)
    # What cannot be started from is refused before anything is trained.
    beginning = [own for group in groups.values() for own in group if not own.update]
    sources = {own.folder: start_of(own.experiment) for own in beginning}
    total = sum(own.settings.learner.num_updates for own in experiments)
    print(f"{len(experiments)} runs, of which {trained} trained; the others in {len(groups)} program(s)", flush=True)
    for group in groups.values():
        for member in group:
            if not runs.is_run(member.folder):
                create_run(member.folder, member.experiment, told_start(provenance, sources[member.folder]))
        if not _train_group(group, (done, total)):
            return False
        done += sum(member.experiment.settings.learner.num_updates for member in group)
    return True


def _train_group(group: Sequence[_Waiting], whole: tuple[int, int]) -> bool:
    first = group[0].experiment
    program = program_of(first.learner, len(group))
    learner = first.settings.learner
    pulse.doing("compiling")
    print(
        f"{', '.join(own.folder.name for own in group)}: {learner.num_seeds} seed(s) each, {learner.num_envs} "
        f"environments on {program.mesh.size} device(s)",
        flush=True,
    )
    with ExitStack() as locks:
        for own in group:
            locks.enter_context(runs.only_writer(own.folder))
        _, complete = train(
            program,
            [member_of(own.folder, own.experiment) for own in group],
            schedule_of(first.settings),
            resume=True,
            tensorboard=first.settings.run.tensorboard,
            whole=whole,
        )
    for own in group if complete else ():
        say_verdict(own.folder, own.folder.name)
    return complete

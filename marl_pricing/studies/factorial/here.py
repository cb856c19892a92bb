"""Groups of a factorial study computed in this process: what is missing in turn, or one alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from marl_pricing.config.study import Plan
from marl_pricing.learning import runs
from marl_pricing.presentation import pulse
from marl_pricing.studies.factorial import store
from marl_pricing.studies.factorial.cells import Group
from marl_pricing.studies.factorial.claims import Claim, Held, claim, ends_at_once
from marl_pricing.studies.factorial.progress import Progress
from marl_pricing.studies.factorial.store import Store
from marl_pricing.studies.factorial.training import Trainer


def in_turn(plan: Plan, missing: Sequence[Group], kept: Store, progress: Progress, interrupted: object) -> bool:
    """Compute what is missing, group after group, but for what others are computing."""
    study = plan.study.factorial
    assert study is not None
    trainer: Trainer | None = None
    held: list[str] = []
    for group in missing:
        if interrupted:
            return False
        with has(group, kept, held) as mine:
            if not mine:
                continue
            if trainer is None or trainer.program is not group.program:
                pulse.doing(f"compiling {group.program.name}")
                trainer = Trainer(group.program, study)
                began = time.monotonic()
                trainer.compile(len(group.runs))
                progress.compiled(time.monotonic() - began)
            pulse.doing(f"{group.program.name}: group {group.number}")
            began = time.monotonic()
            kept.write(group, store.to_bytes(store.table_of(group, trainer.compute(group))))
            print(progress.said_of(group, time.monotonic() - began), flush=True)
    refuse_held(held)
    return True


@contextmanager
def has(group: Group, kept: Store, held: list[str]) -> Iterator[Claim | None]:
    """A group that this process is to compute, for itself; None where it is there, or another process has it.

    Args:
        held: gets a line where another process has the group.
    """
    found = claim(kept.folder, group.number)
    if isinstance(found, Held):
        if kept.read(group) is None:
            held.append(f"group {group.number} is being {found.told}")
        yield None
        return
    with found:
        yield found if kept.read(group) is None else None  # it may have ended since it was looked for


def refuse_held(held: Sequence[str]) -> None:
    """End a study that others are computing groups of.

    Raises:
        RunError: saying of each who.
    """
    if held:
        raise runs.RunError("\n".join([*held[:10], f"{len(held)} group(s) are missing yet; go on when they are there"]))


def compute_one(plan: Plan, group: Group, kept: Store) -> None:
    """Compute one group; TERM and Ctrl-C end it at once and set it free: a batch system waits for seconds only."""
    study, number = plan.study.factorial, group.number
    held: list[str] = []
    assert study is not None
    began = time.monotonic()
    with has(group, kept, held) as mine:
        if not mine:
            print(held[0] if held else f"group {number} is there already", flush=True)
            return
        with ends_at_once(mine):
            pulse.doing(f"{group.program.name}: group {number}")
            trainer = Trainer(group.program, study)
            kept.write(group, store.to_bytes(store.table_of(group, trainer.compute(group))))
    print(f"group {number}: {len(group.runs)} runs in {time.monotonic() - began:.0f} s", flush=True)

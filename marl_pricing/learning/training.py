"""The training loop of one run, or of several in one program: blocks of updates, reports, checkpoints, interruption."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from marl_pricing.learning.mappo import Networks, TrainState
from marl_pricing.learning.monitor import Journal, Monitor
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.runs import METRICS, TIMING, Checkpoints, RunError, Table
from marl_pricing.market import MarketParams


@dataclass(frozen=True)
class Schedule:
    """When a run reports and saves, in updates."""

    report_every: int = 5
    checkpoint_every: int = 50


@dataclass(frozen=True)
class Member:
    """A run of a program.

    Attributes:
        folder: an existing run folder.  params: its market's.
        start: gives the networks [seeds, ...] that it starts from; None: from new ones. Members of a program all have
            one, or none has.
    """

    folder: Path
    params: MarketParams
    start: Callable[[], Networks] | None = None


class Interrupted:
    """Becomes true at the first Ctrl-C or TERM; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self._set = False

    def __bool__(self) -> bool:
        return self._set

    def set(self, number: int, _: object) -> None:
        """The signal handler."""
        if self._set and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._set = True


@contextmanager
def finish_first() -> Iterator[Interrupted]:
    """Inside, Ctrl-C and TERM ask for an end instead of making one."""
    flag = Interrupted()
    old = {number: signal.signal(number, flag.set) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def block_length(num_updates: int, report_every: int) -> int:
    """Updates in one call: the most that divide the training and are no more than a report's distance.

    One length means one compilation.
    """
    return max(n for n in range(1, min(report_every, num_updates) + 1) if num_updates % n == 0)


def train(
    program: Program,
    members: Sequence[Member],
    schedule: Schedule,
    *,
    resume: bool = False,
    tensorboard: bool = True,
    quiet: bool = False,
    whole: tuple[int, int] | None = None,
) -> tuple[TrainState, bool]:
    """Train to the end of the learner's updates, or to an interruption.

    Every number that goes to metrics.csv and into the state depends on the settings and the seed only: a run that was
    killed and resumed ends like one that was not, and a run among others like one alone.

    Args:
        members: the program's runs, in its order.
        resume: go on from the latest checkpoints (or from the beginning, where none was written yet).
        whole: see `Monitor`.

    Returns:
        (state of all runs, whether the training came to its end).

    Raises:
        RunError: if a run cannot be resumed, or the runs stand at different updates.
    """
    own = program.learner.settings
    stacked = program.stack(*(member.params for member in members))
    first_process = jax.process_index() == 0
    with ExitStack() as stack:
        checkpoints = [stack.enter_context(Checkpoints(member.folder)) for member in members]
        interrupted = stack.enter_context(finish_first())
        done, state = 0, None
        if resume and any(kept.updates for kept in checkpoints):
            done = _same_update(checkpoints, members)
            abstract = program.abstract_part(stacked)
            state = program.join([kept.load(done, abstract) for kept in checkpoints])
        block = block_length(own.num_updates, schedule.report_every)
        with ThreadPoolExecutor() as pool:  # two programs compile side by side; the user waits for the longer one
            compiling = pool.submit(program.compiled, program.abstract_state(stacked), stacked, block)
            state = program.init(stacked, _networks(members)) if state is None else state
            step = compiling.result()
        if first_process:
            for member in members:
                for name in (METRICS, TIMING):
                    Table(member.folder / name).cut(done)
        journals = [
            Journal(
                member.folder,
                own.num_updates,
                done,
                (float(np.min(member.params.prices.low)), float(np.max(member.params.prices.high))),
                tensorboard=tensorboard and first_process,
                worlds=program.learner.ambiguity.labels if program.learner.ambiguity else (),
            )
            for member in members
        ]
        saved = done
        with Monitor(
            journals, own.num_updates, own.steps_per_update, done, quiet=quiet or not first_process, whole=whole
        ) as monitor:
            while done < own.num_updates and not interrupted:
                state, measures = step(state, stacked)
                host = jax.device_get(measures)
                done += block
                if first_process:
                    monitor.report(done, host)
                if done - saved >= schedule.checkpoint_every or done == own.num_updates or interrupted:
                    for number, kept in enumerate(checkpoints):
                        score = float(program.part(host["return_shaped"], number)[:, -1].mean())
                        kept.save(done, program.part(state, number), score)
                    saved = done
    return state, done == own.num_updates


def _networks(members: Sequence[Member]) -> Networks | None:
    """What all runs start from [R × seeds, ...]; None for new networks."""
    starts = [member.start for member in members if member.start is not None]
    if not starts:
        return None
    assert len(starts) == len(members)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *(start() for start in starts))


def _same_update(checkpoints: Sequence[Checkpoints], members: Sequence[Member]) -> int:
    updates = [kept.find("latest") for kept in checkpoints]
    if len(set(updates)) > 1:
        other = next(number for number, update in enumerate(updates) if update != updates[0])
        raise RunError(
            f"{members[other].folder}: stands at update {updates[other]}, and {members[0].folder} at {updates[0]}; "
            "runs go on together from one update"
        )
    return updates[0]

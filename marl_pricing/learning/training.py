"""The training loop of one run, or of several in one program: blocks of updates, reports, checkpoints, interruption."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from marl_pricing.learning.evaluations import Best, Evaluations, abstract_best
from marl_pricing.learning.event_file import load_formats
from marl_pricing.learning.measures import first_fault
from marl_pricing.learning.monitor import Journal, Measures, Monitor, Report
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.processes import anywhere
from marl_pricing.learning.run_files import is_run, read_config, read_table
from marl_pricing.learning.runs import (
    EVALUATION,
    METRICS,
    TIMING,
    Checkpoints,
    DivergedError,
    NotWrittenError,
    RunError,
    Table,
)
from marl_pricing.learning.seats import learners_of
from marl_pricing.learning.state import Networks, TrainState
from marl_pricing.market import MarketParams
from marl_pricing.presentation.words import NAMELESS, Words


@dataclass(frozen=True)
class Schedule:
    """When a run reports, saves and is evaluated, in updates, and when it ends.

    Attributes:
        evaluate_every: 0 for no evaluations.
        until_converged: it ends at the first evaluation at which it has converged, if not at its last update.
    """

    report_every: int = 5
    checkpoint_every: int = 50
    evaluate_every: int = 0
    until_converged: bool = False


@dataclass(frozen=True)
class Member:
    """A run of a program.

    Attributes:
        folder: an existing run folder.  params: its market's.
        start: gives the networks [seeds, ...] that it starts from; None: from new ones. Members of a program all have
            one, or none has.
        words: what TensorBoard calls its sellers and money.
    """

    folder: Path
    params: MarketParams
    start: Callable[[], Networks] | None = None
    words: Words = NAMELESS


class Interrupted:
    """Becomes true at the first Ctrl-C, TERM or HUP (a closed terminal); a second Ctrl-C stops at once."""

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
    """Inside, Ctrl-C, TERM and HUP ask for an end instead of making one.

    Signals come to the main thread and only it may handle them: in another thread nothing changes.
    """
    flag = Interrupted()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # What is ignored already (nohup) stays so.
    old = {own: signal.signal(own, flag.set) for own in asked if signal.getsignal(own) != signal.SIG_IGN}
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
    """Train to the end of the learner's updates, to the first evaluation at which all runs have converged where the
    schedule says so, or to an interruption.

    Every number that goes to metrics.csv, to evaluation.csv and into the state depends on the settings and the seed
    only: a run that was killed and resumed ends like one that was not, and a run among others like one alone. What is
    written of a block is written while the devices compute the next one.

    Args:
        members: the program's runs, in its order.
        resume: go on from the latest checkpoints (or from the beginning, where none was written yet).
        whole: see `Monitor`.

    Returns:
        (state of all runs, whether the training came to its end).

    Raises:
        RunError: if a run cannot be resumed, or the runs stand at different updates.
        DivergedError: at the first loss, measure or parameter that is not finite; the checkpoints before it stay.
    """
    own = program.learner.settings
    stacked = program.stack(*(member.params for member in members))
    first_process = jax.process_index() == 0
    with ExitStack() as stack:
        interrupted = stack.enter_context(finish_first())
        # Programs compile side by side; the user waits for the longest one.
        pool = stack.enter_context(ThreadPoolExecutor())
        block = min(schedule.report_every, own.num_updates)

        traced = threading.Event()

        def begin() -> Future[Callable]:
            started = pool.submit(program.compiled, program.abstract_state(stacked), stacked, block, traced.set)
            started.add_done_callback(lambda _: traced.set())  # also where it failed
            # What is imported and traced next takes turns with it, and is done while the compiler works.
            traced.wait()
            return started

        compiling = None if resume else begin()  # what a run goes on from is read, or refused, before anything compiles
        checkpoints = [stack.enter_context(Checkpoints(member.folder)) for member in members]
        done, state = 0, None
        if resume and any(kept.updates for kept in checkpoints):
            done = _same_update(checkpoints, members)
            abstract = program.abstract_part(stacked)
            state = program.join([kept.load(done, abstract) for kept in checkpoints])
        if first_process:
            for member in members:
                for name in (METRICS, TIMING, EVALUATION):
                    Table(member.folder / name).cut(done)
                for name in (METRICS, EVALUATION) if done else ():
                    read_table(member.folder, name, done)  # refused before anything compiles
        if compiling is None:
            compiling = begin()
        evaluations = None
        if schedule.evaluate_every:
            evaluations = Evaluations(
                program,
                stacked,
                [member.params for member in members],
                schedule.evaluate_every,
                [read_table(member.folder, EVALUATION, done) for member in members],
                [_best_so_far(kept, done, abstract) if done else None for kept in checkpoints],
                pool,
            )
            if jax.default_backend() != "cpu" or evaluations.next_after(done) <= done + block:
                evaluations.prepare()  # there the host's cores are free, or no line comes before the first evaluation
        state = program.init(stacked, _networks(members)) if state is None else state
        if tensorboard and first_process:
            load_formats()
        step = compiling.result()
        journals = [
            Journal(
                member.folder,
                own.num_updates,
                done,
                (float(np.asarray(member.params.prices.low).min()), float(np.asarray(member.params.prices.high).max())),
                tensorboard=tensorboard and first_process,
                worlds=program.learner.ambiguity.labels if program.learner.ambiguity else (),
                words=member.words,
                settings=read_config(member.folder) if is_run(member.folder) else "",
            )
            for member in members
        ]
        monitor = stack.enter_context(
            Monitor(
                journals,
                own.num_updates,
                own.steps_per_update,
                done,
                quiet=quiet or not first_process,
                whole=whole,
                learners=np.stack([learners_of(member.params) for member in members]),
            )
        )

        def has_ended() -> bool:
            settled = schedule.until_converged and evaluations is not None and evaluations.converged
            return done == own.num_updates or settled

        reports: list[Report] = []  # at most one: that of the last block

        def write() -> None:
            while reports:
                report = reports.pop()
                if first_process:
                    monitor.report(report)

        saved, ended = done, has_ended()
        stack.enter_context(_say_what_is_kept(lambda: saved))
        stopping = anywhere(interrupted)
        while not ended and not stopping:
            stop = min(done + block, own.num_updates)
            if evaluations is not None:
                stop = min(stop, evaluations.next_after(done))
            state, measures = step(state, stacked, stop - done)
            if reports:
                write()
                if evaluations is not None:
                    evaluations.prepare()
            host = jax.tree.map(lambda x, count=stop - done: x[:, :count], jax.device_get(measures))
            _refuse_faults(host, own.num_seeds, members, done, saved, monitor if first_process else None)
            done, rows = stop, None
            if evaluations is not None and evaluations.due(done):
                rows = evaluations.evaluate(done, state, until_converged=schedule.until_converged)
            reports.append(Report(done, host, rows))
            ended, stopping = has_ended(), anywhere(interrupted)
            if done - saved >= schedule.checkpoint_every or ended or stopping:
                write()  # tables are never behind a checkpoint
                for number, kept in enumerate(checkpoints):
                    best = None if evaluations is None else evaluations.best(number)
                    tables = journals[number].digests() if first_process else None
                    kept.save(done, program.part(state, number), best, tables)
                saved = done
        write()
    return state, ended


@contextmanager
def _say_what_is_kept(saved: Callable[[], int]) -> Iterator[None]:
    """Where something cannot be written, say what, and from where the training can go on.

    Args:
        saved: gives the update of the last good checkpoint, 0 where there is none.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        good = f"the last good checkpoint is that of update {saved()}" if saved() else "there is no checkpoint yet"
        raise NotWrittenError(
            f"{error.filename}: {error.strerror}; training stopped, {good}: make room, then go on with resume"
        ) from None


def _best_so_far(kept: Checkpoints, update: int, abstract: TrainState) -> Best | None:
    """The best networks that lie with a state; None where none were kept."""
    return jax.device_get(kept.load_best(update, abstract_best(abstract))) if kept.has_best(update) else None


def _refuse_faults(
    host: Measures, num_seeds: int, members: Sequence[Member], done: int, saved: int, monitor: Monitor | None
) -> None:
    """Stop where a number of the block after `done` is not finite; what was sound before it is still written.

    Args:
        saved: update of the last checkpoint, 0 where there is none.
    """
    fault = first_fault(host)
    if fault is None:
        return
    if fault.place and monitor is not None:
        sound = {name: value[:, : fault.place] for name, value in host.items()}
        monitor.report(Report(done + fault.place, sound))
    run, seed = divmod(fault.seed, num_seeds)
    kept = f"the checkpoint of update {saved} is kept" if saved else "no checkpoint was written before"
    raise DivergedError(
        f"{members[run].folder}: update {done + fault.place + 1}, seed {seed}: {fault.what}; training stopped, {kept}"
    )


def _networks(members: Sequence[Member]) -> Networks | None:
    """What all runs start from [R × seeds, ...]; None for new networks."""
    starts = [member.start for member in members if member.start is not None]
    if not starts:
        return None
    assert len(starts) == len(members)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *(start() for start in starts))


def _same_update(checkpoints: Sequence[Checkpoints], members: Sequence[Member]) -> int:
    updates = [kept.latest for kept in checkpoints]
    if len(set(updates)) > 1:
        other = next(number for number, update in enumerate(updates) if update != updates[0])
        raise RunError(
            f"{members[other].folder}: stands at update {updates[other]}, and {members[0].folder} at {updates[0]}; "
            "runs go on together from one update"
        )
    return updates[0]

"""The training loop of a run: blocks of updates, reports, checkpoints, interruption."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from marl_pricing.learning.mappo import TrainState
from marl_pricing.learning.monitor import Monitor
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.runs import METRICS, TIMING, Checkpoints, Table
from marl_pricing.market import MarketParams


@dataclass(frozen=True)
class Schedule:
    """When a run reports and saves, in updates."""

    report_every: int = 5
    checkpoint_every: int = 50


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
    params: MarketParams,
    folder: Path,
    schedule: Schedule,
    *,
    resume: bool = False,
    tensorboard: bool = True,
    quiet: bool = False,
) -> tuple[TrainState, bool]:
    """Train to the end of the learner's updates, or to an interruption.

    Every number that goes to metrics.csv and into the state depends on the settings and the seed only: a run that was
    killed and resumed ends like one that was not.

    Args:
        params: one market's parameters.
        folder: an existing run folder.
        resume: go on from the latest checkpoint (or from the beginning, where none was written yet).

    Returns:
        (state, whether the training came to its end).

    Raises:
        RunError: if the run cannot be resumed.
    """
    own = program.learner.settings
    stacked = program.stack(params)
    first_process = jax.process_index() == 0
    with Checkpoints(folder) as checkpoints, finish_first() as interrupted:
        done, state = 0, None
        if resume and checkpoints.updates:
            done = checkpoints.find("latest")
            state = checkpoints.load(done, program.abstract_state(stacked))
        block = block_length(own.num_updates, schedule.report_every)
        with ThreadPoolExecutor() as pool:  # two programs compile side by side; the user waits for the longer one
            compiling = pool.submit(program.compiled, program.abstract_state(stacked), stacked, block)
            state = program.init(stacked) if state is None else state
            step = compiling.result()
        if first_process:
            for name in (METRICS, TIMING):
                Table(folder / name).cut(done)
        prices = float(np.min(params.prices.low)), float(np.max(params.prices.high))
        saved = done
        with Monitor(
            folder,
            own.num_updates,
            own.steps_per_update,
            done,
            prices,
            tensorboard=tensorboard and first_process,
            quiet=quiet or not first_process,
            worlds=program.learner.ambiguity.labels if program.learner.ambiguity else (),
        ) as monitor:
            while done < own.num_updates and not interrupted:
                state, measures = step(state, stacked)
                host = jax.device_get(measures)
                done += block
                if first_process:
                    monitor.report(done, host)
                if done - saved >= schedule.checkpoint_every or done == own.num_updates or interrupted:
                    checkpoints.save(done, state, float(host["return_shaped"][:, -1].mean()))
                    saved = done
    return state, done == own.num_updates

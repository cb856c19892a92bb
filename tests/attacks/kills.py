"""Trainings ended at random moments, in the ways in which processes end, and gone on with."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from tests.attacks.outcome import ROOT, Attempt

CHAINS, KILLS = 5, 4  # runs, and kills of each
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PATIENCE = 180.0  # seconds; a start on a busy machine takes long
RUN = (
    "traffic=analytic", "market.agent=null", "market.episode_length=8", "learner.num_envs=4", "learner.num_steps=8",
    "learner.hidden_size=8", "learner.num_minibatches=1", "learner.devices=1", "learner.num_updates=80",
    "run.evaluate_every=20", "run.report_every=2", "run.checkpoint_every=4", "run.tensorboard=false",
)  # fmt: skip


def _train(folder: Path, **kept: int) -> subprocess.Popen[str]:
    """Begin a run, or go on with it."""
    own = [f"resume={folder}"] if (folder / "config.yaml").exists() else [*RUN, f"run.folder={folder}"]
    return subprocess.Popen(
        [sys.executable, "train.py", *own], text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def _rows(folder: Path) -> int:
    try:
        return len((folder / "metrics.csv").read_bytes().splitlines())
    except OSError:
        return 0


def _end(process: subprocess.Popen[str]) -> None:
    """Wait; what it says becomes ours, and a status that is none of those that such an end may have."""
    said = process.communicate()[1]
    print(said, file=sys.stderr, end="")
    if "Traceback" in said or process.returncode not in (0, 130, *(-own for own in _SIGNALS)):
        raise SystemExit(process.returncode or 1)


def whole(folder: Path) -> bool:
    """A run that nothing ends."""
    process = _train(folder)
    _end(process)
    return process.returncode == 0


def kill(folder: Path, number: int, rows: int | None, seconds: float) -> bool:
    """Start, and send a signal: once the table has so many rows more, or (None) after so many seconds."""
    before, process = _rows(folder), _train(folder)
    start = time.monotonic()
    while process.poll() is None:
        due = time.monotonic() - start >= seconds if rows is None else _rows(folder) >= before + rows
        if due:
            process.send_signal(number)
            break
        time.sleep(0.005)
    _end(process)
    return True


def close_terminal(folder: Path) -> bool:
    """Go on in a terminal, and close it; whether the training saved and said nothing that nobody can read."""
    before = _rows(folder)
    own, terminal = pty.openpty()
    command = [sys.executable, "train.py", f"resume={folder}"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=terminal, stdout=terminal, stderr=terminal,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(terminal)
    while process.poll() is None and _rows(folder) < before + 4:
        if select.select([own], [], [], 0.005)[0]:
            with contextlib.suppress(OSError):
                os.read(own, 65536)
    os.close(own)
    return process.wait() in (0, 129)


def finish(folder: Path, other: Path) -> bool:
    """Go on to the end; whether tables and the last state are those of the run that nothing ended, bit for bit."""
    from tests.doors.test_train import final

    process = _train(folder)
    _end(process)
    same = all(
        (folder / name).read_bytes() == (other / name).read_bytes() for name in ("metrics.csv", "evaluation.csv")
    )
    return process.returncode == 0 and same and final(folder) == final(other)


def attempts(folder: Path, seed: int, share: float) -> Iterator[Attempt]:
    """Runs that are killed one time after another, then finished."""
    random = Random(seed)
    kept = {"right": True, "patience": _PATIENCE}
    yield Attempt("a run that nothing ends", "whole", partial(whole, folder / "whole"), **kept)  # type: ignore[arg-type]
    for chain in range(max(1, round(CHAINS * share))):
        own = folder / f"run_{chain}"
        for _ in range(KILLS):
            number = random.choice(_SIGNALS)
            rows = random.randrange(1, 12) if random.random() < 0.75 else None
            seconds = random.uniform(0.05, 6.0)
            moment = f"after {rows} rows" if rows is not None else f"after {seconds:.2f} s"
            call = partial(kill, own, int(number), rows, seconds)
            yield Attempt(f"killed by {signal.Signals(number).name}", f"{own.name}, {moment}", call, **kept)  # type: ignore[arg-type]
        if chain == 0 and share >= 0.5:
            yield Attempt("its terminal closed", own.name, partial(close_terminal, own), **kept)  # type: ignore[arg-type]
        call = partial(finish, own, folder / "whole")
        yield Attempt("gone on with to the end, bit for bit", own.name, call, **kept)  # type: ignore[arg-type]

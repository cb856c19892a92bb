"""A disk that fills up while a run trains: one line, a status of its own, and the same numbers after resume."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from marl_pricing.learning.runs import METRICS, NotWrittenError
from marl_pricing.learning.training import _say_what_is_kept
from marl_pricing.presentation.output import NOT_WRITTEN
from tests.doors.test_train import final
from tests.processes import ROOT, WRITES_NO_BYTECODE

# One that has no sessions, no evaluations, no TensorBoard: only tables and checkpoints are written.
TINY = (
    "traffic=analytic", "market.agent=null", "market.episode_length=8", "learner.num_envs=4", "learner.num_steps=8",
    "learner.hidden_size=16", "learner.num_minibatches=1", "learner.devices=1", "learner.num_updates=12",
    "run.evaluate_every=0", "run.report_every=2", "run.checkpoint_every=2", "run.tensorboard=false",
)  # fmt: skip


def limited(size: int) -> Callable[[], None]:
    """A limit on the size of files, set in the child before it starts."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def train(*arguments: str, size: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "train.py", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env=os.environ | ({} if size is None else WRITES_NO_BYTECODE),
        preexec_fn=None if size is None else limited(size),
    )


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: a limit on sizes cannot be raised again."""
    code = f"""
import os, resource, sys
from pathlib import Path
from marl_pricing.learning.runs import NotWrittenError, Table, create, replace_file
folder = Path({str(tmp_path)!r})
table = Table(folder / "metrics.csv")
table.append([{{"update": 1, "seed": 0}}])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
def told(call):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, getattr(error, "filename", None), error, sep="|")
told(lambda: [table.append([{{"update": n, "seed": 0}}]) for n in range(2, 5000)])
told(lambda: replace_file(folder / "config.yaml", "x" * 9999))
told(lambda: create(folder / "run", "x" * 9999, {{}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60,
        env=os.environ | WRITES_NO_BYTECODE,
    )  # fmt: skip
    one, two, three = done.stdout.splitlines()
    assert one.startswith(f"OSError|{tmp_path / 'metrics.csv'}|") and "File too large" in one
    assert two.startswith(f"OSError|{tmp_path / 'config.yaml'}|")
    assert three == f"NotWrittenError|None|run.folder='{tmp_path / 'run'}': cannot be made (File too large)"
    assert [own.name for own in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize(
    ("saved", "told"), [(0, "there is no checkpoint yet"), (4, "the last good checkpoint is that of update 4")]
)
def test_the_last_good_checkpoint_is_named(saved: int, told: str) -> None:
    said = f"^run/metrics.csv: No space left on device; training stopped, {told}: make room, then go on with resume$"
    with pytest.raises(NotWrittenError, match=said), _say_what_is_kept(lambda: saved):
        raise OSError(errno.ENOSPC, "No space left on device", "run/metrics.csv")
    with pytest.raises(OSError, match="of something else"), _say_what_is_kept(lambda: saved):
        raise OSError(errno.EIO, "of something else")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("of") / "whole"
    assert train(*TINY, f"run.folder={folder}").returncode == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("size", [6000, 20_000])  # settings fit; many files of a checkpoint, or one, do not
def test_a_disk_that_fills_up_stops_a_run_in_a_line_and_it_goes_on_to_the_same_numbers(
    whole: Path, tmp_path: Path, size: int
) -> None:
    folder = tmp_path / "run"
    first = train(*TINY, f"run.folder={folder}", size=size)
    assert first.returncode == NOT_WRITTEN, first.stderr
    lines = first.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"error: {folder}"), first.stderr[-2000:]
    assert "File too large; training stopped, " in lines[0] and "then go on with resume" in lines[0]
    resumed = train(f"resume={folder}")
    assert resumed.returncode == 0, resumed.stderr
    assert (folder / METRICS).read_bytes() == (whole / METRICS).read_bytes()
    assert final(folder) == final(whole)


@pytest.mark.slow
def test_what_is_made_of_a_run_is_refused_likewise_and_leaves_no_part(whole: Path, tmp_path: Path) -> None:
    quick = ("episodes=2", "rules=[random]", "behaviour=false", "guests=false", "best_response=0")
    for command, name in (
        (("evaluate.py", f"run={whole}", f"out={tmp_path / 'out'}", *quick), "offers.parquet"),
        (("-m", "marl_pricing.export", f"run={whole}", "format=flax", f"out={tmp_path / 'out' / 'p.npz'}"), "p.npz"),
    ):
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, cwd=ROOT, timeout=300,
            env=os.environ | WRITES_NO_BYTECODE, preexec_fn=limited(4096),
        )  # fmt: skip
        assert done.returncode == NOT_WRITTEN, done.stderr[-2000:]
        assert done.stderr.strip() == f"error: {tmp_path / 'out' / name}: File too large"
        assert list((tmp_path / "out").rglob("*")) == []

"""One training in two processes: it learns what one process does, and ends where either is asked to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

from marl_pricing.learning import processes
from marl_pricing.learning.parallel import num_devices
from tests.processes import ROOT

# Updates enough that no machine ends them before it is asked to stop.
TINY = (
    "learner.num_envs=4", "learner.num_updates=100000", "learner.num_steps=4", "market.episode_length=4",
    "learner.hidden_size=8", "learner.num_minibatches=1", "learner.num_epochs=1", "learner.cell=none",
    "traffic=analytic", "run.evaluate_every=0", "run.report_every=2", "run.tensorboard=false",
)  # fmt: skip
SECONDS = 900


def start(devices: int, processes: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """So many processes of one training, each with so many devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = []
    for number in range(processes):
        told = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "MARL_PRICING_PROGRESS": "off"}
        if processes > 1:
            told |= {
                "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": str(processes),
                "JAX_PROCESS_ID": str(number),
            }  # fmt: skip
        found.append(
            subprocess.Popen(
                [sys.executable, str(ROOT / "train.py"), *arguments], cwd=ROOT, env=os.environ | told,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    return found


def rows(folder: Path) -> int:
    path = folder / "metrics.csv"
    return max(len(path.read_text().splitlines()) - 1, 0) if path.is_file() else 0


def stop_at(processes: Sequence[subprocess.Popen[str]], folder: Path, count: int) -> list[str]:
    """What they said, once the last of them was asked to stop after so many rows."""
    try:
        begin = time.monotonic()
        while rows(folder) < count:
            assert time.monotonic() - begin < SECONDS
            ended = [own for own in processes if own.poll() is not None]
            assert not ended, ended[0].communicate()[0]
            time.sleep(0.02)
        processes[-1].send_signal(signal.SIGTERM)
        said = [own.communicate(timeout=SECONDS)[0] for own in processes]
        assert [own.returncode for own in processes] == [0] * len(processes), said
        return said
    finally:
        for own in processes:
            own.kill()
            own.wait()


@pytest.mark.slow
def test_two_processes_learn_what_one_does_and_stop_together(tmp_path: Path) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    said = stop_at(start(1, 2, *TINY, "run.distributed=true", f"run.folder={two}"), two, 2)
    assert "4 environments on 2 device(s)" in said[0] and "stopped and saved" in said[0]
    assert "device(s)" not in said[1] and "stopped" not in said[1]  # the first process speaks for all
    stop_at(start(2, 1, *TINY, f"run.folder={one}"), one, 2)
    tables = [pd.read_csv(folder / "metrics.csv") for folder in (one, two)]
    count = min(*map(len, tables), 20)
    numbers = [table[:count].select_dtypes("number") for table in tables]
    assert list(numbers[0]) == list(numbers[1])
    # Sums over environments are added up in another order, and what is learned from them differs by as little.
    np.testing.assert_allclose(*(table.to_numpy() for table in numbers), rtol=1e-3, atol=1e-4)


def test_devices_that_leave_a_process_out_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    for devices, told in ((2, "auto, or 4, all devices of all processes"), (5, "a number of at most 4")):
        learner: Any = SimpleNamespace(settings=SimpleNamespace(devices=devices, num_envs=8, gradient_steps=(1, 1)))
        with pytest.raises(ValueError, match=f"learner.devices={devices}: accepted is {told}"):
            num_devices(learner)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({}, "run.distributed=True: nothing tells the processes of each other"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}, "JAX_COORDINATOR_ADDRESS: has to be set"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_COORDINATOR_ADDRESS": "a:1"}, "JAX_PROCESS_ID: has to be set"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2", "JAX_COORDINATOR_ADDRESS": "a:1"},
         "JAX_PROCESS_ID=2: accepted is a number from 0 to JAX_NUM_PROCESSES - 1 = 1"),
        ({"JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0", "JAX_COORDINATOR_ADDRESS": "a:1"},
         "JAX_NUM_PROCESSES='two': accepted is a whole number"),
    ],
)  # fmt: skip
def test_processes_that_cannot_find_each_other_are_told(
    told: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (processes.ADDRESS, processes.COUNT, processes.NUMBER):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=line.replace(".", r"\.")):
        processes.join_processes()

"""Servers that a shop is tried with, as processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from marl_pricing.config.errors import ConfigError
from marl_pricing.serving.trial.servers import Server, broker, free_port

TASKS = Path("/proc/self/task")


@pytest.mark.skipif(not TASKS.exists(), reason="threads' states are read from Linux's /proc")
def test_one_that_is_paused_stands_still_in_all_its_threads(tmp_path: Path) -> None:
    with broker(tmp_path) as server:
        tasks = TASKS.parent.parent / str(server.process.pid) / "task"
        for _ in range(20):
            server.pause()
            states = {(own / "stat").read_text().rpartition(")")[2].split()[0] for own in tasks.iterdir()}
            server.go_on()
            assert states == {"T"}


def test_one_that_has_ended_cannot_be_paused(tmp_path: Path) -> None:
    port = free_port()
    listens = f"import socket; own = socket.create_server(('127.0.0.1', {port})); own.accept()"
    server = Server(port, [sys.executable, "-c", listens], tmp_path / "log")
    server.process.wait()
    with pytest.raises(ConfigError, match="has ended, see "):
        server.pause()
    server.kill()

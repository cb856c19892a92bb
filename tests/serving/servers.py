"""Redis as a process of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marl_pricing.serving.trial.servers import Server, free_port


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

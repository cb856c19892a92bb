"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from marl_pricing.presentation.output import fault_of_system


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Give the system's faults of writing a file its name: a full disk tells none, and libraries hide that it is one.

    Raises:
        OSError: with the file's name.
    """
    try:
        yield
    except Exception as error:
        fault = error if isinstance(error, OSError) and error.filename is None and error.errno else None
        fault = fault or fault_of_system(error)
        if fault is None or fault.filename is not None:
            raise
        raise OSError(fault.errno, os.strerror(fault.errno or 0), str(path)) from None


def replace_with(target: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` make a file beside the target, then put it in the target's place.

    Raises:
        OSError: naming the target, where it cannot be written.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with named(target):
            write(partial)
            os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def write_atomically(target: Path, content: bytes | str) -> Path:
    """Write a file so that a reader finds the whole of it or nothing of it."""
    data = content.encode() if isinstance(content, str) else content
    return replace_with(target, lambda path: path.write_bytes(data))

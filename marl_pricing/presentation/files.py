"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace_with(target: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` make a file beside the target, then put it in the target's place."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        write(partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def write_atomically(target: Path, content: bytes | str) -> Path:
    """Write a file so that a reader finds the whole of it or nothing of it."""
    data = content.encode() if isinstance(content, str) else content
    return replace_with(target, lambda path: path.write_bytes(data))

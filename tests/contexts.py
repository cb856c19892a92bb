"""MLIR contexts that serve several programs: to make one is a quarter of what a small program costs."""

from __future__ import annotations

import sys
import threading
from functools import wraps
from typing import Any

_PROGRAMS = 100  # in one context, which keeps every constant and every place in the code that it has seen


def share_contexts() -> None:
    """JAX loads every dialect anew for each program it lowers (`make_ir_context`, which is its own affair and may go);
    in tests, which lower thousands of small ones, a thread takes a new context for every hundredth program."""
    if "jax" not in sys.modules:
        return
    from jax._src.interpreters import mlir

    made, own = mlir.make_ir_context, threading.local()

    @wraps(made)
    def shared() -> Any:
        if getattr(own, "left", 0) == 0:
            own.context, own.left = made(), _PROGRAMS
        own.left -= 1
        return own.context

    mlir.make_ir_context = shared

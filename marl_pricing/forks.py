"""Processes that were forked from one in which JAX ran: its threads are not in them, and its next call waits for ever.

Multiprocessing forks on Linux unless it is told otherwise (up to Python 3.13), and so do the clients that play several
environments at once. Who asks here first hears it in a line instead.
"""

from __future__ import annotations

import os
import sys

_cannot_run = False


class ForkedError(RuntimeError):
    """JAX cannot run in this process, because it was forked from one in which JAX ran."""


def _notice() -> None:
    """In the child of a fork, before anything else runs there: whether JAX had started in the parent."""
    global _cannot_run
    bridge = sys.modules.get("jax._src.xla_bridge")
    # The table itself: JAX's own question takes a lock, which a thread of the parent may have held when it forked.
    _cannot_run = _cannot_run or (bridge is not None and bool(getattr(bridge, "_backends", True)))


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_notice)


def refuse_forked() -> None:
    """Call before the first use of JAX.

    Raises:
        ForkedError: where that use would never return; one line that says what to do instead.
    """
    if _cannot_run:
        raise ForkedError(
            f"process {os.getpid()} was forked from one in which JAX ran, and JAX would wait here for ever: start it "
            "by spawn, with multiprocessing.set_start_method('spawn') in the parent, or for Gymnasium with "
            "vector_kwargs={'context': 'spawn'}"
        )


class Spawned:
    """Kept first in an environment, so that it is unpickled before the arrays are, which would already need JAX."""

    def __reduce__(self) -> tuple[type[Spawned], tuple[()]]:
        return Spawned, ()

    def __init__(self) -> None:
        """Refuse as `refuse_forked` does."""
        refuse_forked()

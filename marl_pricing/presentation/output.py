"""What commands print, and who reads it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """Where whoever read the output has gone (`… | head`), end without a word, with the status that shells expect."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would fail once more when Python closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None


def run_command(main: Callable[[], int]) -> NoReturn:
    """Call a command's main and end with its status."""
    with quiet_pipe():
        status = main()
    sys.exit(status)

"""What a command is doing, said when it has said nothing for a while: within two seconds, then every ten at most.

On standard error, to a terminal and to a file alike, so that nobody wonders whether it hangs. A bar that a terminal
shows says it better: then nothing is said here. `MARL_PRICING_PROGRESS=off` leaves it out. Imports nothing but the
standard library: it starts before everything else is imported.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FIRST = 1.0  # seconds of silence before the first line
SILENCE = 7.0  # … before the next: imports may hold the interpreter for a second or two more
SWITCH = "MARL_PRICING_PROGRESS"

# What tells how far it is, the innermost last: a text, nothing where there is nothing to tell, or that it is shown.
Teller = Callable[[], str | None]
SHOWN = ""


class _Pulse:
    """One a process."""

    def __init__(self) -> None:
        self._began = self._last = 0.0
        self._name, self._doing = "", "starting"
        self._tellers: list[Teller] = []
        self._stopped: threading.Event | None = None

    def start(self) -> None:
        if self._stopped is not None or os.environ.get(SWITCH, "on").lower() in ("off", "0", "false", "no"):
            return
        self._began = self._last = time.monotonic()
        self._name, self._stopped = _name(), threading.Event()
        threading.Thread(target=self._beat, args=(self._stopped,), daemon=True, name="pulse").start()

    def stop(self) -> None:
        if self._stopped is not None:
            self._stopped.set()

    def _beat(self, stopped: threading.Event) -> None:
        silence = FIRST
        while not stopped.wait(0.2):
            if time.monotonic() - self._last < silence:
                continue
            text = self._text()
            if text != SHOWN:
                with suppress(OSError, ValueError):  # nobody there any more
                    print(text, file=sys.stderr, flush=True)
            self._last, silence = time.monotonic(), SILENCE

    def _text(self) -> str:
        for teller in reversed(self._tellers):
            with suppress(Exception):  # it is another thread's, which goes on meanwhile
                told = teller()
                if told is not None:
                    return f"{self._name}: {told}" if told else SHOWN
        seconds = time.monotonic() - self._began
        return f"{self._name}: {self._doing}" + (f", {seconds:.0f} s so far" if seconds > 2 * FIRST else "")


_pulse = _Pulse()


def start() -> None:
    """Begin, in the process of a command."""
    _pulse.start()


def stop() -> None:
    """End: the rest is not to be waited for, as a server that serves."""
    _pulse.stop()


def named(name: str) -> None:
    """What the command is called."""
    _pulse._name = name


def doing(what: str) -> None:
    """What is being done from here on: `reading sales.csv`."""
    _pulse._doing = what


def said() -> None:
    """Something has just been said."""
    _pulse._last = time.monotonic()


def listen(teller: Teller) -> None:
    """Ask somebody how far it is, until `forget`."""
    _pulse._tellers.append(teller)


def forget(teller: Teller) -> None:
    """Ask no more."""
    if teller in _pulse._tellers:
        _pulse._tellers.remove(teller)


def _name() -> str:
    """Of the command that this process was started with: its file, or its module."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None:
        return spec.name.removesuffix(".__main__").rpartition(".")[2]
    return Path(sys.argv[0]).stem

"""What commands print, who reads it, and how they end. Imports nothing but the standard library: it comes first."""

from __future__ import annotations

import codecs
import errno
import gc
import os
import resource
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NoReturn, TextIO

from marl_pricing.presentation import pulse

NOT_WRITTEN = 3  # status of a command that could not write what it had to: a full disk, a quota, a limit on sizes
INTERRUPTED = 128 + signal.SIGINT
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
GONE = (errno.EIO, errno.ENXIO, errno.EBADF)  # of writing to a terminal that was closed
_HANDLES = (errno.EMFILE, errno.ENFILE)
LEAST_HANDLES = 64  # of a training: JAX, its threads and a run's files have about 40 open

_PLAIN = {
    "…": "...", "–": "-", "—": "-", "−": "-", "×": "x", "·": ".", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'",
    "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "±": "+-", "Σ": "sum", "π": "pi", "α": "alpha", "β": "beta",
    "γ": "gamma", "δ": "delta", "ε": "epsilon", "θ": "theta", "λ": "lambda", "ω": "omega", "σ": "sigma", "Δ": "Delta",
    "ß": "ss", "€": "EUR", "£": "GBP", "─": "-", "━": "-", "│": "|", "┃": "|",
}  # fmt: skip


def plain(text: str) -> str:
    """The same text in ASCII: signs by what they look like, letters without their marks, else a question mark."""
    found = []
    for sign in text:
        if sign.isascii():
            found.append(sign)
        elif sign in _PLAIN:
            found.append(_PLAIN[sign])
        elif "\u2500" <= sign <= "\u257f":  # corners and crossings of tables
            found.append("+")
        else:
            letters = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
            found.append(letters or "?")
    return "".join(found)


def _in_plain(error: UnicodeError) -> tuple[str, int]:
    """What stands in a stream for what it cannot take: the handler of codecs for `errors="plain"`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


def readable(text: str, stream: TextIO | None = None) -> str:
    """The text as a stream (None: standard output) can show it: as it is, or in ASCII."""
    encoding = getattr(sys.stdout if stream is None else stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return plain(text)
    return text


def take_streams() -> None:
    """Make standard output and error write what they can take, and be there even where the shell closed them."""
    codecs.register_error("plain", _in_plain)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell, as in `command >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape", "backslashreplace"):
            with suppress(ValueError):
                stream.reconfigure(errors="plain")


def fault_of_system(error: BaseException | None) -> OSError | None:
    """The full disk or the lack of file handles that an error goes back to; None where it is another error.

    Libraries raise errors of their own and only tell the system's words.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in (*FULL, *_HANDLES):
            return error
        text = str(error)
        number = next((own for own in (*FULL, *_HANDLES) if os.strerror(own) in text), None)
        if number is not None:
            return OSError(number, os.strerror(number))
        error = error.__cause__ or error.__context__
    return None


def say_fault(fault: OSError) -> int:
    """Tell a fault of the system in a line on standard error; the status to end with."""
    what = os.strerror(fault.errno or 0)
    if fault.errno in FULL:
        _tell(f"error: {fault.filename or 'what had to be written'}: {what}")
        return NOT_WRITTEN
    _tell(f"error: {what}: this process may open {_handles()} files at once; raise it with ulimit -n")
    return 2


def _tell(line: str) -> None:
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _handles() -> int:
    """Files that this process may have open, after asking for as many as it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and soft < 4096:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 4096, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


_MOMENT = 0.05  # seconds
_interrupts: list[int] = []  # signals of Ctrl-C so far


def _interrupt(number: int, _: object) -> None:
    """Ctrl-C while a command starts. Libraries may swallow the error or make another of it; that it came is known."""
    _interrupts.append(number)
    raise KeyboardInterrupt


def _swallowed(told: sys.UnraisableHookArgs) -> None:
    """An error where none can be raised, as `sys.unraisablehook`: Ctrl-C that came there comes again a moment later."""
    if not isinstance(told.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(told)
        return
    again = threading.Timer(_MOMENT, os.kill, (os.getpid(), signal.SIGINT))
    again.daemon = True
    again.start()


def _was_stopped(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C's doing."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return bool(_interrupts)


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An error that nothing caught, as `sys.excepthook`: a line where it is the user's or the system's doing."""
    if _was_stopped(error):
        _tell("stopped")
        raise SystemExit(INTERRUPTED)
    fault = fault_of_system(error)
    if fault is None:
        sys.__excepthook__(kind, error, trace)
    else:
        raise SystemExit(say_fault(fault))


_WIDE = "JAX_ENABLE_X64"


def _compute_in_32_bits() -> None:
    """A command computes in 32 bits, as its markets and learners are made, whatever the shell is set to."""
    told = os.environ.get(_WIDE, "")
    if told.lower() not in ("1", "y", "yes", "t", "true", "on"):  # what JAX takes for yes
        return
    os.environ[_WIDE] = "0"
    if "jax" in sys.modules:
        sys.modules["jax"].config.update(_WIDE.lower(), False)
    _tell(f"note: {_WIDE}={told} is left aside: markets and learners compute in 32 bits")


def say_ends() -> None:
    """Call first in a command's file, before its other imports: what ends it from here on is a line, no traceback."""
    sys.excepthook, sys.unraisablehook = _end, _swallowed
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    take_streams()
    _compute_in_32_bits()
    pulse.start()
    # The collector would walk all that is imported and traced again and again, a sixth of a start.
    gc.set_threshold(50_000, 10, 10)
    if (files := _handles()) < LEAST_HANDLES:
        _tell(f"error: this process may open {files} files at once, and needs {LEAST_HANDLES}: raise it with ulimit -n")
        raise SystemExit(2)


def _let_go() -> None:
    """What is still buffered for standard output would fail once more when Python closes it."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """End a command in a line.

    Where whoever read the output has gone (`… | head`) or its terminal was closed, it ends without a word, with the
    status that shells expect; where Ctrl-C ends it, with a word; where what it writes to is full, with what is.
    """
    take_streams()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _let_go()
        raise SystemExit(128 + signal.SIGPIPE) from None
    except (KeyboardInterrupt, Exception) as error:
        if _was_stopped(error):
            _let_go()
            _tell("stopped")
            raise SystemExit(INTERRUPTED) from None
        if isinstance(error, OSError) and error.filename is None and error.errno in GONE:
            _let_go()
            raise SystemExit(128 + signal.SIGHUP) from None
        fault = fault_of_system(error)
        if fault is None:
            raise
        if fault is error and fault.filename is None:  # files are named where they are written
            fault.filename = "standard output"
        _let_go()
        raise SystemExit(say_fault(fault)) from None


def run_command(main: Callable[[], int]) -> NoReturn:
    """Call a command's main and end with its status."""
    from marl_pricing.presentation.extras import said_missing

    with quiet_pipe(), said_missing():
        status = main()
    sys.exit(status)

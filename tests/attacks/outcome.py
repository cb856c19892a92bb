"""What came of an attempt: refused in one line, accepted, or a fault of ours.

An attempt is a call that does what a door of the package does, errors said as a door says them (`doors.say_errors`, a
command's `main`, or a process by `in_command`). It runs in a process of its own kind, which is ended where it hangs
and whose memory is measured.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds of computing after which an attempt hangs
WAITING = 10.0  # times as long where it computes nothing: a machine may be busy with others
MOST = 2048.0  # MiB that a process may take
_LIMIT = 6 << 30  # bytes of data at which the system says no, so that one attempt does not take the machine along

Verdict = Literal["refused", "accepted", "wrong", "traceback", "hang", "memory"]
FAULTS: tuple[Verdict, ...] = ("wrong", "traceback", "hang", "memory")
ANY, REFUSED = "any answer", "to be refused"


@dataclass(frozen=True)
class Attempt:
    """One attack.

    Attributes:
        kind: the row of the table that it counts in.
        told: what was done, so that it can be done again.
        call: does it; picklable (a function of a module, or a `functools.partial` of one). Its answer can be compared
            with == and pickled.
        right: the answer that an accepted one has to give; ANY where every answer is right, REFUSED where none is.
        names: what a refusal has to say, such as the file's name or the field.
        lines: how many lines a refusal may have (a line a fault).
        patience: seconds of its processor's time after which it hangs, or `WAITING` times as many in all; None:
            `PATIENCE`.
    """

    kind: str
    told: str
    call: Callable[[], Any]
    right: Any = ANY
    names: str = ""
    lines: int = 1
    patience: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: `said` is its refusal, answer or traceback; seconds and peak MiB of its process."""

    attempt: Attempt
    verdict: Verdict
    said: str
    seconds: float = 0.0
    mebibytes: float = 0.0


def in_door(main: Callable[[list[str]], int], *arguments: str) -> None:
    """Call a command's `main` in this process; its status ends as that of a process would."""
    code = main(list(arguments))
    if code:
        raise SystemExit(code)


def in_command(*arguments: str, **variables: str) -> None:
    """Run `python ARGUMENTS` from the root of the repository; its errors and status become ours."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, errors="replace", cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
    )  # fmt: skip
    print(done.stderr, file=sys.stderr, end="")
    if done.returncode:
        raise SystemExit(done.returncode)


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """What is written to standard error meanwhile, by libraries too; standard output goes nowhere."""
    said: list[str] = []
    with tempfile.TemporaryFile("w+", errors="replace") as file, open(os.devnull, "w") as nowhere:
        kept = os.dup(2)
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            with contextlib.redirect_stderr(file), contextlib.redirect_stdout(nowhere):
                yield said
        finally:
            file.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said.append(file.read())


def _judge(attempt: Attempt, code: Any, heard: str, answer: Any) -> tuple[Verdict, str]:
    """Verdict and what was said, of an attempt that ended by itself."""
    if code in (None, 0):
        if attempt.right == REFUSED or (attempt.right != ANY and answer != attempt.right):
            return "wrong", f"accepted with {str(answer)[:300]}"
        return "accepted", ""
    lines = [line for line in heard.splitlines() if line.strip() and not line.startswith(("note:", "warning:"))]
    told = isinstance(code, int) and "Traceback" not in heard and 0 < len(lines) <= attempt.lines
    if told and all(attempt.names in line for line in lines):
        return "refused", " ".join(lines)
    return "traceback", f"status {code}, {len(lines)} lines: {heard[-600:]}"


def carry_out(attempt: Attempt) -> tuple[Verdict, str]:
    """Do it in this process: for attempts that are known to end."""
    code, answer, trace = 0, None, ""
    with _heard() as heard:
        try:
            answer = attempt.call()
        except SystemExit as end:
            code = end.code
        except BaseException:
            trace = traceback.format_exc()
    return ("traceback", trace[-1500:]) if trace else _judge(attempt, code, heard[0], answer)


def _serve(pipe: Connection, first: Callable[[], Any] | None) -> None:
    """A process that carries out attempts, one after another."""
    resource.setrlimit(resource.RLIMIT_DATA, (_LIMIT, _LIMIT))
    if first is not None:
        first()
    pipe.send("ready")
    while (attempt := pipe.recv()) is not None:
        with contextlib.suppress(OSError):  # its peak is that of this attempt, where the system lets it be forgotten
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        said = carry_out(attempt)
        peak = max(_own_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
        pipe.send((*said, peak / 1024))


def _own_peak() -> int:
    """KiB; what the system tells of a process by `getrusage` begins with what its parent had."""
    told = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(told.partition("VmHWM:")[2].split()[0])


class _Worker:
    """The process, started anew where an attempt ended it."""

    def __init__(self, first: Callable[[], Any] | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, first), daemon=True)
        self._process.start()
        theirs.close()
        if not self.pipe.poll(900) or self.pipe.recv() != "ready":
            raise RuntimeError("the process that carries attempts out does not start")

    def answers(self, patience: float) -> bool:
        """Wait for what came of the attempt; False where it hangs."""
        began, before = time.monotonic(), self._computed()
        while not self.pipe.poll(0.5):
            if self._computed() - before > patience or time.monotonic() - began > WAITING * patience:
                return False
        return True

    def _computed(self) -> float:
        """Seconds of a processor that it took so far, with the processes that it waited for."""
        try:
            told = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return 0.0
        return sum(map(int, told.rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def carry_out_all(attempts: Iterable[Attempt], first: Callable[[], Any] | None = None) -> Iterator[Outcome]:
    """Do them, in processes that are ended where one hangs or takes too much.

    Args:
        first: done before the first attempt in every process, such as imports: it counts for no attempt.
    """
    worker: _Worker | None = None
    try:
        for attempt in attempts:
            worker = worker or _Worker(first)
            began = time.monotonic()
            worker.pipe.send(attempt)
            verdict: Verdict
            try:
                if worker.answers(attempt.patience or PATIENCE):
                    verdict, said, peak = worker.pipe.recv()
                    verdict = "memory" if peak > MOST else verdict
                else:
                    verdict, said, peak = "hang", "", 0.0
            except EOFError:
                verdict, said, peak = "traceback", "the process ended without a word", 0.0
            if verdict in ("hang", "memory") or said.startswith("the process ended"):
                worker.end()
                worker = None
            yield Outcome(attempt, verdict, said, time.monotonic() - began, peak)
    finally:
        if worker is not None:
            worker.end()


def faults(outcomes: Iterable[Outcome]) -> list[str]:
    """A line for each that was neither refused in one line nor accepted rightly."""
    return [
        f"{own.attempt.kind}, {own.attempt.told}: {own.verdict}: {own.said}"
        for own in outcomes
        if own.verdict in FAULTS
    ]


COLUMNS = ("tried", "refused in one line", "accepted rightly", "wrong", "tracebacks", "hangs", "over 2 GB")


def rows(outcomes: Iterable[Outcome]) -> dict[str, list[int]]:
    """`COLUMNS` by kind of attack, and of all."""
    counts: dict[str, Counter[str]] = {}
    for own in outcomes:
        counts.setdefault(own.attempt.kind, Counter())[own.verdict] += 1
    counts["all"] = sum(counts.values(), Counter())
    return {
        kind: [found.total(), *(found[name] for name in ("refused", "accepted", *FAULTS))]
        for kind, found in counts.items()
    }


def table(outcomes: Iterable[Outcome]) -> Table:
    """`rows`, with the seconds and MiB of the longest and the largest."""
    kept = list(outcomes)
    drawn = Table("attack", title="what came of it")
    for name in (*COLUMNS, "longest [s]", "most [MiB]"):
        drawn.add_column(name, justify="right")
    for kind, numbers in rows(kept).items():
        own = [one for one in kept if kind in ("all", one.attempt.kind)]
        longest, most = (max((getattr(one, name) for one in own), default=0.0) for name in ("seconds", "mebibytes"))
        drawn.add_row(kind, *map(str, numbers), f"{longest:.1f}", f"{most:.0f}")
    return drawn

"""`python -m benchmarks against CHECKOUT`: this checkout beside another one, in turns, in one run.

Each case is run by both, each in a process of its own that waits while the other is timed; who begins alternates. What
is told are ratios of turns that follow each other, medians with quartiles, and the same of processor seconds. A case is
called slower where both medians say so by more than `--tolerance` and the quartiles of the processor's agree.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from benchmarks.against_case import CASES
from benchmarks.table import console
from benchmarks.timed import Ratio, Timed, Turn, ratio_of
from marl_pricing.presentation.output import run_command

HERE = Path(__file__).resolve().parents[1]
_CASE = Path(__file__).with_name("against_case.py")


@dataclass(frozen=True)
class Compared:
    """One case: how many times as fast this checkout is as the other.

    Attributes:
        wall, processor: by wall-clock and by processor seconds.
    """

    case: str
    wall: Ratio
    processor: Ratio

    def verdict(self, tolerance: float) -> str:
        """`slower`, `faster`, or `as fast`: what is more than `tolerance` beyond 1 in both, and not by luck."""
        if max(self.wall.middle, self.processor.middle, self.processor.high) < 1.0 - tolerance:
            return "slower"
        if min(self.wall.middle, self.processor.middle, self.processor.low) > 1.0 + tolerance:
            return "faster"
        return "as fast"


def compared(case: str, ours: Sequence[Turn], theirs: Sequence[Turn]) -> Compared:
    """The turns of both, pair by pair.

    Args:
        ours: of this checkout.  theirs: of the other, in the same order.
    """
    wall = ratio_of([turn.seconds for turn in ours], [turn.seconds for turn in theirs])
    return Compared(case, wall, ratio_of([turn.processor for turn in ours], [turn.processor for turn in theirs]))


def measure(case: str, other: Path, python: str, turns: int, seconds: float) -> Compared:
    """One case of both checkouts.

    Args:
        seconds: a turn takes about so long.
    """
    # A path that is set for one checkout is not the other's.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with ExitStack() as stack:
        both = [
            stack.enter_context(Timed((which, str(_CASE), str(folder), case), folder, environment))
            for which, folder in ((sys.executable, HERE), (python, other))
        ]
        number = str(max(1, round(seconds / both[0].told["seconds"])))
        taken: list[list[Turn]] = [[], []]
        for turn in range(turns):
            for place in (0, 1) if turn % 2 else (1, 0):
                told = both[place].ask(number)
                taken[place].append(Turn(told["seconds"], told["processor"]))
    return compared(case, *taken)


def table_of(rows: Sequence[Compared], tolerance: float, other: str) -> Table:
    """A row a case."""
    table = Table("what", "times as fast", "quartiles", "by processor", "quartiles", "", title=f"beside {other}")
    for column in range(1, 5):
        table.columns[column].justify = "right"
    for row in rows:
        wall, own = row.wall, row.processor
        table.add_row(
            row.case, f"{wall.middle:.2f}", f"{wall.low:.2f} – {wall.high:.2f}", f"{own.middle:.2f}",
            f"{own.low:.2f} – {own.high:.2f}", row.verdict(tolerance),
        )  # fmt: skip
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table; 1 where a case is slower than the other checkout's."""
    parser = argparse.ArgumentParser("python -m benchmarks against", description=__doc__)
    parser.add_argument("checkout", type=Path, help="folder of another checkout of this repository")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"or how it begins; all of them: {'; '.join(CASES)}")
    parser.add_argument("--python", default=sys.executable, help="the other checkout's Python (default: this one)")
    parser.add_argument("--turns", type=int, default=11, help="of each, of which medians are told (default 11)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn (default 0.5)")
    parser.add_argument("--tolerance", type=float, default=0.05, help="what is no difference (default 0.05)")
    given = parser.parse_args(arguments)
    if not (given.checkout / "marl_pricing").is_dir() or not (given.checkout / "benchmarks").is_dir():
        parser.error(f"CHECKOUT={str(given.checkout)!r}: accepted is a folder that holds marl_pricing and benchmarks")
    for name in ("turns", "seconds"):
        if not getattr(given, name) > 0:
            parser.error(f"--{name}={getattr(given, name)}: accepted is a number above 0")
    if not 0 <= given.tolerance < 1:
        parser.error(f"--tolerance={given.tolerance}: accepted is a number from 0 up to 1")
    for begin in given.cases:
        if not any(case.startswith(begin) for case in CASES):
            parser.error(f"CASE={begin!r}: accepted is the beginning of {'; '.join(CASES)}")
    wanted = [case for case in CASES if not given.cases or case.startswith(tuple(given.cases))]
    rows = []
    for case in wanted:
        rows.append(measure(case, given.checkout.resolve(), given.python, given.turns, given.seconds))
        print(f"{case}: {rows[-1].wall.middle:.2f} times as fast", file=sys.stderr, flush=True)
    console().print(table_of(rows, given.tolerance, str(given.checkout)))
    slower = [row.case for row in rows if row.verdict(given.tolerance) == "slower"]
    if slower:
        print(f"slower than {given.checkout}: {'; '.join(slower)}")
    return 1 if slower else 0


if __name__ == "__main__":
    run_command(main)

"""`python -m marl_pricing.traffic.logs separability|contaminate FILE`: what is done with a labelled log."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from marl_pricing.traffic.logs.reading import Log, read_log


def add_log_arguments(parser: argparse.ArgumentParser) -> None:
    """Which log, and how it is read."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the log")
    parser.add_argument(
        "--mapping",
        type=Path,
        metavar="M.yaml",
        help="columns of another layout: session, time, event, and where there are such item, price, label with human "
        "and agent, events; see docs/import.md",
    )
    parser.add_argument(
        "--bad-share",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="share of rows that may be rejected before the file is refused (default: %(default)s)",
    )


def _parser(verb: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"python -m marl_pricing.traffic.logs {verb}", description=description)
    add_log_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default: %(default)s)")
    return parser


def _carry_out(given: argparse.Namespace, do: Callable[[Log], None]) -> int:
    try:
        if given.seed < 0:
            raise ValueError(f"--seed={given.seed}: accepted is a whole number of at least 0")
        do(read_log(given.file, mapping=given.mapping, bad_share=given.bad_share))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def separability(arguments: Sequence[str]) -> int:
    """The cohort test; 2 and one line on standard error where it cannot be had."""
    parser = _parser("separability", "Test whether people's and agents' sessions can be told apart, and say by what.")
    parser.add_argument(
        "--smoothing", type=float, default=1.0, metavar="MASS",
        help="transitions' worth of evenness in each row of a kernel (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="also leave transitions.csv, gaps.csv and separability.png and .svg"
    )
    given = parser.parse_args(arguments)

    def do(log: Log) -> None:
        from marl_pricing.traffic.logs import separation

        found = separation.separate(log, given.smoothing, given.seed)
        print("\n".join(separation.sentences(found)))
        if given.out is not None:
            separation.leave(found, given.out)
            print(f"figure: {given.out}/separability.png")

    return _carry_out(given, do)


def contaminate(arguments: Sequence[str]) -> int:
    """G(α) on a log; 2 and one line on standard error where it cannot be had."""
    parser = _parser(
        "contaminate",
        "Write a log of all its people's sessions and as many of its agents', drawn with replacement, as make a share.",
    )
    parser.add_argument(
        "--share", type=float, required=True, metavar="A", help="of sessions that are agents', 0 to below 1"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE",
        help="the log to write: .csv as WhoClickedIt's table, else P4P's JSON lines; .gz is compressed",
    )  # fmt: skip
    given = parser.parse_args(arguments)

    def do(log: Log) -> None:
        from marl_pricing.traffic.logs import mixing
        from marl_pricing.traffic.logs.writing import write_log

        if given.out.resolve() == given.file.resolve():
            raise ValueError(f"--out={given.out}: accepted is another file than the log itself")
        events = mixing.contaminated(log, given.share, given.seed)
        table = ".csv" in given.out.suffixes
        write_log(given.out, events, "whoclickedit" if table else "p4p")
        print(f"{mixing.told(events)}; {given.out}")

    return _carry_out(given, do)


VERBS: dict[str, Callable[[Sequence[str]], int]] = {"separability": separability, "contaminate": contaminate}

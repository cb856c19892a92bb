"""`python -m marl_pricing.traffic.logs [separability|contaminate] FILE`: what is in a log, and what is done with it."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from marl_pricing.presentation.output import run_command
from marl_pricing.traffic.logs.checking import guessed, write_mapping
from marl_pricing.traffic.logs.reading import read_log
from marl_pricing.traffic.logs.summary import actors_of, print_summary
from marl_pricing.traffic.logs.verbs import VERBS, add_log_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is in a log, or carry out a verb; 2 and one line on standard error if it cannot be read."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in VERBS:
        return VERBS[words[0]](words[1:])
    parser = argparse.ArgumentParser(
        "python -m marl_pricing.traffic.logs",
        description="Tell what is in a log of interactions: rows, sessions, events, prices, and what was rejected.",
        epilog="P4P events, WhoClickedIt's table, and exports of Google Analytics 4, RetailRocket and REES46 are known "
        "by what the file holds; .gz is read as it is. Any other CSV, JSON lines or Parquet file needs --mapping. "
        "With labels: `separability FILE` tests whether people and agents can be told apart, `contaminate FILE` mixes "
        "the log to a share of agents; each has its own --help.",
    )
    add_log_arguments(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="also write the mapping that reads the log so, FILE.mapping.yaml; unknown columns are guessed",
    )
    parser.add_argument(
        "--quarantine", type=Path, metavar="Q.csv", help="write rejected rows there: line, reason and text"
    )
    parser.add_argument(
        "--exposure",
        type=Path,
        metavar="FOLDER",
        help="also tell how often items were bought at lower and higher prices than their usual ones: a table here and "
        "in exposure.csv, and a figure",
    )
    given = parser.parse_args(words)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            mapping = given.mapping if not given.check or given.mapping else guessed(given.file)
            log = read_log(given.file, mapping=mapping, quarantine=given.quarantine, bad_share=given.bad_share)
            written = write_mapping(given.file, log, guess=mapping is not given.mapping) if given.check else None
        actors_of(log.events)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for warning in told:
        print(f"{given.file}: {warning.message}", file=sys.stderr)
    print_summary(given.file, log)
    if given.exposure is not None:
        from marl_pricing.traffic.logs import exposure

        try:
            exposure.leave(log, given.exposure)
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
            return 2
        print(f"figure: {given.exposure}/exposure.png")
    if written is not None:
        print(written)
    return 0


if __name__ == "__main__":
    run_command(main)

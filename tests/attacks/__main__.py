"""`python -m tests.attacks [FAMILY …]`: attack, and print what came of it as one table."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from marl_pricing.presentation.output import run_command
from marl_pricing.presentation.pulse import SWITCH
from tests.attacks.families import FAMILIES
from tests.attacks.outcome import Outcome, carry_out_all, faults, table


def main() -> int:
    """Carry the attacks out; 1 where one was not stood."""
    families = "; ".join(f"{name}: {own.covers}" for name, own in FAMILIES.items())
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=families)
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default 0)")
    parser.add_argument("--share", type=float, default=1.0, help="how many of a family's attempts (default 1.0)")
    parser.add_argument(
        "--folder", type=Path, help="where trained runs are kept to be attacked again (default: nowhere)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what came of every attempt, a line each")
    given = parser.parse_args()
    os.environ.setdefault(SWITCH, "off")  # how far a command is is no line of a refusal
    unknown = sorted(set(given.families) - set(FAMILIES))
    if unknown:
        parser.error(f"FAMILY={unknown[0]!r}: accepted is {', '.join(FAMILIES)}")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as nowhere, (given.json or Path(os.devnull)).open("w", encoding="utf-8") as file:
        for name in given.families or FAMILIES:
            place = (given.folder or Path(nowhere)) / name
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            family = FAMILIES[name]
            for own in carry_out_all(family.attempts(place, given.seed, given.share), family.first):
                outcomes.append(own)
                told = {"kind": own.attempt.kind, "told": own.attempt.told, **vars(own), "attempt": ""}
                print(json.dumps(told), file=file, flush=True)
                if lines := faults([own]):
                    print(lines[0], file=sys.stderr, flush=True)
    Console(width=160).print(table(outcomes))
    return bool(faults(outcomes))


if __name__ == "__main__":
    run_command(main)

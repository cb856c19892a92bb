"""How long one waits for the first progress line of `python train.py`: at a first start, and once programs are kept."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from marl_pricing.presentation.output import run_command

CASES = {"default market": (), "two sellers, five seeds, bank": ("experiment=grocery", "learner.num_seeds=5")}
_TOP = Path(__file__).parents[1]


def first_line(arguments: tuple[str, ...], kept: Path) -> float:
    """Seconds from the start of train.py to its first progress line; the process is ended then.

    Args:
        kept: the user's cache folder.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "train.py", *arguments, f"run.folder={folder}/run"],
            cwd=_TOP, env=own | {"XDG_CACHE_HOME": str(kept)}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("update "):
                seconds = time.perf_counter() - begin
                process.kill()
                process.wait()
                return seconds
        raise RuntimeError(f"train.py {' '.join(arguments)} ended with {process.wait()} before its first progress line")


def rows(repeats: int = 3) -> list[dict[str, Any]]:
    """Both starts of each case, alternating, each pair with a cache folder of its own."""
    table = []
    for name, arguments in CASES.items():
        found: list[list[float]] = [[], []]
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as kept:
                for times in found:
                    times.append(first_line(arguments, Path(kept)))
        first, second = map(median, found)
        table += [
            {"name": f"first start, {name}", "value": first, "unit": "s", "note": "to the first progress line"},
            {
                "name": f"second start, {name}",
                "value": second,
                "unit": "s",
                "note": f"{second / first:.2f} of the first",
            },
        ]
    return table


def main() -> int:
    """Print the times."""
    for row in rows():
        print(f"{row['name']}: {row['value']:.1f} {row['unit']} ({row['note']})")
    return 0


if __name__ == "__main__":
    run_command(main)

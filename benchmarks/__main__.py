"""`python -m benchmarks [GROUP …]`: the speed table.

Every group runs in a process of its own, so that its peak memory is its own; values are medians of several runs, with
compilation apart.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from marl_pricing.learning.devices import start_cpu_devices, usable_cores
from marl_pricing.presentation.output import run_command

GROUPS = {
    "market": "market steps, random actions",
    "traffic": "market steps with human and agent sessions",
    "training": "whole updates of recurrent MAPPO",
    "env": "the PettingZoo environment in a Python loop",
    "cell": "the GRU's gradient against lax.scan's, the minGRU's against both",
    "robust": "whole updates with 1 to 17 candidate worlds against plain ones (not in the default table)",
    "costs": "a step's cost against sessions, offers, candidates and markets, and a figure of it under docs/figures "
    "(not in the default table)",
    "blocks": "rows of a gradient block (not in the default table)",
    "tabular_q": "tabular Q-learning on one core, beside a NumPy loop (not in the default table)",
    "starts": "train.py until its first progress line, without and with programs kept (not in the default table)",
    "bargains": "bargains over supply, beside NegMAS's (not in the default table)",
    "serving": "look-ups and events of a live shop over HTTP (not in the default table)",
    "torch": "whole updates of the torch learner beside the flax one's (not in the default table)",
    "torch_compiled": "the same with torch.compile (not in the default table)",
}
# Programs with options of their own: `python -m benchmarks peers --help`.
PROGRAMS = {
    "accelerator": "markets and training on a GPU or TPU, in under six minutes",
    "against": "this checkout beside another one, in turns",
    "peers": "training beside JaxMARL's MAPPO, in turns",
}
DEFAULT = ("market", "traffic", "training", "env", "cell")


def measure(group: str, repeats: int) -> list[dict[str, Any]]:
    """The rows of one group, in this process."""
    start_cpu_devices()
    from benchmarks import bargains, market, pettingzoo_env, robust, serving, starts, tabular_q, traffic, training

    def torch_rows(repeats: int) -> list[dict[str, Any]]:
        from benchmarks import torch_learner  # the other groups do without torch

        return torch_learner.rows(repeats, compiled=group == "torch_compiled")

    functions = {
        "market": market.rows,
        "traffic": traffic.rows,
        "costs": traffic.cost_rows,
        "training": training.rows,
        "robust": robust.rows,
        "env": pettingzoo_env.rows,
        "cell": lambda repeats: training.cell_rows(3 * repeats) + training.min_gru_rows(6 * repeats),
        "blocks": training.block_rows,
        "tabular_q": tabular_q.rows,
        "starts": starts.rows,
        "bargains": bargains.rows,
        "serving": serving.rows,
        "torch": torch_rows,
        "torch_compiled": torch_rows,
    }
    rows = functions[group](repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [row | {"peak_mib": peak} for row in rows]


def main() -> int:
    """Run the groups and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    if sys.argv[1:2] and sys.argv[1] in PROGRAMS:
        return importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
    told = "; ".join(f"{name}: {text}" for name, text in (GROUPS | PROGRAMS).items())
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=told)
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median is printed (default 5)")
    parser.add_argument("--json", action="store_true", help="measure one group here and print it as JSON")
    given = parser.parse_args()
    unknown = sorted(set(given.groups) - set(GROUPS))
    if unknown:
        parser.error(f"GROUP={unknown[0]!r}: accepted is {', '.join(GROUPS)}, or alone {' or '.join(PROGRAMS)}")
    if given.repeats < 1:
        parser.error(f"--repeats={given.repeats}: accepted is a number of at least 1")
    if given.json:
        print(json.dumps(measure((given.groups or ["market"])[0], given.repeats)))
        return 0
    # A file or a pipe has no width of its own.
    console = Console() if sys.stdout.isatty() else Console(width=150)
    table = Table("what", "median", "unit", "compile", "peak memory", "note", title=f"{usable_cores()} cores")
    for column in (1, 3, 4):
        table.columns[column].justify = "right"
    for group in given.groups or DEFAULT:
        command = [sys.executable, "-m", "benchmarks", group, "--json", "--repeats", str(given.repeats)]
        with console.status(f"measuring {group} …"):
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            console.print(f"[red]{group} failed[/red]\n{done.stderr[-2000:]}")
            return 1
        for row in json.loads(done.stdout.splitlines()[-1]):
            value = row["value"]
            table.add_row(
                row["name"],
                f"{value:,.0f}" if value >= 100 else f"{value:.2f}",
                row["unit"],
                f"{row['compile_seconds']:.1f} s" if "compile_seconds" in row else "",
                f"{row['peak_mib']:,.0f} MiB",
                row["note"],
            )
    console.print(table)
    return 0


if __name__ == "__main__":
    run_command(main)

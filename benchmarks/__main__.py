"""`python -m benchmarks [GROUP …]`: the speed table.

Every group runs in a process of its own, so that its peak memory is its own; values are medians of several runs, with
compilation apart. Under the table stands what is slower than the stored baseline, in ratios within the run; rows and a
figure are left in a folder.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import ratios
from benchmarks.figure import draw
from benchmarks.table import show
from marl_pricing.learning.devices import start_cpu_devices, usable_cores
from marl_pricing.presentation import style
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.output import run_command

GROUPS = {
    "market": "market steps, random actions",
    "traffic": "market steps with human and agent sessions",
    "training": "whole updates of recurrent MAPPO",
    "env": "the PettingZoo environment in a Python loop",
    "cell": "gradients by hand: the GRU's against lax.scan's, the minGRU's against both, weights' against autodiff's",
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
        "cell": lambda repeats: (
            training.cell_rows(3 * repeats) + training.min_gru_rows(6 * repeats) + training.product_rows(3 * repeats)
        ),
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


def measured(group: str, repeats: int) -> list[dict[str, Any]]:
    """The rows of one group, from a process of its own; each says which group it is of.

    Raises:
        RuntimeError: where that process fails, with the last of what it said.
    """
    command = [sys.executable, "-m", "benchmarks", group, "--json", "--repeats", str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{group} failed\n{done.stderr[-2000:]}")
    return [row | {"group": group} for row in json.loads(done.stdout.splitlines()[-1])]


def beside_baseline(rows: list[dict[str, Any]], repeats: int, stored: dict[str, float]) -> dict[str, float]:
    """This run's ratios, and what is slower than the baseline, said in lines.

    What seems slower is measured once more, and the better of both counts: a busy moment is no slow-down.
    """
    found = ratios.ratios_of(rows)
    if suspects := ratios.slower(found, stored):
        groups = ratios.groups_of(rows, [own.name for own in suspects])
        print(f"once more, as ratios fell: {', '.join(sorted(groups))}", file=sys.stderr)
        again = [row for row in rows if row["group"] not in groups]
        for group in sorted(groups):
            again += measured(group, repeats)
        found = ratios.better(found, ratios.ratios_of(again))
    for own in ratios.slower(found, stored):
        print(f"slower than the baseline: {own}")
    return found


def main() -> int:
    """Run the groups, print the table, say what is slower than the baseline, leave rows and figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    if sys.argv[1:2] and sys.argv[1] in PROGRAMS:
        return importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
    told = "; ".join(f"{name}: {text}" for name, text in (GROUPS | PROGRAMS).items())
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=told)
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median is printed (default 5)")
    parser.add_argument("--json", action="store_true", help="measure one group here and print it as JSON")
    parser.add_argument("--write-baseline", action="store_true", help="store this run's ratios as the baseline")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"),
                        help="folder for benchmarks.json and benchmarks.svg (default runs/benchmarks)")  # fmt: skip
    given = parser.parse_args()
    unknown = sorted(set(given.groups) - set(GROUPS))
    if unknown:
        parser.error(f"GROUP={unknown[0]!r}: accepted is {', '.join(GROUPS)}, or alone {' or '.join(PROGRAMS)}")
    if given.repeats < 1:
        parser.error(f"--repeats={given.repeats}: accepted is a number of at least 1")
    if given.json:
        print(json.dumps(measure((given.groups or ["market"])[0], given.repeats)))
        return 0
    stored = {} if given.write_baseline else ratios.read()
    rows = []
    for group in dict.fromkeys(given.groups or DEFAULT):
        print(f"measuring {group} …", file=sys.stderr, flush=True)
        try:
            rows += measured(group, given.repeats)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    machine = f"{usable_cores()} cores, JAX {version('jax')}"
    show(rows, machine)
    found = beside_baseline(rows, given.repeats, stored)
    if given.write_baseline:
        print(ratios.write(found, machine))
    given.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine, "rows": rows, "ratios": found}, indent=1)
    print(write_atomically(given.out / "benchmarks.json", text + "\n"))
    print(write_atomically(given.out / "benchmarks.svg", style.svg(draw(rows, found, stored))))
    return 0


if __name__ == "__main__":
    run_command(main)

"""How long commands say nothing: `python -m benchmarks.silences`. Output goes to a pipe, as in a job of a scheduler."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from marl_pricing.presentation.output import run_command

_TOP = Path(__file__).parents[1]
LOG = "log=PROMOTIONS/promotion_log.csv"
TINY = "learner.num_envs=8 learner.num_updates=8 run.evaluate_every=4"
# In this order: some look at what others left.
COMMANDS = {
    "train": f"train {TINY} run.folder=RUN",
    "train, calibrated": f"train experiment=grocery {TINY} learner.num_seeds=2 run.folder=GROCERY",
    "train, multirun": f"train -m {TINY} market.reward.omega=0,1 hydra.sweep.dir=SWEEP",
    "evaluate": "evaluate run=RUN out=EVALUATION episodes=16 best_response=5",
    "evaluate, robustness": "evaluate evaluation=robustness run=RUN out=ROBUSTNESS episodes=8",
    "describe": "describe experiment=platform",
    "calibrate": "calibrate settings=examples/grocery/calibration.yaml out=CALIBRATION",
    "pricelist": "pricelist settings=examples/grocery/pricelist.yaml out=LIST",
    "export, flax": "export run=RUN format=flax",
    "export, torch": "export run=RUN format=torch",
    "export, onnx": "export run=RUN format=onnx",
    "tune": "tune out=SEARCH trials=3 updates=5",
    "train, stock": "train experiment=lost_sales learner.num_updates=5 run.folder=STOCK",
    "stock": "stock STOCK --episodes 64",
    "tabular-q": "tabular-q out=Q sessions=2",
    "procurement": "procurement play out=BARGAIN rounds=50",
    "virtual-market simulate": "virtual-market simulate out=PROMOTIONS",
    "virtual-market fit": f"virtual-market fit {LOG} out=CUSTOMERS holdout=14",
    "virtual-market train": f"virtual-market train {LOG} model=CUSTOMERS out=POLICY",
    "virtual-market export": "virtual-market export policy=POLICY out=SUBMISSION",
    "virtual-market page": f"virtual-market page {LOG} model=CUSTOMERS policy=POLICY truth=PROMOTIONS out=PAGE",
    "serve, until it serves": "serve out=SHOP",
}


class Heard(NamedTuple):
    """Seconds."""

    first: float
    longest: float
    whole: float
    status: int
    between: str


def listen(arguments: list[str], folder: Path, until: bytes | None = None) -> Heard:
    """Run a command and note when it says something.

    Args:
        until: what it says when there is nothing more to wait for.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "marl_pricing", *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(_TOP)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    begin = last = time.perf_counter()
    first, longest, between, before = 0.0, 0.0, "", b"its start"
    while line := process.stdout.readline():
        now = time.perf_counter()
        first = first or now - begin
        if now - last > longest:
            longest, between = now - last, f"after {before.decode(errors='replace')[:70]!r}"
        last, before = now, line.strip()
        if until is not None and until in line:
            process.terminate()
            break
    process.stdout.close()
    process.wait()
    return Heard(first, longest, time.perf_counter() - begin, process.returncode, between)


def main() -> int:
    """Print a row a command; those named on the command line, or all."""
    wanted = sys.argv[1:] or list(COMMANDS)
    print(f"{'command':<26} {'first':>6} {'longest':>8} {'whole':>7}  seconds")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.environ.get("SILENCES", name))
        for command in wanted:
            until = b"events:" if command.startswith("serve") else None
            heard = listen(COMMANDS[command].split(), folder, until)
            status = "" if heard.status == 0 or until else f"  ended with {heard.status}"
            told = f"{heard.first:6.1f} {heard.longest:8.1f} {heard.whole:7.1f}"
            print(f"{command:<26} {told}  {heard.between if heard.longest > 8 else ''}{status}", flush=True)
    return 0


if __name__ == "__main__":
    run_command(main)

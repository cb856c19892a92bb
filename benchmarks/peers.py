"""`python -m benchmarks.peers`: whole updates beside JaxMARL's MAPPO-RNN, in turns, in one run.

Both learn with 3 sellers or agents, segments of 128 steps, 4 epochs of 4 minibatches, separate actor and critic, in
float32, on the same cores. JaxMARL plays MPE's simple_spread, as its script does, without its callback to the host. It
is somebody else's program and no dependency of this package: say where its checkout is, and which Python has what it
imports. Each program is a process of its own that waits while the others are timed.

On a busy machine programs that need all cores at once wait longest: best turns and processor seconds say then what each
would take alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.timed import Timed, ratio_of
from marl_pricing.presentation.output import run_command

SIZES = ((64, 64), (64, 128))
CELLS = ("gru", "mingru")
AGENTS, STEPS, EPOCHS, MINIBATCHES = 3, 128, 4, 4
# What a process that is timed prints: {"ready": …}, then, after every line it is sent, seconds for an update.
_OURS = "import benchmarks.peers as own, sys; own.serve_ours(*sys.argv[1:])"
_THEIRS = Path(__file__).with_name("jaxmarl_peer.py")


def serve_ours(cell: str, num_envs: str, hidden: str) -> None:
    """The process that is timed: a line in, an answer out."""
    from marl_pricing.learning.devices import start_cpu_devices

    start_cpu_devices()
    from benchmarks.training import Training, matmul_peak, update_flops
    from marl_pricing.learning.settings import LearnerSettings

    settings = LearnerSettings(
        cell=cell,  # type: ignore[arg-type]
        num_envs=int(num_envs), hidden_size=int(hidden), num_steps=STEPS, num_epochs=EPOCHS,
        num_minibatches=MINIBATCHES,
    )  # fmt: skip
    training = Training(settings)
    training.go_on()
    training.wait()
    _say({"ready": True, "flops": update_flops(training.learner)})
    for line in sys.stdin:
        if line.strip() == "peak":
            _say({"peak": matmul_peak(repeats=5)})
            continue
        begin, worked = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            training.go_on()
        training.wait()
        told = {"seconds": time.perf_counter() - begin, "processor": time.process_time() - worked}
        _say({name: value / int(line) for name, value in told.items()})


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def compare(jaxmarl: Path, python: str, num_envs: int, hidden: int, repeats: int) -> list[str]:
    """Lines of one size: seller steps a second of each program, medians of `repeats` turns."""
    here, size = Path(__file__).parents[1], (str(num_envs), str(hidden))
    with ExitStack() as stack:
        own = {cell: stack.enter_context(Timed((sys.executable, "-c", _OURS, cell, *size), here)) for cell in CELLS}
        theirs = stack.enter_context(Timed((python, str(_THEIRS), str(jaxmarl), *size), jaxmarl))
        programs = {**own, "JaxMARL": theirs}
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        processor: dict[str, list[float]] = {name: [] for name in programs}
        peaks = []
        for _ in range(repeats):
            peaks.append(own[CELLS[0]].ask("peak")["peak"])
            for name, program in programs.items():
                told = program.ask("4")
                seconds[name].append(told["seconds"])
                processor[name].append(told["processor"])
    work, lines = num_envs * STEPS * AGENTS, []
    for name, taken in seconds.items():
        ratio = ratio_of(taken, seconds["JaxMARL"])
        line = f"{num_envs} environments, hidden {hidden}, {name}: {work / median(taken):,.0f} steps/s, "
        line += f"{ratio.middle:.2f} times JaxMARL's ({ratio.low:.2f} to {ratio.high:.2f})"
        line += f", best turns {min(seconds['JaxMARL']) / min(taken):.2f}"
        line += f", {median(processor[name]):.2f} processor seconds an update"
        if name in own:
            shares = [own[name].told["flops"] / one / peak for one, peak in zip(taken, peaks, strict=True)]
            line += f", {100 * median(shares):.0f} % of the matmul peak"
        lines.append(line)
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print a line each."""
    parser = argparse.ArgumentParser("python -m benchmarks peers", description=__doc__)
    parser.add_argument("--jaxmarl", type=Path, required=True, help="folder of a checkout of JaxMARL")
    parser.add_argument("--python", required=True, help="a Python that has what JaxMARL's MAPPO imports")
    parser.add_argument("--repeats", type=int, default=7, help="turns of which medians are printed (default 7)")
    given = parser.parse_args(arguments)
    script = given.jaxmarl / "baselines" / "MAPPO" / "mappo_rnn_mpe.py"
    if not script.is_file():
        parser.error(f"--jaxmarl={str(given.jaxmarl)!r}: holds no baselines/MAPPO/mappo_rnn_mpe.py")
    if given.repeats < 1:
        parser.error(f"--repeats={given.repeats}: accepted is a number of at least 1")
    for num_envs, hidden in SIZES:
        for line in compare(given.jaxmarl.resolve(), given.python, num_envs, hidden, given.repeats):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    run_command(main)

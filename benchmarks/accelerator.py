"""`python -m benchmarks accelerator`: what a GPU or TPU makes of markets and training, in under six minutes.

First whether it computes what it should, then whole updates of both cells, with the share of the matrix-product peak
and what is lost between calls, then market steps a second from 64 to 65,536 markets. What the time does not suffice for
is named and left out. On a CPU it runs too, smaller.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from benchmarks.market import measure as market_rate
from benchmarks.market import stock_market
from benchmarks.table import show
from benchmarks.traffic import session_market
from benchmarks.training import Training, matmul_peak, update_flops
from marl_pricing import market
from marl_pricing.learning.devices import start_cpu_devices
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.presentation import style
from marl_pricing.presentation.output import run_command

SECONDS = 330.0
MARKETS = (64, 256, 1024, 4096, 16_384, 65_536)
CELLS = (("gru", 128), ("mingru", 128), ("gru", 256), ("mingru", 256))
TOGETHER = 8  # updates of one call, beside one update a call
PRECISIONS = ("default", "bfloat16", "float32")
_DRAWS = 4096


@dataclass
class Budget:
    """Seconds that are left; each piece of work is asked for before it begins."""

    seconds: float
    begun: float = field(default_factory=lambda: time.perf_counter())
    longest: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def run(self, kind: str, name: str, work: Callable[[], Any]) -> Any:
        """Do it, unless it could take longer than is left; then None, and its name is kept.

        Args:
            kind: of work, of which a piece is taken to last twice as long as the longest so far.
        """
        begin = time.perf_counter()
        if begin - self.begun + 2.0 * self.longest.get(kind, 0.0) > self.seconds:
            self.left_out.append(name)
            return None
        done = work()
        self.longest[kind] = max(self.longest.get(kind, 0.0), time.perf_counter() - begin)
        return done


def _row(name: str, value: float, unit: str, note: str = "", **others: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "note": note} | others


def correctness() -> list[dict[str, Any]]:
    """Sales of a logit market on this device beside their formula in float64, and drawn ones beside their mean."""
    levels, sessions = np.array([3, 7, 11]), 10.0

    def sales(random_orders: bool, draws: int) -> tuple[np.ndarray, np.ndarray]:
        shape, params = stock_market(3, random_orders=random_orders, rule="none")

        def one(key: jax.Array) -> jax.Array:
            state, _ = market.reset(key, shape, params)
            action = market.Action(jnp.asarray(levels[:, None]))
            return market.step(key, shape, state, action, params)[2].sales.reshape(-1)

        drawn = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), draws))
        return np.asarray(drawn, np.float64), np.linspace(1.1, 2.5, shape.prices.num_levels)

    mean, grid = sales(False, 1)
    weight = np.exp((2.0 - grid[levels]) / 0.25)
    expected = sessions * weight / (1.0 + weight.sum())
    off = float(np.abs(mean[0] / expected - 1.0).max())
    drawn, _ = sales(True, _DRAWS)
    scores = np.abs(drawn.mean(0) - expected) / (drawn.std(0, ddof=1) / math.sqrt(_DRAWS))
    return [
        _row("expected sales against float64", off, "relative", "at most 1e-4", right=off <= 1e-4),
        _row("drawn sales against their mean", float(scores.max()), "standard errors", f"at most 4.5, {_DRAWS:,} draws",
             right=bool(scores.max() <= 4.5)),
    ]  # fmt: skip


def _markets(budget: Budget, sizes: tuple[int, ...], repeats: int) -> Iterator[dict[str, Any]]:
    kinds = {
        "analytic": stock_market(3, random_orders=True, rule="threshold"),
        "bank": session_market("bank", 10, 3),
    }
    for kind, own in kinds.items():
        for size in sizes:
            if size % jax.device_count():
                continue
            steps = int(min(max(8_000_000 / size, 50), 2000))
            name = f"market steps, {kind}, {size:,} markets"
            found = budget.run(
                kind, name, lambda own=own, size=size, steps=steps: market_rate(own, 1, size, steps, repeats)
            )
            if found is not None:
                yield _row(name, found[0], "steps/s", f"compiled in {found[1]:.1f} s", kind=kind, markets=size)


def _training(cell: str, hidden: int, num_envs: int, repeats: int) -> dict[str, Any]:
    """Seconds an update by calls of one and of `TOGETHER`, and the rate of matrix products."""
    training = Training(LearnerSettings(num_envs=num_envs, hidden_size=hidden, cell=cell), TOGETHER)
    seconds: dict[int, list[float]] = {1: [], TOGETHER: []}
    for turn in range(repeats + 1):
        for number in seconds:  # in turns, so that both have the same machine
            taken = training.seconds(TOGETHER, number)
            if turn:
                seconds[number].append(taken)
    alone, together = median(seconds[1]), median(seconds[TOGETHER])
    return {
        "rate": training.seller_steps / together,
        "flops": update_flops(training.learner) / together,
        "lost": max(0.0, 1.0 - together / alone),
        "compiling": training.compile_seconds,
        "memory": training.program.memory / num_envs * 1000,
    }


def _updates(budget: Budget, num_envs: int, peak: float, repeats: int) -> Iterator[dict[str, Any]]:
    for cell, hidden in CELLS:
        name = f"training, {cell}, hidden {hidden}, {num_envs:,} environments"
        found = budget.run(
            "training", name, lambda cell=cell, hidden=hidden: _training(cell, hidden, num_envs, repeats)
        )
        if found is not None:
            share = found["flops"] / peak
            note = (
                f"{100 * share:.0f} % of the matmul peak, {100 * found['lost']:.0f} % lost between calls; "
                f"{found['memory'] / 2**20:,.0f} MiB a 1,000 environments; compiled in {found['compiling']:.1f} s"
            )
            yield _row(name, found["rate"], "seller steps/s", note, share=share, lost=found["lost"])


def memory() -> list[dict[str, Any]]:
    """The most that the first device has held, where it says so."""
    told = jax.local_devices()[0].memory_stats() or {}
    most = told.get("peak_bytes_in_use")
    return [] if most is None else [_row("memory, most at once", most / 2**20, "MiB", "first device")]


def run(seconds: float, sizes: tuple[int, ...], num_envs: int, repeats: int) -> tuple[list[dict[str, Any]], list[str]]:
    """All rows, and the names of what there was no time for.

    Raises:
        SystemExit: where the device does not compute what it should; nothing is measured then.
    """
    budget = Budget(seconds)
    table = correctness()
    if wrong := [row["name"] for row in table if not row["right"]]:
        raise SystemExit(f"error: {', '.join(wrong)}: this device is wrong, so that its speed says nothing")
    peak = matmul_peak()
    table.append(_row("matmul peak", peak / 1e9, "GFLOP/s", "2048 × 2048, all devices"))
    table += _updates(budget, num_envs, peak, repeats)
    table += _markets(budget, sizes, repeats)
    return table + memory(), budget.left_out


@style.styled
def draw(table: list[dict[str, Any]], device: str) -> Figure:
    """Market steps a second against the number of markets."""
    figure = style.new_figure(3.6)
    panel = figure.subplots()
    for number, kind in enumerate(dict.fromkeys(row["kind"] for row in table if "kind" in row)):
        own = [row for row in table if row.get("kind") == kind]
        panel.loglog([row["markets"] for row in own], [row["value"] for row in own], marker="o",
                     color=style.PALETTE[number], label=kind)  # fmt: skip
    panel.set_xlabel("markets")
    panel.set_ylabel("market steps/s")
    panel.set_title(device)
    if panel.lines:
        panel.legend(frameon=False)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, leave it and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks accelerator", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for all of it (default {SECONDS:g})")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median is told (default 3)")
    parser.add_argument("--markets", type=int, nargs="+", default=None, help="numbers of markets")
    parser.add_argument(
        "--envs", type=int, default=None, help="environments that train (default 64; 1024 on an accelerator)"
    )
    told = "of matrix products; what is stored stays float32"
    parser.add_argument("--precision", choices=PRECISIONS, default="default", help=told)
    parser.add_argument("--out", type=Path, default=None, help="folder for accelerator.json and accelerator.svg")
    own = parser.parse_args(arguments)
    for name in ("seconds", "repeats"):
        if not getattr(own, name) > 0:
            parser.error(f"--{name}={getattr(own, name)}: accepted is a number above 0")
    start_cpu_devices()
    large = jax.default_backend() != "cpu"
    sizes = tuple(own.markets or (MARKETS if large else MARKETS[:4]))
    num_envs = own.envs or (1024 if large else 64)
    for name, values in (("markets", sizes), ("envs", (num_envs,))):
        if wrong := [value for value in values if value < 1 or value % jax.device_count()]:
            parser.error(f"--{name}={wrong[0]}: accepted is a multiple of {jax.device_count()}, the number of devices")
    device = f"{jax.device_count()} × {jax.devices()[0].device_kind}"
    print(
        f"{device}, JAX {jax.__version__}, matrix products: {own.precision}; {own.seconds:g} s at most", file=sys.stderr
    )
    with jax.default_matmul_precision(None if own.precision == "default" else own.precision):
        rows, left_out = run(own.seconds, sizes, num_envs, own.repeats)
    show(rows, device)
    if left_out:
        print(f"left out, for want of time: {'; '.join(left_out)}")
    if own.out is not None:
        own.out.mkdir(parents=True, exist_ok=True)
        told = {
            "device": device,
            "jax": jax.__version__,
            "precision": own.precision,
            "rows": rows,
            "left_out": left_out,
        }
        (own.out / "accelerator.json").write_text(json.dumps(told, indent=1) + "\n")
        (own.out / "accelerator.svg").write_bytes(style.svg(draw(rows, device)))
        print(f"{own.out / 'accelerator.json'}, {own.out / 'accelerator.svg'}")
    return 0


if __name__ == "__main__":
    run_command(main)

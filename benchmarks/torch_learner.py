"""The torch learner beside the flax one: whole updates of both, one after the other in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import jax

from benchmarks.market import session_market, stock_market
from marl_pricing.learning.learners import make_learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.torch_mappo.program import TorchProgram
from marl_pricing.learning.training import Schedule

BLOCK = Schedule().report_every  # updates in one call of the training loop
# (market, environments, hidden).
CASES = (
    ("bank sessions", 64, 64),
    ("no sessions", 64, 64),
    ("no sessions", 256, 64),
    ("no sessions", 64, 128),
)


def _stepper(program: Program, params: Any) -> tuple[Callable[[], None], float]:
    """(a function that takes a block of updates, seconds until the first one was over)."""
    stacked = program.stack(params)
    begin = time.perf_counter()
    held = [program.init(stacked)]
    step = program.compiled(held[0], stacked, BLOCK)

    def update() -> None:
        held[0] = jax.block_until_ready(step(held[0], stacked)[0])

    update()
    return update, time.perf_counter() - begin


def rows(
    repeats: int = 5, cases: Sequence[tuple[str, int, int]] = CASES, *, compiled: bool = False
) -> list[dict[str, Any]]:
    """Seller steps a second: 128 steps, 4 epochs, 4 minibatches, 3 sellers, GRU, float32, as `train.py` runs them."""
    markets = {"bank sessions": session_market(), "no sessions": stock_market(3, random_orders=True, rule="threshold")}
    table = []
    for market, num_envs, hidden in cases:
        own = markets[market]
        name = "torch compiled" if compiled else "torch"
        kinds: dict[str, tuple[type[Program], dict[str, Any]]] = {
            "flax": (Program, {}),
            name: (TorchProgram, {"algorithm": "torch_mappo", "compile": compiled}),
        }
        updates, seconds = {}, {}
        for name, (program, given) in kinds.items():
            settings = LearnerSettings(num_envs=num_envs, hidden_size=hidden, **given)
            updates[name], seconds[name] = _stepper(program(make_learner(settings, *own)), own.params)
        times: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(repeats):
            for name, update in updates.items():
                begin = time.perf_counter()
                update()
                times[name].append(time.perf_counter() - begin)
        for name in kinds:
            share = median(flax / mine for flax, mine in zip(times["flax"], times[name], strict=True))
            table.append(
                {
                    "name": f"{name}: {market}, {num_envs} environments, hidden {hidden}",
                    "value": BLOCK * num_envs * 128 * own.shape.num_sellers / median(times[name]),
                    "unit": "seller steps/s",
                    "compile_seconds": max(seconds[name] - median(times[name]), 0.0),
                    "note": "" if name == "flax" else f"{share:.2f} times flax",
                }
            )
    return table

"""What a robust critic costs: whole updates with candidate worlds against plain ones, side by side in one run."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import jax

from benchmarks.traffic import session_market
from marl_pricing.learning.learners import make_learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.robust import Ambiguity

CANDIDATES = (1, 3, 5, 9, 17)


def _interval(count: int) -> Ambiguity:
    """Shares of agents within 0.2 of the nominal; one candidate is the nominal itself."""
    offsets = [0.2 * (2 * k / (count - 1) - 1) if count > 1 else 0.0 for k in range(count)]
    return Ambiguity("interval", "expected", 0.2, tuple(offsets), True, (1.0 / count,) * count)


def rows(repeats: int = 5) -> list[dict[str, Any]]:
    """Bank traffic, GRU 64, 64 environments, 128 steps, 4 epochs, 4 minibatches, 3 sellers; ratios of medians."""
    own = session_market("bank", 60, 3)
    settings = LearnerSettings(hidden_size=64)
    programs: dict[int, tuple[Any, Any, Any, float]] = {}
    for count in (0, *CANDIDATES):
        learner = make_learner(settings, *own, _interval(count) if count else None)
        program = Program(learner)
        params = program.stack(own.params)
        begin = time.perf_counter()
        state = program.init(params)
        compiled = program.compiled(state, params, 1)
        seconds = time.perf_counter() - begin
        state, _ = jax.block_until_ready(compiled(state, params))
        programs[count] = (compiled, params, state, seconds)
    times: dict[int, list[float]] = {count: [] for count in programs}
    for _ in range(max(3, 3 * repeats)):
        for count, (compiled, params, state, seconds) in programs.items():  # one after the other: the machine drifts
            begin = time.perf_counter()
            state, _ = jax.block_until_ready(compiled(state, params))
            times[count].append(time.perf_counter() - begin)
            programs[count] = (compiled, params, state, seconds)
    steps = settings.steps_per_update * own.shape.num_sellers
    table: list[dict[str, Any]] = [
        {
            "name": "robust: the plain learner",
            "value": steps / median(times[0]),
            "unit": "seller steps/s",
            "compile_seconds": programs[0][3],
            "note": f"{1e3 * median(times[0]):.0f} ms an update",
        }
    ]
    for count in CANDIDATES:
        ratio = median(a / b for a, b in zip(times[count], times[0], strict=True))
        table.append(
            {
                "name": f"robust: {count} candidate{'s' if count > 1 else ''}",
                "value": ratio,
                "unit": "times the plain update",
                "compile_seconds": programs[count][3],
                "note": f"{1e3 * median(times[count]):.0f} ms an update",
            }
        )
    return table

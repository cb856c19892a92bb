"""One program of a checkout, timed in turns (see `against`): it runs with that checkout's package and benchmarks.

It asks nothing of them that checkouts of long ago lack: `python against_case.py CHECKOUT CASE`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

# What is timed: market rows, rows with sessions, training, the PettingZoo wrapper.
CASES = (
    "training, hidden 64",
    "training, hidden 128",
    "training, hidden 64, five candidate worlds",
    "market, 2 sellers, expected demand",
    "market, 2 sellers, Poisson demand, replenishment",
    "market, 8 sellers, Poisson demand, replenishment",
    "sessions, bank, 1 candidate",
    "sessions, bank, 5 candidates",
    "PettingZoo wrapper, 2 sellers",
)


def _training(hidden: int, candidates: int) -> Callable[[], None]:
    import jax

    from benchmarks import robust
    from benchmarks.market import stock_market
    from benchmarks.traffic import session_market
    from marl_pricing.learning.parallel import Program
    from marl_pricing.learning.settings import LearnerSettings

    try:
        from marl_pricing.learning.learners import make_learner
    except ImportError:  # a checkout with one learner
        from marl_pricing.learning.mappo import make_learner  # type: ignore[assignment]
    market = session_market("bank", 60, 3) if candidates else stock_market(3, random_orders=True, rule="threshold")
    settings = LearnerSettings(num_envs=64, hidden_size=hidden)
    learner = make_learner(settings, *market, robust._interval(candidates) if candidates else None)
    program = Program(learner)
    params = program.stack(market.params)
    state = program.init(params)
    step = program.compiled(state, params, 1)

    def play() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(step(state, params))

    return play


def _markets(name: str) -> Callable[[], None]:
    import jax

    from benchmarks.market import make_run, stock_market
    from benchmarks.traffic import session_market

    steps, candidates = 500, 1
    if name.startswith("sessions"):
        steps, candidates = 50, int(name.split()[2])
        own = session_market("bank", 10, 3)
    else:
        rule = "threshold" if name.endswith("replenishment") else "none"
        own = stock_market(int(name.split()[1]), random_orders="Poisson" in name, rule=rule)
    run, _ = make_run(own, 1024, steps, candidates)
    return lambda: run(jax.random.key(0), own.params).block_until_ready()


def _wrapper() -> Callable[[], None]:
    import numpy as np

    import marl_pricing
    from benchmarks.market import stock_market

    env = marl_pricing.parallel_env(stock_market(2, random_orders=True, rule="threshold"))
    levels = np.random.default_rng(0).integers(env.shape.prices.num_levels, size=(2000, 2)).tolist()
    agents = env.possible_agents

    def play() -> None:
        env.reset(seed=0)
        for chosen in levels:
            env.step(dict(zip(agents, chosen, strict=True)))
            if not env.agents:
                env.reset()

    return play


def program_of(case: str) -> Callable[[], None]:
    """The work of one turn, compiled and run once."""
    if case.startswith("training"):
        play = _training(128 if "128" in case else 64, 5 if "worlds" in case else 0)
    else:
        play = _wrapper() if case.startswith("PettingZoo") else _markets(case)
    play()
    return play


def main() -> None:
    """Arguments: a checkout's folder, a case. A line in, how often; seconds of one time out."""
    sys.path[0] = sys.argv[1]  # the checkout's package and benchmarks, not those beside this file
    from marl_pricing.learning.devices import start_cpu_devices

    start_cpu_devices()
    play = program_of(sys.argv[2])
    begin = time.perf_counter()
    play()
    print(json.dumps({"ready": True, "seconds": time.perf_counter() - begin}), flush=True)
    for line in sys.stdin:
        begin, worked = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            play()
        told = {"seconds": time.perf_counter() - begin, "processor": time.process_time() - worked}
        print(json.dumps({name: value / int(line) for name, value in told.items()}), flush=True)


if __name__ == "__main__":
    main()

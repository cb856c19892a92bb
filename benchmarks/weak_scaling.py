"""`python -m benchmarks.weak_scaling`: what eight devices do beside their own share of an update.

An update of N environments on one device is compiled, and one of eight times as many on eight virtual ones, each in a
process of its own. Both programs are what one device carries out, so that they are compared instruction by instruction,
whatever the machine's clock says: the operations (XLA's own count of floats), and the instructions by their kind.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from marl_pricing.presentation.output import run_command

COMMUNICATION = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute", "partition-id")
DEVICES = 8
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.\-]+ = .*?[\]})] ([a-z][a-z\-]*)\(", re.MULTILINE)


@dataclass(frozen=True)
class Work:
    """What one device carries out in an update.

    Attributes:
        flops: operations on floats.  instructions: of the compiled program by kind.
    """

    flops: float
    instructions: Mapping[str, int]

    @property
    def total(self) -> int:
        """All instructions."""
        return sum(self.instructions.values())


def instructions_of(program: str) -> Counter[str]:
    """Instructions of a compiled program's text, by kind, fused ones and those of loops' bodies each once."""
    return Counter(_INSTRUCTION.findall(program))


@dataclass(frozen=True)
class Scaling:
    """One device's program among several beside that of one alone.

    Attributes:
        work: all devices' operations together, as multiples of one's alone.
        outside: the share of instructions that are no part of the computation: what devices tell each other, and
            whatever else there are more of than in one device's program.
    """

    work: float
    outside: float
    communication: int


def compare(alone: Work, among: Work, devices: int) -> Scaling:
    """What several devices do beside one device's own share.

    Args:
        alone: of one device with its environments.  among: of one of several, each with as many.
    """
    told = sum(among.instructions.get(kind, 0) for kind in COMMUNICATION)
    kinds = (alone.instructions.keys() | among.instructions.keys()) - set(COMMUNICATION)
    more = sum(max(0, among.instructions.get(kind, 0) - alone.instructions.get(kind, 0)) for kind in kinds)
    return Scaling(devices * among.flops / alone.flops, (told + more) / among.total, told)


def work_here(num_envs: int, hidden: int) -> Work:
    """Of an update of `num_envs` environments on all devices of this process."""
    import jax.numpy as jnp

    from benchmarks.market import stock_market
    from marl_pricing.learning.learners import make_learner
    from marl_pricing.learning.parallel import Program
    from marl_pricing.learning.settings import LearnerSettings

    own = stock_market(3, random_orders=True, rule="threshold")
    settings = LearnerSettings(num_envs=num_envs, hidden_size=hidden, num_steps=32)
    program = Program(make_learner(settings, *own))
    params = program.stack(own.params)
    compiled = program._train.lower(program.abstract_state(params), params, jnp.int32(1), 1).compile()
    return Work(compiled.cost_analysis()["flops"], instructions_of(compiled.as_text()))


def work(devices: int, num_envs: int, hidden: int) -> Work:
    """The same in a process with so many virtual devices."""
    asked = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    code = "import sys; from benchmarks import weak_scaling as own; own.tell(*map(int, sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(num_envs), str(hidden)], cwd=Path(__file__).parents[1],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": asked.strip()}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return Work(**json.loads(done.stdout.splitlines()[-1]))


def tell(num_envs: int, hidden: int) -> None:
    """Print what `work` reads."""
    own = work_here(num_envs, hidden)
    print(json.dumps({"flops": own.flops, "instructions": own.instructions}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile both, print a line each and how they compare; 1 where more than a tenth lies outside."""
    parser = argparse.ArgumentParser("python -m benchmarks.weak_scaling", description=__doc__)
    parser.add_argument("--envs", type=int, default=16, help="environments a device (default 16)")
    parser.add_argument("--hidden", type=int, default=64, help="hidden units (default 64)")
    given = parser.parse_args(arguments)
    if given.envs < 4 or given.envs % 4:
        parser.error(f"--envs={given.envs}: accepted is a multiple of 4, the number of minibatches")
    alone, among = (work(devices, devices * given.envs, given.hidden) for devices in (1, DEVICES))
    for name, own in (("1 device", alone), (f"each of {DEVICES} devices", among)):
        print(f"{name}: {own.flops:,.0f} operations, {own.total:,} instructions")
    found = compare(alone, among, DEVICES)
    print(
        f"work of all: {found.work:.2f} times one device's; {100 * found.outside:.1f} % of instructions outside the "
        f"computation, {found.communication} of them between devices"
    )
    return int(found.outside > 0.1 or not 0.95 * DEVICES <= found.work <= 1.05 * DEVICES)


if __name__ == "__main__":
    run_command(main)

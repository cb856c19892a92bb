"""The memory that this process may have, and what a compiled program will take of it."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path
from typing import Any

from marl_pricing.learning.devices import control_groups
from marl_pricing.learning.runs import RunError

# Of a machine's memory other processes and the interpreter itself take some.
_SHARE = 0.9


def machine_memory(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Bytes: what the machine has, or less where a container or a limit of the shell (`ulimit -v`) allows less.

    Args:
        groups: where control groups are mounted.  own: the file that names this process's.
    """
    found: list[float] = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    found += [_limit(folder) for folder in control_groups(groups, own, "memory")]
    found += [
        soft
        for soft, _ in (resource.getrlimit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
        if soft != resource.RLIM_INFINITY
    ]
    return min(found)


def device_memory() -> float:
    """Bytes that JAX's devices have together: those of accelerators, or the machine's where JAX runs on CPUs."""
    import jax

    if jax.default_backend() == "cpu":
        return machine_memory()
    told = [device.memory_stats() or {} for device in jax.local_devices()]
    sizes = [float(own["bytes_limit"]) for own in told if "bytes_limit" in own]
    return sum(sizes) if len(sizes) == len(told) else math.inf


def say_bytes(size: float) -> str:
    """A size in words, as 3.2 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB", "EB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} ZB" if size < 1e6 else f"{float(size):.1e} ZB"


def program_memory(compiled: Any) -> float:
    """Bytes that a compiled program takes on all its devices of this process; 0 where the backend does not tell."""
    import jax

    told = compiled.memory_analysis()
    if told is None:
        return 0.0
    size = told.temp_size_in_bytes + told.argument_size_in_bytes + told.output_size_in_bytes - told.alias_size_in_bytes
    devices = max((len(own.addressable_devices) for own in jax.tree.leaves(compiled.input_shardings)), default=1)
    return float(size * devices)


def refuse_large(compiled: Any, what: str) -> None:
    """Refuse a compiled program whose arrays do not fit into the devices' memory, before it runs.

    Args:
        compiled: as `jax.stages.Compiled`.  what: it is, in words.

    Raises:
        RunError: with what it takes and what there is.
    """
    size, there = program_memory(compiled), device_memory()
    if size > _SHARE * there:
        raise RunError(
            f"{what} takes {say_bytes(size)} of memory, and there are {say_bytes(there)} here: accepted are smaller "
            "sizes, such as learner.num_envs, learner.num_steps, learner.hidden_size or market.num_products"
        )


def _limit(folder: Path) -> float:
    """Bytes that a control group allows; infinite where it sets no limit."""
    for name in ("memory.max", "memory.limit_in_bytes"):  # versions 2 and 1
        try:
            text = (folder / name).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            continue
        return float(text) if text.isdigit() and int(text) > 0 else math.inf
    return math.inf

"""The memory that devices have, and what a compiled program will take of it."""

from __future__ import annotations

import math
from typing import Any

from marl_pricing.learning.runs import RunError
from marl_pricing.machine import machine_memory, say_bytes

# Of a machine's memory other processes and the interpreter itself take some.
_SHARE = 0.9


def device_memory() -> float:
    """Bytes that JAX's devices have together: those of accelerators, or the machine's where JAX runs on CPUs."""
    import jax

    if jax.default_backend() == "cpu":
        return machine_memory()
    told = [device.memory_stats() or {} for device in jax.local_devices()]
    sizes = [float(own["bytes_limit"]) for own in told if "bytes_limit" in own]
    return sum(sizes) if len(sizes) == len(told) else math.inf


def program_memory(compiled: Any) -> float:
    """Bytes that a compiled program takes on all its devices of this process; 0 where the backend does not tell."""
    import jax

    told = compiled.memory_analysis()
    if told is None:
        return 0.0
    size = told.temp_size_in_bytes + told.argument_size_in_bytes + told.output_size_in_bytes - told.alias_size_in_bytes
    devices = max((len(own.addressable_devices) for own in jax.tree.leaves(compiled.input_shardings)), default=1)
    return float(size * devices)


def refuse_large(compiled: Any, what: str) -> float:
    """Refuse a compiled program whose arrays do not fit into the devices' memory, before it runs; else its bytes.

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
    return size

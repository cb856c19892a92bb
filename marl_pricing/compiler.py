"""Options of the compiler for one program; XLA_FLAGS are for a whole process, and end it where one is unknown."""

from __future__ import annotations

import os
from functools import cache

import jax

LEVEL = "xla_backend_optimization_level"
EMITTERS = "xla_cpu_use_fusion_emitters"


def for_one_run(level: int) -> dict[str, int]:
    """Of a program that runs once: its user waits for the compiler, not for it. On a CPU the newer emitters, which
    compile every kernel by itself, take twice as long as the older ones, and give the same numbers.

    Args:
        level: LLVM's, 0 to 3.
    """
    plain = jax.default_backend() == "cpu" and EMITTERS not in os.environ.get("XLA_FLAGS", "") and _has_choice()
    return {LEVEL: level} | ({EMITTERS: False} if plain else {})


@cache
def _has_choice() -> bool:
    """Newer compilers always have the emitters, and know no such option."""
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options={EMITTERS: False})
    except jax.errors.JaxRuntimeError:
        return False
    return True

"""Flags of the compiler, of which one that it does not know would end the process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata, util

# An evaluation compiles many programs and runs each for seconds: machine code that is made fast is what one waits for.
QUICK = "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
_PROBE = "from jaxlib import xla_client; xla_client.make_cpu_client()"


def compile_quickly(flags: str = QUICK) -> None:
    """Set XLA_FLAGS for a process of many short programs on CPUs, before JAX starts.

    XLA ends a process whose XLA_FLAGS have one that it does not know. So they are tried in a process of its own first;
    where they cannot be had it is said, and nothing is set. Nothing is set either where XLA_FLAGS are given, or where
    JAX may start an accelerator, whose library reads the same flags.
    """
    if "XLA_FLAGS" in os.environ or _may_have_accelerator():
        return
    if _known(flags):
        os.environ["XLA_FLAGS"] = flags
    else:
        print(f"note: this jaxlib does not take {flags}; programs compile more slowly", file=sys.stderr)


def _may_have_accelerator() -> bool:
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return False
    named = any(util.find_spec(name) is not None for name in ("libtpu", "jax_plugins"))
    return named or bool(metadata.entry_points(group="jax_plugins"))


def _known(flags: str) -> bool:
    """Whether a process with these flags starts."""
    tried = subprocess.run(
        [sys.executable, "-c", _PROBE], env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, check=False
    )
    return tried.returncode == 0

"""The markets that every client is tried with: one of every form of action."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import marl_pricing
from marl_pricing.environments import PricingEnv
from tests.environments.kinds import KINDS
from tests.markets import make
from tests.processes import ROOT

# By space: Discrete, MultiDiscrete, MultiDiscrete with masks (two heads and four), Box.
FORMS = ("discrete", "several products", "own orders", "several products, own orders", "continuous")
MASKED = ("own orders", "several products, own orders")


def env_of(form: str, **more: Any) -> PricingEnv:
    """A market of two sellers for a form of action."""
    return marl_pricing.parallel_env(make(**KINDS[form]), **more)


def said(program: str, seconds: int = 300) -> subprocess.CompletedProcess[str]:
    """What a program says that is a file of its own: processes that are spawned import it again. It must not hang."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.clients.programs.{program}"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds,
    )  # fmt: skip

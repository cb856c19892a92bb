"""What the two doors, train.py and evaluate.py, share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def revision() -> str:
    """Git revision of this code, with a mark where files differ from it; `unknown` outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit.stdout.strip()


@contextmanager
def say_errors() -> Iterator[None]:
    """A fault of the user's becomes lines on stderr and exit status 2; a fault of ours keeps its traceback."""
    from marl_pricing.config import ConfigError
    from marl_pricing.learning.runs import RunError

    try:
        yield
    except (ConfigError, RunError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(2) from None

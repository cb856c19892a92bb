"""How much of what could be tried is tried at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def at_once(values: Iterable[Any], quick: int = 1) -> list[Any]:
    """Parameters of which the first `quick` are tried by `make test`, the others by `make verify`."""
    told = []
    for number, value in enumerate(values):
        own = value if isinstance(value, tuple) else (value,)
        told.append(pytest.param(*own, marks=[] if number < quick else [pytest.mark.slow]))
    return told

"""A library that only some commands need and that is not installed: one line that says what to install."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires

_PACKAGE = "marl-pricing"
_NEED = re.compile(r"([A-Za-z0-9_.-]+).*extra == ['\"]([a-z]+)['\"]")


def extra_of(module: str) -> str | None:
    """The extra of this package that brings a top-level module; the one that brings least where several do."""
    try:
        needs = requires(_PACKAGE) or []
    except PackageNotFoundError:  # run from a folder, not installed
        return None
    found: dict[str, set[str]] = {}
    for need in needs:
        parts = _NEED.match(need)
        if parts and parts[1] != _PACKAGE:
            found.setdefault(parts[2], set()).add(parts[1].lower().replace("-", "_"))
    able = [extra for extra, names in found.items() if module.lower() in names and extra != "dev"]
    return min(able, key=lambda extra: len(found[extra])) if able else None


@contextmanager
def said_missing() -> Iterator[None]:
    """Inside, a module of an extra that is not there ends the process with a line and status 2."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        extra = extra_of(name)
        if extra is None:
            raise
        print(f"error: {name} is not installed: pip install '{_PACKAGE}[{extra}]'", file=sys.stderr)
        raise SystemExit(2) from None

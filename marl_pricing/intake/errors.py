"""What is said of a file that cannot be read as it is."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 60  # characters of a value in a message


class IntakeError(ValueError):
    """A file that cannot be read. One line: the file, if there is one the line, the value, a setting that helps."""


def cut(text: str, most: int = _MOST) -> str:
    """A text on one line, shortened."""
    flat = " ".join(str(text).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def shown(value: object, most: int = _MOST) -> str:
    """A value as a message quotes it."""
    return repr(cut(str(value), most))


def listed(values: Sequence[object], most: int = 12) -> str:
    """Names for a message, cut after a few."""
    told = ", ".join(cut(str(value), 30) for value in values[:most])
    return told + (f" and {len(values) - most} more" if len(values) > most else "")

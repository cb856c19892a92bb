"""A verb of a command: settings in, lines out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from marl_pricing.config.errors import Settings


class Verb(NamedTuple):
    """A verb: what it is for, its settings, those that have to be given as they are shown, and what it does."""

    purpose: str
    settings: Callable[[], type[Settings]]
    shown: dict[str, str]
    texts: Sequence[str]
    carry_out: Callable[[Any], Iterable[str]]

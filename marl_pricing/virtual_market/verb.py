"""A verb of a command: settings in, lines out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from marl_pricing.config.errors import Settings
from marl_pricing.doors import say_errors
from marl_pricing.presentation import pulse

Part = TypeVar("Part", bound=Settings)


class Verb(NamedTuple):
    """A verb: what it is for, its settings, those that have to be given as they are shown, and what it does."""

    purpose: str
    settings: Callable[[], type[Settings]]
    shown: dict[str, str]
    texts: Sequence[str]
    carry_out: Callable[[Any], Iterable[str]]

    def run(self, settings: Settings) -> None:
        """Carry it out and print what it finds; a fault of the user's is lines on standard error and exit status 2."""
        from marl_pricing.intake import IntakeError
        from marl_pricing.virtual_market.errors import GraphError, LogError, ModelError

        pulse.doing(self.purpose)
        with say_errors(IntakeError, LogError, GraphError, ModelError):
            for line in self.carry_out(settings):
                print(line, flush=True)


def part_of(own: Any, kind: type[Part]) -> Part:
    """The settings of one kind among those that a verb was told."""
    return kind(**{name: getattr(own, name) for name in kind.model_fields})

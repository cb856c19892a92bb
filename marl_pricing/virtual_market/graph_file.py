"""A YAML text with the line of each of its entries, so that what is refused is refused where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from marl_pricing.intake import IntakeError, plain, shown
from marl_pricing.virtual_market.errors import GraphError


@dataclass(frozen=True)
class Place:
    """An entry of a YAML file: its value, its line, and its place among the others."""

    path: str
    line: int
    name: str
    value: Any
    node: yaml.Node

    def refuse(self, told: str) -> NoReturn:
        """Raise GraphError for this entry."""
        raise GraphError(f"{self.path}:{self.line}: {self.name}{told}")

    def pairs(self, accepted: str) -> Iterator[tuple[str, Place]]:
        """(name, entry) of a mapping, whose names come once each."""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse(f"={shown(self.value)}: accepted is {accepted}")
        seen: set[str] = set()
        for key, node in self.node.value:
            name = str(key.value)
            place = self._inner(name, node, key.start_mark.line + 1)
            if name in seen:
                place.refuse(": comes twice")
            seen.add(name)
            yield name, place

    def items(self, accepted: str) -> Iterator[Place]:
        """Entries of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse(f"={shown(self.value)}: accepted is {accepted}")
        for number, node in enumerate(self.node.value):
            place = self._inner(f"[{number}]", node, node.start_mark.line + 1)
            yield Place(place.path, place.line, f"{self.name}[{number}]", place.value, place.node)

    def text(self, accepted: str) -> str:
        """A text."""
        if not isinstance(self.value, str):
            self.refuse(f"={self.value!r}: accepted is {accepted}")
        return self.value

    def number(self, accepted: str, whole: bool = False) -> float:
        """A finite number."""
        fine = isinstance(self.value, int if whole else (int, float)) and not isinstance(self.value, bool)
        if not fine or not abs(self.value) < 1e38:
            self.refuse(f"={self.value!r}: accepted is {accepted}")
        return self.value

    def _inner(self, name: str, node: yaml.Node, line: int) -> Place:
        return Place(self.path, line, f"{self.name}.{name}" if self.name else name, _value(node), node)


def _value(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def read_places(path: Path | str) -> Place:
    """The whole of a YAML file as an entry.

    Raises:
        GraphError: for a file that is not there or is no YAML of plain values.
    """
    try:
        text = plain.read_text(path, plain.MOST_YAML)
        plain.parse_yaml(text, str(path))  # refuses what is too large, too deep, or more than plain values
    except IntakeError as error:
        raise GraphError(str(error)) from None
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    if node is None:
        raise GraphError(f"{path}:1: the file is empty; accepted is metadata: with graph: and columns:")
    return Place(str(path), 1, "", _value(node), node)

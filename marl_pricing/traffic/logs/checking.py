"""`--check` of a log: the mapping that reads it as it was read, guessed from the columns' words where it has to be."""

from __future__ import annotations

from pathlib import Path

import yaml

from marl_pricing.intake.names import LOG_WORDS, suggest
from marl_pricing.presentation.files import write_atomically
from marl_pricing.traffic.logs.detecting import columns_of, detect
from marl_pricing.traffic.logs.reading import Log
from marl_pricing.traffic.logs.schemas import LogError, told_mapping


def guessed(path: Path) -> dict | None:
    """A mapping by the words of a file's columns; None where it is of a known layout or the words say too little.

    A column of labels is guessed too, but which labels are people's is not: such a log is read without them.
    """
    if not path.is_file():
        return None
    found = detect(path)
    titles = columns_of(path, found)
    if set(found.needed) <= set(titles):
        return None
    words = {name: own for name, own in LOG_WORDS.items() if name != "label"}
    own = suggest(titles, words)
    return own if {"session", "time", "event"} <= set(own) else None


def write_mapping(path: Path, log: Log, guess: bool) -> str:
    """Write FILE.mapping.yaml, and say so.

    Raises:
        LogError: where another mapping is there already.
    """
    assert log.schema is not None
    text = "# How --check read the log; see docs/import.md.\n"
    text += yaml.safe_dump(
        told_mapping(log.schema, columns_of(path, log.schema)), sort_keys=False, allow_unicode=True, width=110
    )
    target = path.with_name(f"{path.name}.mapping.yaml")
    if target.exists() and target.read_bytes() != text.encode():
        raise LogError(f"{target}: is there already and says something else; move it away first")
    write_atomically(target, text)
    return f"mapping: {target}" + (
        ", columns GUESSED from their names: look at them before you use it" if guess else ""
    )

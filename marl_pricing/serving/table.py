"""A CSV that a shop is given, row by row: a catalogue, a pool of goals."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from marl_pricing.intake import IntakeError, plain


def read_rows(path: str | Path, needed: Sequence[str], more: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, for messages; texts by column) of each row; a column that a row lacks is None.

    Args:
        needed: columns.  more: what is said of others.

    Raises:
        IntakeError: naming the file and the line, or the column that is missing.
    """
    try:
        text = plain.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise IntakeError(f"{path}: accepted is a CSV in UTF-8") from None
    rows = csv.DictReader(io.StringIO(text))
    names = [name or "" for name in rows.fieldnames or []]
    if missing := [name for name in needed if name not in names]:
        raise IntakeError(f"{path}: there is no column {missing[0]}: accepted are {', '.join(needed)}{more}")
    try:
        for row in rows:
            yield f"{path}, line {rows.line_num}", row
    except csv.Error as error:
        raise IntakeError(f"{path}, line {rows.line_num}: {error}") from None

"""The blocks of README, docs and examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.processes import ROOT

# What begins with _ was made by a build.
_WRITTEN = [
    page for page in sorted((ROOT / "docs").rglob("*.md")) if not page.relative_to(ROOT).parts[1].startswith("_")
]
PAGES = [ROOT / "README.md", *_WRITTEN, *sorted((ROOT / "examples").rglob("*.md"))]
_FENCE = re.compile(r"^(`{3,})\s*(\S*)")


class Block(NamedTuple):
    """What stands between two fences, and what is said behind the first."""

    page: str
    language: str
    text: str


def blocks_of(path: Path) -> Iterator[Block]:
    """The blocks of a page, in order.

    Raises:
        ValueError: for a block that does not end.
    """
    fence, language, lines = "", "", []
    for line in path.read_text("utf-8").splitlines():
        found = _FENCE.match(line)
        if not fence and found:
            fence, language, lines = found[1], found[2], []
        elif fence and line.strip() == fence:
            yield Block(path.relative_to(ROOT).as_posix(), language, "\n".join(lines) + "\n")
            fence = ""
        elif fence:
            lines.append(line)
    if fence:
        raise ValueError(f"{path}: a block does not end")


BLOCKS = [block for page in PAGES for block in blocks_of(page)]

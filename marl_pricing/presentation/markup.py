"""Names that people gave, put into texts that are read as markup: they stay what they are."""

from __future__ import annotations

import re
from html import escape

# A line below between letters is one; at a word's end it would begin or end what is emphasised.
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def markdown(text: str) -> str:
    """A text for Markdown, on one line, in a cell of a table or not."""
    return _SPECIAL.sub(r"\\\g<0>", escape(" ".join(text.split()), quote=False))


def markdown_code(text: str) -> str:
    """A text as code of Markdown; a bar in it does not end a table's cell."""
    flat = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", flat)), default=0))
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}"

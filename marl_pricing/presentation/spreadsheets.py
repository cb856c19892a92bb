"""Tables that people open in a spreadsheet: names are names there, never formulas."""

from __future__ import annotations

import pandas as pd

# What a spreadsheet begins a formula with (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_name(text: str) -> str:
    """A text that no spreadsheet takes for a formula: one that begins like one gets an apostrophe in front."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_of(table: pd.DataFrame) -> bytes:
    """A table as CSV in UTF-8, its texts as `as_name`; numbers as they are."""
    own = table.copy()
    for name in own.columns:
        if not pd.api.types.is_numeric_dtype(own[name]):
            own[name] = own[name].map(lambda cell: as_name(cell) if isinstance(cell, str) else cell)
    return own.to_csv(index=False).encode()

"""The table that benchmarks print, and one row of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def console() -> Console:
    """Where tables are printed: a file or a pipe has no width of its own."""
    return Console() if sys.stdout.isatty() else Console(width=150)


def number(value: float) -> str:
    """A value as the table shows it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Print rows: `name`, `value`, `unit`, `note`, and `compile_seconds` and `peak_mib` where any row has them."""
    columns = {"compile": "compile_seconds", "peak memory": "peak_mib"}
    shown = {name: key for name, key in columns.items() if any(key in row for row in rows)}
    table = Table("what", "median", "unit", *shown, "note", title=title)
    for column in table.columns[1:2] + table.columns[3:-1]:
        column.justify = "right"
    units = {"compile_seconds": lambda x: f"{x:.1f} s", "peak_mib": lambda x: f"{x:,.0f} MiB"}
    for row in rows:
        more = [units[key](row[key]) if key in row else "" for key in shown.values()]
        table.add_row(row["name"], number(row["value"]), row["unit"], *more, row["note"])
    console().print(table)

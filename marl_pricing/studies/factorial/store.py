"""What a factorial study keeps: a Parquet file of rows for every group that has ended, whole or not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from marl_pricing.learning.runs import RunError
from marl_pricing.presentation.files import replace_with
from marl_pricing.studies.factorial.cells import Cell, Group

ROWS, TABLE = "rows", "runs.parquet"
FACTORS = Cell._fields


def path_of(folder: Path, group: Group) -> Path:
    """Where the rows of a group lie."""
    return folder / ROWS / f"group_{group.number:04d}.parquet"


def table_of(group: Group, rows: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """One row a run: its number, factors and seed, then its measures."""
    return pd.DataFrame(
        [
            {"run": run.number, **run.cell._asdict(), "seed": run.seed, **row}
            for run, row in zip(group.runs, rows, strict=True)
        ]
    )


def write(folder: Path, group: Group, rows: Sequence[Mapping[str, float]]) -> None:
    """Keep the rows of a group.

    Raises:
        RunError: for numbers that are not finite, naming the run. OSError: naming the file, where it cannot be written.
    """
    table = table_of(group, rows)
    for name in table.columns.difference(["algorithm"]):
        bad = table[~table[name].abs().lt(float("inf"))]
        if len(bad) or (name == "train_finite" and (table[name] < 1).any()):
            first = (bad if len(bad) else table[table[name] < 1]).iloc[0]
            told = ", ".join(f"{factor}={first[factor]}" for factor in (*FACTORS, "seed"))
            raise RunError(
                f"{told}: {name} is {first[name]}: its training did not stay finite; nothing of its group is kept"
            )
    replace_with(path_of(folder, group), lambda path: table.to_parquet(path, index=False))


def read(folder: Path, group: Group) -> pd.DataFrame | None:
    """The rows of a group; None where it has not ended.

    Raises:
        RunError: for a file that cannot be read, or holds other runs.
    """
    path = path_of(folder, group)
    if not path.is_file():
        return None
    try:
        table = pd.read_parquet(path)
        found = list(zip(table["run"], *(table[name] for name in FACTORS), table["seed"], strict=True))
    except Exception as error:  # whatever the library meets in a broken file
        raise RunError(
            f"{path}: is no table of runs ({type(error).__name__}); take it away, and its group is done again"
        ) from None
    if found != [(run.number, *run.cell, run.seed) for run in group.runs]:
        raise RunError(
            f"{path}: holds other runs than group {group.number} of this study; take it away, and it is done again"
        )
    return table


def check_writable(folder: Path) -> None:
    """Refuse a folder that nothing can be written to, before anything is computed.

    Raises:
        OSError: naming it.
    """
    (folder / ROWS).mkdir(parents=True, exist_ok=True)
    probe = folder / ROWS / "group_probe"
    replace_with(probe, lambda path: path.write_bytes(b""))
    probe.unlink()

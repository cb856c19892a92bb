"""What a factorial study keeps: a Parquet file of rows for every group that has ended, whole or not there.

They lie in the study's folder, and in a second place too where one is given: a folder, or a URL of fsspec, such as a
bucket. What is found there and not here is fetched.
"""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from marl_pricing.config import ConfigError
from marl_pricing.config.errors import parse_yaml
from marl_pricing.config.study import STUDY, differences
from marl_pricing.learning.runs import RunError
from marl_pricing.presentation.files import replace_with, write_atomically
from marl_pricing.studies.factorial.cells import Cell, Group

ROWS, TABLE = "rows", "runs.parquet"
PLACE = "store"  # of provenance.json: the second place
FACTORS = Cell._fields


def table_of(group: Group, rows: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """One row a run: its number, factors and seed, then its measures.

    Raises:
        RunError: for numbers that are not finite, naming the run.
    """
    table = pd.DataFrame(
        [
            {"run": run.number, **run.cell._asdict(), "seed": run.seed, **row}
            for run, row in zip(group.runs, rows, strict=True)
        ]
    )
    for name in table.columns.difference(["algorithm"]):
        bad = table[~table[name].abs().lt(float("inf"))]
        if len(bad) or (name == "train_finite" and (table[name] < 1).any()):
            first = (bad if len(bad) else table[table[name] < 1]).iloc[0]
            told = ", ".join(f"{factor}={first[factor]}" for factor in (*FACTORS, "seed"))
            raise RunError(
                f"{told}: {name} is {first[name]}: its training did not stay finite; nothing of its group is kept"
            )
    return table


def to_bytes(table: pd.DataFrame) -> bytes:
    """A table as a Parquet file."""
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()


class Store:
    """The rows of a study's groups.

    Attributes:
        folder: of the study.  place: the second place, or None.
    """

    def __init__(self, folder: Path, place: str | None = None) -> None:
        self.folder, self.place = folder, place
        self._second = None if place is None else _Place(place)

    def path_of(self, group: Group) -> Path:
        """Where the rows of a group lie."""
        return self.folder / ROWS / f"group_{group.number:04d}.parquet"

    def begin(self, settings: str) -> None:
        """Refuse places that cannot be written to, or hold another study's rows, before anything is computed.

        Args:
            settings: the study's, as text; the second place keeps them too.

        Raises:
            OSError: naming the folder. ConfigError: naming the second place.
        """
        (self.folder / ROWS).mkdir(parents=True, exist_ok=True)
        probe = self.folder / ROWS / _probe()
        replace_with(probe, lambda path: path.write_bytes(b""))
        probe.unlink()
        if self._second is not None:
            self._second.begin(settings)

    def write(self, group: Group, table: bytes) -> None:
        """Keep the rows of a group.

        Args:
            table: a Parquet file.

        Raises:
            RunError: for a table of other runs. OSError: naming the file, where it cannot be written.
        """
        path = self.path_of(group)
        _rows_of(group, table, str(path))
        if self._second is not None:
            self._second.write(path.name, table)
        write_atomically(path, table)

    def read(self, group: Group) -> pd.DataFrame | None:
        """The rows of a group; None where it has not ended.

        Raises:
            RunError: for a file that cannot be read, or holds other runs.
        """
        path = self.path_of(group)
        if path.is_file():
            return _rows_of(group, path.read_bytes(), str(path))
        found = None if self._second is None else self._second.read(path.name)
        if found is None:
            return None
        table = _rows_of(group, found, f"{self.place}/{path.name}")
        write_atomically(path, found)
        return table


def _rows_of(group: Group, content: bytes, where: str) -> pd.DataFrame:
    try:
        table = pd.read_parquet(io.BytesIO(content))
        found = list(zip(table["run"], *(table[name] for name in FACTORS), table["seed"], strict=True))
    except Exception as error:  # whatever the library meets in a broken file
        raise RunError(
            f"{where}: is no table of runs ({type(error).__name__}); take it away, and its group is done again"
        ) from None
    if found != [(run.number, *run.cell, run.seed) for run in group.runs]:
        raise RunError(
            f"{where}: holds other runs than group {group.number} of this study; take it away, and it is done again"
        )
    return table


def _probe() -> str:
    """A file's name that no other process has: several begin at once."""
    return f".probe.{socket.gethostname()}.{os.getpid()}"


class _Place:
    """A folder or a URL of fsspec: files appear under their names when they are whole."""

    def __init__(self, place: str) -> None:
        self._place = place
        with self._told("cannot be opened"):
            import fsspec

            self._files, self._root = fsspec.core.url_to_fs(place)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Whatever a file system's library raises, as a line that names the place."""
        try:
            yield
        except ConfigError:
            raise
        except Exception as error:
            told = " ".join(str(error).split()) or type(error).__name__
            accepted = "a folder, or a URL of fsspec, that can be written to"
            raise ConfigError(f"launcher.store={self._place!r}: {what} ({told:.300}); accepted is {accepted}") from None

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def begin(self, settings: str) -> None:
        with self._told("cannot be written to"):
            self._files.makedirs(self._root, exist_ok=True)
            there = self.read(STUDY)
            if there is None:
                self.write(STUDY, settings.encode())
            else:
                self._refuse_another(there.decode(), settings)
                probe = _probe()
                self.write(probe, b"")
                self._files.rm_file(self._path(probe))

    def _refuse_another(self, there: str, here: str) -> None:
        apart: list[tuple[str, Any, Any]] = [
            own
            for own in differences(parse_yaml(there, f"{self._place}/{STUDY}"), parse_yaml(here, STUDY))
            if own[0] != "name" and not own[0].startswith("run.")
        ]
        if apart:
            field, before, now = apart[0]
            raise ConfigError(
                f"launcher.store={self._place!r}: holds rows of another study ({field} is {before!r:.80} there and "
                f"{now!r:.80} here); accepted is another place"
            )

    def write(self, name: str, content: bytes) -> None:
        with self._told(f"{name} cannot be written"):
            part = self._path(f".{name}.part")
            self._files.pipe_file(part, content)
            self._files.mv(part, self._path(name))

    def read(self, name: str) -> bytes | None:
        with self._told(f"{name} cannot be read"):
            try:
                return self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None

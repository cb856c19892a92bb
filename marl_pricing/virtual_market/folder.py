"""A folder of arrays and what is told of them: written whole or not at all, and read back only as it was written."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marl_pricing.intake import IntakeError, plain
from marl_pricing.virtual_market.errors import ModelError


class Kept(NamedTuple):
    """A kind of folder.

    Attributes:
        kind: what it holds, in a word.
        told, arrays: its files.
        format: number of its layout.  older: those that are read, too.
    """

    kind: str
    told: str
    arrays: str
    format: int
    older: tuple[int, ...] = ()

    def refuse(self, folder: Path | str) -> Path:
        """The folder, if one may be saved there. Raises ModelError for one that holds something else."""
        folder = Path(folder)
        if folder.exists() and not (folder / self.told).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise ModelError(
                f"{folder}: holds something that is no {self.kind}; accepted is a new folder, or a {self.kind}'s"
            )
        return folder

    def save(self, folder: Path | str, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Path:
        """Write it; one that is there is replaced.

        Raises:
            ModelError: for a folder that holds something else.
        """
        folder = self.refuse(folder)
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        content = stream.getvalue()
        whole = {"format": self.format, **told, "sha256": hashlib.sha256(content).hexdigest()}
        folder.parent.mkdir(parents=True, exist_ok=True)
        part, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{kind}") for kind in ("part", "old"))
        try:
            part.mkdir()
            (part / self.arrays).write_bytes(content)
            (part / self.told).write_text(json.dumps(whole, indent=1) + "\n")
            if folder.exists():
                os.replace(folder, old)
            os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
        return folder

    def read(self, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(what is told, arrays).

        Raises:
            ModelError: one line for a folder that does not hold a whole one.
        """
        try:
            told = plain.read_json(folder / self.told)
            content = plain.read_bytes(folder / self.arrays)
            formats = (*self.older, self.format)
            if not isinstance(told, dict) or told.get("format") not in formats:
                accepted = " or ".join(map(str, formats))
                raise ModelError(f"{folder / self.told}: accepted is a {self.kind} of format {accepted}")
            if hashlib.sha256(content).hexdigest() != told.get("sha256"):
                raise ModelError(f"{folder / self.arrays}: is not what was saved; it was cut short or changed")
            return told, plain.read_arrays(folder / self.arrays)
        except IntakeError as error:
            raise ModelError(f"{error}") from None

"""What a run folder holds, read back: every file of it is read here, and refused in one line where it is broken.

Numbers that somebody goes by are what they were when they were written, or are refused: the configuration by its
SHA-256 in provenance.json, tables by theirs in the checkpoint, states by theirs. Folders of versions that wrote none
are read as they are.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from marl_pricing.intake import IntakeError, plain, shown

CONFIG, PROVENANCE, METRICS, TIMING = "config.yaml", "provenance.json", "metrics.csv", "timing.csv"
EVALUATION = "evaluation.csv"
CHECKPOINTS, TENSORBOARD, OPPONENTS = "checkpoints", "tensorboard", "opponents"
CONFIG_DIGEST = "config_sha256"
FILES = "files.json"  # of a checkpoint: what it consists of
# Columns that are no numbers, and those that say whose a row is.
_TEXTS, _INDICES = ("policy",), ("update", "seed", "seller")


class RunError(ValueError):
    """A run folder that cannot be used; the message names the path and what is wrong."""


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / CONFIG).is_file() and (folder / PROVENANCE).is_file()


def text_digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_config(folder: Path) -> str:
    """The resolved configuration of a run.

    Raises:
        RunError: if the folder does not exist or holds no run, or the file is not what its run was trained with.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such folder")
    if not is_run(folder):
        raise RunError(f"{folder}: is no run folder ({CONFIG} and {PROVENANCE} are not both there)")
    return read_settings_file(folder, CONFIG)


def read_settings_file(folder: Path, name: str) -> str:
    """A file of settings that provenance.json tells the SHA-256 of.

    Raises:
        RunError: for a file that cannot be read, or that was changed since.
    """
    try:
        text = plain.read_text(folder / name, plain.MOST_YAML)
    except IntakeError as error:
        raise RunError(str(error)) from None
    provenance = _provenance(folder) if (folder / PROVENANCE).exists() else {}
    # A kill while a run is lengthened leaves one of two files.
    known = [own.get(CONFIG_DIGEST) for own in (provenance, *provenance.get("lengthened", []))]
    if any(known) and text_digest(text) not in known:
        raise RunError(
            f"{folder / name}: was changed since it was written (its SHA-256 is another than {PROVENANCE} tells); put "
            f"the old one back, or take {CONFIG_DIGEST} out of {PROVENANCE} if it is meant"
        )
    return text


def read_provenance(folder: Path) -> dict[str, Any]:
    """Versions, revision and command of a run.

    Raises:
        RunError: for a file that is broken or lacks them.
    """
    path, data = folder / PROVENANCE, _provenance(folder)
    for name, kind in (("command", str), ("revision", str), ("versions", dict)):
        if not isinstance(data.get(name), kind):
            raise RunError(f"{path}: {name} is missing or broken")
    if not all(isinstance(own, str) for own in data["versions"].values()):
        raise RunError(f"{path}: versions is missing or broken")
    return data


def _provenance(folder: Path) -> dict[str, Any]:
    path = folder / PROVENANCE
    try:
        data = plain.read_json(path)
    except IntakeError as error:
        raise RunError(str(error)) from None
    if not isinstance(data, dict):
        raise RunError(f"{path}: holds no provenance")
    lengthened = data.get("lengthened", [])
    if not isinstance(lengthened, list) or not all(
        isinstance(own, dict) and all(isinstance(own.get(name), int) for name in ("from", "to", "at"))
        for own in lengthened
    ):
        raise RunError(f"{path}: lengthened is broken")
    if not isinstance(data.get("init_from", {}), dict):
        raise RunError(f"{path}: init_from is broken")
    return data


def read_checkpoint_digests(path: Path) -> dict[str, str | None]:
    """What a checkpoint says of its state (`digest`), its best networks (`best_digest`, None where there are none) and
    of the tables up to it (by their names; none in folders of older versions).

    Raises:
        RunError: for a file that is missing or broken.
    """
    try:
        if plain.read_bytes(path).startswith(codecs.BOM_UTF8):  # Orbax reads it too, and takes none
            raise IntakeError("it begins with a byte order mark")
        data = plain.read_json(path)
    except IntakeError as error:
        why = str(error).removeprefix(str(path)).lstrip(":, ")
        raise RunError(f"{path}: the checkpoint is broken ({why})") from None
    # Versions that kept a score had it here.
    found = {name: own for name, own in data.items() if name != "score"} if isinstance(data, dict) else {}
    if "digest" not in found or not all(isinstance(own, str) for own in found.values()):
        raise RunError(f"{path}: the checkpoint is broken (it tells no digest)")
    return {"best_digest": None, **found}


def latest_digests(folder: Path) -> tuple[int, Mapping[str, str | None]] | None:
    """(update, digests) of the latest checkpoint of a run; None where there is none yet."""
    there = folder / CHECKPOINTS
    updates = [int(own.name) for own in there.iterdir() if _is_update(own.name)] if there.is_dir() else []
    if not updates:
        return None
    return max(updates), read_checkpoint_digests(metrics_path(folder, max(updates)))


def metrics_path(folder: Path, update: int) -> Path:
    """Where a checkpoint says what belongs to it."""
    return folder / CHECKPOINTS / str(update) / "metrics" / "metrics"


def file_digests(checkpoint: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint, by its path in it."""
    files = [own for own in sorted(checkpoint.rglob("*")) if own.is_file() and own.name != FILES]
    return {own.relative_to(checkpoint).as_posix(): _file_digest(own) for own in files}


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(checkpoint: Path, tree: str = "") -> None:
    """Refuse a checkpoint with a file that is not what was written, before Orbax reads any of it.

    Checkpoints of older versions, and those after which a kill came at once, list no files.

    Args:
        tree: also the files of this tree of it; without one those alone that say what it is.

    Raises:
        RunError: naming the file.
    """
    path = checkpoint / FILES
    if not path.exists():
        return
    try:
        told = plain.read_json(path)
    except IntakeError as error:
        raise RunError(f"{checkpoint}: the checkpoint is broken ({error})") from None
    if not isinstance(told, dict) or not told:
        raise RunError(f"{checkpoint}: the checkpoint is broken ({FILES} lists none)")
    for name, digest in told.items():
        own = checkpoint / name
        if "/" in name and not (tree and name.startswith(f"{tree}/")):
            continue
        if not own.is_file() or _file_digest(own) != digest:
            what = "was changed since it was written" if own.is_file() else "is missing"
            raise RunError(f"{checkpoint}: the checkpoint is broken ({name} {what})")


def _is_update(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 12


class Rows:
    """SHA-256 over a table's cells, row by row; columns that a later version adds without values change nothing."""

    def __init__(self) -> None:
        self._total = hashlib.sha256()

    def add(self, row: Mapping[str, str]) -> None:
        """The next row; cells by title."""
        self._total.update(("\0".join(f"{name}={cell}" for name, cell in row.items() if cell) + "\n").encode())

    @property
    def digest(self) -> str:
        """Of the rows so far."""
        return self._total.hexdigest()


def whole_lines(path: Path, update: int | None) -> list[str]:
    """Lines of a table up to an update, its header first; nothing where it is not there.

    The last line may be half written when a run was killed; the checkpoint is older than it, and it is left out.

    Raises:
        RunError: if a row that has to stay is broken, with its line.
    """
    if not path.exists():
        return []
    try:
        lines = plain.read_text(path).splitlines(keepends=True)
    except IntakeError as error:
        raise RunError(str(error)) from None
    if update == 0 and not (lines and lines[0].endswith("\n")):  # killed within the first write
        return []
    header = _cells(path, 1, lines[0]) if lines else []
    if "update" not in header:
        raise RunError(f"{path}, line 1: there is no column 'update'")
    if len(set(header)) < len(header):
        raise RunError(f"{path}, line 1: a column comes twice")
    kept = lines[:1]
    column = header.index("update")
    for number, line in enumerate(lines[1:], start=2):
        cells = _cells(path, number, line)
        whole = len(cells) == len(header) and _is_update(cells[column]) and line.endswith("\n")
        if whole and update is not None and int(cells[column]) > update:
            break
        if not whole:
            # Where it ends within the update's number, that number may be the beginning of a longer one.
            cut_short = len(cells) <= column + 1 and not line.endswith("\n")
            late = update is not None and (
                len(cells) <= column or not _is_update(cells[column]) or int(cells[column]) > update
            )
            if number == len(lines) and (cut_short or late):
                break
            raise RunError(f"{path}, line {number}: the row is broken: {shown(line, 80)}")
        kept.append(line)
    return kept


def _cells(path: Path, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        raise RunError(f"{path}, line {number}: the row is broken: {shown(line, 80)}") from None


def rows_of(path: Path, lines: list[str]) -> Iterator[dict[str, str]]:
    """Rows by title, out of `whole_lines`; whose rows they are in whole numbers, anything else but texts in numbers.

    Raises:
        RunError: for a cell that is none, with its line.
    """
    if not lines:
        return
    header, most = _cells(path, 1, lines[0]), len(lines)
    for number, line in enumerate(lines[1:], start=2):
        row = dict(zip(header, _cells(path, number, line), strict=True))
        for name, cell in row.items():
            # A number of a seed or seller is below the number of rows, as all below it have rows too.
            index = name in _INDICES
            good = _is_update(cell) and (name == "update" or int(cell) < most) if index else _is_number(cell)
            if not good and name not in _TEXTS:
                raise RunError(f"{path}, line {number}: {name} is {shown(cell)}, no finite number")
        yield row


def _is_number(cell: str) -> bool:
    if cell == "":
        return True
    try:
        finite = math.isfinite(float(cell))  # versions before could write of a training that had diverged
    except ValueError:
        return False
    return finite and cell.isascii() and "_" not in cell


def read_table(folder: Path, name: str, last: int | None = None) -> list[dict[str, str]]:
    """Rows of metrics.csv or evaluation.csv, of a run as it stands at its latest checkpoint, or at an earlier update.

    Args:
        last: rows after this update are left out.

    Raises:
        RunError: for a table that is broken, or not what it was when the checkpoint was written.
    """
    path, checkpoint = folder / name, latest_digests(folder)
    standing, digests = checkpoint or (None, {})
    found, total = [], Rows()
    for row in rows_of(path, whole_lines(path, standing)):
        total.add(row)
        if last is None or int(row["update"]) <= last:
            found.append(row)
    _check_complete(path, found)
    if digests.get(name, total.digest) != total.digest:
        raise RunError(
            f"{path}: is not what it was when the checkpoint of update {standing} was written; it was changed"
        )
    return found


def _check_complete(path: Path, rows: list[dict[str, str]]) -> None:
    """Every update has rows of every seed and seller: whoever lines them up makes room for as many."""
    if not rows:
        return
    room = len({row["update"] for row in rows})
    for name in _INDICES[1:]:
        room *= 1 + max((int(row[name]) for row in rows if name in row), default=0)
    if room > len(rows):
        raise RunError(f"{path}: rows of some seeds, sellers or updates are missing")


def as_csv(rows: list[dict[str, str]]) -> str:
    """Rows as a text of CSV, for pandas; nothing where there are none."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()

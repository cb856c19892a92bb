"""Run folders: what a training leaves behind, written so that a kill at any moment loses nothing but time.

config.yaml     the resolved configuration        provenance.json   versions, git revision, command
metrics.csv     one row an update and seed        timing.csv        wall-clock figures (not reproducible)
evaluation.csv  held-out play, one row an evaluation, seed, seller and kind of play
opponents/      who held seats in its market, as they were
checkpoints/    the last two states, and in each the networks that were best so far
tensorboard/    event files
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

CONFIG, PROVENANCE, METRICS, TIMING = "config.yaml", "provenance.json", "metrics.csv", "timing.csv"
EVALUATION = "evaluation.csv"
CHECKPOINTS, TENSORBOARD, OPPONENTS = "checkpoints", "tensorboard", "opponents"


class RunError(ValueError):
    """A run folder that cannot be used; the message names the path and what is wrong."""


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old content or the new, never a part."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def versions() -> dict[str, str]:
    """Versions of this package and of what it computes with."""
    names = ("marl-pricing", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pettingzoo", "torch")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def create(folder: Path, config: str, provenance: Mapping[str, Any], files: Mapping[str, bytes] | None = None) -> None:
    """Make a run folder: it appears complete, or not at all.

    Args:
        files: what else it holds from the beginning, by path in it.

    Raises:
        RunError: if the folder exists and is not empty, or cannot be made.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            held = "already holds a run; continue it with resume=" + str(folder) if is_run(folder) else "is not empty"
            raise RunError(f"run.folder={str(folder)!r}: {held}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = folder.with_name(f".{folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        replace_file(draft / CONFIG, config)
        replace_file(draft / PROVENANCE, json.dumps(dict(provenance), indent=2) + "\n")
        for name, content in (files or {}).items():
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_bytes(content)
        if folder.exists():
            folder.rmdir()
        os.replace(draft, folder)
    except OSError as error:
        raise RunError(f"run.folder={str(folder)!r}: cannot be made ({error.strerror})") from None


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / CONFIG).is_file() and (folder / PROVENANCE).is_file()


def read_config(folder: Path) -> str:
    """The resolved configuration of a run.

    Raises:
        RunError: if the folder does not exist or holds no run.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such folder")
    if not is_run(folder):
        raise RunError(f"{folder}: is no run folder ({CONFIG} and {PROVENANCE} are not both there)")
    try:
        return (folder / CONFIG).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RunError(f"{folder / CONFIG}: is no UTF-8 text") from None


def read_provenance(folder: Path) -> dict[str, Any]:
    """Versions, revision and command of a run."""
    try:
        return json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise RunError(f"{folder / PROVENANCE}, line {error.lineno}: {error.msg}") from None


def digest_of(tree: Any) -> str:
    """SHA-256 over names, types, shapes and bytes of every leaf."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:  # split over several processes
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


class DivergedError(RunError):
    """A training whose numbers are no longer finite."""


_STATE, _BEST = "state", "best"


class Checkpoints:
    """The last two training states of a run, each verified by a digest when read. Use as a context manager.

    With a state lie the best networks of each seed up to it, where such are kept: both appear together.
    """

    def __init__(self, folder: Path) -> None:
        # Imported here: it takes a second, and only those who save or load need it.
        from orbax.checkpoint.experimental.v1 import training

        logging.getLogger("absl").setLevel(logging.ERROR)
        self._folder = folder / CHECKPOINTS
        keep = training.preservation_policies.LatestN(n=2)
        for kept in sorted(self._folder.glob("*/metrics")):
            if kept.parent.name.isdigit():  # Orbax reads them all when it opens the folder
                self._read_metrics(int(kept.parent.name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._orbax = training.Checkpointer(
                self._folder.absolute(), preservation_policy=keep, cleanup_tmp_directories=True
            )

    @property
    def updates(self) -> list[int]:
        """Updates after which a state was kept, in order."""
        return sorted(checkpoint.step for checkpoint in self._orbax.checkpoints)

    def save(self, update: int, state: Any, best: Any = None) -> None:
        """Keep the state after an update. The folder shows it whole or not at all.

        Args:
            best: the best networks so far, a tree of arrays [seeds, ...]; None where none are kept.
        """
        trees = {_STATE: state} | ({} if best is None else {_BEST: best})
        digests = {"digest": digest_of(state)} | ({} if best is None else {"best_digest": digest_of(best)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._orbax.save_checkpointables(update, trees, metrics=digests, overwrite=True)

    def _read_metrics(self, update: int) -> dict[str, Any]:
        path = self._folder / str(update) / "metrics" / "metrics"
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))
            return {"digest": str(metrics["digest"]), "best_digest": metrics.get("best_digest")}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(f"{path}: the checkpoint is broken ({type(error).__name__}: {error})") from None

    @property
    def latest(self) -> int:
        """The update of the latest state.

        Raises:
            RunError: if there is none.
        """
        updates = self.updates
        if not updates:
            raise RunError(f"{self._folder}: the run has no checkpoint yet")
        return updates[-1]

    def has_best(self, update: int) -> bool:
        """Whether best networks lie with a state."""
        return self._read_metrics(update)["best_digest"] is not None

    def load_best(self, update: int, abstract: Any) -> Any:
        """Read back the networks that were best up to a state; see `load`."""
        return self._load(update, _BEST, "best_digest", abstract)

    def load(self, update: int, abstract: Any) -> Any:
        """Read a state back.

        Args:
            abstract: shapes, types and shardings to read into.

        Raises:
            RunError: if files are missing or changed, or the state has another shape.
        """
        return self._load(update, _STATE, "digest", abstract)

    def _load(self, update: int, name: str, digest: str, abstract: Any) -> Any:
        path = self._folder / str(update)
        expected = self._read_metrics(update)[digest]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                written = self._orbax.checkpointables_metadata(update).metadata[name]
                there = _shapes(written)
                if not there:
                    raise ValueError("its files cannot be read")
                wanted = _shapes(abstract)
                state = None
                if there == wanted:
                    # Read as it was written: a tree may have got fields since that are empty here.
                    own = _by_name(abstract)
                    form = jax.tree_util.tree_map_with_path(lambda path, _: own[_plain(path)], written)
                    read = _by_name(self._orbax.load_checkpointables(update, {name: form})[name])
                    state = jax.tree_util.tree_map_with_path(lambda path, _: read[_plain(path)], abstract)
        except Exception as error:
            why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise RunError(f"{path}: the checkpoint is broken or cut short ({why})") from None
        if state is None:
            different = next(iter(sorted(set(there) ^ set(wanted))))
            name = different.split()[0]
            has, needs = ([own for own in tree if own.split()[0] == name] or ["nothing"] for tree in (there, wanted))
            raise RunError(f"{path}: the checkpoint has another shape ({has[0]} is there, {needs[0]} is needed)")
        if digest_of(state) != expected:
            raise RunError(f"{path}: the checkpoint is broken (its content does not match its digest)")
        return state

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is being written, and let go of the threads that write."""
        self._orbax.close()


def _shapes(tree: Any) -> list[str]:
    """`name (shape)` of every leaf, whatever kind of tree it is."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return sorted(f"{_plain(path)} {tuple(leaf.shape)}" for path, leaf in leaves)


def _by_name(tree: Any) -> dict[str, Any]:
    return {_plain(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _plain(path: tuple[Any, ...]) -> str:
    names = []
    for entry in path:
        for attribute in ("name", "key", "idx"):
            if hasattr(entry, attribute):
                names.append(str(getattr(entry, attribute)))
                break
    return ".".join(names)


class Table:
    """A CSV file that grows by rows and can be cut back to an update."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] | None = None

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows and see them to the disk; the first ones decide the columns."""
        new = not self.path.exists()
        if self._columns is None:
            self._columns = list(rows[0]) if new else self._header()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())

    def _header(self) -> list[str]:
        with self.path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file))

    def cut(self, update: int) -> None:
        """Drop the rows after an update: a run resumed there writes them again.

        Raises:
            RunError: if a row that has to stay is broken, with its line.
        """
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        if update == 0 and not (lines and lines[0].endswith("\n")):  # killed within the first write
            self.path.unlink()
            return
        header = next(csv.reader(lines[:1])) if lines else []
        if "update" not in header:
            raise RunError(f"{self.path}, line 1: there is no column 'update'")
        kept = lines[:1]
        column = header.index("update")
        for number, line in enumerate(lines[1:], start=2):
            cells = next(csv.reader([line]), [])
            whole = len(cells) == len(header) and cells[column].isdigit() and line.endswith("\n")
            if whole and int(cells[column]) > update:
                break
            if not whole:
                # The last line may be half written when a run was killed; the checkpoint is older than it. Where it
                # ends within the update's number, that number may be the beginning of a longer one.
                cut_short = len(cells) <= column + 1 and not line.endswith("\n")
                if number == len(lines) and (
                    cut_short or len(cells) <= column or not cells[column].isdigit() or int(cells[column]) > update
                ):
                    break
                raise RunError(f"{self.path}, line {number}: the row is broken: {line.strip()[:80]!r}")
            kept.append(line)
        replace_file(self.path, "".join(kept))

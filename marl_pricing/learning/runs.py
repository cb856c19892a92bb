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
import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from marl_pricing.learning.run_files import (
    CHECKPOINTS,
    CONFIG,
    CONFIG_DIGEST,
    EVALUATION,
    FILES,
    METRICS,
    OPPONENTS,
    PROVENANCE,
    TENSORBOARD,
    TIMING,
    Rows,
    RunError,
    check_files,
    file_digests,
    is_run,
    metrics_path,
    read_checkpoint_digests,
    read_config,
    read_provenance,
    rows_of,
    text_digest,
    whole_lines,
)
from marl_pricing.presentation.files import named
from marl_pricing.presentation.output import FULL

__all__ = [
    "CHECKPOINTS", "CONFIG", "EVALUATION", "METRICS", "OPPONENTS", "PROVENANCE", "TENSORBOARD", "TIMING", "Checkpoints",
    "DivergedError", "RunError", "Table", "create", "digest_of", "is_run", "only_writer", "read_config",
    "read_provenance", "replace_file", "versions",
]  # fmt: skip


class NotWrittenError(RunError):
    """What a training has to write and could not; the message names it, and the last good checkpoint."""


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a run's or a study's folder for this process; the system lets go of it however the process ends.

    Raises:
        RunError: where another process holds it, at once.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder}: another process trains in it; wait until it has ended, or end it") from None
        except OSError as error:  # some network file systems lock no folders
            print(
                f"note: {folder} cannot be locked ({error.strerror}): let one process only train in it", file=sys.stderr
            )
        yield
    finally:
        os.close(handle)


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old content or the new, never a part."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        with named(path):
            with draft.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


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
    draft = folder.with_name(f".{folder.name}.draft")
    try:
        if folder.exists() and any(folder.iterdir()):
            held = "already holds a run; continue it with resume=" + str(folder) if is_run(folder) else "is not empty"
            raise RunError(f"run.folder={str(folder)!r}: {held}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        replace_file(draft / CONFIG, config)
        told = {**provenance, CONFIG_DIGEST: text_digest(config)}
        replace_file(draft / PROVENANCE, json.dumps(told, indent=2) + "\n")
        for name, content in (files or {}).items():
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_bytes(content)
        if folder.exists():
            folder.rmdir()
        os.replace(draft, folder)
    except OSError as error:
        kind = NotWrittenError if error.errno in FULL else RunError
        raise kind(f"run.folder={str(folder)!r}: cannot be made ({error.strerror})") from None
    finally:  # also where Ctrl-C came in between
        shutil.rmtree(draft, ignore_errors=True)


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
_PATIENCE = 10.0  # seconds for a thread of a failed save to end


class Checkpoints:
    """The last two training states of a run, each verified by a digest when read. Use as a context manager.

    With a state lie the best networks of each seed up to it, where such are kept: both appear together.
    """

    def __init__(self, folder: Path) -> None:
        # Imported here: it takes a second, and only those who save or load need it.
        from orbax.checkpoint.experimental.v1 import training

        logging.getLogger("absl").setLevel(logging.ERROR)
        self._run, self._folder = folder, folder / CHECKPOINTS
        self._closed = False
        keep = training.preservation_policies.LatestN(n=2)
        for kept in sorted(self._folder.glob("*/metrics")):
            if kept.parent.name.isdigit():  # Orbax reads them all when it opens the folder
                self._digests(int(kept.parent.name))
                check_files(kept.parent)
        try:
            with _orbax_silent():
                self._orbax = training.Checkpointer(
                    self._folder.absolute(), preservation_policy=keep, cleanup_tmp_directories=True
                )
        except (ValueError, TypeError, LookupError) as error:  # of what they say of themselves
            raise RunError(f"{self._folder}: the checkpoints cannot be read ({_first_line(error)})") from None

    @property
    def updates(self) -> list[int]:
        """Updates after which a state was kept, in order."""
        return sorted(checkpoint.step for checkpoint in self._orbax.checkpoints)

    def save(self, update: int, state: Any, best: Any = None, tables: Mapping[str, str] | None = None) -> None:
        """Keep the state after an update. The folder shows it whole or not at all.

        Args:
            best: the best networks so far, a tree of arrays [seeds, ...]; None where none are kept.
            tables: digests of the tables up to it, by name.

        Raises:
            OSError: where it cannot be written; the checkpoints before it stay.
        """
        _hush_closed_loops()
        trees = {_STATE: state} | ({} if best is None else {_BEST: best})
        digests = {"digest": digest_of(state)} | ({} if best is None else {"best_digest": digest_of(best)})
        digests |= tables or {}
        with _orbax_silent():
            try:
                with named(self._folder / str(update)):
                    self._orbax.save_checkpointables(update, trees, metrics=digests, overwrite=True)
            except OSError:
                self._abandon(update)
                raise
        if jax.process_index() == 0:
            place = self._folder / str(update)
            replace_file(place / FILES, json.dumps(file_digests(place), indent=1) + "\n")

    def _abandon(self, update: int) -> None:
        """Let go of a save that failed; Orbax raises its error again at every further call."""
        self._closed = True
        with suppress(Exception):
            self._orbax.close()
        for thread in threading.enumerate():  # each writes a part, and some go on after another has failed
            if type(thread).__module__.startswith("orbax"):
                with suppress(Exception):
                    thread.join(_PATIENCE)
        for part in self._folder.glob(f"{update}.*"):  # it takes room that others need
            shutil.rmtree(part, ignore_errors=True)

    def _digests(self, update: int) -> dict[str, str | None]:
        return read_checkpoint_digests(metrics_path(self._run, update))

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
        return self._digests(update)["best_digest"] is not None

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
        _hush_closed_loops()  # what lies beside it may be broken, and is read with it
        expected = self._digests(update)[digest]
        check_files(path, name)
        try:
            with _orbax_silent():
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
            raise RunError(f"{path}: the checkpoint is broken or cut short ({_first_line(error)})") from None
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
        if not self._closed:
            self._orbax.close()


@cache
def _hush_closed_loops() -> None:
    """From here on: not a word of what comes back to an event loop which a failed save or load has closed already.

    It comes on threads of their own, some after what failed was told.
    """
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    printed, ignored = sys.excepthook, sys.unraisablehook

    def is_closed(error: BaseException | None) -> bool:
        return isinstance(error, RuntimeError) and "Event loop is closed" in str(error)

    sys.excepthook = lambda kind, error, trace: None if is_closed(error) else printed(kind, error, trace)
    sys.unraisablehook = lambda told: None if is_closed(told.exc_value) else ignored(told)


@contextmanager
def _orbax_silent() -> Iterator[None]:
    """Warnings not shown, and no log: of a full disk or a broken file each of Orbax's threads tells the whole story."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


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
        self._rows: Rows | None = None

    @property
    def digest(self) -> str:
        """Of all rows; see `run_files.Rows`."""
        return self._written().digest

    def _written(self) -> Rows:
        if self._rows is None:
            self._rows = Rows()
            for row in rows_of(self.path, whole_lines(self.path, None)):
                self._rows.add(row)
        return self._rows

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows and see them to the disk; the first ones decide the columns.

        In a file of a version that knew fewer of them, the rows of that version have nothing in the others.
        """
        new = not self.path.exists()
        if self._columns is None:
            self._columns = list(rows[0]) if new else self._header()
        if more := [name for name in rows[0] if name not in self._columns]:
            self._widen(more)
        written = self._written()
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        if new:
            writer.writeheader()
        for row in rows:
            cells = {name: "" if row.get(name) is None else str(row[name]) for name in self._columns}
            writer.writerow(cells)
            written.add(cells)
        with named(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())

    def _widen(self, more: list[str]) -> None:
        """Give a file that is there columns without values."""
        header, *lines = self.path.read_text(encoding="utf-8").splitlines()
        assert self._columns is not None
        self._columns += more
        text = [",".join([header, *more]), *(line + "," * len(more) for line in lines)]
        replace_file(self.path, "\n".join(text) + "\n")

    def _header(self) -> list[str]:
        return next(csv.reader(whole_lines(self.path, None)[:1]))

    def cut(self, update: int) -> None:
        """Drop the rows after an update: a run resumed there writes them again.

        Raises:
            RunError: if a row that has to stay is broken, with its line.
        """
        if not self.path.exists():
            return
        lines = whole_lines(self.path, update)
        self._columns, self._rows = None, None
        if lines:
            replace_file(self.path, "".join(lines))
        else:
            self.path.unlink()

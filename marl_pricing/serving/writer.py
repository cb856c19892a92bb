"""One thread that writes to the log: what waits at the same time shares a transaction, and its sync of the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from marl_pricing.serving.log import LogError
from marl_pricing.serving.sqlite_log import SqliteLog

MOST_TOGETHER = 500
MOST_WAITING = 20_000

Work = Callable[[SqliteLog], Any]


class GroupWriter:
    """Carries out work on a log, up to `MOST_TOGETHER` of it in one transaction; answers when that is kept.

    Attributes:
        fault: why the last transaction was not kept; None where it was.
    """

    def __init__(self, open_log: Callable[[], SqliteLog], kept: Callable[[], None] = lambda: None) -> None:
        """Start.

        Args:
            kept: called in the writer's thread after each transaction.
        """
        self._log = open_log()
        self._kept = kept
        self._queue: SimpleQueue[tuple[Work, Future[Any]] | None] = SimpleQueue()
        self.fault: str | None = None
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> Future[Any]:
        """Queue work; the future holds its result once it is on disk, or a `LogError`.

        Raises:
            LogError: where too much waits already.
        """
        if self._queue.qsize() >= MOST_WAITING:
            raise LogError("too much waits to be written")
        done: Future[Any] = Future()
        self._queue.put((work, done))
        return done

    def close(self) -> None:
        """Write what waits, and end."""
        self._queue.put(None)
        self._thread.join()
        self._log.close()

    def _run(self) -> None:
        ending = False
        while not ending:
            own = self._queue.get()
            batch = []
            while own is not None:
                if own[1].set_running_or_notify_cancel():  # from here on nobody can cancel it
                    batch.append(own)
                if len(batch) == MOST_TOGETHER:
                    break
                try:
                    own = self._queue.get_nowait()
                except Empty:
                    break
            ending = own is None
            if batch:
                self._write(batch)

    def _write(self, batch: list[tuple[Work, Future[Any]]]) -> None:
        try:
            found = self._log.transact(lambda: [work(self._log) for work, _ in batch])
        except Exception as error:
            self._one_by_one(batch, error)
            return
        self.fault = self._log.trouble()
        for (_, done), result in zip(batch, found, strict=True):
            done.set_result(result)
        self._kept()

    def _one_by_one(self, batch: list[tuple[Work, Future[Any]]], error: Exception) -> None:
        """What failed together may be one piece's doing: the others must not suffer for it.

        A log that cannot be appended to may still keep what is no record.
        """
        if len(batch) == 1 or (isinstance(error, LogError) and not self._log.trouble()):
            self.fault = str(error)
            told = error if isinstance(error, LogError) else LogError(f"{type(error).__name__}: {error}")
            for _, done in batch:
                done.set_exception(told)
            return
        for own in batch:
            self._write([own])

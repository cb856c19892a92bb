"""The pipeline at work: a thread that reads the log, keeps what it makes, and shows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from marl_pricing.export.reading import ExportedPolicy
from marl_pricing.serving.log import Record
from marl_pricing.serving.pipeline import Pipeline, Vector, pipeline_from
from marl_pricing.serving.sqlite_log import SqliteLog
from marl_pricing.serving.writer import GroupWriter

CONSUMER = "pipeline"
_TOGETHER = 1000  # records read at once
_WAIT = 0.5  # seconds after which it looks without being told
_AGAIN = 1.0  # seconds after a fault
_SNAPSHOT = 1.0  # seconds between two snapshots at least


class Runner:
    """Folds the log into vectors, in its own thread.

    A fault (a full disk, a broken log) is told and tried again from the last snapshot; the fold is the same each time.
    """

    def __init__(
        self,
        open_log: Callable[[], SqliteLog],
        writer: GroupWriter,
        policies: Callable[[str], ExportedPolicy],
        show: Callable[[Vector], None],
        tell: Callable[[str | None], None],
    ) -> None:
        """Nothing runs yet.

        Args:
            policies: as in `Pipeline`.
            show: called with each vector that is kept.  tell: called with a fault, or None when it is over.
        """
        self._open, self._writer, self._show, self._tell = open_log, writer, show, tell
        self._policies = policies
        self.pipeline = Pipeline(policies)
        self.done = 0  # offset up to which everything is folded and shown
        self._news = threading.Event()
        self._ending = False
        self._snapshot_at = 0.0
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)

    def start(self) -> None:
        """Begin where the last snapshot was taken."""
        self._thread.start()

    def notify(self) -> None:
        """There is something new in the log."""
        self._news.set()

    def idle_at(self, offset: int) -> bool:
        """Whether everything up to an offset is folded and what came of it is shown."""
        return self.done >= offset

    def close(self) -> None:
        """End after what it is at."""
        self._ending = True
        self._news.set()
        if self._thread.ident is not None:  # it was started
            self._thread.join()

    def _run(self) -> None:
        log: SqliteLog | None = None
        policies = self._policies
        while not self._ending:
            try:
                if log is None:
                    log = self._open()
                    known = log.snapshot(CONSUMER)
                    self.pipeline = pipeline_from(known[1], policies) if known else Pipeline(policies)
                records = log.read(self.pipeline.offset + 1, _TOGETHER)
                if records:
                    self._fold(records)
                self.done = self.pipeline.offset
                self._tell(None)
                if not records:
                    self._news.wait(_WAIT)
                    self._news.clear()
            except Exception as error:
                # Whatever it is: prices go on from the last vector, marked, and it is tried again.
                self._tell(f"{type(error).__name__}: {error}")
                if log is not None:
                    log.close()
                    log = None
                if not self._ending:
                    time.sleep(_AGAIN)
        if log is not None:
            log.close()

    def _fold(self, records: list[Record]) -> None:
        for record in records:
            made = self.pipeline.take(record)
            if made:
                self._keep(made)

    def _keep(self, made: list[Vector]) -> None:
        now = time.monotonic()
        snapshot: dict[str, Any] | None = None
        if now - self._snapshot_at >= _SNAPSHOT:
            snapshot, self._snapshot_at = self.pipeline.to_plain(), now

        def work(log: SqliteLog) -> None:
            for vector in made:
                log.keep_vector(vector["version"], vector["ends"], vector)
            if snapshot is not None:
                log.keep_snapshot(CONSUMER, snapshot["offset"], snapshot)

        self._writer.submit(work).result()
        self._show(made[-1])

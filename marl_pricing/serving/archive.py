"""The log's old records, in files beside it: what is read again finds them there.

Control records stay where they are. An archive is JSON lines, gzipped: offset, topic, key, stamp, received, body.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from marl_pricing.config.errors import ConfigError
from marl_pricing.serving.log import LogError, Record
from marl_pricing.serving.runner import CONSUMER
from marl_pricing.serving.sqlite_log import SqliteLog, log_file

MOST = 100_000  # records of a file, and of one transaction
FOLDER = "archive"


class Archived(NamedTuple):
    """A file that was made."""

    file: str
    first: int
    last: int
    records: int


def write(path: Path, records: Sequence[Record]) -> str:
    """Write records for good, whole or not at all; the file's SHA-256."""
    text = "".join(f"{json.dumps(list(record))}\n" for record in records)
    content = gzip.compress(text.encode(), 6, mtime=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    partly = path.with_suffix(".part")
    with partly.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partly.replace(path)
    return hashlib.sha256(content).hexdigest()


def read(path: Path, digest: str) -> list[Record]:
    """The records of a file.

    Raises:
        LogError: where it is gone or another one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LogError(f"{path}: {error.strerror}; old records of the log are in it") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise LogError(f"{path}: is not the file that was archived")
    return [Record(*json.loads(line)) for line in gzip.decompress(content).decode().splitlines()]


def archive(folder: Path, before: int) -> list[Archived]:
    """Move records that were received before a moment [ms since 1970], and that the pipeline has folded in, into files.

    A shop may be at work meanwhile. An event that was archived and is posted again is taken as a new one.

    Raises:
        ConfigError: for a folder without a log, or with a copy of topics.
    """
    log, made = SqliteLog(log_file(folder)), []
    try:
        if log.is_copy():
            raise ConfigError(f"out={str(folder)!r}: accepted is a shop of log=sqlite; topics keep theirs")
        known = log.snapshot(CONSUMER)
        # The last record stays, so that offsets go on from it.
        most = min(known[0] if known else 0, log.end() - 1)
        while records := log.old(before, most, MOST):
            name = f"{FOLDER}/records-{records[0].offset:012}-{records[-1].offset:012}.jsonl.gz"
            digest = write(folder / name, records)
            if read(folder / name, digest) != records:
                raise LogError(f"{folder / name}: does not read as it was written; nothing was taken from the log")
            log.let_go(records[0].offset, records[-1].offset, name, digest)
            made.append(Archived(name, records[0].offset, records[-1].offset, len(records)))
    finally:
        log.close()
    return made

"""Families of attacks, by the name that `python -m tests.attacks` knows them by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.attacks import kills, policy_files, run_folders, settings, settings_files, tables
from tests.attacks.outcome import Attempt


class Family(NamedTuple):
    """Attacks of one sort.

    Attributes:
        covers: what is attacked, in a few words.
        attempts: (folder, seed, share of all of them) → attempts.
        first: done in every process before its first attempt, such as imports.
    """

    covers: str
    attempts: Callable[[Path, int, float], Iterable[Attempt]]
    first: Callable[[], Any] | None = None


FAMILIES: dict[str, Family] = {
    "settings": Family("settings of training and study, drawn from the schema", settings.attempts, settings.first),
    "kills": Family("a training killed at random moments and gone on with", kills.attempts),
    "run_folders": Family("every file of a run folder", run_folders.attempts, run_folders.first),
    "policy_files": Family(
        "policy files of the three formats, and of environments", policy_files.attempts, policy_files.first
    ),
    "settings_files": Family(
        "markets, mappings, kernels, settings, studies, funnels", settings_files.attempts, settings_files.first
    ),
    "sales": Family("files of sales", tables.sales_attempts, tables.first),
    "logs": Family("files of interactions", tables.log_attempts, tables.first),
}

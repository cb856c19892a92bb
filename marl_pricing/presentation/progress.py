"""How far a command of named steps has come."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def named_steps(steps: Sequence[str]) -> Iterator[Callable[[str], None]]:
    """A bar on standard error that goes when it is done; what is yielded is told each step as it begins.

    Warnings of libraries, which would break the bar, are not shown meanwhile.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with warnings.catch_warnings(), Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        warnings.simplefilter("ignore")
        task = bar.add_task("", total=len(steps))
        yield lambda name: bar.update(task, description=name, completed=steps.index(name))

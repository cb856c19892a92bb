"""How far a command has come: a bar where a terminal shows it, lines where none does (`pulse`)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from marl_pricing.presentation import pulse

_NARROW = 100  # columns of a terminal below which bars are short
_SHORT_BAR = 10
_LEAST_TEXT = 12


class Progress(RichProgress):
    """Rich's bar, with room for its times; where nobody sees it, it tells the pulse how far it is."""

    def __init__(self, *columns: str | ProgressColumn, **options: Any) -> None:
        """See `rich.progress.Progress`."""
        super().__init__(*columns, **options)
        self.disable |= not (self.console.is_terminal or self.console.is_jupyter)  # else it leaves an empty line
        narrow = self.console.width < _NARROW
        for column in self.columns:
            if isinstance(column, BarColumn) and narrow:
                column.bar_width = _SHORT_BAR
            elif isinstance(column, ProgressColumn) and not isinstance(column, TextColumn):
                column._table_column = Column(no_wrap=True, min_width=7)
        if narrow and self.columns and isinstance(self.columns[0], TextColumn):
            self.columns = (_Shortened(self.columns[0], self.console), *self.columns[1:])
        pulse.listen(self._told)

    def stop(self) -> None:
        """Take the bar away."""
        pulse.forget(self._told)
        super().stop()

    def _told(self) -> str | None:
        if self.console.is_terminal and self.live.is_started:
            return pulse.SHOWN
        task = next((own for own in self.tasks if not own.finished), None)
        if task is None:
            return None
        parts = [str(task.description)] if task.description else []
        if task.total is not None:
            parts.append(f"{task.completed:,.0f} of {task.total:,.0f}")
        if task.elapsed is not None:
            parts.append(f"{task.elapsed:.0f} s so far")
        if task.time_remaining is not None:
            parts.append(f"ETA {task.time_remaining:.0f} s")
        return ", ".join(parts)


class _Shortened(ProgressColumn):
    """A text cut to what the other columns leave of a narrow terminal."""

    def __init__(self, whole: ProgressColumn, console: Console) -> None:
        super().__init__(Column(no_wrap=True))
        self._whole, self._console = whole, console

    def render(self, task: Task) -> Text:
        """The text, with … where it was cut."""
        text = self._whole.render(task)
        assert isinstance(text, Text)
        text.truncate(max(_LEAST_TEXT, self._console.width - 55), overflow="ellipsis")
        return text


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
    pulse.doing("writing what was found")

"""What a person sees of a training: progress on the terminal, TensorBoard, metrics on disk."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from marl_pricing.learning.evaluations import MEASURES
from marl_pricing.learning.event_file import EventFile
from marl_pricing.learning.measures import NOT_IN_TABLES, price_bins
from marl_pricing.learning.runs import EVALUATION, METRICS, TENSORBOARD, TIMING, Table
from marl_pricing.presentation import pulse
from marl_pricing.presentation.markup import markdown
from marl_pricing.presentation.output import GONE
from marl_pricing.presentation.progress import Progress
from marl_pricing.presentation.words import NAMELESS, Words, using

Measures = dict[str, np.ndarray]
_WIDE = 130  # columns of a terminal

_GROUPS = {
    "return_raw": "return/raw",
    "return_shaped": "return/shaped",
    "price_mean": "price/mean",
    "price_spread": "price/spread",
    "stock_mean": "stock/mean",
    "fill_rate": "service/fill_rate",
    "stockout_rate": "service/stockout_rate",
    "active": "service/active_sellers",
    "suspicion": "traffic/suspicion",
    "look_to_book": "traffic/look_to_book",
    "pessimism": "robust/pessimism",
    "radius": "robust/radius",
    "agent_share": "worlds/agent_share",
    "omega": "worlds/omega",
}


@dataclass(frozen=True)
class Report:
    """What is reported of a block.

    Attributes:
        update: at which it ended.  measures: [runs × seeds, updates, ...].
        evaluated: rows of evaluation.csv, run by run; None where there was no evaluation.
    """

    update: int
    measures: Measures
    evaluated: Sequence[list[dict[str, Any]]] | None = None


def rows_of(measures: Measures, first_update: int) -> list[dict[str, Any]]:
    """Rows for metrics.csv out of measures [seeds, updates, ...]; sellers become columns `name/seller_i`."""
    num_seeds, num_updates = measures["learning_rate"].shape
    rows = []
    for number in range(num_updates):
        for seed in range(num_seeds):
            row: dict[str, Any] = {"update": first_update + number, "seed": seed}
            for name in sorted(measures):
                if name in NOT_IN_TABLES:
                    continue
                value = measures[name][seed, number]
                if value.ndim == 0:
                    row[name] = repr(float(value))
                else:
                    row |= {f"{name}/seller_{i}": repr(float(x)) for i, x in enumerate(value)}
            rows.append(row)
    return rows


def means_over_seeds(rows: Sequence[Mapping[str, Any]], words: Words = NAMELESS) -> list[tuple[str, str, str, float]]:
    """(kind of play, the seller's name or `mean`, measure, value) of the rows of one evaluation; what is empty is left
    out."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        for name in MEASURES:
            if row[name] != "":
                for seller in (words.seller(int(row["seller"])), "mean"):
                    found.setdefault((row["policy"], seller, name), []).append(float(row[name]))
    return [(*key, float(np.mean(values))) for key, values in found.items()]


# Tags whose last values TensorBoard shows beside a run's settings.
FINAL = tuple(f"greedy/{name}/mean" for name in ("profit", "shaped", "price", "entropy"))


def hyperparameters(settings: str) -> dict[str, bool | float | str]:
    """The settings of a run by dotted name, lists as texts, without its name, its folder and what was estimated.

    Args:
        settings: YAML.
    """
    found: dict[str, bool | float | str] = {}

    def walk(value: Any, name: str) -> None:
        if name in ("run", "name", "market.calibration"):
            return
        if isinstance(value, Mapping):
            for own, inner in value.items():
                walk(inner, f"{name}.{own}" if name else str(own))
        elif value is not None:
            found[name] = value if isinstance(value, bool | int | float | str) else str(value)

    walk(yaml.safe_load(settings), "")
    return found


class Journal:
    """What is written of one run: metrics.csv, evaluation.csv, timing.csv, TensorBoard.

    Args:
        start: updates that were done before.
        price_range: lowest and highest price that any offer may post, money.
        worlds: names of a robust critic's candidate worlds.
        words: what sellers and money are called; columns of metrics.csv stay `seller_i`.
        settings: of the run, YAML; TensorBoard has them as a text and as hyperparameters. Empty: it has none.
    """

    def __init__(
        self,
        folder: Path,
        num_updates: int,
        start: int,
        price_range: tuple[float, float],
        *,
        tensorboard: bool = True,
        worlds: Sequence[str] = (),
        words: Words = NAMELESS,
        settings: str = "",
    ) -> None:
        self._words = words
        self._metrics, self._timing = Table(folder / METRICS), Table(folder / TIMING)
        self._evaluation = Table(folder / EVALUATION)
        self._num_updates, self._price_range = num_updates, price_range
        self._writer: EventFile | None = None
        if tensorboard:
            self._writer = EventFile(folder / TENSORBOARD, start + 1 if start else None)
            if worlds and not start:
                rows = [f"| {number} | {markdown(name)} |" for number, name in enumerate(worlds)]
                self._writer.text("robust/worlds", ["| candidate | world |", "|---|---|", *rows])
            if settings and not start:
                self._writer.text("settings", ["```yaml", settings.strip(), "```"])
                self._writer.hparams(hyperparameters(settings), FINAL)
        self._reports = 0
        self._history: list[tuple[int, np.ndarray, np.ndarray]] = []

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()

    def digests(self) -> dict[str, str]:
        """Of the tables that somebody goes by, by name, for a checkpoint."""
        return {METRICS: self._metrics.digest, EVALUATION: self._evaluation.digest}

    def add(self, update: int, measures: Measures, seconds: float, rate: float) -> None:
        """Write the measures [seeds, updates, ...] of a block that ended with `update` into the tables.

        Args:
            seconds: since the training began, or went on.  rate: market steps a second.
        """
        num_updates = measures["learning_rate"].shape[1]
        self._metrics.append(rows_of(measures, update - num_updates + 1))
        self._timing.append([{"update": update, "seconds": f"{seconds:.3f}", "steps_per_second": f"{rate:.0f}"}])

    def add_evaluation(self, rows: list[dict[str, Any]]) -> None:
        """Write the rows of an evaluation into its table."""
        self._evaluation.append(rows)

    def show(self, update: int, measures: Measures, rate: float) -> None:
        """Write the same measures for TensorBoard; its figure takes a while."""
        if self._writer is not None:
            self._write(self._writer, update, measures, rate)

    def show_evaluation(self, update: int, rows: list[dict[str, Any]]) -> None:
        """Write the rows of an evaluation for TensorBoard."""
        if self._writer is None:
            return
        for policy, seller, name, value in means_over_seeds(rows, self._words):
            self._writer.scalar(f"{policy}/{name}/{seller}", value, update)
        if update == self._num_updates:
            self._writer.finished()
        self._writer.flush()

    def _write(self, writer: EventFile, update: int, measures: Measures, rate: float) -> None:
        mean = {name: value[:, -1].mean(0) for name, value in measures.items() if name not in NOT_IN_TABLES}
        for name, value in mean.items():
            group = "robust" if name.startswith("candidate_") else "learning"
            tag = _GROUPS.get(name, f"{group}/{name}")
            if value.ndim == 0:
                writer.scalar(tag, float(value), update)
            else:
                writer.scalar(f"{tag}/mean", float(value.mean()), update)
                for seller, own in enumerate(value):
                    writer.scalar(f"{tag}/{self._words.seller(seller)}", float(own), update)
        chosen = np.array([float(value) for name, value in mean.items() if name.startswith("candidate_")])
        if chosen.size:  # how much weight each candidate world got, over their numbers
            number = np.arange(chosen.size)
            writer.histogram("robust/candidates", np.arange(chosen.size + 1) - 0.5, chosen, update, number)
        writer.scalar("speed/market_steps_per_second", rate, update)
        counts = measures["price_counts"][:, -1].sum(0)
        middle, edges = price_bins(*self._price_range)
        for seller, own in enumerate(counts):
            writer.histogram(f"price/histogram/{self._words.seller(seller)}", edges, own, update, middle)
        self._history.append((update, mean["price_mean"], counts))
        self._reports += 1
        if self._reports % 8 == 1 or update == self._num_updates:
            from marl_pricing.learning.strategy_figure import strategy_figure

            with using(self._words):
                writer.image("strategy", strategy_figure(self._history, self._price_range), update)
        writer.flush()


class Monitor:
    """Reports of the runs of one program: a bar for all of them, a journal each. Use as a context manager.

    Args:
        steps_per_update: market steps of one seed.
        start: updates that were done before.
        whole: where several programs make one task, (updates of runs that others have done, updates of all runs).
        learners: [runs, S] bool, sellers that learn; what is told on the terminal is theirs. None: all.
    """

    def __init__(
        self,
        journals: Sequence[Journal],
        num_updates: int,
        steps_per_update: int,
        start: int,
        *,
        quiet: bool = False,
        whole: tuple[int, int] | None = None,
        learners: np.ndarray | None = None,
    ) -> None:
        self._journals = journals
        self._learners = None if learners is None or learners.all() else learners
        self._num_updates, self._steps_per_update = num_updates, steps_per_update
        self._before, self._total = whole or (0, num_updates * len(journals))
        self._console = Console(quiet=quiet, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("update {task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            # The outcome is what a narrow terminal has no room for.
            *([TextColumn("{task.fields[outcome]}")] if self._console.width >= _WIDE else []),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(
            "compiling", total=self._total, completed=self._completed(start), rate="", outcome=""
        )
        self._start = start
        self._last = self._begin = time.perf_counter()
        self._printed = -np.inf
        self._played: list[tuple[int, float]] = []  # update and greedy profit of a seller, of the last evaluations

    def _completed(self, update: int) -> int:
        """Updates of all runs, where those of this program stand at `update`."""
        return self._before + update * len(self._journals)

    def __enter__(self) -> Monitor:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a terminal that was closed
            self._bar.stop()
        for journal in self._journals:
            journal.close()

    def report(self, report: Report) -> None:
        """Take in what is to be said of a block."""
        now = time.perf_counter()
        update, measures = report.update, report.measures
        width, num_updates = measures["learning_rate"].shape
        rate = width * num_updates * self._steps_per_update / (now - self._last)
        self._last = now
        seeds = width // len(self._journals)
        parts = [
            {name: value[number * seeds : (number + 1) * seeds] for name, value in measures.items()}
            for number in range(len(self._journals))
        ]
        for number, journal in enumerate(self._journals):
            journal.add(update, parts[number], now - self._begin, rate / len(self._journals))
            if report.evaluated is not None:
                journal.add_evaluation(report.evaluated[number])
        if report.evaluated is not None:
            learned = [
                row
                for number, rows in enumerate(report.evaluated)
                for row in rows
                if self._learners is None or self._learners[number, row["seller"]]
            ]
            everyone = means_over_seeds(learned)
            profit = next(own[-1] for own in everyone if own[:3] == ("greedy", "mean", "profit"))
            self._played = [*self._played[-1:], (update, profit)]
        self._show(update, measures, rate, now)
        for number, journal in enumerate(self._journals):
            journal.show(update, parts[number], rate / len(self._journals))
            if report.evaluated is not None:
                journal.show_evaluation(update, report.evaluated[number])

    def _greedy(self) -> str:
        """What greedy play earns, and how that moves; nothing before the first evaluation."""
        if not self._played:
            return ""
        update, profit = self._played[-1]
        before, last = self._played[0]
        if before == update or not last:
            return f", greedy profit {profit:,.4g} an epoch"
        rate = 10 * (profit - last) / abs(last) / (update - before)
        return f", greedy profit {profit:,.4g} an epoch ({rate:+.1%} per 10 updates)"

    def _return(self, values: np.ndarray) -> str:
        """Mean of returns [runs × seeds, S] over those who learn, in words."""
        if self._learners is None:
            return f"return {values.mean():,.1f} a seller"
        own = np.repeat(self._learners, len(values) // len(self._learners), axis=0)
        return f"return {values[own].mean():,.1f} a learner"

    def _show(self, update: int, measures: Measures, rate: float, now: float) -> None:
        """Tell on the terminal, as long as there is one: a training outlives the window that it was started in."""
        try:
            self._tell(update, measures, rate, now)
        except OSError as error:
            if error.errno not in GONE:
                raise
            self._console.quiet = True
            self._bar.disable = True

    def _tell(self, update: int, measures: Measures, rate: float, now: float) -> None:
        outcome = self._return(measures["return_raw"][:, -1]) + self._greedy()
        done = self._completed(update)
        self._bar.update(
            self._task, description="training", completed=done, rate=f"{rate:,.0f} market steps/s", outcome=outcome
        )
        if self._bar.disable and (now - self._printed > 5.0 or update == self._num_updates):
            self._printed = now
            left = (self._total - done) * (now - self._begin) / max(done - self._completed(self._start), 1)
            self._console.print(
                f"update {done}/{self._total}  {rate:,.0f} market steps/s  ETA {left:,.0f} s  {outcome}", soft_wrap=True
            )
            pulse.said()

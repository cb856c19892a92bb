"""One page that holds everything: summary, figures, configuration, how to repeat it. It needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import pandas as pd

from marl_pricing.evaluation.metrics import INDICES, MEASURES
from marl_pricing.evaluation.report import html_tables, interactive, robust_html, texts
from marl_pricing.presentation import page

# The page stays below 8 MB: pictures beyond this many characters are named instead of shown.
_LARGEST = 7_600_000


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the report.

    Attributes:
        title, caption: for people.
        png, narrow: the picture, and as it is drawn for a phone.
        file: where it lies beside the report, relative to it.
    """

    title: str
    caption: str
    png: bytes
    narrow: bytes
    file: str


@dataclass(frozen=True)
class RunSection:
    """What the report says of one run.

    Attributes:
        market: one line on the market.
        pictures: still figures.
        fragments: (title, caption, HTML) of those that can be pointed at.
        left_out: what could not be played or shown here, with the reason.
        notes: what is to be said of rules.
        guests: rows of `guests.deviations`; empty where none were played.
        deviations: rows of `behaviour.deviation.SUMMARY_COLUMNS`; empty where none were forced.
        stock_benchmarks: the frame of `stock_benchmarks.benchmarks_of`; empty where the market has none.
        best_responses: rows of `behaviour.best_response.COLUMNS`; empty where none were trained.
    """

    name: str
    market: str
    pictures: Sequence[Picture]
    fragments: Sequence[tuple[str, str, str]]
    left_out: Sequence[str]
    notes: Sequence[str]
    guests: pd.DataFrame
    deviations: pd.DataFrame
    best_responses: pd.DataFrame
    stock_benchmarks: pd.DataFrame
    config_text: str
    versions: Mapping[str, str]
    command: str


@dataclass(frozen=True)
class Report:
    """All that the page says.

    Attributes:
        sentences: what the data say, first thing under the title.
        counts: how many seeds, episodes and epochs.
        summary: the frame of `summary.summarise`.  measures: those of its first table.
        benchmarks: the frame of `benchmark_table.benchmark_table`.
        robust: the frame of `robust_benchmarks.robust_table`; empty where no run is robust.
        comparisons: rows of `summary.compare`; empty where runs are not compared.
        comparison: figures about all runs.
        notes: what to keep in mind when runs are compared.
        documented: columns of each table that was written.
        files: paths relative to the report.
        command: what makes this report again.
    """

    title: str
    sentences: Sequence[str]
    counts: str
    summary: pd.DataFrame
    measures: Sequence[str]
    benchmarks: pd.DataFrame
    robust: pd.DataFrame
    comparisons: pd.DataFrame
    comparison: Sequence[Picture]
    notes: Sequence[str]
    sections: Sequence[RunSection]
    documented: Mapping[str, Mapping[str, str]]
    files: Sequence[str]
    command: str


@dataclass
class _Budget:
    """Characters that pictures may still take."""

    left: int = _LARGEST
    omitted: list[str] = field(default_factory=list)

    def show(self, picture: Picture) -> str:
        html = page.picture(picture.title, picture.caption, picture.png, picture.narrow)
        self.left -= len(html)
        if self.left < 0:
            self.omitted.append(picture.file)
            return (
                f"<h3>{escape(picture.title)}</h3><p class=note>Left out to keep this page small: "
                f"<a href='{escape(picture.file)}'>{escape(picture.file)}</a>.</p>"
            )
        return html


def _run(section: RunSection, budget: _Budget) -> str:
    versions = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in section.versions.items())
    fragments = "".join(
        f"<h3>{escape(title)}</h3>{html}<p class=note>{escape(caption)}</p>"
        for title, caption, html in section.fragments
    )
    left_out = "".join(f"<li>left out: {escape(text)}</li>" for text in section.left_out)
    left_out += "".join(f"<li>{escape(text)}</li>" for text in section.notes)
    return (
        f"<section><h2>{escape(section.name)}</h2><p class=soft>{escape(section.market)}.</p>"
        + (f"<ul class=note>{left_out}</ul>" if left_out else "")
        + "".join(budget.show(picture) for picture in section.pictures)
        + html_tables.stock_table(section.stock_benchmarks)
        + html_tables.guest_table(section.guests)
        + html_tables.deviation_table(section.deviations)
        + html_tables.best_response_table(section.best_responses)
        + fragments
        + f"<details><summary>Configuration</summary><pre>{escape(section.config_text)}</pre></details>"
        + f"<details><summary>Versions</summary><dl>{versions}</dl></details>"
        + f"<h3>Repeat it</h3><pre>{escape(section.command)}</pre></section>"
    )


def _files(report: Report) -> str:
    listed = "".join(f"<li><a href='{escape(name)}'>{escape(name)}</a></li>" for name in report.files)
    documented = "".join(
        f"<h3>{escape(name)}</h3><dl>"
        + "".join(f"<dt>{escape(column)}</dt><dd>{escape(text)}</dd>" for column, text in columns.items())
        + "</dl>"
        for name, columns in report.documented.items()
    )
    return (
        f"<section><h2>Files</h2><ul>{listed}</ul><details><summary>Columns of the tables</summary>{documented}"
        f"</details><h3>Make this report again</h3><pre>{escape(report.command)}</pre></section>"
    )


def _glossary() -> str:
    names = [*INDICES, *MEASURES]
    return "".join(
        f"<dt>{escape(texts.measure_label(name)[0])}</dt><dd>{escape(texts.explanation(name))}</dd>" for name in names
    )


def render(report: Report) -> str:
    """The page."""
    library = f"<script>{interactive.library()}</script>"
    fixed = len(library) + sum(len(html) for section in report.sections for _, _, html in section.fragments)
    budget = _Budget(_LARGEST - fixed - 2 * sum(len(section.config_text) for section in report.sections))
    summary = report.summary
    by_seller = [*INDICES, *(name for name, own in MEASURES.items() if own.by_seller)]
    by_seller = [name for name in by_seller if (summary["measure"].eq(name) & summary["seller"].ne("all")).any()]
    sellers = html_tables.summary_table(summary, by_seller, by_seller=True)
    seeds = html_tables.seed_table(summary)
    body = [
        f"<h1>{escape(report.title)}</h1>",
        f"<p class=lead>{escape(' '.join(report.sentences))}</p>",
        f"<p class=note>{escape(report.counts)}.</p>",
        "<section><h2>Summary</h2>",
        html_tables.summary_table(
            summary, [name for name in html_tables.HEADLINE if summary["measure"].eq(name).any()]
        ),
        f"<p class=note>{escape(html_tables.interval_note(summary))}</p>",
        "".join(f"<p class=note>{escape(note)}</p>" for note in report.notes),
        html_tables.comparison_table(report.comparisons),
        html_tables.benchmark_table(report.benchmarks),
        robust_html.robust_table(report.robust),
        f"<details><summary>All measures</summary>{html_tables.subject_tables(summary)}</details>",
        f"<details><summary>By seller</summary>{sellers}</details>",
        f"<details><summary>Spread between seeds, interquartile means</summary>{seeds}</details>" if seeds else "",
        f"<details><summary>What is measured</summary><dl>{_glossary()}</dl></details>",
        "".join(budget.show(picture) for picture in report.comparison),
        "</section>",
        *(_run(section, budget) for section in report.sections),
        _files(report),
    ]
    return page.render(report.title, body, library)

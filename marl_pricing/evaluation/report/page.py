"""One page with everything: three answers and a picture, then numbers, runs, how to repeat it; without network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import pandas as pd

from marl_pricing.evaluation.metrics import INDICES, MEASURES
from marl_pricing.evaluation.report import html_tables, interactive, robust_html, texts
from marl_pricing.evaluation.report.first_screen import Answer
from marl_pricing.presentation import page

# The page stays below 8 MB: pictures beyond this many characters are named instead of shown.
_LARGEST = 7_600_000


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the report.

    Attributes:
        name: of its caption.
        title, caption: for people.
        wide, narrow: the picture as WebP, and as it is drawn for a phone.
        file: where it lies beside the report, relative to it.
    """

    name: str
    title: str
    caption: str
    wide: bytes
    narrow: bytes
    file: str


@dataclass(frozen=True)
class Part:
    """A part of a run's section that is folded, unless something happened in it.

    Attributes:
        question: the line that unfolds it.  told: what was found, behind it.
        happened: it is unfolded.
        pictures, html: what it holds, in this order.
    """

    question: str
    told: str
    happened: bool = False
    pictures: Sequence[Picture] = ()
    html: str = ""


@dataclass(frozen=True)
class RunSection:
    """What the report says of one run.

    Attributes:
        market: one line on the market.
        pictures: still figures that are shown at once.
        parts: what is folded.
        left_out: what could not be played or shown here, with the reason.
        notes: what is to be said of rules.
    """

    name: str
    market: str
    pictures: Sequence[Picture]
    parts: Sequence[Part]
    left_out: Sequence[str]
    notes: Sequence[str]
    config_text: str
    versions: Mapping[str, str]
    command: str


@dataclass(frozen=True)
class Report:
    """All that the page says.

    Attributes:
        answers: the first screen's.  glance: its picture, None where nothing can be drawn.
        minds: what to mind, in one line.  omega: what ω is.
        sentences: the same in more numbers.
        counts: how many seeds, episodes and epochs.
        summary: the frame of `summary.summarise`.  measures: those of its first table.
        benchmarks: the frame of `benchmark_table.benchmark_table`.
        robust: the frame of `robust_benchmarks.robust_table`; empty where no run is robust.
        comparisons: rows of `summary.compare`; empty where runs are not compared.
        comparison: figures about all runs.
        beside: rows of `kept.COLUMNS`; empty where no earlier evaluation is looked at.
        notes: what to keep in mind when runs are compared.
        documented: columns of each table that was written.
        files: paths relative to the report.
        command: what makes this report again.
    """

    title: str
    answers: Sequence[Answer]
    glance: Picture | None
    minds: Sequence[str]
    omega: str
    sentences: Sequence[str]
    counts: str
    summary: pd.DataFrame
    measures: Sequence[str]
    benchmarks: pd.DataFrame
    robust: pd.DataFrame
    comparisons: pd.DataFrame
    comparison: Sequence[Picture]
    beside: pd.DataFrame
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

    def show(self, picture: Picture, *, head: bool = True) -> str:
        html = page.picture(picture.title, picture.caption, picture.wide, picture.narrow, head=head)
        self.left -= len(html)
        if self.left < 0:
            self.omitted.append(picture.file)
            return (
                f"<h3>{escape(picture.title)}</h3><p class=note>Left out to keep this page small: "
                f"<a href='{escape(picture.file)}'>{escape(picture.file)}</a>.</p>"
            )
        return html


def _list(texts_: Sequence[str]) -> str:
    return f"<ul class=note>{''.join(f'<li>{escape(text)}</li>' for text in texts_)}</ul>" if texts_ else ""


def _part(part: Part, budget: _Budget) -> str:
    alone = len(part.pictures) == 1
    shown = [budget.show(picture, head=not alone) for picture in part.pictures]
    html = (shown[0] if alone else page.pair(shown)) + part.html
    return page.fold(part.question, html, told=part.told, unfolded=part.happened)


def _run(section: RunSection, place: str, budget: _Budget) -> str:
    versions = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in section.versions.items())
    said = _list([*section.notes, *(f"left out: {text}" for text in section.left_out)])
    count = len(section.left_out)
    return (
        f"<section><h2 id='{place}'>{escape(section.name)}</h2><p class=soft>{escape(section.market)}.</p>"
        + page.pair([budget.show(picture) for picture in section.pictures])
        + "".join(_part(part, budget) for part in section.parts)
        + page.fold("Rules, and what was left out", said, told=f"{count} left out" if count else "nothing left out")
        + page.fold("Configuration", f"<pre tabindex=0>{escape(section.config_text)}</pre>")
        + page.fold(
            "Versions, and how to repeat it", f"<dl>{versions}</dl><pre tabindex=0>{escape(section.command)}</pre>"
        )
        + "</section>"
    )


def _files(report: Report) -> str:
    listed = "".join(f"<li><a href='{escape(name)}'>{escape(name)}</a></li>" for name in report.files)
    documented = "".join(
        f"<h3>{escape(name)}</h3><dl>"
        + "".join(f"<dt>{escape(column)}</dt><dd>{escape(text)}</dd>" for column, text in columns.items())
        + "</dl>"
        for name, columns in report.documented.items()
    )
    tables = page.fold("Tables", f"<ul>{listed}</ul>", told=f"{len(report.files)} files")
    return (
        "<section><h2 id=files>Files</h2><p class=note>Every figure lies as PNG and SVG in "
        f"<a href='figures'>figures</a>.</p>{tables}"
        f"{page.fold('Columns of the tables', documented)}"
        f"{page.fold('Make this report again', f'<pre tabindex=0>{escape(report.command)}</pre>')}</section>"
    )


def _glossary() -> str:
    names = [*INDICES, *MEASURES]
    told = "".join(
        f"<dt>{escape(texts.measure_label(name)[0])}</dt><dd>{escape(texts.explanation(name))}</dd>" for name in names
    )
    return f"<dl>{told}</dl>"


def _first_screen(report: Report, budget: _Budget) -> str:
    told = "".join(f"<p><strong>{escape(own.question)}</strong> {escape(own.text)}</p>" for own in report.answers)
    minds = "; ".join(report.minds)
    return (
        f"<h1>{escape(report.title)}</h1><section class=answers aria-label='In short'>{told}"
        + (f"<p class='mind note'><strong>Mind:</strong> {escape(minds)}.</p>" if minds else "")
        + f"<p class=note>{escape(report.omega)}</p></section>"
        + (f"<div class=glance>{budget.show(report.glance, head=False)}</div>" if report.glance else "")
    )


def _numbers(report: Report) -> str:
    summary = report.summary
    by_seller = [*INDICES, *(name for name, own in MEASURES.items() if own.by_seller)]
    by_seller = [name for name in by_seller if (summary["measure"].eq(name) & summary["seller"].ne("all")).any()]
    seen = [name for name in report.measures if summary["measure"].eq(name).any()]
    return (
        f"<section><h2 id=numbers>Numbers</h2>{html_tables.summary_table(summary, seen)}"
        f"<p class=note>{escape(html_tables.interval_note(summary))} {escape(report.counts)}.</p>"
        + "".join(f"<p class=note>{escape(note)}</p>" for note in report.notes)
        + page.fold("In sentences", _list(report.sentences))
        + page.fold("By seller", html_tables.summary_table(summary, by_seller, by_seller=True))
        + page.fold("All measures", html_tables.subject_tables(summary))
        + page.fold("Spread between seeds, interquartile means", html_tables.seed_table(summary))
        + page.fold("What is measured", _glossary())
        + "</section>"
    )


def _compared(report: Report, budget: _Budget) -> str:
    table = html_tables.comparison_table(report.comparisons)
    shown = page.pair([budget.show(picture) for picture in report.comparison])
    if not table and not shown:
        return ""
    head = "Runs compared" if len(report.sections) > 1 else "Rules and shoppers"
    return f"<section><h2 id=compared>{head}</h2>{table}{shown}</section>"


def _benchmarks(report: Report) -> str:
    together = report.benchmarks["seller"].eq("all")
    by_seller = html_tables.benchmark_table(report.benchmarks[~together])
    return (
        html_tables.benchmark_table(report.benchmarks[together])
        + page.fold("Benchmarks by seller", by_seller)
        + robust_html.robust_table(report.robust)
    )


def render(report: Report) -> str:
    """The page."""
    htmls = [part.html for section in report.sections for part in section.parts]
    library = interactive.library() if any("class=plot" in html for html in htmls) else ""
    fixed = len(library) + sum(map(len, htmls))
    budget = _Budget(_LARGEST - fixed - 2 * sum(len(section.config_text) for section in report.sections))
    first, compared = _first_screen(report, budget), _compared(report, budget)
    benchmarks = _benchmarks(report)
    runs = [(f"run-{number}", section) for number, section in enumerate(report.sections)]
    links = [
        ("numbers", "Numbers"),
        *([("compared", "Runs compared" if len(runs) > 1 else "Rules and shoppers")] if compared else []),
        *([("beside", "Beside earlier evaluations")] if len(report.beside) else []),
        *([("benchmarks", "Benchmarks")] if benchmarks else []),
        *((place, section.name) for place, section in runs),
        ("files", "Files"),
    ]
    body = [
        first,
        page.contents(links),
        _numbers(report),
        compared,
        f"<section><h2 id=beside>Beside earlier evaluations</h2>{html_tables.beside_table(report.beside)}</section>"
        if len(report.beside)
        else "",
        f"<section><h2 id=benchmarks>Benchmarks</h2>{benchmarks}</section>" if benchmarks else "",
        *(_run(section, place, budget) for place, section in runs),
        _files(report),
    ]
    return page.render(report.title, body, library)

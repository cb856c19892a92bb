"""One page that holds everything: summary, figures, configuration, how to repeat it. It needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation import interactive, tables, texts
from marl_pricing.evaluation.metrics import MEASURES
from marl_pricing.evaluation.summary import PROFIT_GAIN, records
from marl_pricing.presentation import page

# The page stays below 8 MB: pictures beyond this many characters are named instead of shown.
_LARGEST = 7_600_000
TABLE_MEASURES = ["profit", PROFIT_GAIN, *(name for name in MEASURES if name != "profit")]


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
        left_out: rules that could not be played here, with the reason.
        deviations: rows of `guests.deviations`; empty where none were played.
    """

    name: str
    market: str
    pictures: Sequence[Picture]
    fragments: Sequence[tuple[str, str, str]]
    left_out: Sequence[str]
    deviations: pd.DataFrame
    config_text: str
    versions: Mapping[str, str]
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


def _cell(row: Mapping[str, Any], notes: list[str]) -> str:
    measure, note = str(row["measure"]), str(row["note"])
    mark = ""
    if note:
        if note not in notes:
            notes.append(note)
        mark = f"<sup>{notes.index(note) + 1}</sup>"
    if np.isnan(row["value"]):
        return f"<td data-measure='{measure}' data-value=''>withheld{mark}</td>"
    ends = ""
    if not np.isnan(row["low"]):
        low, high = (texts.number(measure, row[end]).removesuffix("\u00a0%") for end in ("low", "high"))
        ends = f"<span class=interval>{low} … {high}</span>"
    value = float(row["value"])
    return f"<td data-measure='{measure}' data-value='{value!r}'>{texts.number(measure, value)}{mark}{ends}</td>"


def _head(first: Sequence[str], measures: Sequence[str]) -> str:
    cells = [f"<th class=text scope=col><button>{name}</button></th>" for name in first]
    for measure in measures:
        label, unit = texts.measure_label(measure)
        cells.append(f"<th scope=col><button>{escape(label)}<span class=unit>{escape(unit)}</span></button></th>")
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _table(summary: pd.DataFrame, measures: Sequence[str], *, by_seller: bool) -> str:
    """Rows (policy, run[, seller]), a column a measure, and the notes below."""
    rows = summary[summary["seller"].ne("all") if by_seller else summary["seller"].eq("all")]
    notes: list[str] = []
    lines: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for row in records(rows):
        lines.setdefault((row["run"], row["policy"], row["seller"]), {})[row["measure"]] = row
    body = []
    for (run, policy, seller), by_measure in lines.items():
        cells = "".join(_cell(by_measure[measure], notes) for measure in measures)
        kind = " class=learned" if policy.startswith(texts.LEARNED) else ""
        names = f"<th scope=row>{escape(policy)}</th><td class=text>{escape(run)}</td>"
        if by_seller:
            names += f"<td class=text data-value='{seller}'>seller {seller}</td>"
        identity = f"data-run='{escape(run)}' data-policy='{escape(policy)}' data-seller='{seller}'"
        body.append(f"<tr{kind} {identity}>{names}{cells}</tr>")
    first = ["policy", "run", *(["seller"] if by_seller else [])]
    below = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f"<div class=scroll tabindex=0><table class=sortable>{_head(first, measures)}<tbody>{''.join(body)}</tbody>"
        f"</table></div>{f'<ol class=note>{below}</ol>' if below else ''}"
    )


def _counted(count: int, kind: str) -> str:
    return f"{count} {kind}" if count > 1 else f"{count} {kind.removesuffix('s')}"


def _intervals(summary: pd.DataFrame) -> str:
    rows = summary[summary["measure"].eq("profit") & summary["seller"].eq("all")]
    by_kind: dict[str, list[str]] = {}
    for row in records(rows):
        policies = by_kind.setdefault(_counted(row["count"], row["resampled"]), [])
        if row["policy"] not in policies:
            policies.append(row["policy"])
    of = "; ".join(f"{kind} of {', '.join(policies)}" for kind, policies in by_kind.items())
    few = (
        "An interval over few seeds is too narrow: read it as the range that these seeds span. "
        if rows["resampled"].eq("seeds").any()
        else ""
    )
    return (
        f"Small figures are 95 % percentile-bootstrap intervals; resampled are {of}. {few}"
        "Press a column's head to sort."
    )


def _deviations(rows: pd.DataFrame) -> str:
    """Table of what each rule gains in a learned seller's seat."""
    if rows.empty:
        return ""
    body = []
    for row in records(rows[rows["seller"].eq("all")]):
        cells = "".join(
            f"<td data-value='{row[name]!r}'>{texts.number('profit', row[name])}</td>" for name in ("guest", "learned")
        )
        ends = ""
        if not np.isnan(row["low"]):
            low, high = (texts.number("profit", row[end]) for end in ("low", "high"))
            ends = f"<span class=interval>{low} … {high}</span>"
        gain = f"<td data-value='{row['gain']!r}'>{texts.number('profit', row['gain'])}{ends}</td>"
        body.append(f"<tr><th scope=row>{escape(row['rule'])}</th>{cells}{gain}</tr>")
    heads = ("rule in the seat", "the rule earns", "the learned seller earns", "gain from deviating")
    classes = (" class=text", "", "", "")
    head = "".join(f"<th{own} scope=col><button>{text}</button></th>" for own, text in zip(classes, heads, strict=True))
    resampled = _counted(int(rows["count"].iloc[0]), rows["resampled"].iloc[0])
    return (
        "<h3>Does deviating pay?</h3><div class=scroll tabindex=0><table class=sortable><thead><tr>"
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div><p class=note>Each rule sits in one learned "
        "seller's seat while the others stay as they learned to be; the same shoppers come. Raw reward, money per "
        f"epoch, mean over the seats; by seat in guests.csv. Intervals resample {resampled}."
        "</p>"
    )


def _run(section: RunSection, budget: _Budget) -> str:
    versions = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in section.versions.items())
    fragments = "".join(
        f"<h3>{escape(title)}</h3>{html}<p class=note>{escape(caption)}</p>"
        for title, caption, html in section.fragments
    )
    left_out = "".join(f"<li>left out: {escape(text)}</li>" for text in section.left_out)
    return (
        f"<section><h2>{escape(section.name)}</h2><p class=soft>{escape(section.market)}.</p>"
        + (f"<ul class=note>{left_out}</ul>" if left_out else "")
        + "".join(budget.show(picture) for picture in section.pictures)
        + _deviations(section.deviations)
        + fragments
        + f"<details><summary>Configuration</summary><pre>{escape(section.config_text)}</pre></details>"
        + f"<details><summary>Versions</summary><dl>{versions}</dl></details>"
        + f"<h3>Repeat it</h3><pre>{escape(section.command)}</pre></section>"
    )


def _files(files: Sequence[str]) -> str:
    listed = "".join(f"<li><a href='{escape(name)}'>{escape(name)}</a></li>" for name in files)
    documented = "".join(
        f"<h3>{name}</h3><dl>"
        + "".join(f"<dt>{escape(column)}</dt><dd>{escape(text)}</dd>" for column, text in columns.items())
        + "</dl>"
        for name, columns in tables.COLUMNS.items()
    )
    return (
        f"<section><h2>Files</h2><ul>{listed}</ul><details><summary>Columns of the tables</summary>{documented}"
        "</details></section>"
    )


def render(
    title: str,
    sentences: Sequence[str],
    summary: pd.DataFrame,
    comparison: Sequence[Picture],
    notes: Sequence[str],
    sections: Sequence[RunSection],
    files: Sequence[str],
) -> str:
    """The page.

    Args:
        sentences: what the data say, first thing under the title.
        summary: the frame of `summary.summarise`.
        comparison: figures about all runs.
        notes: what to keep in mind when runs are compared.
        files: paths relative to the report.
    """
    library = f"<script>{interactive.library()}</script>"
    fixed = len(library) + sum(len(html) for section in sections for _, _, html in section.fragments)
    budget = _Budget(_LARGEST - fixed - 2 * sum(len(section.config_text) for section in sections))
    measured = [f"<dt>{texts.measure_label(m)[0]}</dt><dd>{own.explanation}</dd>" for m, own in MEASURES.items()]
    gain = (
        f"<dt>{texts.measure_label(PROFIT_GAIN)[0]}</dt><dd>(profit − Nash) / (joint − Nash), one-shot benchmarks</dd>"
    )
    by_seller = [name for name, measure in MEASURES.items() if measure.by_seller]
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=lead>{escape(' '.join(sentences))}</p>",
        "<section><h2>Summary</h2>",
        _table(summary, TABLE_MEASURES, by_seller=False),
        f"<p class=note>{escape(_intervals(summary))}</p>",
        "".join(f"<p class=note>{escape(note)}</p>" for note in notes),
        f"<details><summary>What is measured</summary><dl>{''.join([measured[0], gain, *measured[1:]])}</dl></details>",
        f"<details><summary>By seller</summary>{_table(summary, by_seller, by_seller=True)}</details>",
        "".join(budget.show(picture) for picture in comparison),
        "</section>",
        *(_run(section, budget) for section in sections),
        _files(files),
    ]
    return page.render(title, body, library)

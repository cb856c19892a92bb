"""A sweep's evaluation from end to end: play, measure, tables, figures, one page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marl_pricing.evaluation.playing import progress_bar
from marl_pricing.evaluation.runs import held_line
from marl_pricing.evaluation.sweep import exact as theory
from marl_pricing.evaluation.sweep import figures, measures, summary, texts
from marl_pricing.evaluation.sweep.exact import Exact
from marl_pricing.evaluation.sweep.measures import MEASURES
from marl_pricing.evaluation.sweep.play import SweptRun, play_run
from marl_pricing.evaluation.sweep.sessions import Scores, proxy_points, session_scores
from marl_pricing.presentation import page, style
from marl_pricing.presentation.files import write_atomically

# Measures with a figure of their own, in order; all have their column in the table.
_DRAWN = ("profit_gain", "price_mean", "fill_rate", "bullwhip", "coi", "proxy_correlation")
_SHOWN = 4  # values of x that get a panel of a scatter, or a line of a reliability diagram
_Drawing = tuple[str, str, str, Callable[[], Figure]]


@dataclass(frozen=True)
class Axes:
    """What a sweep goes through.

    Attributes:
        title: of the study.
        x, over: names of the two dimensions; over is empty without.
        omega: ω is on the x axis.
    """

    title: str
    x: str
    over: str
    omega: bool


@dataclass(frozen=True)
class _Found:
    """Frames of a sweep, and what its sessions look like."""

    table: pd.DataFrame
    summary: pd.DataFrame
    curve: pd.DataFrame
    points: pd.DataFrame
    scores: Scores | None
    exact: Mapping[str, Exact]


def _evenly(values: Sequence[float], count: int) -> list[float]:
    """At most `count` of the values, from the lowest to the highest."""
    ordered = sorted(set(values))
    pick = np.unique(np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int))
    return [ordered[place] for place in pick]


def _play(runs: Sequence[SweptRun], axes: Axes, episodes: int, seed: int, progress: bool) -> _Found:
    exact = theory.solve(runs)
    found, points = [], []
    shown = _evenly([run.x for run in runs], _SHOWN)
    with progress_bar(len(runs), progress) as tell:
        for run in runs:
            records = play_run(run, episodes, seed)
            found.append(measures.measure_run(run, exact[run.name], records))
            if run.shape.traffic.walks_sessions and run.over == runs[0].over and run.x in shown:
                points.append(proxy_points(run, records))
            tell(run.name)
    table = pd.concat(found, ignore_index=True)
    return _Found(
        table,
        summary.summarise(table, runs, exact),
        theory.curve(runs, exact, omega=axes.omega),
        pd.concat(points, ignore_index=True) if points else pd.DataFrame(columns=["run", "x", "people", "proxy"]),
        session_scores(runs[0]),
        exact,
    )


def _drawings(runs: Sequence[SweptRun], found: _Found, axes: Axes) -> list[_Drawing]:
    """(name, title, caption, function that draws) of every figure that there is."""
    label = next(iter(found.exact.values())).benchmarks.label
    known = all(not own.benchmarks.ignores for own in found.exact.values())
    kind = "exact equilibrium" if known else "one-shot equilibrium"
    line = f"Lines: the {kind} at the markets' omega ({label})." if len(found.curve) else ""
    captions = {name: line for name in MEASURES if name in found.curve}
    frames = found.summary, found.curve
    drawn: list[_Drawing] = []
    if figures.bar_measures(found.summary):
        caption = figures.CAPTIONS["profit_surplus"].format(exact=line)
        draw = partial(figures.profit_surplus, *frames, axes.x, axes.over, kind)
        drawn.append(("profit_surplus", f"Profit and surplus by {axes.x}", caption, draw))
    for name in _DRAWN:
        if found.summary[found.summary["measure"] == name]["iqm"].notna().any():
            title = f"{texts.upper(MEASURES[name].label)} by {axes.x}"
            draw = partial(figures.by_x, found.table, *frames, name, axes.x, axes.over, kind)
            drawn.append((name, title, figures.explanation(name, captions, axes.x), draw))
    if len(found.points):
        draw = partial(figures.proxy, found.points, axes.x)
        drawn.append(("proxy", f"Proxy against true demand by {axes.x}", figures.CAPTIONS["proxy"], draw))
    if found.scores is not None:
        shares = [round(float(run.params.traffic.agent_share), 6) for run in runs]
        priors = _evenly([share for share in shares if 0.0 < share < 1.0], _SHOWN) or [0.5]
        draw = partial(figures.detection, found.scores, priors)
        drawn.append(("detection", "Telling agents from people", figures.CAPTIONS["detection"], draw))
    return drawn


def _pictures(out: Path, drawings: Sequence[_Drawing]) -> list[str]:
    (out / "figures").mkdir(exist_ok=True)
    found = []
    for name, title, caption, draw in drawings:
        found.append(page.picture(title, caption, *style.write_for_page(out / "figures", name, draw)))
    return found


def _table(found: _Found, axes: Axes) -> str:
    """A row a run, a column a measure that some run has."""
    names = [name for name in MEASURES if (found.summary["measure"] == name).any()]
    names = [name for name in names if found.summary[found.summary["measure"] == name]["iqm"].notna().any()]
    heads = [(axes.x, ""), *([(axes.over, "")] if axes.over else [])]
    heads += [(MEASURES[name].label, MEASURES[name].unit) for name in names]
    rows: list[list[tuple[str, float | None]]] = []
    for _, own in found.summary.groupby("run", sort=False):
        by_name = {row["measure"]: row for row in own.to_dict("records")}
        first = own.iloc[0]
        cells: list[tuple[str, float | None]] = [(f"{first['x']:g}", None)]
        if axes.over:
            cells.append((str(first["over"]), None))
        for name in names:
            row = by_name[name]
            kind = "mean" if name == "grid_equilibrium" else "iqm"
            known = np.isfinite(row[kind])
            text = texts.interval(name, row, kind) if known else "withheld"
            if known and name == "grid_equilibrium":
                text = f"{round(row['mean'] * row['seeds'])} of {row['seeds']}"
            cells.append((text, float(row[kind]) if known else float("inf")))
        rows.append(cells)
    told = "".join(f"<dt>{escape(name)}</dt><dd>{escape(MEASURES[name].explanation)}</dd>" for name in names)
    return page.table(heads, rows) + f"<details><summary>What is measured</summary><dl>{told}</dl></details>"


def _body(
    runs: Sequence[SweptRun],
    found: _Found,
    axes: Axes,
    pictures: Sequence[str],
    files: Sequence[str],
    episodes: int,
    config_text: str,
    command: str,
) -> list[str]:
    told = texts.sentences(found.table, found.summary, axes.x, axes.over)
    seeds = sorted({len(run.policies) for run in runs})
    length = sorted({run.shape.episode_length for run in runs})
    note = (
        f"{len(runs)} runs, {' to '.join(map(str, seeds))} training seeds of each, {episodes} episodes of "
        f"{' to '.join(map(str, length))} epochs of each seed; greedy actions. Figures are interquartile means over "
        "seeds with 95 % bootstrap intervals; the k-th seed of every run meets the k-th set of shoppers."
    )
    seated = "".join(
        f"<li>{escape(run.name + ': ' + held_line(run.held).removeprefix('; '))}</li>" for run in runs if run.held
    )
    withheld = "".join(f"<li>{escape(line)}</li>" for line in texts.withheld(found.summary))
    listed = "".join(f"<li><a href='{escape(name)}'>{escape(name)}</a></li>" for name in files)
    return [
        f"<h1>{escape(axes.title)}</h1>",
        f"<ul class=lead>{''.join(f'<li>{escape(text)}</li>' for text in told)}</ul>",
        f"<p class=note>{escape(note)}</p>",
        *([f"<ul class=note>{seated}</ul>"] if seated else []),
        "<section><h2>Summary</h2>",
        _table(found, axes),
        f"<ul class=note>{withheld}</ul></section>" if withheld else "</section>",
        "<section><h2>Figures</h2>",
        *pictures,
        "</section><section><h2>Study</h2>",
        f"<details><summary>Configuration</summary><pre>{escape(config_text)}</pre></details>",
        f"<h3>Repeat it</h3><pre>{escape(command)}</pre><h3>Files</h3><ul>{listed}</ul></section>",
    ]


def evaluate_sweep(
    runs: Sequence[SweptRun],
    axes: Axes,
    out: Path,
    *,
    episodes: int,
    seed: int,
    config_text: str = "",
    command: str = "",
    progress: bool = True,
) -> Path:
    """Play a sweep's runs; write sweep.parquet, sweep.csv, summary.csv, exact.csv, figures and sweep.html into `out`.

    Args:
        runs: in the order of tables and figures; of different names.
        episodes: of each seed.  seed: of the shoppers.
        config_text, command: for the page.

    Returns:
        The path of the page.

    Raises:
        ValueError: for no runs, two of one name, and as `play_run`.
    """
    names = [run.name for run in runs]
    if not runs or len(set(names)) < len(names):
        raise ValueError(f"runs={names}: accepted are one or more, of different names")
    found = _play(runs, axes, episodes, seed, progress)
    out.mkdir(parents=True, exist_ok=True)
    documented = {"sweep": measures.COLUMNS, "summary": summary.COLUMNS, "exact": theory.COLUMNS}
    written = [
        write_atomically(out / "sweep.parquet", found.table.to_parquet(index=False)),
        write_atomically(out / "sweep.csv", found.table.to_csv(index=False)),
        write_atomically(out / "summary.csv", found.summary.to_csv(index=False)),
        write_atomically(out / "exact.csv", found.curve.to_csv(index=False)),
        write_atomically(out / "columns.json", json.dumps(documented, indent=2) + "\n"),
    ]
    pictures = _pictures(out, _drawings(runs, found, axes))
    files = [path.name for path in written]
    body = _body(runs, found, axes, pictures, files, episodes, config_text, command)
    return write_atomically(out / "sweep.html", page.render(f"Sweep of {axes.x}: {axes.title}", body))

"""A robustness evaluation from end to end: play, tables, figures, one page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from marl_pricing.evaluation import tables
from marl_pricing.evaluation.robustness import figures
from marl_pricing.evaluation.robustness.play import Tried, columns_of, try_run
from marl_pricing.evaluation.robustness.summary import MEASURES, SUMMARY_COLUMNS, TRAINED, by_world, summarise
from marl_pricing.evaluation.runs import held_line
from marl_pricing.presentation import page, style
from marl_pricing.presentation.progress import Progress


def evaluate_robustness(
    runs: Sequence[Tried], out: Path, *, episodes: int, seed: int, command: str = "", progress: bool = True
) -> Path:
    """Try runs in their worlds, and write robustness.csv, worlds.csv, summary.csv, figures and robustness.html.

    Args:
        runs: each after the one that it is compared with.  out: a folder, made here.
        episodes: of each seed and world.  seed: of the shoppers.

    Returns:
        The path of the page.

    Raises:
        ValueError: as `try_run` and `summarise`.
    """
    names = [run.name for run in runs]
    if not runs or len(set(names)) < len(names):
        raise ValueError(f"runs={names}: accepted are one or more, of different names")
    against = {run.name: run.against for run in runs}
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("ETA"), TimeRemainingColumn())  # fmt: skip
    frames = []
    with Progress(*columns, disable=not progress, transient=True) as bar:
        task = bar.add_task("trying", total=sum(len(run.worlds) for run in runs))
        for run in runs:

            def step(label: str, name: str = run.name) -> None:
                bar.update(task, advance=1, description=f"{name}: {label}")

            frames.append(try_run(run, episodes, seed, step))
    table = pd.concat(frames, ignore_index=True)
    sellers = {run.name: run.sellers for run in runs}
    summary = summarise(table, against, sellers)
    out.mkdir(parents=True, exist_ok=True)
    written = [
        tables.write_atomically(out / "robustness.parquet", _parquet(table)),
        tables.write_atomically(out / "worlds.csv", by_world(table).to_csv(index=False)),
        tables.write_atomically(out / "summary.csv", summary.to_csv(index=False)),
        tables.write_atomically(
            out / "columns.json",
            json.dumps({"robustness": columns_of(table), "summary": SUMMARY_COLUMNS}, indent=2) + "\n",
        ),
    ]
    pictures = _pictures(out, table, summary, against, _assumed(runs), sellers)
    html = page.render(
        f"Robustness of {', '.join(names) if len(names) <= 3 else f'{len(names)} runs'}",
        _body(runs, table, summary, pictures, [path.name for path in written], episodes, command),
    )
    return tables.write_atomically(out / "robustness.html", html)


def _parquet(table: pd.DataFrame) -> bytes:
    return table.to_parquet(index=False)


def _assumed(runs: Sequence[Tried]) -> float | None:
    """The share of agents that was assumed, where all runs assumed the same."""
    shares = {round(float(run.worlds[0].params.traffic.agent_share), 6) for run in runs}
    moving = any(run.worlds[0].shape.traffic.process != "static" for run in runs)
    return shares.pop() if len(shares) == 1 and not moving else None


def _pictures(
    out: Path, table: pd.DataFrame, summary: pd.DataFrame, against: dict, assumed: float | None, sellers: dict
) -> list[str]:
    (out / "figures").mkdir(exist_ok=True)
    found = []
    for name, title, draw in figures.drawings(table, summary, against, assumed, sellers):
        drawn: Callable[[], Any] = draw  # type: ignore[assignment]
        images = style.write_for_page(out / "figures", name, drawn)
        found.append(page.picture(title, figures.CAPTIONS[name], *images))
    return found


def _measures(summary: pd.DataFrame, run: str) -> dict[str, dict[str, Any]]:
    """A run's rows of a summary, by measure."""
    own = summary[summary["run"] == run]
    return {str(row["measure"]): {str(name): value for name, value in row.items()} for row in own.to_dict("records")}


def _interval(row: Mapping[str, Any], scale: float = 1.0, digits: int = 2, unit: str = "") -> str:
    text = f"{scale * row['value']:.{digits}f}{unit}"
    if not np.isfinite(row["low"]):
        return text
    return f"{text} ({scale * row['low']:.{digits}f} to {scale * row['high']:.{digits}f})"


def _turned(row: Mapping[str, Any]) -> dict[str, float]:
    """The same with the other sign."""
    return {"value": -row["value"], "low": -row["high"], "high": -row["low"]}


def _sellers(run: Tried) -> str:
    """Whose profit a run's figures are."""
    if run.sellers is None:
        return "all sellers"
    return ("seller " if len(run.sellers) == 1 else "sellers ") + ", ".join(map(str, run.sellers))


def sentences(runs: Sequence[Tried], summary: pd.DataFrame) -> list[str]:
    """What came of it, in a few sentences made from the summary."""
    told = []
    for run in runs:
        own = _measures(summary, run.name)
        nominal, worst = own["nominal"], own["worst"]
        if run.against is None:
            text = (
                f"{run.name} earns {_interval(nominal)} an epoch where it was trained and {_interval(worst)} in its "
                f"worst world, {worst['world']}"
            )
            if "worst_share" in own:
                share = own["worst_share"]
                text += f"; at its worst share of agents ({share['world']}) {_interval(share)}"
            told.append(text + ".")
            continue
        price = own["price_of_robustness"]
        key = "worst_share_gain" if "worst_share_gain" in own else "worst_gain"
        gain, base = own[key], own[key]["base"]
        where = "at the worst share of agents" if key == "worst_share_gain" else "in the worst world"
        sure = np.isfinite(gain["low"])
        what = "gains" if sure and gain["low"] > 0 else "loses" if sure and gain["high"] < 0 else "is not told apart:"
        scale = -100.0 if what == "loses" else 100.0
        ends = sorted((scale * gain["low"] / base, scale * gain["high"] / base))
        size = f"{scale * gain['value'] / base:.1f} %" + (f" ({ends[0]:.1f} to {ends[1]:.1f})" if sure else "")
        dearer = price["value"] > 0
        part = _interval(price, 100.0, 1, " %") if dearer else _interval(_turned(price), 100.0, 1, " %")
        cost = f"it costs {part} of" if dearer else f"it adds {part} to"
        alone = "" if run.sellers is None else f" (profit of {_sellers(run)} alone)"
        told.append(
            f"{run.name}{alone} {what} {size} {where} on {run.against}; {cost} the profit in the world of training."
        )
    return told


def _table(runs: Sequence[Tried], summary: pd.DataFrame) -> str:
    measures = [name for name in MEASURES if (summary["measure"] == name).any()]
    rows: list[list[tuple[str, float | None]]] = []
    for run in runs:
        own = _measures(summary, run.name)
        cells: list[tuple[str, float | None]] = [(run.name, None), (run.against or "", None), (_sellers(run), None)]
        for name in measures:
            if name not in own:
                cells.append(("", float("inf")))
                continue
            percent = name == "price_of_robustness"
            row = own[name]
            text = _interval(row, 100.0 if percent else 1.0, 1 if percent else 2, " %" if percent else "")
            cells.append((text, float(row["value"])))
        rows.append(cells)
    heads = [
        ("run", ""),
        ("compared with", ""),
        ("profit of", ""),
        *[(name.replace("_", " "), "") for name in measures],
    ]
    told = "".join(f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(MEASURES[name])}</dd>" for name in measures)
    return page.table(heads, rows) + f"<details><summary>What is measured</summary><dl>{told}</dl></details>"


def _worlds(table: pd.DataFrame) -> str:
    means = by_world(table)
    fill = by_world(table, "fill_rate").set_index(["run", "world"])["mean"]
    coi = by_world(table, "coi").set_index(["run", "world"])["mean"]
    rows: list[list[tuple[str, float | None]]] = []
    for row in means.to_dict("records"):
        key = (row["run"], row["world"])
        rows.append(
            [
                (str(row["run"]), None),
                (str(row["world"]), None),
                (_interval({"value": row["mean"], "low": row["low"], "high": row["high"]}), row["mean"]),
                (f"{100 * fill[key]:.1f} %", float(fill[key])),
                (f"{coi[key]:.3f}", float(coi[key])),
            ]
        )
    heads = [("run", ""), ("world", ""), ("profit", "money an epoch"), ("fill rate", ""), ("COI", "money a unit")]
    return page.table(heads, rows)


def _body(
    runs: Sequence[Tried],
    table: pd.DataFrame,
    summary: pd.DataFrame,
    pictures: Sequence[str],
    files: Sequence[str],
    episodes: int,
    command: str,
) -> list[str]:
    seeds = sorted({len(run.policies) for run in runs})
    counted = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    trained = int((table[table["run"] == runs[0].name]["factor"] != TRAINED).any())
    worlds = len({world.label for world in runs[0].worlds})
    note = (
        f"{counted} training seeds a run, {episodes} episodes of each in each of {worlds} worlds; greedy actions. "
        "Intervals are 95 % bootstrap intervals over seeds; the k-th seed of every run meets the same shoppers."
    )
    items = "".join(f"<li>{escape(text)}</li>" for text in sentences(runs, summary))
    parts = [f"<h1>Robustness of {len(runs)} run{'s' if len(runs) > 1 else ''}</h1>", f"<ul class=lead>{items}</ul>"]
    parts += [f"<p class=note>{escape(note)}</p>", "<h2>Summary</h2>", _table(runs, summary)]
    parts += ["<h2>Figures</h2>", *pictures]
    if trained:
        parts += ["<h2>Every world</h2>", _worlds(table)]
    parts.append("<h2>Runs</h2>")
    for run in runs:
        parts.append(
            f"<details><summary>{escape(run.name)}</summary><p class=note>"
            f"{escape(run.command + held_line(run.held))}</p>"
            f"<pre>{escape(run.config_text)}</pre></details>"
        )
    listed = ", ".join(escape(name) for name in files)
    parts.append(f"<p class=note>Beside this page: {listed}, figures as PNG and SVG. {escape(command)}</p>")
    return parts

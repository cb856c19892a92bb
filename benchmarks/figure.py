"""The figure beside the table that `python -m benchmarks` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.ratios import TOLERANCE
from benchmarks.table import number
from marl_pricing.presentation import style


def _names(panel: Axes, names: Sequence[str]) -> None:
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.set_ylim(len(names) - 0.4, -0.6)


def _bars(panel: Axes, names: Sequence[str], values: Sequence[float], told: Sequence[str], colour: str) -> None:
    places = range(len(names))
    panel.barh(places, values, color=colour, height=0.65)
    _names(panel, names)
    panel.set_xscale("log")
    low, high = min(values), max(values)
    panel.set_xlim(low / 2, high * (high / low) ** 0.4 * 2)  # room for what stands beside the bars
    panel.set_xticks([])
    panel.minorticks_off()
    for place, value, text in zip(places, values, told, strict=True):
        panel.annotate(text, (value, place), (3, 0), textcoords="offset points", va="center", fontsize=7)


def _panels(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, float, str]]]]:
    """Title, and bars (name, value, what stands beside it)."""
    kinds = {"market steps/s": "market steps/s", "seller steps/s": "training, seller steps/s (share of peak)"}
    panels = []
    for unit, title in kinds.items():
        bars = []
        for row in rows:
            if row["unit"] == unit:
                name = row["name"].removeprefix("market: ").removeprefix("training: ")
                share = f", {100 * row['share']:.0f} %" if "share" in row else ""
                bars.append((name, row["value"], number(row["value"]) + share))
        panels.append((title, bars))
    compiled = [(row["name"], row["compile_seconds"]) for row in rows if "compile_seconds" in row]
    panels.append(("compile, s", [(name, seconds, f"{seconds:.1f}") for name, seconds in compiled]))
    peaks = {row["group"]: row["peak_mib"] for row in rows}
    panels.append(("peak memory, MiB", [(name, most, f"{most:,.0f}") for name, most in peaks.items()]))
    return [(title, bars) for title, bars in panels if bars]


@style.styled
def draw(rows: Sequence[Mapping[str, Any]], found: Mapping[str, float], baseline: Mapping[str, float]) -> Figure:
    """Speeds, compile times, memory, and the ratios of a run as multiples of the baseline's.

    Args:
        rows: each with `group`, `name`, `value`, `unit`, `peak_mib`.
        found: this run's ratios.  baseline: the stored ones; where there are none, no panel shows them.
    """
    panels = _panels(rows)
    both = [name for name in found if name in baseline]
    heights = [0.6 + 0.16 * len(bars) for _, bars in panels]
    # Two columns of about the same height, the ratios below both.
    left = min(range(1, len(heights) + 1), key=lambda n: max(sum(heights[:n]), sum(heights[n:])))
    height = max(sum(heights[:left]), sum(heights[left:]))
    below = 0.6 + 0.16 * len(both) if both else 0.0
    with style.width(11.0):
        figure = style.new_figure(height + below)
    parts = figure.subfigures(1 + bool(both), 1, height_ratios=[height, below][: 1 + bool(both)], squeeze=False)[:, 0]
    columns = parts[0].subfigures(1, 1 + (left < len(panels)), squeeze=False)[0]
    for column, own in zip(columns, (slice(0, left), slice(left, None)), strict=False):
        axes = column.subplots(len(heights[own]), 1, height_ratios=heights[own], squeeze=False)[:, 0]
        for panel, (title, bars), colour in zip(axes, panels[own], style.PALETTE[own.start :], strict=False):
            names, values, told = zip(*bars, strict=True)
            _bars(panel, names, values, told, colour)
            panel.set_title(title)
    if both:
        panel = parts[1].subplots()
        changes = [found[name] / baseline[name] for name in both]
        colours = [style.PALETTE[1] if change < 1 - TOLERANCE else style.PALETTE[0] for change in changes]
        panel.axvspan(1 - TOLERANCE, 1, color=style.GREY, alpha=0.2, linewidth=0)
        panel.axvline(1, color=style.GREY, linewidth=0.8)
        panel.scatter(changes, range(len(both)), color=colours, s=18, zorder=3)
        _names(panel, both)
        panel.set_title(f"ratios, times the baseline's; left of the band: more than {100 * TOLERANCE:.0f} % slower")
    return figure

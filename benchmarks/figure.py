"""The figure beside the table that `python -m benchmarks` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.ratios import TOLERANCE
from benchmarks.table import number
from marl_pricing.presentation import style


def _bars(panel: Axes, names: Sequence[str], values: Sequence[float], told: Sequence[str], colour: str) -> None:
    places = range(len(names))
    panel.barh(places, values, color=colour, height=0.65)
    panel.set_yticks(places, names)
    panel.invert_yaxis()
    panel.set_xscale("log")
    low, high = min(values), max(values)
    panel.set_xlim(low / 2, high * (high / low) ** 0.6 * 4)  # room for what stands beside the bars
    for place, value, text in zip(places, values, told, strict=True):
        panel.annotate(text, (value, place), (3, 0), textcoords="offset points", va="center", fontsize=7)


def _panels(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, float, str]]]]:
    """Title, and bars (name, value, what stands beside it)."""
    kinds = {"market steps/s": "market steps/s", "seller steps/s": "training, seller steps/s, share of the matmul peak"}
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
    heights = [0.7 + 0.22 * len(bars) for _, bars in panels] + ([0.7 + 0.22 * len(both)] if both else [])
    figure = style.new_figure(sum(heights))
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for place, (panel, (title, bars)) in enumerate(zip(axes, panels, strict=False)):
        names, values, told = zip(*bars, strict=True)
        _bars(panel, names, values, told, style.PALETTE[place])
        panel.set_title(title)
    if both:
        panel, places = axes[-1], range(len(both))
        changes = [found[name] / baseline[name] for name in both]
        colours = [style.PALETTE[1] if change < 1 - TOLERANCE else style.PALETTE[0] for change in changes]
        panel.axvspan(1 - TOLERANCE, 1, color=style.GREY, alpha=0.2, linewidth=0)
        panel.axvline(1, color=style.GREY, linewidth=0.8)
        panel.scatter(changes, places, color=colours, s=18, zorder=3)
        panel.set_yticks(places, both)
        panel.invert_yaxis()
        panel.set_title(f"ratios, times the baseline's; below the band: more than {100 * TOLERANCE:.0f} % slower")
    return figure

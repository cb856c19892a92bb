"""Figures that can be pointed at: time paths with a choice of policy, and profits. Functions return HTML fragments.

The fragments need plotly.js, which a page carries once (`library`).
"""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from marl_pricing.evaluation import benchmark_lines
from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.report import paths
from marl_pricing.presentation import style
from marl_pricing.presentation.words import say

# Labels in grey that can be read on white and on black alike.
LAYOUT = {
    "template": "none",
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": style.GREY},
    "hovermode": "x unified",
    "hoverlabel": {"bgcolor": "#FFFFFF", "font": {"color": "#222222"}},
}
GRID = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "linecolor": style.GREY, "showline": True}
LEGEND = {"orientation": "h", "x": 0, "y": 0, "yanchor": "bottom", "yref": "container"}


def library() -> str:
    """plotly.js, to be put inside a page once."""
    return get_plotlyjs()


def to_html(figure: go.Figure, name: str) -> str:
    """The figure as a fragment of a page, in the words in force; `name` is the id of its element."""
    _say(figure)
    return figure.to_html(
        include_plotlyjs=False,
        full_html=False,
        div_id=name,
        config={"displayModeBar": False, "responsive": True},
    )


def _said(text: str) -> str:
    """A text in the words in force; plotly reads tags in texts, and names have none."""
    return say(text, lambda name: escape(name, quote=False))


def _say(figure: go.Figure) -> None:
    layout = figure.layout
    for title in (axis.title for axis in (*figure.select_xaxes(), *figure.select_yaxes())):
        title.text = _said(title.text) if title.text else title.text
    for note in layout.annotations:
        note.text = _said(note.text) if note.text else note.text
    for trace in figure.data:
        trace.name = _said(trace.name) if trace.name else trace.name
        if getattr(trace, "hovertemplate", None):
            trace.hovertemplate = _said(trace.hovertemplate)
    for menu in layout.updatemenus:
        for button in menu.buttons:
            button.label = _said(button.label)


def rgba(colour: str, alpha: float) -> str:
    """A colour #rrggbb, let through by 1 − alpha."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def _path_traces(path: pd.DataFrame, unit: str, legend: bool) -> list[go.Scatter]:
    traces = []
    for number, own in path.groupby("seller"):
        seller = int(str(number))
        colour = style.seller_colour(seller)
        epoch = own["epoch"].to_numpy()
        ends = np.concatenate([own["high"].to_numpy(), own["low"].to_numpy()[::-1]])
        common = {"legendgroup": f"seller {seller}", "visible": False}
        traces.append(
            go.Scatter(
                x=np.concatenate([epoch, epoch[::-1]]), y=ends.round(5), fill="toself", line={"width": 0},
                mode="lines", fillcolor=rgba(colour, 0.18), hoverinfo="skip", showlegend=False, **common,
            )
        )  # fmt: skip
        traces.append(
            go.Scatter(
                x=epoch, y=own["mean"].to_numpy().round(5), name=f"seller {seller}", line={"color": colour},
                mode="lines", showlegend=legend, hovertemplate=f"%{{y:.4g}} {unit}", **common,
            )
        )  # fmt: skip
    return traces


def time_paths(offers: pd.DataFrame, benchmarks: Benchmarks, name: str) -> str:
    """Price and, where it is limited, stock over time, by policy from a menu.

    Args:
        offers: rows of one run.
        name: id of the element, different for each figure of a page.
    """
    limited = bool(np.isfinite(offers["stock"]).all())
    figure = make_subplots(rows=2 if limited else 1, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    owners: list[str | None] = []
    policies = list(dict.fromkeys(offers["policy"]))
    for policy in policies:
        epochs = paths.by_epoch(offers[offers["policy"] == policy], {"price": "mean", "stock": "sum"})
        for row, (column, unit) in enumerate((("price", "money"), ("stock", "units"))[: 1 + limited], start=1):
            for trace in _path_traces(paths.time_path(epochs, column), unit, legend=row == 1):
                trace.visible = policy == policies[0]
                figure.add_trace(trace, row=row, col=1)
                owners.append(policy)
    prices = paths.benchmark_prices(benchmarks, int(offers["seller"].max()) + 1)
    for trace in benchmark_lines.traces(prices, [0, int(offers["epoch"].max())]):
        figure.add_trace(trace, row=1, col=1)
        owners.append(None)
    buttons = [
        {"label": policy, "method": "update", "args": [{"visible": [own in (policy, None) for own in owners]}]}
        for policy in policies
    ]
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "showactive": True}
    figure.update_layout(
        **LAYOUT,
        updatemenus=[menu | {"bgcolor": "#F2F2F2", "font": {"color": "#222222"}, "bordercolor": "#BBBBBB"}],
        height=620 if limited else 460,
        margin={"l": 60, "r": 16, "t": 56, "b": 116},
        legend=LEGEND,
    )
    figure.update_xaxes(**GRID)
    figure.update_yaxes(**GRID)
    figure.update_xaxes(title_text="epoch", title_standoff=8, row=2 if limited else 1, col=1)
    figure.update_yaxes(title_text="price (money)", row=1, col=1)
    if limited:
        figure.update_yaxes(title_text="stock (units)", rangemode="tozero", row=2, col=1)
    return to_html(figure, name)


def profit_bars(summary: pd.DataFrame, name: str) -> str:
    """Each seller's raw profit by policy, with intervals; `summary` holds the rows of one run."""
    rows = summary[summary["measure"].eq("profit") & summary["seller"].ne("all")]
    policies = list(dict.fromkeys(rows["policy"]))
    figure = go.Figure()
    for seller in sorted(rows["seller"].unique(), key=int):
        own = rows[rows["seller"] == seller]
        value = own["value"].to_numpy()
        figure.add_trace(
            go.Bar(
                y=own["policy"].astype(str).tolist(), x=value, orientation="h", name=f"seller {seller}",
                marker={"color": style.seller_colour(int(seller))},
                error_x={
                    "type": "data", "symmetric": False, "color": style.GREY, "thickness": 1.2, "width": 3,
                    "array": own["high"].fillna(own["value"]).to_numpy() - value,
                    "arrayminus": value - own["low"].fillna(own["value"]).to_numpy(),
                },
                hovertemplate="%{x:.4g} money per epoch",
            )
        )  # fmt: skip
    figure.update_layout(
        **LAYOUT | {"hovermode": "closest"},
        barmode="group",
        height=130 + len(policies) * (22 + 15 * rows["seller"].nunique()),
        margin={"l": 8, "r": 16, "t": 16, "b": 90},
        legend=LEGEND | {"traceorder": "normal"},
    )
    figure.update_xaxes(**GRID, title_text="raw profit (money per epoch)", title_standoff=8)
    figure.update_yaxes(autorange="reversed", automargin=True, linecolor=style.GREY)
    return to_html(figure, name)

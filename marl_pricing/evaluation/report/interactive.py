"""Figures that can be pointed at: time paths with a choice of policy. Functions return HTML fragments.

The fragments need plotly.js, which a page carries once, packed, at its end (`library`): it is unpacked when the first
of them comes into sight.
"""

from __future__ import annotations

import base64
import gzip
from functools import cache
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


# Draws a figure when it comes into sight: inside a part that is folded that is when it unfolds.
_DRAW = """
let unpacked;
const unpack = element => {
  const bytes = Uint8Array.from(atob(element.textContent), sign => sign.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};
const need = () => unpacked ??= unpack(document.getElementById("plotly")).then(text => {
  const script = document.createElement("script");
  script.textContent = text;
  document.head.append(script);
});
const draw = async plot => {
  let figure;
  try { figure = JSON.parse(await unpack(plot.querySelector("script"))); await need(); } catch (fault) {
    plot.textContent = "This browser cannot draw the figure (" + fault + "); it lies in the folder figures, too.";
    return;
  }
  const {data, layout} = figure;
  plot.replaceChildren();
  await Plotly.newPlot(plot, data, layout, {displayModeBar: false, responsive: true});
};
const seen = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(entry => {
  seen.unobserve(entry.target);
  draw(entry.target);
}), {rootMargin: "200px"});
document.querySelectorAll(".plot").forEach(plot => seen.observe(plot));
"""


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def unpacked(html: str) -> str:
    """The JSON of the figure that a fragment holds."""
    packed = html.partition("type='text/plain'>")[2].partition("</script>")[0]
    return gzip.decompress(base64.b64decode(packed)).decode()


@cache
def library() -> str:
    """plotly.js and what draws the figures of a page, to be put into it once."""
    return f"<script id=plotly type='text/plain'>{_packed(get_plotlyjs())}</script><script>{_DRAW}</script>"


def to_html(figure: go.Figure, name: str) -> str:
    """The figure as a fragment of a page, in the words in force; `name` is the id of its element."""
    _say(figure)
    height, data = int(figure.layout.height or 450), _packed(figure.to_json())
    return f"<div class=plot id='{name}' style='height:{height}px'><script type='text/plain'>{data}</script></div>"


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
        epoch, mean = own["epoch"].to_numpy(np.int16), own["mean"].to_numpy(np.float32)
        around = np.concatenate([epoch, epoch[::-1]])
        ends = np.concatenate([own["high"], own["low"].to_numpy()[::-1]]).astype(np.float32)
        common = {"legendgroup": f"seller {seller}", "visible": False}
        traces.append(
            go.Scatter(
                x=around, y=ends, fill="toself", line={"width": 0},
                mode="lines", fillcolor=rgba(colour, 0.18), hoverinfo="skip", showlegend=False, **common,
            )
        )  # fmt: skip
        traces.append(
            go.Scatter(
                x=epoch, y=mean, name=f"seller {seller}", line={"color": colour},
                mode="lines", showlegend=legend, hovertemplate=f"%{{y:.4g}} {unit}", **common,
            )
        )  # fmt: skip
    return traces


def time_paths(offers: pd.DataFrame, benchmarks: Benchmarks, name: str) -> str:
    """Price and, where it is limited, stock over time, means over a seller's products, by policy from a menu.

    Args:
        offers: rows of one run.
        name: id of the element, different for each figure of a page.
    """
    limited = bool(np.isfinite(offers["stock"]).all())
    figure = make_subplots(rows=2 if limited else 1, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    owners: list[str | None] = []
    policies = list(dict.fromkeys(offers["policy"]))
    for policy in policies:
        epochs = paths.by_epoch(offers[offers["policy"] == policy], {"price": "mean", "stock": "mean"})
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
        figure.update_yaxes(title_text="stock (units of a product)", rangemode="tozero", row=2, col=1)
    return to_html(figure, name)

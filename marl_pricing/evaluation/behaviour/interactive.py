"""The response to forced deviations as a figure that can be pointed at; it needs plotly.js (`interactive.library`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from marl_pricing.evaluation import benchmark_lines
from marl_pricing.evaluation.behaviour.figures import AFTER
from marl_pricing.evaluation.report.interactive import GRID, LAYOUT, LEGEND, rgba, to_html
from marl_pricing.presentation import style

_MANY = 2  # with more sellers the menu has the means over deviators only
_ROLES = {"itself": ("the deviator", style.PALETTE[1]), "rivals": ("its rivals, mean", style.PALETTE[0])}


def _traces(rows: pd.DataFrame) -> list[go.Scatter]:
    """Band, undisturbed path and path of each seller, or of the deviator and its rivals."""
    traces = []
    for seller, own in rows.groupby("seller", sort=True):
        who = str(seller)
        label, colour = _ROLES.get(who) or (f"seller {who}", style.seller_colour(int(who)))
        since, base = own["since"].to_numpy(np.int16), own["undisturbed"].to_numpy(np.float32)
        low, high = (own[end].fillna(own["price_change"]).to_numpy() for end in ("price_low", "price_high"))
        around = np.concatenate([since, since[::-1]])
        ends = np.concatenate([base + high, (base + low)[::-1]]).astype(np.float32)
        price = base + own["price_change"].to_numpy(np.float32)
        common = {"legendgroup": label, "visible": False, "mode": "lines"}
        traces += [
            go.Scatter(
                x=around, y=ends, fill="toself", line={"width": 0},
                fillcolor=rgba(colour, 0.18), hoverinfo="skip", showlegend=False, **common,
            ),
            go.Scatter(
                x=since, y=base, line={"color": colour, "dash": "dot", "width": 1.4}, hoverinfo="skip",
                name=f"{label}, undisturbed", showlegend=False, **common,
            ),
            go.Scatter(
                x=since, y=price, line={"color": colour}, name=label,
                hovertemplate="%{y:.4g} money", **common,
            ),
        ]  # fmt: skip
    return traces


def deviation_response(responses: pd.DataFrame, lines: Mapping[str, np.ndarray], name: str) -> str:
    """Prices around forced deviations; move, length and deviator from a menu.

    Args:
        responses: rows of `responses.COLUMNS` of one run.
        lines: benchmark prices [S] by name, Nash first.
        name: id of the element, different for each figure of a page.
    """
    own = responses[~responses["case"].isin(["stockout", "burst"]) & responses["since"].le(AFTER)]
    each = own["forced"].ne("all")
    own = own[each if own[each]["forced"].nunique() <= _MANY else ~each]
    figure = go.Figure()
    owners: list[int | None] = []
    entries: list[str] = []
    windows: list[int] = []
    for (case, epochs, forced), rows in own.groupby(["case", "epochs", "forced"], sort=False):
        who = "a seller" if forced == "all" else f"seller {forced}"
        entries.append(f"{who}: {case}, {epochs} epoch{'s' if int(str(epochs)) > 1 else ''}")
        windows.append(int(str(epochs)))
        for trace in _traces(rows):
            trace.visible = len(entries) == 1
            figure.add_trace(trace)
            owners.append(len(entries) - 1)
    ends = [int(own["since"].min()), int(own["since"].max())]
    for trace in benchmark_lines.traces(lines, ends):
        figure.add_trace(trace)
        owners.append(None)

    def shade(epochs: int) -> dict:
        box = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "x0": -0.5, "x1": epochs - 0.5}
        return box | {"fillcolor": "rgba(128,128,128,0.22)", "line": {"width": 0}, "layer": "below"}

    buttons = [
        {
            "label": entry,
            "method": "update",
            "args": [{"visible": [owner in (number, None) for owner in owners]}, {"shapes": [shade(windows[number])]}],
        }
        for number, entry in enumerate(entries)
    ]
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "showactive": True}
    figure.update_layout(
        **LAYOUT,
        updatemenus=[menu | {"bgcolor": "#F2F2F2", "font": {"color": "#222222"}, "bordercolor": "#BBBBBB"}],
        shapes=[shade(windows[0])],
        height=470,
        margin={"l": 60, "r": 16, "t": 56, "b": 116},
        legend=LEGEND,
    )
    figure.update_xaxes(**GRID, title_text="epochs since the deviation began", title_standoff=8)
    figure.update_yaxes(**GRID, title_text="price (money)")
    return to_html(figure, name)

"""Lines at benchmark prices and profits: what they are called, how they look, drawn into axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes

from marl_pricing.presentation import style

# What names of lines end with that stand beside the one-shot ones: they know of stock; or, where it is endless, they
# are of a grid or of chance, as played.
STOCK_AWARE, PLAYED = " given the stock", " by simulation"
_BESIDE = (STOCK_AWARE, PLAYED)


def one_line(prices: np.ndarray) -> bool:
    """Whether a benchmark's prices [S] are the same for all sellers."""
    return bool(np.ptp(prices) < 1e-3 * abs(prices.mean()))


def look_of(name: str) -> dict[str, Any]:
    """Dashes of a Nash line, dots of a joint one; a line that stands beside a one-shot one is thick and pale, so that
    the latter is still seen where it lies on it.
    """
    look = style.NASH if name.startswith("Nash") else style.JOINT
    return look | {"alpha": 0.45, "linewidth": 3.2} if name.endswith(_BESIDE) else look


def draw(axes: Axes, lines: Mapping[str, np.ndarray]) -> None:
    """Lines at each seller's own benchmark prices [S], in its colour; one for all where they are the same."""
    for name, prices in lines.items():
        look = look_of(name)
        if one_line(prices):
            axes.axhline(float(prices.mean()), label=f"{name} ({prices.mean():.3f})", **look)
            continue
        for seller, price in enumerate(prices):
            label = f"{name} of each seller" if seller == 0 else None
            axes.axhline(float(price), label=label, **(look | {"color": style.seller_colour(seller)}))


def traces(lines: Mapping[str, np.ndarray], ends: Sequence[int]) -> list[go.Scatter]:
    """The same lines as of `draw`, from one end of the x axis to the other, for an interactive figure."""
    found = []
    for name, prices in lines.items():
        same, width = one_line(prices), 3.5 if name.endswith(_BESIDE) else 1.5
        for seller, price in enumerate([prices.mean()] if same else prices):
            colour = style.GREY if same else style.seller_colour(seller)
            line = {"color": colour, "dash": "dash" if name.startswith("Nash") else "dot", "width": width}
            told = name + (f" ({price:.3f})" if same else " of each seller")
            found.append(
                go.Scatter(
                    x=list(ends), y=[float(price)] * 2, mode="lines", line=line, hoverinfo="skip", name=told,
                    showlegend=seller == 0, legendgroup=name,
                )
            )  # fmt: skip
    return found

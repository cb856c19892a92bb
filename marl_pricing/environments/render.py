"""A market on the terminal and as a picture."""

from __future__ import annotations

import io

import numpy as np

from marl_pricing.market import MarketShape
from marl_pricing.presentation.output import readable

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def in_market(shape: MarketShape, history: list[np.ndarray], slices: dict[str, slice]) -> np.ndarray:
    """Who was in the market in each epoch so far: [epochs, S] bool. A seller that has left posts no price."""
    ended = np.array([own[slices["terminated"]] > 0 for own in history], bool).reshape(-1, shape.num_sellers)
    return np.cumsum(ended, axis=0) - ended == 0


def epoch_table(shape: MarketShape, history: list[np.ndarray], slices: dict[str, slice]) -> str:
    """The last epoch, a row an offer: price, stock, on order, demand, sales, unmet, and the seller's raw reward.

    A seller that had left before has dashes. In ASCII where standard output takes no more.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"epoch {len(history)} of {shape.episode_length}")
    columns = ("seller", "product", "price", "stock", "on order", "demand", "sales", "unmet", "reward")
    for name in columns:
        table.add_column(name, justify="right")
    if history:
        last, present = history[-1], in_market(shape, history, slices)[-1]
        names = ("prices", "stock", "on_order", "demand", "sales", "unmet")
        for offer in range(shape.num_offers):
            seller, product = divmod(offer, shape.num_products)
            cells = [f"{last[slices[name]][offer]:.2f}" if present[seller] else "–" for name in names]
            reward = f"{last[slices['reward']][seller]:.2f}" if product == 0 and present[seller] else ""
            table.add_row(str(seller), str(product), *cells, reward)
    text = io.StringIO()
    Console(file=text, width=100, force_terminal=False).print(table)
    return readable(text.getvalue())


def draw_paths(shape: MarketShape, history: list[np.ndarray], slices: dict[str, slice]) -> np.ndarray:
    """Prices and, where it is limited, stock of every offer so far: [H, W, 3] uint8.

    A path ends where its seller left.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parts = ["prices"] if shape.inventory.unlimited else ["prices", "stock"]
    figure = Figure(figsize=(7, 2.4 * len(parts)), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    edges = np.arange(len(history) + 1) + 0.5
    present = np.repeat(in_market(shape, history, slices), shape.num_products, axis=1)
    for axis, name in zip(np.atleast_1d(figure.subplots(len(parts), 1, sharex=True)), parts, strict=True):
        paths = np.array([own[slices[name]] for own in history]).reshape(len(history), shape.num_offers)
        paths = np.where(present, paths, np.nan)
        for offer in range(shape.num_offers):
            seller, product = divmod(offer, shape.num_products)
            style = ("-", "--", ":", "-.")[product % 4]
            label = f"seller {seller}" + (f", product {product}" if shape.num_products > 1 else "")
            colour = COLOURS[seller % len(COLOURS)]
            # An epoch is as wide as its number on the axis, so that the first one alone is seen as well.
            heights = np.append(paths[:, offer], paths[-1:, offer])
            axis.step(edges[: heights.size], heights, style, where="post", color=colour, label=label)
        axis.set(ylabel={"prices": "price (money)", "stock": "stock (units)"}[name], xlim=(0, shape.episode_length + 1))
    axis.set_xlabel("epoch")
    if history and shape.num_offers <= 8:
        figure.axes[0].legend(fontsize=8, loc="upper right")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()

"""The strategy figure of TensorBoard: where each seller's prices have been, and are."""

from __future__ import annotations

import numpy as np

from marl_pricing.learning.measures import price_bins

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def strategy_figure(history: list[tuple[int, np.ndarray, np.ndarray]], price_range: tuple[float, float]) -> np.ndarray:
    """Mean price of each seller over updates, and the present distribution of its prices; in the words in force.

    Args:
        history: (update, mean price [S], counts [S, B] in the bins of `measures.price_bins`) of every report so far.
        price_range: lowest and highest price that any offer may post, money.

    Returns:
        [H, W, 3] uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from marl_pricing.presentation.style import say_figure

    figure = Figure(figsize=(9, 3.6), dpi=90, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    paths, now = figure.subplots(1, 2)
    updates = [update for update, _, _ in history]
    means = np.array([mean for _, mean, _ in history])
    counts = history[-1][2]
    edges = price_bins(*price_range)[1]
    for seller in range(means.shape[1]):
        colour = COLOURS[seller % len(COLOURS)]
        paths.plot(updates, means[:, seller], color=colour, label=f"seller {seller}", marker="o", markersize=2)
        share = counts[seller] / max(counts[seller].sum(), 1.0)
        now.stairs(share, edges, color=colour, linewidth=1.5)
    paths.set(xlabel="update", ylabel="mean price (money)", title="price by update")
    if price_range[0] < price_range[1]:  # a price that is given has no range
        paths.set_ylim(price_range)
    now.set(xlabel="price (money)", ylabel="share of epochs", title=f"prices at update {updates[-1]}")
    if means.shape[1] <= 8:
        paths.legend(fontsize=8)
    say_figure(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()

"""Figures of the behaviour tests: drawn from frames, wide and narrow, with what they promise in them."""

from __future__ import annotations

import json
import re

import jax
import numpy as np
import pandas as pd
import pytest

from marl_pricing.evaluation.behaviour import figures, interactive
from marl_pricing.evaluation.behaviour.examine import examine
from marl_pricing.evaluation.report.interactive import unpacked
from marl_pricing.presentation import style
from tests.evaluation.behaviour.rules import HIGH, make_duopoly, rule

ENDS = ("change", "low", "high")
LINES = {"Nash price": np.array([1.48, 1.48]), "joint-profit price": np.array([1.9, 1.95])}


@pytest.fixture(scope="module")
def found():
    own = make_duopoly()
    policies = [rule(own.shape, names) for names in (("constant", "punish"), ("linear", "punish"))]
    return examine(jax.random.key(0), *own, policies, 2, 0.9)


@pytest.fixture(scope="module")
def changes():
    """Paths after a stockout and a burst, as `reaction` writes them."""
    rows = [
        {"case": case, "epochs": 2, "forced": "all", "seller": seller, "since": since, "undisturbed": HIGH}
        | {f"{name}_{end}": 0.1 * since * (end != "low") for name in ("price", "profit") for end in ENDS}
        for case in ("stockout", "burst") for seller in ("0", "1", "rivals", "all") for since in range(-5, 8)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def labels(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("inches", [style.WIDE, style.NARROW])
def test_a_deviation_has_a_panel_a_seller_and_move(found, inches: float) -> None:
    with style.width(inches):
        figure = figures.deviation_response(found.responses, LINES, 5)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"seller {i}: {move}" for i in (0, 1) for move in ("best reply", "cut", "rise")]
    lines = ["Nash price (1.480)", "joint-profit price of each seller"]
    assert labels(figure) == ["seller 0", "seller 1", *lines, "undisturbed"]
    rows = found.responses
    mine = rows[rows["case"].eq("cut") & rows["epochs"].eq(5) & rows["forced"].eq("0") & rows["seller"].eq("1")]
    drawn = [line.get_ydata() for line in figure.axes[1].lines]
    assert any(np.array_equal(line, mine["undisturbed"] + mine["price_change"]) for line in drawn)
    assert style.png(figure).startswith(b"\x89PNG")


def test_a_surface_shows_the_mean_of_the_seeds_over_own_and_rival_price(found) -> None:
    figure = figures.reaction_surface(found.reaction_surface)
    mesh = figure.axes[0].collections[0]
    rows = found.reaction_surface[found.reaction_surface["seller"].eq("0")]
    mean = rows.groupby(["own", "rival"])["price"].mean().to_numpy()  # own prices by row, rivals' by column
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(-1), mean)
    assert figure.axes[0].get_ylabel() == "own last price (money)" and len(figure.axes) == 4


def test_stock_and_changes_are_drawn_by_seller(changes) -> None:
    stock = pd.DataFrame(
        {"seed": s, "seller": j, "stock": x, "price": 1.0 + 0.1 * x + s, "order": np.nan}
        for s in (0, 1) for j in ("0", "1") for x in (0.0, 5.0)
    )  # fmt: skip
    figure = figures.stock_response(stock)
    assert len(figure.axes) == 1 and labels(figure) == ["seller 0", "seller 1"]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [1.5, 2.0])
    assert len(figures.stock_response(stock.assign(order=2.0)).axes) == 2
    for draw in (figures.stockout_response, figures.burst_response):
        figure = draw(changes)
        assert labels(figure) == ["seller 0", "seller 1"]
        np.testing.assert_allclose(figure.axes[1].lines[1].get_ydata(), 0.1 * np.arange(-5, 8))


def test_every_figure_has_a_caption_that_can_be_filled() -> None:
    words = {"epochs": "5 epochs", "resampled": "over 8 seeds", "lines": "Lines: static benchmark.", "bound": ""}
    for name, caption in figures.CAPTIONS.items():
        assert hasattr(figures, name) and "{" not in caption.format(**words)


def test_the_fragment_lets_one_choose_move_length_and_deviator(found) -> None:
    html = interactive.deviation_response(found.responses, LINES, "deviation-0")
    assert "id='deviation-0'" in html and "plotly.js v" not in html
    html = unpacked(html)
    entries = re.findall(r'"label":"([^"]+)"', html)
    moves = [(move, k) for move in ("best reply", "cut", "rise") for k in (1, 5)]
    assert sorted(entries) == sorted(
        f"seller {i}: {move}, {k} epoch{'s' if k > 1 else ''}" for i in (0, 1) for move, k in moves
    )
    visible = [json.loads(own) for own in re.findall(r'"visible":(\[[^\]]+\])', html)]
    assert len(visible) == 12 and all(
        sum(own) == 3 * 2 + 3 for own in visible
    )  # two sellers, one line for both and one for each

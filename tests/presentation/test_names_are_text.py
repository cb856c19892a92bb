"""Names that people gave are shown as they are, wherever they come to stand: none is read as markup."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from marl_pricing.evaluation.report import interactive
from marl_pricing.presentation import style, words
from marl_pricing.presentation.markup import markdown, markdown_code
from marl_pricing.traffic import logs
from marl_pricing.traffic.logs.summary import print_summary

NAMES = (
    r"$\frac{a}{b}", "$x", "$x$", r"\alpha", "<script>alert(1)</script>", "a|b", "[/bold]", "{x}", "a`b``c", "&lt;",
)  # fmt: skip


@style.styled
def drawn(name: str, *, of_words: bool) -> Figure:
    figure = style.new_figure(2.0)
    axes = figure.subplots()
    shown = "seller 0" if of_words else name
    axes.plot([0, 1], [0, 1], label=shown)
    axes.set(title=shown, xlabel=shown)
    axes.set_xticks([0, 1], [shown, "b"])
    style.legend_below(figure, axes)
    return figure


@pytest.mark.parametrize("of_words", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_figures(name: str, of_words: bool, tmp_path: Path) -> None:
    with words.using(words.Words(sellers=(name,))):
        figure = drawn(name, of_words=of_words)
        svg = style.svg(figure).decode()
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == axes.get_xlabel() == axes.get_xticklabels()[0].get_text() == name
    assert figure.legends[0].get_texts()[0].get_text() == name
    # Matplotlib says each text in a comment beside its shapes.
    assert unescape(svg).count(unescape(name).replace("--", "- -")) >= 3 or "--" in name


@pytest.mark.parametrize("name", NAMES)
def test_interactive_figures(name: str) -> None:
    figure = go.Figure(go.Scatter(x=[0], y=[1], name="seller 0"))
    with words.using(words.Words(sellers=(name,))):
        html = interactive.to_html(figure, "one")
    assert "<script>alert" not in html
    assert unescape(json.loads(interactive.unpacked(html))["data"][0]["name"]) == name


@pytest.mark.parametrize("name", NAMES)
def test_markdown(name: str) -> None:
    cell = markdown(name)
    assert "<" not in cell and "\n" not in cell
    # Without its backslashes and entities it is the name; no sign of markup stands without one.
    plain, escaped = "", False
    for sign in cell:
        if sign == "\\" and not escaped:
            escaped = True
            continue
        assert escaped or sign not in "`*[]|~$"
        plain, escaped = plain + sign, False
    assert unescape(plain) == name
    code = markdown_code(name)
    fence = code[: len(code) - len(code.lstrip("`"))]
    assert code.startswith(fence) and code.endswith(fence) and fence not in code[len(fence) : -len(fence)].split()


@pytest.mark.parametrize("name", ["[/bold]", "[red]x", "<b>"])
def test_the_terminal(name: str, tmp_path: Path) -> None:
    path = tmp_path / "[bold]log.csv"
    rows = [("s1", "2024-03-01T10:00:00Z", "view_item"), ("s1", "2024-03-01T10:00:01Z", name)]
    pd.DataFrame(rows, columns=["session", "time", "event"]).to_csv(path, index=False)
    mapping = {"session": "session", "time": "time", "event": "event", "events": {name: None}}
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    print_summary(path, logs.read_log(path, mapping=mapping), console)
    text = console.export_text()
    assert f"left out, {name} " in text and path.name in "".join(text.split())

"""How figures look, whoever draws them."""

from __future__ import annotations

import pytest

from marl_pricing.presentation import style


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("labels", [
    ["a"], ["seller 0", "seller 1", "Nash price (1.326)"],
    ["Nash profit (2.885)", "joint profit (6.783)", "Nash profit given the stock (5.105)",
     "joint profit given the stock (5.105)", "learned", "rule"],
    [f"seller {n}" for n in range(12)] + ["joint-profit price given the stock of each seller"],
])  # fmt: skip
def test_a_legend_stays_on_its_figure(labels: list[str], narrow: bool) -> None:
    with style.width(style.NARROW if narrow else style.WIDE):
        figure = style.styled(lambda: style.new_figure(8.0))()
        axes = figure.subplots()
        for label in labels:
            axes.plot([0, 1], label=label)
        style.styled(lambda: style.legend_below(figure, axes))()
        figure.draw_without_rendering()
    box, page = figure.legends[0].get_window_extent(), figure.bbox
    assert box.x0 >= page.x0 and box.x1 <= page.x1
    assert figure.legends[0]._ncols == 1 or len(labels) > 1

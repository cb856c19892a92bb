"""Figures and pages in the words of whoever's sales they show."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from marl_pricing.evaluation.report import interactive
from marl_pricing.presentation import page, style
from marl_pricing.presentation.words import Words, common, say, using

OURS = Words("USD", "week", ("National & Co", "Private $"))


def test_texts_say_what_the_market_calls_things() -> None:
    text = "Seller 1 and seller 0 earn 5 money per epoch, an epoch or 2 epochs; seller 7; epochal money-saving"
    assert say(text) == text
    with using(OURS):
        said = "Private $ and National & Co earn 5 USD per week, a week or 2 weeks; seller 7; epochal USD-saving"
        assert say(text) == said
        with using(Words(period="hour")):
            assert say("an epoch of money") == "an hour of money"
    assert say(text) == text


def test_a_product_is_called_by_its_name_beside_its_sellers() -> None:
    with using(Words(sellers=("North", "South"), products=("tea", "rice", "salt", "oats"))):
        assert say("stock of seller 1, product 0 and Seller 0, product 1") == "stock of South, salt and North, rice"
        assert say("seller 1, product 2") == "South, product 2"
    with using(Words(sellers=("North",))):
        assert say("seller 0, product 1") == "North, product 1"


def test_one_page_has_one_word_for_a_thing() -> None:
    assert common([OURS, OURS]) == OURS
    assert common([OURS, Words("EUR", "week", OURS.sellers)]) == Words("", "week", OURS.sellers)
    assert common([OURS, Words()]) == common([]) == Words()


def test_a_page_says_it_in_its_text_alone() -> None:
    body = ["<p title='seller 0'>seller 0 &amp; money</p><script>var money = 'seller 0';</script><pre>epoch</pre>"]
    with using(OURS):
        html = page.render("seller 1", body, "<script>money</script>")
    assert "<p title='seller 0'>National &amp; Co &amp; USD</p>" in html
    assert "<script>var money = 'seller 0';</script><pre>epoch</pre>" in html and "<script>money</script>" in html
    assert "<title>Private $</title>" in html
    with using(Words(sellers=("<b>x</b>",))):
        assert "&lt;b&gt;x&lt;/b&gt;" in page.render("", ["<p>seller 0</p>"])


def test_a_figure_says_it_in_labels_legends_and_ticks() -> None:
    @style.styled
    def draw():
        figure = style.new_figure(2.0)
        axes = figure.add_subplot()
        axes.barh([0, 1], [1.0, 2.0], label="seller 0")
        axes.set_yticks([0, 1], ["seller 0", "seller 1"])
        axes.set(xlabel="profit (money per epoch)", title="epoch 3")
        style.legend_below(figure, axes)
        return figure

    plain = style.svg(draw()).decode()
    with using(OURS):
        figure = draw()
        said = style.svg(figure).decode()
        assert style.svg(figure).decode() == said
    axes = figure.axes[0]
    assert axes.get_xlabel() == "profit (USD per week)" and axes.get_title("left") == "week 3"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["National & Co", "Private $"]
    assert said != plain and style.svg(draw()).decode() == plain


def test_a_figure_that_is_pointed_at_says_it_too() -> None:
    figure = go.Figure(go.Scatter(x=[0], y=[1], name="seller 0", hovertemplate="%{y:.4g} money"))
    figure.update_yaxes(title_text="price (money)")
    figure.update_xaxes(title_text="epoch")
    figure.add_annotation(text="seller 1", x=0, y=0)
    with using(OURS):
        html = interactive.unpacked(interactive.to_html(figure, "one"))
    for said in ("price (USD)", '"week"', "%{y:.4g} USD", "Private $"):
        assert said in html
    assert "money" not in html and "seller" not in html


@pytest.mark.parametrize("text", ["seller", "sellers 0", "seller x", "epoch's", "Money"])
def test_what_names_no_seller_stays(text: str) -> None:
    with using(Words(currency="USD", sellers=("A",))):
        assert say(text) == text

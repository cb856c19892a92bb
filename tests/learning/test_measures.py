"""The histogram of prices and the strategy picture against the mean price, wherever offers have grids of their own."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from marl_pricing.learning.evaluations import MEASURES
from marl_pricing.learning.measures import PRICE_BINS, price_bins, segment_measures
from marl_pricing.learning.monitor import FINAL, Journal, hyperparameters
from marl_pricing.learning.runs import METRICS, TENSORBOARD
from marl_pricing.learning.strategy_figure import strategy_figure
from marl_pricing.presentation.words import Words
from tests.learning.helpers import learner_of, rolled, started
from tests.markets import UNLIMITED, duopoly
from tests.sizes import at_once

GRIDS = {
    "one grid": {"low": 1.0, "high": 2.2},
    "own grids": {"low": [1.0, 3.0], "high": [2.2, 5.4]},
}


def measured(grid: dict):
    own = duopoly(prices={"map": "levels", "num_price_levels": 13} | grid, inventory=UNLIMITED)
    learner = learner_of(own)
    _, segment = rolled(learner, own, started(learner, own))
    return own, segment, segment_measures(own.shape, own.params, segment, lambda x: x)


@pytest.mark.parametrize("name", at_once(["one grid", "own grids"]))
def test_the_mean_of_the_histogram_is_the_mean_price(name: str) -> None:
    own, segment, got = measured(GRIDS[name])
    low, high = float(np.min(own.params.prices.low)), float(np.max(own.params.prices.high))
    middles, edges = price_bins(low, high)
    half = 0.5 * (high - low) / (PRICE_BINS - 1)
    np.testing.assert_allclose(edges[1:] - edges[:-1], 2 * half, rtol=1e-5)
    counts = np.asarray(got["price_counts"])
    mean = (counts * middles).sum(1) / counts.sum(1)
    np.testing.assert_allclose(mean, got["price_mean"], atol=half)
    prices = np.asarray(segment.outcome.prices)
    for seller in range(2):
        expected = np.histogram(prices[..., seller], edges)[0]
        # A price in the middle between two bins may fall on either side.
        assert np.abs(expected - counts[seller]).sum() <= 0.02 * prices[..., seller].size


def test_tensorboard_is_given_a_histogram_whose_mean_is_the_mean_price(tmp_path) -> None:
    own, _, got = measured(GRIDS["own grids"])
    low, high = float(np.min(own.params.prices.low)), float(np.max(own.params.prices.high))
    journal = Journal(tmp_path, 1, 0, (low, high))
    measures = {name: np.asarray(value)[None, None] for name, value in got.items()}
    journal.add(1, measures | {"learning_rate": np.ones((1, 1))}, 1.0, 1.0)
    journal.show(1, measures | {"learning_rate": np.ones((1, 1))}, 1.0)
    journal.close()
    events = EventAccumulator(str(tmp_path / TENSORBOARD))
    events.Reload()
    half = 0.5 * (high - low) / (PRICE_BINS - 1)
    for seller in range(2):
        parts = events.Histograms(f"price/histogram/seller_{seller}")[0].histogram_value
        mean = parts.sum / parts.num
        assert mean == pytest.approx(events.Scalars(f"price/mean/seller_{seller}")[0].value, abs=half)
        assert sum(parts.bucket) == parts.num and len(parts.bucket_limit) == PRICE_BINS
        assert parts.sum_squares / parts.num - mean**2 >= 0
        # The limits hold what is counted: the mean of the buckets' middles is the mean again.
        middles = np.array(parts.bucket_limit) - half
        assert (middles * parts.bucket).sum() / parts.num == pytest.approx(mean, rel=1e-5)
    assert events.Images("strategy")[0].encoded_image_string.startswith(b"\x89PNG")


def test_tensorboard_has_the_names_of_sellers(tmp_path, monkeypatch) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    _, _, got = measured(GRIDS["one grid"])
    shown: set[str] = set()
    draw = FigureCanvasAgg.draw
    monkeypatch.setattr(
        FigureCanvasAgg,
        "draw",
        lambda self: (shown.update(text.get_text() for text in self.figure.findobj(Text)), draw(self))[1],
    )
    journal = Journal(tmp_path, 1, 0, (1.0, 2.2), words=Words("EUR", "week", ("A", "B & Co")))
    measures = {name: np.asarray(value)[None, None] for name, value in got.items()}
    journal.add(1, measures | {"learning_rate": np.ones((1, 1))}, 1.0, 1.0)
    played = {name: "" for name in MEASURES} | {"policy": "greedy", "seed": 0, "update": 1}
    journal.show(1, measures | {"learning_rate": np.ones((1, 1))}, 1.0)
    journal.show_evaluation(1, [played | {"seller": seller, "profit": 1.0 + seller} for seller in range(2)])
    journal.close()
    events = EventAccumulator(str(tmp_path / TENSORBOARD))
    events.Reload()
    assert events.Scalars("greedy/profit/B & Co")[0].value == 2.0
    assert events.Scalars("price/mean/A")[0].value == pytest.approx(float(got["price_mean"][0]))
    assert events.Histograms("price/histogram/B & Co")
    assert not [tag for kind in events.Tags().values() if isinstance(kind, list) for tag in kind if "seller_" in tag]
    assert {"A", "B & Co", "mean price (EUR)", "price (EUR)"} <= shown and "seller 0" not in shown
    # What a program reads keeps its columns.
    assert "price_mean/seller_1" in (tmp_path / METRICS).read_text().splitlines()[0]


def test_tensorboard_has_the_settings_and_the_final_measures_beside_them(tmp_path) -> None:
    settings = "name: x\nlearner: {gamma: 0.9, cell: gru, sizes: [1, 2]}\nmarket: {reward: {omega: 1.0}, shock: null}\n"
    found = hyperparameters(settings)
    assert found == {"learner.gamma": 0.9, "learner.cell": "gru", "learner.sizes": "[1, 2]", "market.reward.omega": 1.0}
    journal = Journal(tmp_path, 1, 0, (1.0, 2.2), settings=settings)
    played = {name: "" for name in MEASURES} | {"policy": "greedy", "seed": 0, "update": 1}
    journal.show_evaluation(1, [played | {"seller": 0, "profit": 3.0, "price": 1.5}])
    journal.close()
    events = EventAccumulator(str(tmp_path / TENSORBOARD))
    events.Reload()
    (text,) = events.Tensors("settings")
    assert b"omega: 1.0" in text.tensor_proto.SerializeToString()
    content = events.summary_metadata
    kinds = {tag: own.plugin_data.plugin_name for tag, own in content.items()}
    assert [tag for tag, name in kinds.items() if name == "hparams"] == [
        "_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info",
    ]  # fmt: skip
    start = plugin_data_pb2.HParamsPluginData.FromString(
        content["_hparams_/session_start_info"].plugin_data.content
    ).session_start_info.hparams
    assert start["learner.gamma"].number_value == 0.9 and start["learner.cell"].string_value == "gru"
    assert "greedy/profit/mean" in FINAL and events.Scalars("greedy/profit/mean")[-1].value == 3.0


def test_a_market_of_one_price_has_a_histogram_and_a_picture() -> None:
    middles, edges = price_bins(1.5, 1.5)
    assert (np.diff(edges) > 0).all() and middles[0] == 1.5
    picture = strategy_figure([(1, np.array([1.5]), np.eye(1, PRICE_BINS) * 10)], (1.5, 1.5))
    assert picture.dtype == np.uint8 and picture.std() > 0


def test_the_strategy_picture_draws_each_seller_at_its_prices(monkeypatch) -> None:
    from matplotlib.axes import Axes

    drawn = []
    monkeypatch.setattr(Axes, "stairs", lambda self, values, edges, **look: drawn.append((values, edges)))
    own, _, got = measured(GRIDS["own grids"])
    low, high = float(np.min(own.params.prices.low)), float(np.max(own.params.prices.high))
    strategy_figure([(1, np.asarray(got["price_mean"]), np.asarray(got["price_counts"]))], (low, high))
    for (share, edges), mean in zip(drawn, got["price_mean"], strict=True):
        middles = 0.5 * (edges[1:] + edges[:-1])
        assert (share * middles).sum() == pytest.approx(float(mean), abs=edges[1] - edges[0])


def test_counts_of_two_devices_add_up() -> None:
    own, segment, got = measured(GRIDS["own grids"])
    twice = segment_measures(own.shape, own.params, segment, lambda tree: jax.tree.map(lambda x: 2 * x, tree))
    np.testing.assert_array_equal(np.asarray(twice["price_counts"]), 2 * np.asarray(got["price_counts"]))

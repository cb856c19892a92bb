"""The report's robust equilibria: the set that fear alone supports, beside the plain one, and what was learned."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from marl_pricing.config.robust import Robust
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.config.worlds import build_ambiguity
from marl_pricing.equilibrium import robust, static
from marl_pricing.evaluation import RunToEvaluate, evaluate
from marl_pricing.evaluation.report.robust_html import robust_table as as_html
from marl_pricing.evaluation.robust_benchmarks import COLUMNS, robust_table, worlds_of
from tests.equilibrium.test_robust import game
from tests.evaluation.test_report import constant


def feared(own, **settings):
    """The market with its worlds, and the ambiguity about them."""
    return build_ambiguity(Robust(**settings), own, None, Traffic())


def run(own, ambiguity, prices=(1.4, 1.6)) -> RunToEvaluate:
    learned = [constant(own.shape, own.params, [price] * own.shape.num_offers) for price in prices]
    return RunToEvaluate("fearful", own.shape, own.params, {"greedy": learned}, ambiguity=ambiguity)


def played(prices=(1.4, 1.6), sellers: int = 2) -> pd.DataFrame:
    rows = [
        ("fearful", "learned (greedy)", seed, seller, 0, price)
        for seed, price in enumerate(prices)
        for seller in range(sellers)
    ]
    return pd.DataFrame(rows, columns=["run", "policy", "seed", "seller", "product", "price"])


@pytest.mark.slow
def test_the_set_stands_beside_the_plain_one_with_what_was_learned() -> None:
    own, ambiguity = feared(game(), set="interval", radius=0.3)
    table = robust_table(run(own, ambiguity), ("stock",), played())
    assert list(table.columns) == list(COLUMNS)
    rows = {(row["game"], row["fear"]): row for _, row in table.iterrows()}
    plain, worst = rows["price grid", "none"], rows["price grid", "worst"]
    assert (plain["equilibria"], worst["equilibria"]) == (2, 8)
    np.testing.assert_allclose([plain["low"], plain["high"], worst["low"], worst["high"]], [1.325, 1.35, 1.3, 1.475])
    np.testing.assert_allclose([plain["joint"], worst["joint"]], [1.9, 1.925])
    assert (plain["at_equilibrium"], worst["at_equilibrium"], worst["seeds"]) == (0, 1, 2)
    assert worst["learned"] == pytest.approx(1.5) and worst["start"] == pytest.approx(1.65)
    off = rows["any price", "worst"]
    alone = own.params.replace(traffic=own.params.traffic.replace(agent_share=jnp.float32(0.0)))
    np.testing.assert_allclose([off["low"], off["high"]], static.nash(own.shape, alone).prices[0], atol=1e-5)
    assert rows["any price", "none"]["low"] == pytest.approx(static.nash(*own).prices[0], abs=1e-5)
    html = as_html(table)
    assert "1.325 … 1.350" in html and "1.300 … 1.475" in html
    assert "1 of 2" in html and "from above" in html and "fear alone supports" in html
    assert "collusi" not in html
    assert as_html(robust_table(run(own, None), (), played())) == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"set": "kl", "radius": 0.1, "worlds": ["agent_share", {"factor": "demand_scale", "values": [0.8, 1.0, 1.25]}]},
        {"set": "wasserstein", "radius": 0.1, "metric": "demand"},
        {"set": "interval", "radius": 0.5, "adversary": "nature"},
    ],
)
def test_worlds_of_an_ambiguity_are_its_worlds_in_its_order(settings: dict) -> None:
    own, ambiguity = feared(game(2, 12), **settings)
    worlds = worlds_of(own.params, ambiguity)
    assert len(worlds.params) == ambiguity.num_candidates == len(worlds.weights)
    shares = [float(each.traffic.agent_share) for each in worlds.params]
    scales = [float(each.demand.scale) for each in worlds.params]
    if settings["set"] == "interval":
        np.testing.assert_allclose(shares, np.linspace(0.0, 0.8, 5))
        assert worlds.nature
    else:
        count = len(worlds.params) // 5
        np.testing.assert_allclose(shares, np.tile(np.linspace(0, 0.6, 5), count), atol=1e-6)
        np.testing.assert_allclose(scales, np.repeat([0.8, 1.0, 1.25] if count == 3 else [1.0], 5), rtol=1e-6)
    assert (worlds.metric is None) == (settings["set"] != "wasserstein" or "metric" in settings)
    assert robust.grid_payoffs(own.shape, worlds).shape == (12, 12, 2)


def test_a_game_that_is_too_large_or_unknown_says_so() -> None:
    own, ambiguity = feared(game(3, 5, num_products=3), set="interval", radius=0.3)
    table = robust_table(run(own, ambiguity), (), played(sellers=3))
    assert len(table) == 1 and "9 offers" in table["note"][0]
    own, ambiguity = feared(game(2, 12), set="interval", radius=0.3, adversary="nature")
    table = robust_table(run(own, ambiguity), (), played())
    noted = table[table["game"].eq("any price") & table["fear"].eq("worst")]["note"].iloc[0]
    assert "one nature chooses" in noted
    assert (table[table["game"].eq("price grid")]["note"] == "").all()


@pytest.mark.slow
def test_the_report_shows_it(tmp_path: Path) -> None:
    own, ambiguity = feared(game(2, 12, episode_length=4), set="interval", radius=0.3)
    page = evaluate(
        [run(own, ambiguity)], tmp_path, episodes=2, seed=1, rules=(), guests=False, behaviour=False, progress=False
    )
    assert "Robust equilibria" in page.read_text()
    written = pd.read_csv(tmp_path / "robust_equilibria.csv")
    assert list(written.columns) == list(COLUMNS)
    assert written["learned"].iloc[0] == pytest.approx(1.5)

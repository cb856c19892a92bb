"""Row "history" of the methodology's table: the alternating record of prices published and demand returned."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.evaluation.history import COLUMNS, history_table
from marl_pricing.evaluation.play import play
from marl_pricing.policies.constant import constant
from tests.markets import make


def test_history_alternates_and_holds_what_was_played() -> None:
    shape, params = make(num_products=2, episode_length=5)
    record = play(jax.random.key(0), shape, params, constant(shape, params, jnp.array([1.3, 1.5, 1.7, 1.9])), 2)
    found = history_table(record, "r", "constant", 3)
    assert list(found.columns) == list(COLUMNS) and len(found) == 2 * 5 * 4 and (found["seed"] == 3).all()
    assert found.groupby("turn")["player"].agg("first").tolist() == ["leader", "follower"] * 5
    np.testing.assert_array_equal(found["epoch"], found["turn"] // 2)
    leads = found[found["player"] == "leader"].reset_index(drop=True)
    answers = found[found["player"] == "follower"].reset_index(drop=True)
    assert leads[["demand", "proxy"]].isna().all(axis=None) and answers["price"].isna().all()
    place = 2 * leads["seller"] + leads["product"]
    np.testing.assert_allclose(leads["price"], np.asarray(record.price[0])[leads["epoch"], place])
    np.testing.assert_allclose(answers["demand"], np.asarray(record.demand[0])[answers["epoch"], place])
    np.testing.assert_allclose(answers["proxy"], np.asarray(record.events[0])[answers["epoch"], place])


def test_history_of_a_seller_that_has_left_ends() -> None:
    shape, params = make(episode_length=5)
    record = play(jax.random.key(0), shape, params, constant(shape, params, jnp.array([1.3, 1.5])), 1)
    live = np.array(record.live)
    live[0, 2:, 1] = False
    gone = record.replace(live=live)
    found = history_table(gone, "r", "constant", 0)
    assert found[found["seller"] == 1]["turn"].max() == 3 and found[found["seller"] == 0]["turn"].max() == 9

"""A market of one seller as a Gymnasium environment: the parallel one without its dicts."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import marl_pricing
from tests.environments.kinds import CHOSEN, assert_same
from tests.markets import make


def test_it_plays_as_the_parallel_environment() -> None:
    own = make(num_sellers=1, inventory=CHOSEN)
    one, parallel = marl_pricing.one_seller_env(own), marl_pricing.parallel_env(own)
    answers, others = one.reset(seed=4), parallel.reset(seed=4)
    for _ in range(12):
        assert_same(answers, tuple(part["seller_0"] for part in others))
        mask = others[-1]["seller_0"]["action_mask"]
        assert one.action_masks().tolist() == np.concatenate(mask).astype(bool).tolist()
        answers, others = one.step([2, 1]), parallel.step({"seller_0": [2, 1]})
    assert answers[3] and not answers[2]


def test_it_is_registered_and_refuses_what_it_is_not_for() -> None:
    env = gymnasium.make("MarlPricing/OneSeller-v0", num_sellers=1, max_cycles=7, render_mode="ansi")
    assert env.unwrapped.observation_names == marl_pricing.parallel_env("price_and_order").observation_names
    with pytest.raises(ValueError, match=r"^num_sellers=2: accepted is 1"):
        marl_pricing.one_seller_env(make())
    plain = marl_pricing.one_seller_env(make(num_sellers=1))
    plain.reset(seed=0)
    with pytest.raises(ValueError, match=r"^action_masks: accepted in markets whose seller chooses orders"):
        plain.action_masks()

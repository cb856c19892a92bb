"""One of several policies for each episode."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from marl_pricing.evaluation.play import play
from marl_pricing.policies import base_stock, constant, drawn, random, table
from tests.markets import duopoly


def test_each_episode_is_played_by_one_of_them_as_often_as_its_share_says() -> None:
    own = duopoly()
    low, high, rule = constant(*own, [1.2, 1.2]), constant(*own, [1.4, 1.4]), base_stock(*own)
    policy = drawn("league", [low, rule, high], [0.2, 0.5, 0.3])
    assert len(policy.parameters.kinds) == 1  # all are constant prices
    price = play(jax.random.key(0), *own, policy, 2000).price
    assert (price == price[:, :1, :1]).all()  # the same for both seats, from the first epoch to the last
    share = [np.isclose(price[:, 0, 0], value, atol=1e-6).mean() for value in (1.2, 1.5, 1.4)]
    np.testing.assert_allclose(share, [0.2, 0.5, 0.3], atol=4 * np.sqrt(0.25 / 2000))


def test_who_is_drawn_plays_as_it_would_alone_whatever_its_kind() -> None:
    own = duopoly()
    still, loose = constant(*own, [1.2, 1.2]), random(*own)
    league = play(jax.random.key(3), *own, drawn("league", [still, loose]), 40)
    alone = play(jax.random.key(3), *own, loose, 40)
    fixed = np.isclose(league.price, 1.2, atol=1e-6).all((1, 2))
    assert 5 < fixed.sum() < 35
    np.testing.assert_array_equal(league.price[~fixed], alone.price[~fixed])
    one = drawn("one", [loose])
    np.testing.assert_array_equal(play(jax.random.key(3), *own, one, 5).price, alone.price[:5])
    with pytest.raises(ValueError, match="policies="):
        drawn("nobody", [])


def test_guests_at_a_table_hold_their_seats_and_leave_the_hosts_chance_alone() -> None:
    own = duopoly()
    host = random(*own)
    guests = table(host, [constant(*own, [1.3, 1.3])], [np.array([False, True])])
    mixed, alone = (play(jax.random.key(1), *own, policy, 5) for policy in (guests, host))
    np.testing.assert_array_equal(mixed.price[..., 0], alone.price[..., 0])
    np.testing.assert_allclose(mixed.price[..., 1], 1.3, atol=1e-6)

"""A rule in a learned seller's seat."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.evaluation.guests import deviations
from marl_pricing.evaluation.play import play
from marl_pricing.policies import constant, constant_joint, constant_nash, random, seat
from tests.markets import one_shot


def market():
    return one_shot(3, episode_length=6, prices={"map": "levels", "low": 1.2, "high": 2.2, "num_price_levels": 51})


def test_only_the_guests_seat_changes() -> None:
    own = market()
    host, guest = constant_nash(*own), constant_joint(*own)
    key = jax.random.key(0)
    alone, other = (play(key, *own, policy, 3) for policy in (host, guest))
    got = play(key, *own, seat(host, guest, 1, 3), 3)
    np.testing.assert_array_equal(got.price[..., [0, 2]], alone.price[..., [0, 2]])
    np.testing.assert_array_equal(got.price[..., 1], other.price[..., 1])
    with pytest.raises(ValueError, match="seller=3: accepted is a whole number from 0 to 2"):
        seat(host, guest, 3, 3)


def test_a_guest_changes_nothing_of_the_others_chance() -> None:
    own = market()
    host = random(*own)
    key = jax.random.key(1)
    alone = play(key, *own, host, 4)
    got = play(key, *own, seat(host, constant_nash(*own), 0, 3), 4)
    np.testing.assert_array_equal(got.price[..., 1:], alone.price[..., 1:])


def test_nobody_gains_at_nash_and_deviating_from_the_joint_profit_pays() -> None:
    """Expected orders, so that the figures are exact: best replies are those of the one-shot game on the grid."""
    own = market()
    nash, joint = static.nash(*own), static.joint_profit(*own)
    levels = np.asarray(own.params.prices.levels[0])
    undercut = joint.prices.copy()
    undercut[:] = levels[np.abs(levels - 1.6).argmin()]
    rules = {"nash": constant_nash(*own), "undercut": constant(*own, undercut)}
    at_nash = deviations(jax.random.key(0), *own, [constant_nash(*own)], rules, 2).set_index(["rule", "seller"])
    assert at_nash.loc[("nash", "all"), "gain"] == 0.0
    assert at_nash.loc[("undercut", "all"), "gain"] < 0
    alone = deviations(jax.random.key(0), *own, [constant_nash(*own)], rules, 2, sellers=[2]).set_index(
        ["rule", "seller"]
    )
    assert alone.loc["undercut"].index.tolist() == ["2", "all"]
    assert (alone.loc[("undercut", ["2", "all"]), "gain"] == at_nash.loc[("undercut", "2"), "gain"]).all()
    at_joint = deviations(jax.random.key(0), *own, [constant_joint(*own)] * 2, rules, 2).set_index(["rule", "seller"])
    grid = levels[np.abs(levels - joint.prices[0]).argmin()]
    deviating = np.full(3, grid)
    base = static.profits_at(*own, deviating)[0]
    deviating[0] = undercut[0]
    exact = static.profits_at(*own, deviating)[0] - base
    for place in ("0", "1", "2", "all"):
        row = at_joint.loc[("undercut", place)]
        assert row["gain"] == pytest.approx(exact, rel=1e-4) and row["gain"] > 0
        assert row["gain"] == pytest.approx(row["guest"] - row["learned"], rel=1e-4)
        assert (row["resampled"], row["count"]) == ("seeds", 2)
    assert nash.profits.sum() < joint.profits.sum()

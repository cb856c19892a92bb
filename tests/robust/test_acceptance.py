"""Candidates in the Wasserstein ball around the empirical law of demand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import ot
import pytest

from marl_pricing.config import ConfigError
from marl_pricing.config.errors import validate
from marl_pricing.config.robust import Robust
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.config.worlds import build_ambiguity
from marl_pricing.demand import propensities
from tests.doors.compose import composed
from tests.traffic.visitors import conditions, epochs, with_sessions

AT = 1.8  # the first prices: the middle of the grid


def ball(own, visitors: Traffic | None = None, **settings):
    return build_ambiguity(
        validate(Robust, {"set": "accept", **settings}, "robust"), own, None, visitors or Traffic(model="bank")
    )[1]


def shares_and_distances(ambiguity) -> tuple[list[float], list[float]]:
    return list(ambiguity.shares), [float(label.split(" ")[-1].rstrip(")")) for label in ambiguity.labels]


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("sellers", [1, 2])
def test_accepted_are_those_within_the_radius_by_pot(order: int, sellers: int) -> None:
    """Other shoppers and POT's distance find nearly the same laws as far apart."""
    own = with_sessions("bank", sessions=40, agent_share=0.3, num_sellers=sellers)
    ambiguity = ball(own, radius=10.0, order=order, samples=1024, num_candidates=4, high=0.9)
    shares, found = shares_and_distances(ambiguity)
    np.testing.assert_allclose(shares, [0.0, 0.3, 0.6, 0.9], atol=1e-6)
    drawn = epochs(own, 1024, shares, conditions(own, [AT] * sellers), seed=5).orders.sum(-2)
    nominal = drawn[:, 1] / drawn[:, 1].sum(-1).mean()
    metric = "euclidean" if order == 1 else "sqeuclidean"
    weights = ot.unif(1024)
    expected = [
        ot.emd2(weights, weights, ot.dist(drawn[:, k] / drawn[:, 1].sum(-1).mean(), nominal, metric)) ** (1 / order)
        for k in range(4)
    ]
    assert found[1] == 0.0
    np.testing.assert_allclose(found, expected, atol=0.03)
    radius = 0.5 * (found[2] + found[3])
    kept, _ = shares_and_distances(ball(own, radius=radius, order=order, samples=1024, num_candidates=4, high=0.9))
    np.testing.assert_allclose(kept, [share for share, value in zip(shares, found, strict=True) if value <= radius])
    assert 1 < len(kept) < 4


def test_worlds_that_are_one_law_are_all_accepted() -> None:
    """Orders drawn straight, agents like people: whatever their share, the law is the same."""
    own = with_sessions("analytic", sessions=40, agent_share=0.3, agent={"scale": 0.25})
    shares, found = shares_and_distances(ball(own, Traffic(), radius=0.05))
    assert len(shares) == 5
    assert max(found) < 0.05


def test_one_offer_s_mean_shift_is_the_distance_of_order_one() -> None:
    """Demand that is not random is a point: the distance is the shift of its mean."""
    own = with_sessions("analytic", sessions=40, agent_share=0.2, num_sellers=1, traffic={"random_orders": False})
    shares, found = shares_and_distances(ball(own, Traffic(), radius=10.0))
    found_at = conditions(own, [AT])
    rate = np.asarray(
        propensities(own.shape.demand, own.params.demand, found_at.prices, found_at.level, found_at.available)
    )[:, 0]
    mean = (1 - np.array([*shares, 0.2])) * rate[0] + np.array([*shares, 0.2]) * rate[1]
    np.testing.assert_allclose(found, np.abs(mean[:-1] - mean[-1]) / mean[-1], atol=6e-4)


def test_slicing_is_taken_above_three_offers_and_never_accepts_fewer() -> None:
    own = with_sessions("bank", sessions=40, agent_share=0.3, num_sellers=2, num_products=2)
    by_default = ball(own, radius=10.0, samples=256)
    assert by_default == ball(own, radius=10.0, samples=256, distance="sliced")
    assert by_default.labels == ball(own, radius=10.0, samples=256, distance="sliced").labels
    sliced = shares_and_distances(by_default)[1]
    exact = shares_and_distances(ball(own, radius=10.0, samples=256, distance="exact"))[1]
    assert (np.array(sliced) <= np.array(exact) + 1e-9).all() and sliced != exact


def test_other_factors_are_accepted_by_their_demand() -> None:
    own = with_sessions("bank", sessions=40, agent_share=0.3)
    worlds = [{"factor": "demand_scale", "values": [0.5, 0.9, 1.0]}]
    built, ambiguity = build_ambiguity(
        Robust(set="accept", radius=0.2, worlds=worlds), own, None, Traffic(model="bank")
    )
    np.testing.assert_allclose(built.params.variants.demand_scale, [0.9, 1.0])
    assert ambiguity.num_candidates == len(ambiguity.weights) == 2 and len(ambiguity.others) == 2
    assert ambiguity.shares == (0.0,) and ambiguity.relative


def test_a_learner_takes_the_worst_of_them() -> None:
    learner = composed("robust=accept", "robust.radius=0.25", "robust.samples=64").learner
    own = learner.ambiguity
    assert own.set == "accept" and 2 <= own.num_candidates < 6
    np.testing.assert_array_equal(own.candidates(jnp.float32(0.9), jnp.int32(3)), np.float32(own.shares))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"radius": 1e-6, "low": 0.5, "high": 0.9},
            "robust.radius=1e-06: accepted is at least 0.*the nearest candidate",
        ),
        ({"radius": 0.1, "worlds": ["agent_share", {"factor": "demand_scale", "values": [1.0, 2.0]}]}, "one factor"),
        ({"radius": 0.1, "worlds": [{"factor": "lead_time", "values": [0, 1]}]}, "one factor that moves demand"),
        ({"radius": 0.1, "anneal_updates": 5}, "robust.anneal_updates=5: accepted is 0 with robust.set=accept"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ball(with_sessions("bank", sessions=40, agent_share=0.3), **settings)


def test_a_share_that_moves_has_no_one_law() -> None:
    moving = with_sessions("bank", agent_share=0.3, traffic={"process": {"kind": "drift", "low": 0.1, "high": 0.5}})
    with pytest.raises(ConfigError, match="another set where the share of agents moves"):
        ball(moving, radius=0.5)

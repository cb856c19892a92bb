"""The closed form of `negotiation` against NegMAS's own mechanism, negotiators and helpers."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("negmas", reason="the extra `procurement` is not installed")

from marl_pricing import negotiation
from marl_pricing.negotiation import Worth
from marl_pricing.procurement import oracle
from marl_pricing.procurement.library import load
from tests.negotiation.protocol import random_profile
from tests.negotiation.test_bargain import ours

SETTINGS = {
    "boulware": (4.0, 4.0, 100),
    "linear": (1.0, 1.0, 20),
    "conceder": (0.25, 0.25, 20),
    "mixed": (4.0, 0.25, 20),
}


def compare(setting: str, count: int, outcomes: int) -> float:
    """Every agreement, its outcome, its round and who accepted; the share that ended in one."""
    buyer_exponent, supplier_exponent, rounds = SETTINGS[setting]
    random = np.random.default_rng(100 + list(SETTINGS).index(setting))
    profiles = [random_profile(random, outcomes) for _ in range(count)]
    found = ours(profiles, (buyer_exponent, supplier_exponent), rounds)
    expected = np.array([
        oracle.by_numbers((buyer, reserved[0]), (supplier, reserved[1]), (buyer_exponent, supplier_exponent), rounds)
        for buyer, supplier, *reserved in profiles
    ], int)  # fmt: skip
    np.testing.assert_array_equal(found, expected)
    return float((expected[:, 0] >= 0).mean())


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_few_bargains_are_negmass(setting: str) -> None:
    assert compare(setting, 6, 60) > 0


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_150_bargains_over_1000_outcomes_are_negmass(setting: str) -> None:
    assert compare(setting, 150, 1000) > 0.2


def test_what_cannot_be_is_left_out_of_negmass_space() -> None:
    random = np.random.default_rng(3)
    buyer, supplier, *reserved = random_profile(random, 60)
    supplier = np.where(random.random(60) < 0.5, -np.inf, supplier)
    found = ours([(buyer, supplier, *reserved)], (1.0, 1.0), 20)[0]
    expected = oracle.by_numbers((buyer, reserved[0]), (supplier, reserved[1]), (1.0, 1.0), 20)
    assert expected.outcome >= 0 and tuple(found) == tuple(map(int, expected))


def test_frontier_nash_and_kalai_smorodinsky_are_negmass() -> None:
    negmas, random = load(), np.random.default_rng(4)
    solve = jax.jit(lambda own, other: (
        negotiation.pareto_frontier(own.utility, other.utility), negotiation.nash_bargaining(own, other),
        negotiation.kalai_smorodinsky(own, other),
    ))  # fmt: skip
    solved = 0
    for _ in range(30):
        buyer, supplier, *reserved = random_profile(random, 200)
        # Where a reserved value lies below every outcome, NegMAS's Nash point counts gains from the worst outcome.
        reserved = [max(r, float(u.min())) for u, r in zip((buyer, supplier), reserved, strict=True)]
        outcomes = [(number,) for number in range(200)]
        ufuns = [oracle.as_ufun(u, r, outcomes) for u, r in zip((buyer, supplier), reserved, strict=True)]
        _, frontier = negmas.preferences.pareto_frontier(ufuns, outcomes=outcomes)
        points = [(float(buyer[number]), float(supplier[number])) for number in frontier]
        own, other = (Worth(jnp.asarray(u), jnp.asarray(r)) for u, r in zip((buyer, supplier), reserved, strict=True))
        on, nash, equal = solve(own, other)
        rational = (buyer >= reserved[0]) & (supplier >= reserved[1])
        assert set(np.flatnonzero(on & rational)) == set(frontier)  # NegMAS's frontier is that of rational outcomes
        if not frontier:
            assert int(nash) == int(equal) == -1
            continue
        (_, place), *_ = negmas.preferences.nash_points(ufuns, points, outcomes=outcomes)
        assert int(nash) == frontier[place]
        (_, place), *_ = negmas.preferences.ks_points(ufuns, points, outcomes=outcomes)
        assert int(equal) == frontier[place]
        solved += 1
    assert solved > 20


def test_a_hard_headed_side_waits_for_its_best() -> None:
    buyer, supplier, *_ = random_profile(np.random.default_rng(9), 50)
    found = ours([(buyer, supplier, -math.inf, -math.inf)], (math.inf, 0.25), 50)[0]
    assert found[0] in (-1, int(np.argmax(buyer)))

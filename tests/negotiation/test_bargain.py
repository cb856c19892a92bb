"""Agreements without a loop are those of the protocol, played turn by turn."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import negotiation
from marl_pricing.negotiation import BOULWARE, CONCEDER, LINEAR, Worth
from tests.negotiation.protocol import Conceder, play, random_profile

SETTINGS = {
    "boulware": (BOULWARE, BOULWARE, 100),
    "linear": (LINEAR, LINEAR, 20),
    "conceder": (CONCEDER, CONCEDER, 20),
    "mixed": (BOULWARE, CONCEDER, 20),
    "hard-headed": (math.inf, CONCEDER, 20),
}


@partial(jax.jit, static_argnames="rounds")
def _play(profiles: tuple, exponents: jax.Array, rounds: int) -> jax.Array:
    def one(buyer, supplier, reserved_buyer, reserved_supplier):
        found = negotiation.bargain(
            Worth(buyer, reserved_buyer), Worth(supplier, reserved_supplier), exponents[0], exponents[1], rounds
        )
        return jnp.stack([found.outcome, found.round, found.by_buyer])

    return jax.vmap(one)(*profiles)


def ours(profiles: list, exponents: tuple[float, float], rounds: int) -> np.ndarray:
    """[B, 3] outcome, round, by the buyer."""
    columns = tuple(np.stack(column).astype(np.float32) for column in zip(*profiles, strict=True))
    return np.asarray(_play(columns, np.asarray(exponents, np.float32), rounds))


def theirs(profiles: list, exponents: tuple[float, float], rounds: int) -> np.ndarray:
    def one(buyer, supplier, reserved_buyer, reserved_supplier):
        return play(
            Conceder(buyer, reserved_buyer, exponents[0], rounds),
            Conceder(supplier, reserved_supplier, exponents[1], rounds),
        )

    return np.array([one(*profile) for profile in profiles], int)


@pytest.mark.parametrize("setting", SETTINGS)
def test_agreement_outcome_and_round_are_those_of_the_protocol(setting: str) -> None:
    *exponents, rounds = SETTINGS[setting]
    random = np.random.default_rng(list(SETTINGS).index(setting))
    profiles = [random_profile(random, 60) for _ in range(60)]
    expected = theirs(profiles, tuple(exponents), rounds)
    np.testing.assert_array_equal(ours(profiles, tuple(exponents), rounds), expected)
    agreed = (expected[:, 0] >= 0).mean()
    assert agreed > 0.2 if setting != "hard-headed" else agreed > 0  # it is agreements that are compared
    if setting in ("linear", "mixed"):
        assert 0 < expected[expected[:, 0] >= 0, 2].mean() < 1  # and both sides accept


def test_sides_without_a_common_outcome_do_not_agree() -> None:
    random = np.random.default_rng(5)
    buyer = random.random(40)
    cases = [
        (buyer, 1 - buyer, 0.6, 0.6),  # nothing is worth both reserved values
        (buyer, buyer, 2.0, 0.0),  # nothing is worth the buyer's
        (buyer, np.where(buyer > 0.5, -np.inf, buyer), 0.5, 0.0),  # what the buyer wants cannot be
    ]
    np.testing.assert_array_equal(ours(cases, (0.25, 0.25), 20), [[-1, -1, 0]] * 3)
    for *utilities, reserved_buyer, reserved_supplier in cases:
        own, other = map(jnp.asarray, utilities)
        assert not negotiation.possible(
            Worth(own, jnp.asarray(reserved_buyer)), Worth(other, jnp.asarray(reserved_supplier))
        )


def test_what_cannot_be_is_not_agreed_upon_and_moves_nothing() -> None:
    random = np.random.default_rng(6)
    buyer, supplier, *reserved = random_profile(random, 50)
    feasible = random.random(50) < 0.6
    numbers = np.flatnonzero(feasible)
    whole = ours([(buyer, np.where(feasible, supplier, -np.inf), *reserved)], (1.0, 1.0), 20)[0]
    small = ours([(buyer[feasible], supplier[feasible], *reserved)], (1.0, 1.0), 20)[0]
    assert small[0] >= 0
    np.testing.assert_array_equal(whole, [numbers[small[0]], *small[1:]])


def test_who_stays_tough_longer_gets_more() -> None:
    random = np.random.default_rng(7)
    profiles = [(u := random.permutation(200) / 200, 1 - u, 0.0, 0.0) for _ in range(20)]
    gains = [
        np.mean([own[0][n] for own, n in zip(profiles, ours(profiles, (e, 1.0), 100)[:, 0], strict=True)])
        for e in (0.25, 1.0, 4.0)
    ]
    assert gains[0] < gains[1] < gains[2]


def test_frontier_and_solutions_are_those_of_a_plain_search() -> None:
    random = np.random.default_rng(8)
    for _ in range(20):
        buyer, supplier, *reserved = random_profile(random, 40)
        buyer[3], supplier[3] = buyer[7], supplier[7]  # two outcomes alike are both on the frontier, or neither
        pairs = list(zip(buyer, supplier, strict=True))
        frontier = [
            not any((b >= x and s > y) or (b > x and s >= y) for b, s in pairs) for x, y in pairs
        ]  # fmt: skip
        found = negotiation.pareto_frontier(jnp.asarray(buyer), jnp.asarray(supplier))
        np.testing.assert_array_equal(found, frontier)
        own, other = Worth(jnp.asarray(buyer), reserved[0]), Worth(jnp.asarray(supplier), reserved[1])
        gains = [(b - reserved[0], s - reserved[1]) for b, s in pairs]
        products = [b * s if b >= 0 and s >= 0 else -1 for b, s in gains]
        assert int(negotiation.nash_bargaining(own, other)) == (int(np.argmax(products)) if max(products) >= 0 else -1)
        far = negotiation.distance_to_frontier(own.utility, other.utility, jnp.asarray(5))
        assert far == pytest.approx(
            min(math.dist(pairs[5], pair) for pair, on in zip(pairs, frontier, strict=True) if on), abs=1e-5
        )


def test_kalai_and_smorodinsky_share_a_straight_frontier_in_proportion_to_the_best_gains() -> None:
    # On u_s = 10 − u_b/2 the best gains are 20 and 10: both get half of them; Nash's point is the same here.
    buyer = jnp.linspace(0.0, 20.0, 41)
    own, other = Worth(buyer, jnp.zeros(())), Worth(10.0 - buyer / 2, jnp.zeros(()))
    assert buyer[negotiation.kalai_smorodinsky(own, other)] == buyer[negotiation.nash_bargaining(own, other)] == 10.0
    reserved = Worth(buyer, jnp.asarray(8.0))  # gains 12 at best, and 10: x/12 = (10 − (8 + x)/2)/10, x = 4.5
    assert buyer[negotiation.kalai_smorodinsky(reserved, other)] == 12.5
    nothing = Worth(buyer, jnp.asarray(50.0))
    assert negotiation.kalai_smorodinsky(nothing, other) == negotiation.nash_bargaining(nothing, other) == -1

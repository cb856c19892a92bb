"""Row "forward-looking people" of the methodology's table: people who may wait for a lower price."""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.config import Market, market_from
from marl_pricing.config.errors import ConfigError
from marl_pricing.equilibrium.one_shot import NoEquilibriumError
from marl_pricing.equilibrium.patience import expected_falls, skimming, skimming_of
from marl_pricing.equilibrium.static import nash
from marl_pricing.market import Action
from marl_pricing.policies import RuleError, price_skimming
from marl_pricing.policies.episodes import run_episodes
from tests.markets import LOGIT, UNLIMITED, make, programs

LINEAR = {"model": "linear", "intercept": 1.0, "slope": 1.0}


def monopoly(levels: list[float], length: int, **patience: Any) -> Market:
    """One seller whose shoppers' values are uniform between 0 and 1."""
    settings = {
        "num_sellers": 1, "episode_length": length, "demand": LINEAR, "patience": patience, "inventory": UNLIMITED,
        "prices": {"map": "levels", "levels": levels},
    }  # fmt: skip
    return market_from(settings, {"sessions_per_epoch": 1, "random_orders": False})


def played(own: Market, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orders [C, T, N] and rewards [C, T, S] of an episode along each of the paths [C, T, N] of price levels."""

    def one(path: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(state: market.MarketState, places: jax.Array):
            action = Action(places.reshape(own.shape.num_sellers, -1))
            state, _, outcome = market.step(jax.random.key(1), own.shape, state, action, own.params)
            return state, (outcome.demand, outcome.reward)

        return jax.lax.scan(step, market.reset(jax.random.key(0), *own)[0], path)[1]

    demand, reward = jax.jit(jax.vmap(one))(jnp.asarray(paths, jnp.int32))
    return np.asarray(demand, np.float64), np.asarray(reward, np.float64)


def closed_form(share: float, discount: float) -> tuple[float, float]:
    """Both prices of the two-period monopoly.

    The second is half of the marginal value w, which is indifferent: w − p = δ (w − w/2), so w = 2 p / (2 − δ). What
    the first earns, (1 − λ) p (1 − p) + λ (p (1 − w) + w²/4), is a parabola in p.
    """
    first = 1.0 / (2.0 * (1.0 - share) + share * (4.0 / (2.0 - discount) - 2.0 / (2.0 - discount) ** 2))
    return first, first / (2.0 - discount)


def enumerated(share: float, discount: float, people: int = 150) -> tuple[float, float]:
    """The same prices by trying all: people of evenly spaced values, and each price that is one of half these steps.

    For each first price and each number of people left over, the best second price is looked up; what people do has to
    be worth it to the last one who buys and to the first who waits.
    """
    values = (np.arange(people) + 0.5) / people
    prices = (np.arange(2 * people) + 0.5) / (2 * people)
    sold = people - np.searchsorted(values, prices)  # of everybody
    beyond = people - np.arange(people + 1)  # if those below this rank are left over, so many have bought
    second = np.maximum(sold[None] - beyond[:, None], 0) * prices
    best = second.argmax(1)
    earned = np.full(prices.size, -np.inf)
    follows = np.zeros(prices.size)
    for number, price in enumerate(prices):
        now = values - price
        for left in range(people + 1):
            later = discount * (values - prices[best[left]])
            waits = (now < np.maximum(later, 0.0)) | (now < 0)
            if waits[:left].all() and not waits[left:].any():
                value = (1 - share) * price * (now >= 0).sum() + share * (price * (people - left) + second[left].max())
                if value > earned[number]:
                    earned[number], follows[number] = value, prices[best[left]]
    return float(prices[earned.argmax()]), float(follows[earned.argmax()])


@pytest.mark.parametrize(("share", "discount"), [(0.5, 0.6), (1.0, 0.8), (0.3, 0.0), (0.0, 0.5)])
def test_forward_looking_people_two_period_monopoly(share: float, discount: float) -> None:
    found = skimming(1.0, 1.0, 0.0, share, discount, 2)
    np.testing.assert_allclose(found.prices, closed_form(share, discount), rtol=1e-12)
    np.testing.assert_allclose(enumerated(share, discount), found.prices, rtol=0.02)
    whole = (2.0 - discount) ** 2 / (6.0 - 4.0 * discount)  # all may wait
    assert skimming(1.0, 1.0, 0.0, 1.0, discount, 2).prices[0] == pytest.approx(whole)
    dearer = skimming(3.0, 0.5, 1.0, share, discount, 2, shoppers=10.0)  # other units, a cost
    np.testing.assert_allclose(dearer.prices, 1.0 + 2.0 * found.prices)
    assert dearer.profit == pytest.approx(10.0 * 0.5 * 4.0 * found.profit)


@pytest.mark.parametrize(("share", "discount", "epochs"), [(0.5, 0.6, 2), (1.0, 0.8, 2), (0.7, 0.5, 3)])
def test_forward_looking_people_no_path_earns_more_in_the_market(share: float, discount: float, epochs: int) -> None:
    """All paths of a grid, tried: the best one is the closed form's, and what people expect comes true on it."""
    levels = np.linspace(0.2, 0.62, 85 if epochs == 2 else 29)
    own = monopoly(levels.tolist(), epochs, share=share, discount=discount, fall="rational", arrive="at_once")
    known = skimming_of(*own)
    paths = np.array(list(product(range(levels.size), repeat=epochs)))
    earned = played(own, paths[:, :, None])[1].sum((1, 2))
    step = levels[1] - levels[0]
    best = levels[paths[earned.argmax()]]
    np.testing.assert_allclose(best, known.prices, rtol=0.02, atol=0.51 * step * (epochs > 2))
    assert earned.max() <= known.profit * (1.0 + 1e-5)
    assert earned.max() == pytest.approx(known.profit, rel=1e-3)
    np.testing.assert_allclose(1.0 - known.prices[1:] / known.prices[:-1], expected_falls(discount, epochs), rtol=1e-6)
    rule = price_skimming(*own)
    kept = run_episodes(
        jax.random.key(0), *own, rule.act, rule.parameters, (), numbers=jnp.arange(1), keep=lambda o, live: o.prices
    )
    np.testing.assert_allclose(kept[0, :, 0], known.prices, atol=0.51 * step)


def waited(
    worth: np.ndarray, expected: np.ndarray, needs: np.ndarray, share: float, discount: float, epochs: int, once: bool
) -> np.ndarray:
    """Units [T] that people buy who are followed one by one: those who came in each epoch, until they buy or leave.

    Args:
        worth: [T] of the prices; expected: [T] of those that are expected next.  needs: [M] of as many people.
    """
    bought = np.zeros(worth.size)
    for came in range(1 if once else worth.size):
        bought[came] += (1.0 - share) * (needs + worth[came] >= 0).mean()
        there = np.ones(needs.size, bool)
        for now in range(came, min(came + epochs + 1, worth.size)):
            gain, later = needs + worth[now], needs + expected[now]
            buys = there & (gain >= np.maximum(discount * later, 0.0))
            bought[now] += share * buys.mean()
            there &= ~buys
    return bought


@pytest.mark.parametrize("once", [False, True], ids=["each epoch", "at once"])
def test_forward_looking_people_one_by_one(once: bool) -> None:
    """Rising and falling prices, expected falls by epoch, a floor, some who leave before the end."""
    levels, path = np.linspace(0.1, 0.9, 17), np.array([10, 7, 9, 6, 12, 4, 3])
    falls = [0.2, 0.0, 0.3, 0.1, 0.4, 0.15]
    own = monopoly(
        levels.tolist(), 7, share=0.6, discount=0.7, fall=falls, floor=0.2, epochs=2,
        arrive="at_once" if once else "each_epoch",
    )  # fmt: skip
    got = played(own, path[None, :, None])[0][0, :, 0]
    prices = levels[path]
    later = prices - np.array([*falls, 0.0]) * np.maximum(prices - 0.2, 0.0)
    people = (np.arange(40_000) + 0.5) / 40_000
    np.testing.assert_allclose(got, waited(-prices, -later, people, 0.6, 0.7, 2, once), atol=2e-4)


def test_forward_looking_people_among_sellers() -> None:
    """Two sellers, logit: who waits needs any of the offers, and has to find it again at both."""
    own = make(
        {"random_orders": False},
        inventory=UNLIMITED,
        episode_length=5,
        patience={"share": 0.5, "discount": 0.8, "fall": 0.1},
    )
    levels = np.asarray(own.params.prices.levels, np.float64)[0]
    path = np.array([[4, 3], [3, 6], [5, 1], [2, 2], [1, 4]])
    got = played(own, path[None])[0][0]
    prices = levels[path]

    def worth(at: np.ndarray) -> np.ndarray:
        return 0.25 * np.log(np.exp((2.0 - at) / 0.25).sum(-1))

    falls = np.array([0.1, 0.1, 0.1, 0.1, 0.0])[:, None]
    quantiles = (np.arange(40_000) + 0.5) / 40_000
    needs = 0.25 * np.log(quantiles / (1.0 - quantiles))
    units = waited(worth(prices), worth(prices * (1.0 - falls)), needs, 0.5, 0.8, 4, once=False)
    taste = np.exp(-prices / 0.25)
    np.testing.assert_allclose(got, 10.0 * units[:, None] * taste / taste.sum(1, keepdims=True), rtol=2e-3)


def test_forward_looking_people_who_expect_nothing_are_as_others_while_prices_rise() -> None:
    base = {"inventory": UNLIMITED, "episode_length": 4}
    path = np.array([[1, 1], [1, 1], [2, 3], [4, 3]])[None]
    plain, patient = (
        played(make({"random_orders": False}, **base, **extra), path)[0]
        for extra in ({}, {"patience": {"share": 0.8, "discount": 0.9}})
    )
    np.testing.assert_allclose(patient, plain, rtol=1e-5)


def test_without_forward_looking_people_nothing_is_carried() -> None:
    own = make()
    assert own.shape.demand.waits == 0 and own.params.demand.patience is None
    assert programs.reset(jax.random.key(0), *own)[0].waiting is None


def test_forward_looking_people_are_expected_as_they_are_played() -> None:
    own = make({"random_orders": False}, inventory=UNLIMITED, patience={"share": 0.5, "fall": 0.1})
    state, _ = programs.reset(jax.random.key(0), *own)
    step = jax.jit(market.step, static_argnums=1)
    for level in (5, 3):
        action = Action(jnp.full((2, 1), level))
        expected = jax.jit(market.expect_variants, static_argnums=0)(
            own.shape, state, action, own.params, None, jnp.zeros(1)
        )
        state, seen, outcome = step(jax.random.key(1), own.shape, state, action, own.params)
        np.testing.assert_allclose(expected.demand[0], outcome.demand, rtol=1e-5)
        np.testing.assert_allclose(expected.state[0, 0], seen.state, rtol=1e-5, atol=1e-6)
    assert float(state.waiting.sessions[0]) == pytest.approx(5.0)


PATIENT = {"share": 0.5, "fall": 0.1}
ONCE = PATIENT | {"arrive": "at_once"}


@pytest.mark.parametrize(
    ("traffic", "changes", "told"),
    [
        ({"model": "bank"}, {}, r"market.patience.share=0.5: accepted is 0 with traffic.model=bank"),
        ({"order_law": "multinomial"}, {}, "traffic.order_law=multinomial"),
        ({}, {"sub_slots": 2, "inventory": None}, "market.sub_slots=2"),
        ({}, {"sold_out": "passed_over", "inventory": None}, "sold_out=passed_over"),
        ({}, {"types": {"spread": 0.2}}, "market.types.spread=0.2"),
        ({}, {"bankruptcy": {"initial_cash": 1.0}}, "bankruptcy"),
        ({}, {"demand": LINEAR}, "market.demand.model=linear and 2 offers"),
        ({}, {"episode_length": 1}, "market.episode_length=1"),
        ({}, {"episode_length": 200}, "market.patience.epochs=None: accepted is at most 64"),
        ({}, {"patience": PATIENT | {"fall": [0.1]}}, r"market.patience.fall=\[0.1\].*a list of 11"),
        ({}, {"patience": PATIENT | {"fall": 1.0}}, "market.patience.fall"),
        ({}, {"patience": PATIENT | {"fall": "rational"}}, "needs market.patience.arrive=at_once"),
        ({}, {"patience": ONCE | {"fall": "rational"}}, "needs one seller of one product"),
    ],
)  # fmt: skip
def test_forward_looking_people_are_refused_where_they_are_not_known(traffic: dict, changes: dict, told: str) -> None:
    base = {"inventory": UNLIMITED, "patience": PATIENT} | changes
    with pytest.raises(ConfigError, match=told):
        make(traffic, **{name: value for name, value in base.items() if value is not None})


def test_who_comes_once_an_episode_has_no_benchmark_of_an_epoch() -> None:
    own = make(inventory=UNLIMITED, patience=ONCE, demand=LOGIT)
    with pytest.raises(NoEquilibriumError, match="arrive=at_once"):
        nash(*own)
    with pytest.raises(RuleError, match="needs one seller of one product"):
        price_skimming(*own)


@pytest.mark.parametrize(("arrive", "ends"), [("at_once", True), ("each_epoch", False)])
def test_a_season_ends_and_an_episode_is_cut(arrive: str, ends: bool) -> None:
    """Nobody comes after a season, so that a critic must not look beyond it; where people go on coming it must."""
    own = monopoly([0.4, 0.5], 2, share=0.5, discount=0.6, arrive=arrive)
    state, _ = programs.reset(jax.random.key(0), *own)
    for last in (False, True):
        state, _, outcome = programs.step(
            jax.random.key(1), own.shape, state, Action(jnp.zeros((1, 1), jnp.int32)), own.params
        )
        assert outcome.truncated == last
        assert outcome.terminated.all() == (last and ends)

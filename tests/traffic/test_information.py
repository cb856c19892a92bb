"""The cost of information: mark-up, level, leak, erosion."""

from __future__ import annotations

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.config import ConfigError
from marl_pricing.evaluation.erosion import PRICE, drawn_market, erosion_by_identities
from marl_pricing.traffic import MarkupParams, QuoteParams, information
from marl_pricing.traffic.analytic import expected_paid
from marl_pricing.traffic.information import erosion
from tests.markets import make, within
from tests.traffic.visitors import conditions, epochs, with_sessions


@pytest.mark.parametrize("num_quotes", [1, 2, 10, 100, 10_000])
def test_the_cheapest_of_n_uniform_quotes(num_quotes: int) -> None:
    """E[p_(1)] = a + (b − a)/(N + 1); the estimate from a sample of prices, within its sampling error."""
    low, high = 2.0, 5.0
    size, repeats = 200_000, 40
    random = np.random.default_rng(num_quotes)
    got = [float(information.erosion(random.uniform(low, high, size), num_quotes)) for _ in range(repeats)]
    error = np.std(got) / np.sqrt(repeats)
    assert abs(np.mean(got) - (low + (high - low) / (num_quotes + 1))) <= 4 * error + 1e-9


def test_erosion_of_few_prices_is_exact() -> None:
    # Two prices: the lower one is seen unless all N quotes are the higher.
    np.testing.assert_allclose(information.erosion([1.0, 3.0], np.array([1, 2, 3])), [2.0, 1.5, 1.25])
    assert information.erosion([4.0], 7) == 4.0
    for bad in ([], [1.0, np.nan]):
        with pytest.raises(ValueError, match="prices"):
            information.erosion(bad, 2)
    with pytest.raises(ValueError, match="num_quotes"):
        information.erosion([1.0], 0)


def test_the_mark_up_of_a_session() -> None:
    params = MarkupParams(*(jnp.float32(x) for x in (0.25, 4.0, 1.25, 1.0, np.inf)))
    got = information.session_markup(jnp.array([4.0, -1e6, 1e6, 1.0]), params)
    np.testing.assert_allclose(got, [1.125, 1.0, 1.25, 1 + 0.25 / (1 + np.exp(3 / 1.25))], rtol=1e-6)


def test_level_and_leaks() -> None:
    assert information.coi_level([2.0, 4.0], [3.0, 1.0], [1.0, 1.0]) == pytest.approx(1.5)
    with pytest.raises(ValueError, match="nothing was sold"):
        information.coi_level([2.0], [0.0], [1.0])
    scores = jnp.array([0.5, 0.25])
    assert float(information.constant_tax(2.0, scores)) == pytest.approx(1.5)
    log_prob = jnp.log(jnp.array([0.5, 1.0]))
    np.testing.assert_allclose(information.revelation(2.0, scores, log_prob), [1.5 * np.log(2), 0.0], rtol=1e-6)


# ---- theorem 1, erosion: prices that differ between sessions

FACTORS = [0.8, 0.9, 1.05, 1.25]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_lowest_of_n_quotes_is_drawn_by_its_law(count: int) -> None:
    law = np.asarray(information.lowest_quote_law(4, jnp.float32(count)))
    lowest = np.bincount([min(own) for own in product(range(4), repeat=count)], minlength=4) / 4**count
    np.testing.assert_allclose(law, lowest, atol=1e-6)
    quotes = QuoteParams(jnp.asarray(FACTORS), jnp.float32(count))
    own, best = information.session_quotes((jnp.arange(40_000) + 0.5) / 40_000, quotes)
    assert (best <= own).all() and float(own.mean()) == pytest.approx(1.0, abs=1e-4)
    assert float(best.mean()) == pytest.approx(float(erosion(np.array(FACTORS), count)), abs=1e-4)


@pytest.mark.parametrize("identities", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_theorem_1_erosion_in_the_market(identities: int) -> None:
    """People pay the mean quote, agents E[p_(1)]; nothing else moves."""
    quotes = {"factors": FACTORS, "identities": identities}
    for share, told in ((0.0, np.mean(FACTORS)), (1.0, float(erosion(np.array(FACTORS), identities)))):
        own = with_sessions("bank", sessions=200, agent_share=share, traffic={"quotes": quotes})
        plain = with_sessions("bank", sessions=200, agent_share=share)
        got, same = (epochs(each, 200, found=conditions(each, [1.25, 1.3])) for each in (own, plain))
        for name in ("orders", "events", "scores", "visits"):
            np.testing.assert_array_equal(getattr(got, name), getattr(same, name))
        units = got.orders[:, 0].sum(1)
        money, linked = units * got.price_paid[:, 0], units * got.price_linked[:, 0]
        mean = money.sum(0) / units.sum(0)
        error = (money - units * mean).std(0) * 200**0.5 / units.sum(0)
        assert within(mean, told * np.array([1.25, 1.3]), error), (mean, told)
        assert (linked >= money - 1e-3).all()
        if share == 0.0:
            np.testing.assert_array_equal(money, linked)


@pytest.mark.slow
def test_erosion_falls_with_identities_to_the_lowest_price() -> None:
    """COI of agents by the number of identities: simulated as the formula says, and gone in the limit."""
    shape, params = drawn_market()
    found = erosion_by_identities(jax.random.key(1), shape, params, PRICE, (1, 4, 64), (1.0,), num_episodes=8)
    assert within(found["coi"], found["formula"], found["coi_error"])
    assert (np.diff(found["formula"]) < 0).all() and found["coi"].iloc[-1] < 0.002 < 0.3 < found["coi"].iloc[0]


@pytest.mark.parametrize("highest", [pytest.param(None, marks=pytest.mark.slow), 1.5])
def test_benchmarks_carry_quotes_exactly(highest: float | None) -> None:
    """What is paid on average, over quotes and mark-ups up to the highest price: row by row of the bank."""
    traffic = {"quotes": {"factors": FACTORS, "identities": 3}, "markup": {"strength": 0.4, "highest_price": highest}}
    own = with_sessions("bank", traffic=traffic)
    prices = np.array([1.2, 1.4])
    paid = expected_paid(own.shape.traffic, own.params.traffic, own.shape.demand, jnp.asarray(prices, jnp.float32))
    rows = own.params.traffic.sessions.bank
    bought = np.asarray(rows.purchases[0], float).sum(-1)
    marks = 1.0 + 0.4 / (1.0 + np.exp(-(np.asarray(rows.signal[0], float) - 4.0) / 1.25))
    clean = 1.0 + 0.4 / (1.0 + np.exp(3.0 / 1.25))
    top = np.inf if highest is None else np.maximum(highest, prices)
    quoted = np.array(FACTORS)[:, None] * prices
    people = np.stack([np.minimum(quote * marks[:, None], top) for quote in quoted])
    np.testing.assert_allclose(paid[0], (people * bought[:, None]).sum(1).mean(0) / bought.sum(), rtol=1e-5)
    lowest = np.bincount([min(each) for each in product(range(4), repeat=3)], minlength=4) / 64
    np.testing.assert_allclose(paid[1], lowest @ np.minimum(quoted * clean, top), rtol=1e-5)


@pytest.mark.parametrize(
    ("traffic", "told"),
    [
        (
            {"model": "bank", "quotes": {"factors": [1.0, 1.1]}},
            r"factors=\[1.0, 1.1\]: accepted are factors whose mean",
        ),
        ({"quotes": {"factors": [0.9, 1.1]}}, r"factors=\[0.9, 1.1\]: accepted is \[1.0\] with traffic.model"),
        ({"model": "bank", "quotes": {"factors": [0.9, 1.1], "identities": 3}}, r"identities=3: accepted is 1 without"),
        ({"model": "bank", "quotes": {"factors": [0.0, 2.0]}}, r"traffic.quotes.factors"),
    ],
)
def test_quotes_that_cannot_be_are_refused(traffic: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make(traffic)

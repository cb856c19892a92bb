"""d(p) → τ′ → q̂: prices move what sessions do and so what the proxy shows; against closed forms of the kernels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from marl_pricing import market
from marl_pricing.config import ConfigError, from_yaml, market_from
from marl_pricing.config.study import STUDY, open_study
from marl_pricing.traffic import bank, expected_traffic, kernels
from tests.doors.compose import settings
from tests.markets import make, within
from tests.traffic.visitors import conditions, epochs, with_sessions

PRICES = (1.10, 3.55, 6.00)
SHARE = 0.25


def browsed_and_bought() -> np.ndarray:
    """[2, 2] weight of a session's other events and of its purchases, of people and agents, by default."""
    rows = []
    for kernel in kernels.default_kernels():
        by_event = kernel.visits * kernel.weights
        bought = by_event[kernel.states.index("purchase")]
        rows.append((by_event.sum() - bought, bought))
    return np.array(rows)


def takes(price: float, scale: tuple[float, float] = (0.25, 0.1), number: int = 2, quality: float = 2.0) -> np.ndarray:
    """[2] chance that a person's and an agent's session buys something at one price for all: the logit, by hand."""
    attraction = number * np.exp((quality - price) / np.array(scale))
    return attraction / (attraction + 1.0)


def visitors(elasticity: float = 0.0, agents: float = 0.0, **traffic) -> dict:
    return {"browsing": {"elasticity": elasticity, "agent_elasticity": agents, "reference": PRICES[0]}, **traffic}


@pytest.mark.parametrize("model", [pytest.param("chain", marks=pytest.mark.slow), "bank"])
def test_demand_to_trajectories_to_proxy(model: str) -> None:
    """The proxy's total at three prices: all browse, and only orders that were taken count as purchases."""
    mix, (people, agents) = np.array([1 - SHARE, SHARE]), browsed_and_bought()
    own = with_sessions(model, sessions=40, traffic={"bank": {"size": 65_536}})
    older = with_sessions(model, sessions=40, traffic={"bank": {"size": 65_536}, "count_refused": True})
    totals = []
    for price in PRICES:
        found = conditions(own, [price] * 2)
        total = epochs(own, 600, found=found).events[:, 0].sum(-1)
        taken = np.array([people[0], agents[0]]) + np.array([people[1], agents[1]]) * takes(price)
        # A bank is itself a sample: half a percent of it beside the noise of the epochs.
        assert within(total.mean(), 40 * mix @ taken, total.std() / 600**0.5 + 0.005 * total.mean() / 4), price
        counted = epochs(older, 600, found=found).events[:, 0].sum(-1).mean()
        assert counted == pytest.approx(40 * mix @ (browsed_and_bought().sum(1)), rel=0.01)
        totals.append(total.mean())
    assert totals[0] > totals[1] + 10 > 0 and totals[1] == pytest.approx(totals[2], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["chain", "bank"])
def test_browsing_answers_to_price_by_its_elasticity(model: str) -> None:
    """Sessions that come, and the proxy where nobody buys, times k^−elasticity at prices times k; orders stay."""
    own = with_sessions(model, sessions=60, traffic=visitors(0.7, 0.2))
    still = with_sessions(model, sessions=60)
    mix = np.array([1 - SHARE, SHARE])
    for price in PRICES[1:]:
        found = conditions(own, [price] * 2)
        coming = (price / PRICES[0]) ** -np.array([0.7, 0.2])
        got = epochs(own, 600, found=found)
        came = got.visits[:, 0]
        assert within(came.mean(), 60 * mix @ coming, came.std() / 600**0.5)
        total = got.events[:, 0].sum(-1)
        expected = 60 * (mix * coming) @ browsed_and_bought()[:, 0]
        assert within(total.mean(), expected, total.std() / 600**0.5 + 0.005 * expected / 4)
    for prices in ([1.5, 1.7], [1.05, 2.2]):
        got, without = (epochs(each, 2000, found=conditions(each, prices)).orders[:, 0] for each in (own, still))
        error = np.hypot(got.std(0), without.std(0)) / 2000**0.5
        assert within(got.mean(0), without.mean(0), error)
    low = epochs(own, 200, found=conditions(own, [1.0, 1.1]))
    assert (low.visits == 60).all()  # no more than all


@pytest.mark.slow
def test_what_is_expected_is_what_is_drawn() -> None:
    """Events, visits and suspicion of `expected_traffic`, with held orders, spread types and browsing that answers."""
    own = with_sessions(
        "bank", sessions=60, types={"spread": 0.2, "nodes": 5}, traffic=visitors(0.6, 0.1, hold_orders="purchases")
    )
    found, shares = conditions(own, [1.4, 1.9], [1.2, 0.8]), jnp.array([0.1, 0.6])
    shape, params = own
    told = expected_traffic(shape.traffic, params.traffic, shape.demand, params.demand, found, shares)
    got = epochs(own, 2500, np.asarray(shares), found)
    for name in ("events", "visits", "orders"):
        drawn = getattr(got, name)
        error = drawn.std(0) / 2500**0.5
        assert within(drawn.mean(0), getattr(told, name), error + 2e-3 * np.abs(drawn.mean(0))), name
    suspicion = got.scores.sum(-1)
    assert within(suspicion.mean(0), told.scores.sum(-1), suspicion.std(0) / 2500**0.5 + 1e-3)


@pytest.mark.parametrize("price", [1.3, pytest.param(4.0, marks=pytest.mark.slow)])
def test_detectors_see_a_refused_session_without_its_purchase(price: float) -> None:
    """Scores by hand from the sessions as they are seen, and an estimate of the share that has no bias at any price."""
    own = with_sessions("bank", sessions=60, agent_share=0.4, traffic={"bank": {"size": 16_384}})
    kernel = kernels.align(kernels.default_kernels())[0]
    bought = kernels.encode(["view_item", "add_item", "checkout", "purchase"], kernel.states)
    refused = kernels.encode(["view_item", "add_item", "checkout"], kernel.states)
    ratio = np.asarray(own.params.traffic.sessions.log_ratio)
    rows = bank.from_sessions([[bought], [bought]], own.shape.traffic, own.params.traffic.sessions, 16)
    for seen, gap in ((bought, rows.gap), (refused, rows.refused_gap)):
        np.testing.assert_allclose(gap, ratio[seen[:-1], seen[1:]].mean(), rtol=1e-5)
    got = epochs(own, 2000, found=conditions(own, [price] * 2))
    people, agents = got.class_scores[0, 0]
    estimate = (got.mean_score[:, 0] - people) / (agents - people)
    assert within(estimate.mean(), 0.4, estimate.std() / 2000**0.5)


def test_the_walk_sees_what_its_rows_say() -> None:
    """Both gaps agree where a session bought nothing, and differ by the purchase's transitions where it did."""
    rows = with_sessions("bank").params.traffic.sessions.bank
    bought = np.asarray(rows.purchases.sum(-1)) > 0
    np.testing.assert_array_equal(rows.gap[~bought], rows.refused_gap[~bought])
    kernel = kernels.align(kernels.default_kernels())[0]
    before, at, end = (kernel.states.index(name) for name in ("checkout", "purchase", "session_end"))
    ratio = np.asarray(with_sessions("bank").params.traffic.sessions.log_ratio)
    moves = np.asarray(rows.log_ratio / rows.gap)[bought]
    seen = np.asarray(rows.log_ratio)[bought] - ratio[before, at] - ratio[at, end] + ratio[before, end]
    np.testing.assert_allclose(np.asarray(rows.refused_gap)[bought], seen / (moves - 1), rtol=2e-3, atol=2e-4)


@pytest.mark.slow
def test_a_platform_that_raises_all_prices_sees_its_proxy_fall() -> None:
    own = from_yaml(yaml.safe_dump(settings("experiment=phantom_defence")), "x")
    shape, params = market_from(own.market.model_dump(), own.traffic.model_dump() | {"bank": {"size": 4096}})
    assert shape.traffic.price_visits and float(params.traffic.browsing.reference[0]) == float(params.prices.low[0])

    hold = market.Action(
        jnp.full((1, 10), int(np.abs(np.asarray(params.prices.factors) - 1.0).argmin())), log_prob=jnp.zeros(1)
    )

    @jax.jit
    def mean(price: jax.Array) -> jax.Array:
        def one(key: jax.Array) -> jax.Array:
            state, _ = market.reset(key, shape, params)
            state = state.replace(prices=jnp.full_like(state.prices, price))
            return market.step(key, shape, state, hold, params)[2].events.sum()

        return jax.vmap(one)(jax.random.split(jax.random.key(0), 128)).mean()

    low, high = (float(end) for end in (params.prices.low[0], params.prices.high[0]))
    totals = [float(mean(price)) for price in np.linspace(low, high, 4)]
    assert all(dear < 0.99 * cheap for cheap, dear in pairwise(totals)), totals


@pytest.mark.parametrize(
    ("traffic", "told"),
    [
        (
            {"model": "scripted", "browsing": {"elasticity": 1.0}},
            r"traffic.browsing.elasticity=1.0: accepted is 0 with",
        ),
        ({"browsing": {"agent_elasticity": 1.0}}, r"traffic.browsing.agent_elasticity=1.0: accepted is 0 with"),
        ({"count_refused": True}, r"traffic.count_refused=True: accepted is false with traffic.model=analytic"),
        ({"model": "bank", "browsing": {"elasticity": -0.1}}, r"traffic.browsing.elasticity=-0.1: accepted is"),
        (
            {"model": "bank", "browsing": {"elasticity": 1.0, "reference": [1.0, 1.0, 1.0]}},
            r"traffic.browsing.reference=\[1.0, 1.0, 1.0\]: accepted is a price, or a list of 2",
        ),
        (
            {"model": "bank", "browsing": {"agent_elasticity": 1.0}},
            r"traffic.browsing.agent_elasticity=1.0: accepted is 0 without agents",
        ),
    ],
)
def test_browsing_that_cannot_be_is_refused(traffic: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make(traffic)


def test_runs_from_before_refused_purchases_were_none_keep_them(tmp_path: Path) -> None:
    data = {name: value for name, value in settings().items() if name not in ("resume", "study")}
    assert not from_yaml(yaml.safe_dump(data), "x").traffic.count_refused
    del data["traffic"]["count_refused"]
    assert from_yaml(yaml.safe_dump(data), "x").traffic.count_refused
    data["traffic"]["model"] = "analytic"
    assert not from_yaml(yaml.safe_dump(data), "x").traffic.count_refused
    study = settings("experiment=robustness_study")
    study["study"]["runs"][0]["change"] = {"traffic": {"model": "bank"}}
    for older in (False, True):
        if older:
            del study["traffic"]["count_refused"]
        (tmp_path / STUDY).write_text(yaml.safe_dump(study))
        assert open_study(tmp_path).settings[0].traffic.count_refused is older

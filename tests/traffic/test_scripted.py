"""The prototype's sessions against its published means, and against their own closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from marl_pricing.config import ConfigError, Market, market_from
from tests.markets import within
from tests.traffic.visitors import conditions, epochs

EPOCHS = 4000
# Mean and standard deviation of one epoch, 150 epochs of the prototype's default configuration at fixed prices.
PUBLISHED: dict[tuple[float, str], tuple[float, float]] = {
    (100.0, "events"): (2281.97, 98.3),
    (100.0, "views"): (2011.4, 98.6),
    (100.0, "carts"): (131.8, 10.3),
    (100.0, "human purchases"): (138.01, 5.83),
    (100.0, "agent purchases"): (0.747, 0.80),
    (100.0, "revenue observed"): (14714.3, 625.0),
    (100.0, "agent loss"): (17.11, 18.4),
    (100.0, "mean sale price"): (106.04, 0.42),
    (100.0, "proxy"): (747.5, 22.7),
    (100.0, "proxy, defence on"): (503.2, 18.4),
    (100.0, "sessions"): (225.7, 2.4),
    (60.0, "events"): (2331.66, 95.1),
    (60.0, "views"): (2028.2, 94.4),
    (60.0, "carts"): (131.3, 10.7),
    (60.0, "human purchases"): (171.08, 4.26),
    (60.0, "agent purchases"): (1.093, 1.01),
    (60.0, "revenue observed"): (10840.8, 278.0),
    (60.0, "agent loss"): (15.03, 13.9),
    (60.0, "mean sale price"): (62.964, 0.17),
    (60.0, "proxy"): (833.1, 20.7),
    (60.0, "sessions"): (225.1, 2.2),
}


def prototype(defence: bool = False, **traffic: Any) -> Market:
    """The prototype's default configuration as a market."""
    return market_from(
        {
            "num_sellers": 1,
            "num_products": 100,
            "episode_length": 200,
            "demand": {
                "model": "power", "base": 0.08, "elasticity": -1.2, "reference_price": 500.0, "cap": 0.95,
                "popularity": {"lognormal": 0.6, "seed": 7},
            },
            "agent": {"base": 0.05, "elasticity": -0.6},
            "prices": {"map": "adjust", "max_change": 0.3, "low": 1.0, "high": 500.0, "start": 100.0},
            "inventory": {"rule": "unlimited"},
        },
        {
            "model": "scripted", "sessions_per_epoch": 250, "agent_share": 0.25,
            "markup": {"strength": 0.25, "highest_price": 500.0}, "script": {"defence": defence},
        } | traffic,
    )  # fmt: skip


@pytest.fixture(scope="module")
def measured() -> dict[tuple[float, str], tuple[float, float]]:
    found = {}
    for defence in (False, True):
        own = prototype(defence)
        for price in (100.0, 60.0):
            got = epochs(own, EPOCHS, found=conditions(own, np.full(100, price)))
            units = got.orders[:, 0].sum(-2)
            people, agents = got.orders[:, 0, 0].sum(-1), got.orders[:, 0, 1].sum(-1)
            proxy = got.events[:, 0].sum(-1)
            revenue = (got.price_paid[:, 0] * units).sum(-1)
            linked = (got.price_linked[:, 0] * units).sum(-1)
            bought = people + agents
            carts = (proxy - 0.15 * got.views[:, 0] - 2.5 * bought) / 0.75
            values = {
                "events": got.views[:, 0] + carts + bought,
                "views": got.views[:, 0],
                "carts": carts,
                "human purchases": people,
                "agent purchases": agents,
                "revenue observed": revenue,
                "agent loss": np.maximum(linked - revenue, 0.0),
                "mean sale price": revenue / bought,
                "proxy": proxy,
                "sessions": got.visits[:, 0],
            }
            for name, value in values.items():
                if not defence:
                    found[price, name] = value.mean(), value.std()
                elif name == "proxy":
                    found[price, "proxy, defence on"] = value.mean(), value.std()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("which", PUBLISHED, ids=lambda which: f"{which[1]} at {which[0]:g}")
def test_parity_with_the_prototype(which: tuple[float, str], measured: dict) -> None:
    mean, deviation = PUBLISHED[which]
    own_mean, own_deviation = measured[which]
    error = np.sqrt(deviation**2 / 150 + own_deviation**2 / EPOCHS)
    assert within(own_mean, mean, error, errors=3.0), (own_mean, mean, error)
    assert 0.7 < own_deviation / deviation < 1.4


def test_popularity_is_the_prototypes() -> None:
    drawn = np.random.default_rng(7).lognormal(0.0, 0.6, 100)
    np.testing.assert_allclose(prototype().params.demand.choice.popularity[0], drawn / drawn.mean(), rtol=1e-6)


def test_people_view_two_products_on_average_and_buy_at_most_one() -> None:
    own = prototype(agent_share=0.0)
    found = conditions(own, np.full(100, 1.0))  # so cheap that everybody who may buys (capped at 0.95)
    got = epochs(own, 2000, found=found)
    views = got.views[:, 0]
    assert within(views.mean(), 500.0, views.std() / np.sqrt(len(views)))
    bought = got.orders[:, 0, 0].sum(-1)
    # 1, 2 or 3 chances of 0.95 each.
    expected = 250 * np.mean([1 - 0.05**k for k in (1, 2, 3)])
    assert within(bought.mean(), expected, bought.std() / np.sqrt(len(bought)))
    assert got.orders[:, 0, 1].sum() == 0 and got.scores.sum() == 0


@pytest.mark.slow
def test_recon_views_are_spread_evenly() -> None:
    own = prototype(agent_share=1.0)
    got = epochs(own, 2000, found=conditions(own, np.full(100, 500.0)))
    views = (got.events[:, 0] - 2.5 * got.orders[:, 0].sum(1)).sum(0) / 0.15
    # Poisson counts of one mean: their spread over 100 products is a chi-square variable with 99 degrees of freedom.
    ratio = ((views - views.mean()) ** 2 / views.mean()).sum()
    assert 99 - 4 * np.sqrt(198) < ratio < 99 + 4 * np.sqrt(198)


def test_agents_pay_for_one_view_and_the_oracle_for_all() -> None:
    own = prototype(agent_share=1.0)
    got = epochs(own, 500, found=conditions(own, np.full(100, 10.0)))
    sold = got.orders[:, 0, 1] > 0
    clean = 1 + 0.25 / (1 + np.exp(3 / 1.25))
    np.testing.assert_allclose(got.price_paid[:, 0][sold], 10 * clean, rtol=1e-5)
    linked = got.price_linked[:, 0][sold]
    assert linked.max() <= 12.5 + 1e-4 and linked.min() > 11.5


def test_too_few_products_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"traffic\.model='scripted'"):
        market_from(
            {
                "num_sellers": 2, "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
                "prices": {"map": "levels", "low": 1.0, "high": 2.0}, "inventory": {"rule": "unlimited"},
            },
            {"model": "scripted"},
        )  # fmt: skip

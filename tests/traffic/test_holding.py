"""Orders that are held as the share of agents moves: sessions as they are drawn against the closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import config
from marl_pricing.config import ConfigError, market_from
from marl_pricing.config.traffic import behaving_otherwise
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.demand import propensities
from marl_pricing.equilibrium import static
from marl_pricing.market import Variants, vary
from marl_pricing.traffic.analytic import expected_orders
from tests.doors.compose import composed
from tests.markets import make, within
from tests.sizes import at_once
from tests.traffic.visitors import AGENT, conditions, epochs, with_sessions

SHARES = [0.0, 0.3, 0.6, 1.0]
PRICE = 1.55
AT = {"hold_prices": PRICE}


def total(own, number: int, prices, shares=SHARES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean units [C] of a wave under each share of agents, and its standard error."""
    units = epochs(own, number, shares, conditions(own, prices), seed).orders.sum((-2, -1))
    return units.mean(0), units.std(0) / np.sqrt(number)


def people(own, prices) -> float:
    found = conditions(own, prices)
    return float(propensities(own.shape.demand, own.params.demand, found.prices, found.level, found.available)[0].sum())


@pytest.mark.parametrize("how", ["sessions", "purchases"])
@pytest.mark.parametrize("model", [pytest.param("chain", marks=pytest.mark.slow), "bank", "analytic"])
def test_the_market_sells_the_same_under_every_share_of_agents(model: str, how: str) -> None:
    own = with_sessions(model, sessions=40, traffic={"hold_orders": how, **AT})
    plain = with_sessions(model, sessions=40)
    expected = 40 * float(plain.params.traffic.purchase_rate[0]) * people(own, [PRICE, PRICE])
    mean, error = total(own, 1500, [PRICE, PRICE])
    assert within(mean, expected, error), (mean, expected, error)
    # Without it, it does not: agents' sessions of the kernels buy more rarely, and all look at prices more closely.
    mean, error = total(plain, 1500, [PRICE, PRICE])
    assert abs(mean[0] - mean[-1]) > 10 * error.max()


@pytest.mark.parametrize("how", ["sessions", "purchases"])
def test_the_closed_form_holds_at_other_prices_and_levels(how: str) -> None:
    own = with_sessions("bank", sessions=40, traffic={"hold_orders": how, **AT})
    found = conditions(own, [1.4, 1.8], [1.3, 0.8])
    for share in (0.2, 0.7):
        orders = epochs(own, 5000, [share], found).orders[:, 0]
        rate = own.params.traffic.session_orders(jnp.float32(share))
        expected = expected_orders(own.shape.traffic, own.shape.demand, own.params.demand, found, share, rate)
        assert within(orders.mean(0), expected, orders.std(0) / np.sqrt(len(orders)))


@pytest.mark.parametrize("model", ["bank", "analytic"])
def test_a_candidate_is_the_same_alone_and_among_others(model: str) -> None:
    own = with_sessions(model, sessions=30, traffic={"hold_orders": "sessions", "markup": {}, **AT})
    many = epochs(own, 20, SHARES)
    for index, share in enumerate(SHARES):
        alone = epochs(own, 20, [share])
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(many), strict=True):
            np.testing.assert_allclose(one[:, 0], other[:, index], rtol=1e-5, atol=1e-5)


def test_more_sessions_come_where_agents_buy_more_rarely_and_all_have_a_place() -> None:
    own = with_sessions("bank", sessions=40, traffic={"hold_orders": "sessions", **AT})
    came = epochs(own, 400, SHARES).visits.mean(0)
    plain = with_sessions("bank", sessions=40)
    rate = np.asarray(plain.params.traffic.purchase_rate)
    found = conditions(own, [PRICE, PRICE])
    wanted = np.asarray(
        propensities(own.shape.demand, own.params.demand, found.prices, found.level, found.available).sum(-1)
    )
    share = np.asarray(SHARES)
    expected = 40 * rate[0] * wanted[0] / ((1 - share) * rate[0] * wanted[0] + share * rate[1] * wanted[1])
    np.testing.assert_allclose(came, expected, atol=0.11)
    assert own.shape.traffic.num_sessions >= expected.max()
    assert epochs(own, 50, SHARES).scores.shape[-1] == own.shape.traffic.num_sessions


def test_sessions_of_one_unit_are_held_by_their_number() -> None:
    own = make(
        {"order_law": "multinomial", "hold_orders": "sessions", "agent_share": 0.3, "sessions_per_epoch": 40, **AT},
        agent={"scale": 0.1},
    )
    mean, error = total(own, 1500, [PRICE, PRICE])
    assert within(mean, 40 * people(own, [PRICE, PRICE]), error)


def test_orders_are_held_at_the_prices_of_people_alone() -> None:
    own = with_sessions("bank", traffic={"hold_orders": "purchases"})
    alone = with_sessions("bank", agent_share=0.0)
    at = static.nash(*alone).prices
    totals = [
        static.demand_at(
            own.shape,
            own.params.replace(traffic=own.params.traffic.replace(agent_share=jnp.float32(share))),
            at,
        ).sum()
        for share in SHARES
    ]
    np.testing.assert_allclose(totals, static.demand_at(*alone, at).sum(), rtol=1e-5)


@pytest.mark.slow
def test_agents_that_mimic_people_buy_as_often_as_they_did() -> None:
    settings = {"model": "bank", "bank": {"size": 4096}, "sessions_per_epoch": 40, "agent_share": 1.0}
    for how in ("purchases", "sessions", "none"):
        own = with_sessions(
            "bank", sessions=40, agent_share=1.0, traffic={"hold_orders": how, **({} if how == "none" else AT)}
        )
        visitors = Traffic(**settings, hold_orders=how)
        sessions, rate = behaving_otherwise(visitors, own.params.traffic, mimicry=0.8)
        varied = own._replace(params=vary(own.params, Variants(sessions=sessions, purchase_rate=rate)))
        before, error = total(own, 3000, [PRICE, PRICE], [1.0])
        after, other = total(varied, 3000, [PRICE, PRICE], [1.0], seed=1)
        closed = [static.demand_at(*each, np.full(2, PRICE)).sum() for each in (own, varied)]
        assert within(before, closed[0], error)
        assert within(after, closed[1], other)
        assert (closed[1] == pytest.approx(closed[0], rel=1e-5)) == (how != "none")


GROCERY = ["experiment=grocery"]


@pytest.mark.parametrize("share", at_once([0.0, 0.25]))
def test_a_calibrated_market_sells_what_its_data_say(share: float) -> None:
    """Weekly units of sessions, of analytic traffic and of the estimates (236 shoppers a week), within 3 %."""
    bank = composed(*GROCERY, f"traffic.agent_share={share}").market
    straight = composed(*GROCERY, "traffic=analytic", f"traffic.agent_share={share}").market
    told = composed(*GROCERY).settings.market.calibration
    reference = np.asarray(told.reference_price)
    estimated = 236 * people(straight, reference)
    for own in (bank, straight):
        assert static.demand_at(*own, reference).sum() == pytest.approx(estimated, rel=1e-3)
        mean, error = total(own, 2000, reference, [share])
        assert abs(mean[0] / estimated - 1) < 0.03, (mean, estimated)
        assert within(mean, estimated, error)
    assert composed(*GROCERY, "traffic.hold_orders=none").market.params.traffic.sessions.units is None


def test_what_cannot_be_held_is_refused() -> None:
    def refused(traffic, message, **settings) -> None:
        with pytest.raises(ConfigError, match=message):
            make(traffic, **settings)

    refused({"hold_orders": "purchases"}, "hold_orders='purchases': accepted is none without agents")
    refused({"hold_orders": "sessions", "model": "scripted"}, "hold_orders='sessions'.*no closed form", agent=AGENT)
    refused({"hold_orders": "purchases", "order_law": "multinomial"}, "accepted is none or sessions", agent=AGENT)
    refused({"hold_orders": "purchases", "model": "bank", "comparison": 0.5}, "traffic.comparison", agent=AGENT)
    refused({"hold_prices": 1.5}, "hold_prices=1.5: accepted is null", agent=AGENT)
    refused({"hold_orders": "purchases", "hold_prices": [1.0, 2.0, 3.0]}, "hold_prices=.*a list of 2", agent=AGENT)
    refused({"hold_orders": "purchases", "hold_prices": 1e4}, "people buy nothing", agent=AGENT)
    # Without an outside option people pay any price: there are no Nash prices to hold orders at.
    unbounded = {"model": "logit", "quality": 2.0, "scale": 0.25, "outside": -1e9}
    refused(
        {"hold_orders": "purchases"},
        "hold_prices=None: people have no Nash prices",
        agent=AGENT,
        num_sellers=1,
        demand=unbounded,
    )


def test_nothing_is_held_unless_it_is_asked_for_and_old_runs_keep_their_market() -> None:
    own = with_sessions("bank")
    assert own.params.traffic.sessions.units is None
    assert own.params.traffic.session_weight is None
    settings = composed("experiment=grocery").settings
    old = config.to_yaml(settings).replace("  hold_orders: null\n", "").replace("  hold_prices: null\n", "")
    assert "hold_" not in old
    assert config.from_yaml(old, "config.yaml").traffic.hold_orders == "none"
    assert config.from_yaml(config.to_yaml(settings), "config.yaml") == settings


def test_a_market_from_plain_data_holds_what_its_file_says() -> None:
    own = market_from(
        {"path": "examples/grocery/market.yaml"}, {"model": "bank", "sessions_per_epoch": 100, "agent_share": 0.5}
    )
    # The calibration's page says 82 units of 235.5 shoppers.
    expected = 82.0 * 100 / 235.5
    assert static.demand_at(*own, np.asarray(own.params.prices.start_low)).sum() == pytest.approx(expected, rel=0.01)

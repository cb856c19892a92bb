"""Chain and bank: expected events, orders, candidates, mark-up, comparison; all against closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.demand import propensities
from marl_pricing.traffic import bank, kernels, sessions
from marl_pricing.traffic.analytic import expected_orders
from tests.markets import UNLIMITED, within
from tests.sizes import at_once
from tests.traffic.visitors import AGENT, conditions, epochs, with_sessions

PRICES = [1.5, 1.7]


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values.mean(0), values.std(0) / np.sqrt(len(values))


def attention(own, found) -> np.ndarray:
    rate = propensities(own.shape.demand, own.params.demand, found.prices, found.level, found.available)
    return np.asarray(rate / rate.sum(-1, keepdims=True))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["chain", "bank"])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_expected_events_are_the_fundamental_matrix(model: str, share: float) -> None:
    """Event by event and product by product, with the weight of one event set to 1 and of all others to 0.

    Of the purchases those count that the session's latent type takes.
    """
    own = with_sessions(model, sessions=20, agent_share=share)
    kernel = kernels.default_kernels()[int(share)]
    found = conditions(own, PRICES)
    dense = kernels.expand(kernel.matrix, attention(own, found)[int(share)])
    visits = np.linalg.inv(np.eye(len(dense) - 1) - dense[:-1, :-1])[0, 1:].reshape(-1, 2)
    own_sessions = own.params.traffic.sessions
    rate = propensities(own.shape.demand, own.params.demand, found.prices, found.level, found.available)
    visits[kernel.states.index("purchase") - 1] *= float(rate[int(share)].sum())
    for state in range(1, len(kernel.states) - 1):
        changed = own_sessions.replace(weights=jnp.zeros(len(kernel.states)).at[state].set(1.0))
        if model == "bank":
            fresh = bank.fill(jax.random.key(state), own.shape.traffic, changed, 65_536)
            changed = changed.replace(bank=fresh)
        market = own._replace(params=own.params.replace(traffic=own.params.traffic.replace(sessions=changed)))
        mean, error = mean_and_error(epochs(market, 4000, found=found, seed=state).events[:, 0] / 20)
        if model == "bank":  # a bank is itself a sample
            bought = fresh.purchases.sum(-1) * changed.weights[kernel.states.index("purchase")]
            error = np.sqrt(error**2 + ((fresh.weight.sum(-1) + bought)[int(share)].std() / 256) ** 2)
        assert within(mean, visits[state - 1], error), (kernel.states[state], mean, visits[state - 1], error)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["chain", "bank"])
def test_sessions_with_generic_states_are_the_fundamental_matrix(model: str) -> None:
    """The proxy of T·N + C states: events about no product count nothing, purchases that are taken do."""
    own = with_sessions(
        model,
        sessions=40,
        agent_share=0.4,
        traffic={"kernels": "storefront", "max_events": 80, "bank": {"size": 65_536}},
    )
    found, expected, views = conditions(own, PRICES), np.zeros(2), 0.0
    rate = np.asarray(propensities(own.shape.demand, own.params.demand, found.prices, found.level, found.available))
    for y, (kernel, share) in enumerate(zip(kernels.storefront_kernels(), (0.6, 0.4), strict=True)):
        dense = kernels.expand(kernel.matrix, attention(own, found)[y], kernel.product)
        visits = np.linalg.inv(np.eye(len(dense) - 1) - dense[:-1, :-1])[0]
        width = np.where(kernel.product[:-1], 2, 1)
        for state, at in enumerate(np.cumsum(width) - width):
            if kernel.product[state]:
                name, seen = kernel.states[state], 40 * share * visits[at : at + 2]
                taken = rate[y].sum() if name == "purchase" else 1.0
                expected += seen * kernel.weights[state] * taken
                views += seen.sum() * (name in ("view_item", "learn_more"))
    got = epochs(own, 800, found=found)
    mean, error = mean_and_error(got.events[:, 0])
    assert within(mean, expected, error + 1.5e-3 * expected), (mean, expected, error)  # a bank is itself a sample
    mean, error = mean_and_error(got.views[:, 0])
    assert within(mean, views, error + 1.5e-3 * views)
    # Interest is what a session shows, about products or not.
    rows = own.params.traffic.sessions.bank
    if rows is not None:
        shown = [k.visits @ (k.weights * (np.array(k.states) != "purchase")) for k in kernels.storefront_kernels()]
        error = np.asarray(rows.signal).std(-1) / 256
        assert within(np.asarray(rows.signal).mean(-1), shown, error)


@pytest.mark.parametrize("model", at_once(["bank", "chain"]))
@pytest.mark.parametrize("demand", ["logit", "power", "linear"])
def test_orders_are_the_purchase_rate_times_the_propensity(model: str, demand: str) -> None:
    """E[orders] of the sessions equals the analytic form that the benchmarks use, type spread included."""
    settings = {
        "logit": {"demand": {"model": "logit", "quality": [2.0, 2.1], "scale": 0.25}, "agent": {"scale": 0.1}},
        "power": {
            "demand": {"model": "power", "base": 0.3, "elasticity": -2.0, "reference_price": 1.5},
            "agent": {"elasticity": -4.0},
        },
        "linear": {
            "demand": {"model": "linear", "intercept": 2.5, "slope": 1.0, "cross_slope": 0.3}, "agent": {"slope": 1.2},
        },
    }[demand]  # fmt: skip
    own = with_sessions(model, sessions=30, agent_share=0.4, types={"spread": 0.15, "nodes": 5}, **settings)
    found = conditions(own, PRICES, [1.2, 0.9])
    mean, error = mean_and_error(epochs(own, 6000, found=found).orders[:, 0])
    expected = expected_orders(
        own.shape.traffic, own.shape.demand, own.params.demand, found, 0.4, own.params.traffic.purchase_rate
    )
    assert within(mean, expected, error), (mean, expected, error)


def test_totals_of_a_kernel_are_its_fundamental_matrix() -> None:
    own = with_sessions("chain")
    rate, events = sessions.session_totals(own.params.traffic.sessions, 200)
    both = kernels.default_kernels()
    np.testing.assert_allclose(rate, [kernel.purchase_rate for kernel in both], rtol=1e-5)
    bought = 4.0 * np.asarray(rate)
    np.testing.assert_allclose(events + bought, [kernel.visits @ kernel.weights for kernel in both], rtol=1e-5)
    np.testing.assert_allclose(own.params.traffic.event_scale, (events + bought)[0], rtol=1e-3)
    np.testing.assert_allclose(own.params.traffic.purchase_rate, rate, rtol=1e-4)


def test_a_bank_is_its_own_truth() -> None:
    own = with_sessions("bank", traffic={"bank": {"size": 64}})
    rows = own.params.traffic.sessions.bank
    np.testing.assert_allclose(own.params.traffic.purchase_rate, rows.purchases.sum(-1).mean(-1))


def test_sessions_longer_than_their_slots_keep_all_their_weight() -> None:
    own = with_sessions("bank")
    narrow = bank.fill(
        jax.random.key(0), own.shape.traffic.__class__(**{**vars(own.shape.traffic), "slots": 3}),
        own.params.traffic.sessions, 4096,
    )  # fmt: skip
    wide = bank.fill(jax.random.key(0), own.shape.traffic, own.params.traffic.sessions, 4096)
    np.testing.assert_allclose(narrow.weight.sum(-1), wide.weight.sum(-1))
    assert (wide.weight > 0).sum(-1).max() > 3
    np.testing.assert_array_equal(narrow.gap, wide.gap)


# A mark-up that people pay, and people who stay away where it is dear: candidates differ by who is there at all.
DEAR = {"markup": {"strength": 0.25}, "browsing": {"elasticity": 0.5}}


@pytest.mark.parametrize(("model", "more"), [("chain", {}), ("bank", {}), ("bank", DEAR), ("scripted", {})])
def test_candidates_are_what_they_would_be_alone(model: str, more: dict) -> None:
    own = with_sessions(model, sessions=12, num_products=2, traffic=more)
    together = epochs(own, 50, shares=[0.0, 0.25, 0.6, 1.0])
    for index, share in enumerate((0.0, 0.25, 0.6, 1.0)):
        alone = epochs(own, 50, shares=[share])
        for name in ("orders", "events", "price_paid", "scores", "visits", "views"):
            np.testing.assert_allclose(
                getattr(together, name)[:, index], getattr(alone, name)[:, 0], rtol=1e-5, atol=1e-4, err_msg=name
            )


def test_where_no_agents_are_known_all_candidates_are_one() -> None:
    own = with_sessions("bank", sessions=12, agent=None, agent_share=0.0)
    together, alone = epochs(own, 20, shares=[0.0, 0.5, 1.0]), epochs(own, 20)
    assert together.orders.shape == (20, 3, 1, 2)
    for name in ("orders", "events", "price_paid", "scores", "visits", "views"):
        one = getattr(alone, name)
        np.testing.assert_array_equal(getattr(together, name), np.repeat(one, 3, 1), err_msg=name)


def test_candidates_near_each_other_share_their_noise() -> None:
    """The difference between two candidates is far less noisy than that between two independent draws."""
    own = with_sessions("bank", sessions=20)
    got = epochs(own, 4000, shares=[0.25, 0.30]).events.sum(-1)
    shared = (got[:, 1] - got[:, 0]).std()
    independent = np.sqrt(got[:, 0].var() + got[:, 1].var())
    assert shared < 0.45 * independent


def test_no_agent_orders_where_there_are_none() -> None:
    got = epochs(with_sessions("bank", agent_share=0.0), 500)
    assert got.orders[:, 0, 1].sum() == 0 < got.orders[:, 0, 0].sum()


@pytest.mark.parametrize("model", at_once(["bank", "chain"]))
def test_the_mark_up_is_paid_by_people_and_dodged_by_agents(model: str) -> None:
    traffic = {"markup": {"strength": 0.25}}
    for share in (0.0, 1.0):
        own = with_sessions(model, sessions=200, agent_share=share, traffic=traffic)
        got = epochs(own, 300, found=conditions(own, PRICES))
        factor = got.price_paid[:, 0] / np.array(PRICES, np.float32)
        linked = got.price_linked[:, 0] / np.array(PRICES, np.float32)
        sold = got.orders[:, 0].sum(1) > 0
        assert np.all(linked[sold] <= 1.25 + 1e-5)
        if share == 0.0:
            np.testing.assert_allclose(factor, linked, rtol=1e-6)
            assert factor[sold].mean() > 1.1
        else:
            clean = 1.0 + 0.25 / (1.0 + np.exp((4.0 - 1.0) / 1.25))
            np.testing.assert_allclose(factor[sold], clean, rtol=1e-5)
            assert linked[sold].mean() > clean + 0.05


def test_the_highest_price_bounds_the_mark_up() -> None:
    own = with_sessions("bank", sessions=200, traffic={"markup": {"strength": 0.25, "highest_price": 1.6}})
    got = epochs(own, 200, found=conditions(own, [1.5, 1.7]))
    assert got.price_paid[..., 0].max() <= 1.6 + 1e-6
    np.testing.assert_allclose(got.price_paid[..., 1], 1.7, rtol=1e-6)


def test_comparing_agents_buy_the_cheapest_offer_that_they_saw() -> None:
    seen = jnp.array([[True, True, False, True], [True, False, False, True]])
    bought = jnp.array([[0.0, 0.0, 0.0, 1.0], [2.0, 0.0, 0.0, 0.0]])
    # Two sellers of two products: offers 0 and 2 are comparable, and 1 and 3.
    moved = sessions.cheapest_seen(seen, bought, jnp.array([2.0, 1.5, 1.0, 1.6]), num_products=2)
    np.testing.assert_array_equal(moved, [[0, 1, 0, 0], [2, 0, 0, 0]])


def test_comparison_sends_agents_to_the_cheaper_seller() -> None:
    prices = [1.6, 1.55]
    totals = []
    for share in (0.0, 0.5, 1.0):
        # Indifferent agents (a wide scale), so that only the comparison moves them.
        own = with_sessions("bank", sessions=100, agent_share=1.0, traffic={"comparison": share}, agent={"scale": 2.0})
        got = epochs(own, 400, found=conditions(own, prices)).orders[:, 0, 1].sum(0)
        totals.append(got[1] / got.sum())
    assert totals[0] < 0.53 and totals[0] + 0.1 < totals[1] < totals[2] - 0.1


def test_an_offer_that_is_not_there_is_not_looked_at() -> None:
    own = with_sessions("bank", sessions=50)
    found = conditions(own).replace(available=jnp.array([False, True]))
    got = epochs(own, 50, found=found)
    assert got.events[..., 0].max() == 0 < got.events[..., 1].min()
    nobody = conditions(own).replace(available=jnp.array([False, False]))
    assert epochs(own, 20, found=nobody).orders.sum() == 0


def test_intensity_is_the_number_of_sessions() -> None:
    own = with_sessions("bank", sessions=10, shocks={"probability": 0.1, "scale": 1.5})
    assert own.shape.traffic.num_sessions == 15
    got = epochs(own, 4000, found=conditions(own).replace(intensity=jnp.float32(1.23)))
    mean, error = mean_and_error(got.visits[:, 0])
    assert within(mean, 12.3, error)
    assert set(np.unique(got.visits)) <= {12.0, 13.0}


def test_refreshing_draws_another_bank_of_the_same_law() -> None:
    own = with_sessions("bank", traffic={"bank": {"size": 4096, "refresh": True}})
    fresh = bank.refresh(jax.random.key(7), own.shape.traffic, own.params.traffic).sessions.bank
    old = own.params.traffic.sessions.bank
    assert fresh.weight.shape == old.weight.shape and not np.array_equal(fresh.weight, old.weight)
    for rows in (fresh, old):
        total = np.asarray(rows.purchases.sum(-1))
        assert within(total.mean(1), own.params.traffic.purchase_rate, total.std(1) / 64)


def test_real_sessions_make_a_bank() -> None:
    own = with_sessions("bank")
    kernel = kernels.align(kernels.default_kernels())[0]
    people = [kernels.encode(["view_item", "add_item", "checkout", "purchase"], kernel.states)]
    agents = [kernels.encode(["page_view", "search"], kernel.states), kernels.encode([], kernel.states)]
    rows = bank.from_sessions([people, agents], own.shape.traffic, own.params.traffic.sessions, 6)
    np.testing.assert_allclose(rows.weight.sum(-1)[0], 1 + 4 + 4)
    np.testing.assert_allclose(np.sort(np.asarray(rows.weight.sum(-1)[1])), [0, 0, 0, 1.5, 1.5, 1.5])
    np.testing.assert_allclose(rows.purchases[:, :, 0], [[1] * 6, [0] * 6])
    np.testing.assert_allclose(rows.views[0], 1.0)
    searched = own.params.traffic.sessions.replace(
        product=jnp.asarray(np.array(kernel.states) != "search", jnp.float32)
    )
    again = bank.from_sessions([people, agents], own.shape.traffic, searched, 6)
    np.testing.assert_allclose(np.sort(np.asarray(again.weight.sum(-1)[1])), [0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(again.signal, rows.signal)
    with pytest.raises(ValueError, match="no sessions of class 'agent'"):
        bank.from_sessions([people, []], own.shape.traffic, own.params.traffic.sessions, 6)


@pytest.mark.slow
def test_browsing_tells_of_coming_orders_and_agents_drown_it() -> None:
    """The reason why contamination matters: correlation of the proxy with next epoch's orders falls with α."""
    from marl_pricing import market
    from marl_pricing.market import Action

    def correlation(share: float) -> float:
        own = with_sessions(
            "bank", sessions=60, agent_share=share, level={"persistence": 0.95, "volatility": 0.25},
            episode_length=10_000, inventory=UNLIMITED,
        )  # fmt: skip
        fixed = Action(jnp.full((2, 1), 3))

        def one(key: jax.Array):
            state, _ = market.reset(key, *own)

            def epoch(state, key):
                state, _, outcome = market.step(key, own.shape, state, fixed, own.params)
                return state, (outcome.events / outcome.events.sum(), outcome.demand)

            return jax.lax.scan(epoch, state, jax.random.split(key, 60))[1]

        proxy, orders = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 400))
        return float(np.corrcoef(np.ravel(proxy[:, 9:-1, 0]), np.ravel(orders[:, 10:, 0]))[0, 1])

    values = [correlation(share) for share in (0.0, 0.4, 0.8)]
    # 20,000 pairs: the sampling error of a correlation is below 0.01, some more because epochs hang together.
    assert values[0] > 0.25
    assert values[0] > values[1] + 0.04 > values[2] + 0.08
    assert AGENT["level_sensitivity"] == 0.0

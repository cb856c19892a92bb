"""Reaction surfaces, responses to stock, to a rival's stockout and to a burst of agents, by rules that are known."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.evaluation.behaviour.examine import COLUMNS, STEPS, examine
from marl_pricing.evaluation.behaviour.forced import follow
from marl_pricing.evaluation.behaviour.reaction import (
    NotHereError,
    burst_paths,
    reaction_surface,
    stock_response,
    stockout_paths,
)
from tests.evaluation.behaviour.rules import HIGH, LOW, T, make_adjusting, make_duopoly, rule
from tests.markets import make

AT = 6
KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def duopoly():
    return make_duopoly()


@pytest.fixture(scope="module")
def shop():
    """Little stock and plenty, orders of their own, a share of agents that drifts; expected orders."""
    return make(
        {
            "random_orders": False,
            "agent_share": 0.3,
            "process": {"kind": "drift", "low": 0.2, "high": 0.4, "step": 0.02},
        },
        episode_length=T,
        agent={"scale": 0.1},
        prices={"map": "levels", "low": 1.2, "high": 2.2, "num_price_levels": 101, "start": HIGH},
        inventory={
            "rule": "chosen",
            "initial_stock": [12.0, 1000.0],
            "lead_time": 2,
            "order_levels": [0.0, 4.0, 8.0, 12.0],
        },
        reward={"unit_cost": 1.0, "stockout_penalty": 0.5},
    )


def starts(own, *names: str, at: int = AT):
    return follow(KEY, *own, [rule(own.shape, names)], 2, at)


def column(frame, forced: str, seller: str, name: str) -> np.ndarray:
    own = frame[frame["forced"].eq(forced) & frame["seller"].eq(seller) & frame["since"].ge(0)]
    return own.sort_values("since")[name].to_numpy()


def test_the_surface_of_a_function_of_last_prices_is_that_function(duopoly) -> None:
    grid = np.asarray(duopoly.params.prices.levels[0], np.float64)
    surface = reaction_surface(starts(duopoly, "linear", "constant"), points=11)
    own = surface[surface["seller"].eq("0")]
    assert len(own) == 121 and sorted(own["own"].unique()) == pytest.approx(grid)
    wanted = 0.903 + 0.23 * own["own"].to_numpy() + 0.31 * own["rival"].to_numpy()
    apart = np.abs(grid - wanted[:, None])
    np.testing.assert_allclose(own["price"], grid[apart.argmin(1)], atol=1e-6)
    assert (own["spread"] == 0).all() and (own["histories"] == 2).all()
    other = surface[surface["seller"].eq("1")]
    np.testing.assert_allclose(other["price"], HIGH, atol=1e-6)
    assert set(zip(other["own"].round(3), other["rival"].round(3), strict=True)) == {
        (round(a, 3), round(b, 3)) for a in grid for b in grid
    }


def test_a_surface_knows_the_history_before_it(duopoly) -> None:
    """Grim answers the lowest rival price of its whole life: one that punished before stays low whatever is forced."""
    surface = reaction_surface(starts(duopoly, "clock", "grim", at=5), points=3)
    own = surface[surface["seller"].eq("1")]
    assert set(own["rival"].round(3)) == {1.2, 1.7, 2.2}
    # The clock began at 1.3; only 1.2 is lower.
    np.testing.assert_allclose(own["price"], np.minimum(own["rival"], 1.3), atol=1e-6)
    clock = surface[surface["seller"].eq("0")]  # at tau + 1 = 6 it stands at 6 mod 5
    np.testing.assert_allclose(clock["price"], 1.4, atol=1e-6)


@pytest.mark.slow
def test_price_and_order_over_own_stock(shop) -> None:
    found = stock_response(starts(shop, "stock", "constant"), points=5)
    own = found[found["seller"].eq("0")]
    np.testing.assert_allclose(own["stock"], [0, 3, 6, 9, 12])
    np.testing.assert_allclose(own["price"], 1.2 + 0.05 * own["stock"], atol=1e-6)
    other = found[found["seller"].eq("1")]
    np.testing.assert_allclose(other["price"], HIGH, atol=1e-6)
    # Orders go up to a position of 12, in steps of 4: the more is there, the less is ordered.
    assert other["order"].is_monotonic_decreasing and other["order"].iloc[0] > other["order"].iloc[-1]


def test_a_stockout_costs_what_is_not_sold_and_rivals_see_nothing_of_it(shop) -> None:
    (start,) = starts(shop, "stock", "constant")
    paths = stockout_paths([start])
    assert set(paths["case"]) == {"stockout"}
    # Seller 1 is emptied: it keeps its price, sells nothing in that epoch and pays for who asked.
    here = (1.2 + 0.05 * on_hand(start)[:, 0]).round(2)
    loss = []
    for price, held, agents in zip(here, on_hand(start), start.moment.state.agent_share, strict=True):
        before, after = (expected_profit(shop, [held[0], own], agents, [price, HIGH])[1] for own in (held[1], 0.0))
        loss.append(before - after)
    assert min(loss) > 0.5
    assert column(paths, "1", "1", "profit_change")[0] == pytest.approx(-np.mean(loss), rel=1e-4)
    assert not column(paths, "1", "1", "price_change").any() and not column(paths, "1", "0", "price_change")[:1].any()
    # Seller 0 prices by its stock: with none left it asks the least.
    emptied = column(paths, "0", "0", "price_change")
    assert emptied[0] == pytest.approx(1.2 - here.mean(), abs=1e-5)
    np.testing.assert_array_equal(column(paths, "all", "1", "price_change"), column(paths, "0", "1", "price_change"))


def on_hand(start) -> np.ndarray:
    state = start.moment.state
    return np.asarray(state.stock + state.pipeline[:, :, 0])


def expected_profit(own, held, agents, prices) -> np.ndarray:
    """Profits [2] of an epoch from expected orders: a margin on what is sold, a penalty on what is not there."""
    params = own.params.replace(traffic=own.params.traffic.replace(agent_share=np.float32(agents)))
    demand = static.demand_at(own.shape, params, np.array(prices))
    return (np.array(prices) - 1.0) * np.minimum(held, demand) - 0.5 * np.maximum(demand - held, 0.0)


def test_a_burst_of_agents_is_met_seen_and_over(shop) -> None:
    (start,) = starts(shop, "share", "constant")
    paths = burst_paths([start], share=0.8, epochs=3)
    # Who sees the share answers in the same epoch, and for as long as it lasts.
    answer = [LOW - HIGH] * 3 + [0.0] * (T - AT - 3)
    np.testing.assert_allclose(column(paths, "all", "0", "price_change"), answer, atol=1e-5)
    shares = np.asarray(start.moment.state.agent_share)
    gains = [
        expected_profit(shop, held, 0.8, [LOW, HIGH]) - expected_profit(shop, held, agents, [HIGH, HIGH])
        for held, agents in zip(on_hand(start), shares, strict=True)
    ]
    each = [column(paths, "all", str(seller), "profit_change") for seller in (0, 1)]
    np.testing.assert_allclose([own[0] for own in each], np.mean(gains, 0), rtol=1e-4)
    np.testing.assert_allclose(column(paths, "all", "all", "profit_change"), np.mean(each, 0), atol=1e-9)
    # Seller 1 never runs out, so that its profit tells the share: underneath, the share went on as it would have.
    assert each[1][:3].all() and not each[1][3:].any()


def test_a_burst_where_the_share_stands_still_costs_what_its_shoppers_spend() -> None:
    own = make_adjusting()
    (start,) = starts(own, "constant", "share", at=2)
    paths = burst_paths([start], share=0.4, epochs=2)
    assert not column(paths, "all", "1", "price_change").any()
    usual, burst = (
        static.profits_at(own.shape, own.params.replace(traffic=own.params.traffic.replace(agent_share=np.float32(a))),
                          np.full(4, HIGH))
        for a in (0.3, 0.4)
    )  # fmt: skip
    for seller in (0, 1):
        change = column(paths, "all", str(seller), "profit_change")
        np.testing.assert_allclose(change, [*[burst[seller] - usual[seller]] * 2, 0.0, 0.0], rtol=1e-4, atol=1e-7)
    # Above one half the second seller goes down, by a tenth at most.
    answer = column(burst_paths([start], share=0.6, epochs=1), "all", "1", "price_change")
    assert answer[0] == pytest.approx(-0.2, abs=1e-5)


def test_what_a_market_does_not_have_is_left_out_with_its_reason(duopoly) -> None:
    told: list[str] = []
    policies = [rule(duopoly.shape, ("punish", "punish"))] * 2
    found = examine(KEY, *duopoly, policies, 2, 0.9, told.append)
    assert len(told) == STEPS and found.at == T // 2 and (found.seeds, found.episodes) == (2, 2)
    assert found.left_out == (
        "response to own stock: market.inventory.rule='unlimited': there is no stock",
        "rival's stockout: market.inventory.rule='unlimited': there is no stock",
        "burst of agents: market.agent=null: there are no agents",
    )
    for name, documented in COLUMNS.items():
        assert [*getattr(found, name).columns] == [c for c in documented if c not in ("run", "policy")]
    assert set(found.responses["case"]) == {"best reply", "cut", "rise"}
    assert not len(found.stock_response) and len(found.reaction_surface) == 2 * 2 * 81


def test_tests_that_cannot_be_are_refused(duopoly, shop) -> None:
    own = starts(duopoly, "constant", "constant")
    for test, text in ((stock_response, "there is no stock"), (stockout_paths, "no stock"), (burst_paths, "no agents")):
        with pytest.raises(NotHereError, match=text):
            test(own)
    with pytest.raises(NotHereError, match=r"no less than the burst's 0\.1"):
        burst_paths(starts(shop, "constant", "constant"), share=0.1)
    with pytest.raises(ValueError, match="points=1"):
        reaction_surface(own, points=1)
    with pytest.raises(ValueError, match="epochs=2: accepted is 1 to 1, from epoch 15 on"):
        reaction_surface(starts(duopoly, "constant", "constant", at=T - 1))

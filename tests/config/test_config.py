"""What is refused, and how it is said: field, value, what is accepted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from marl_pricing.config import ConfigError
from marl_pricing.equilibrium import static
from tests.markets import LEVELS, LOGIT, THRESHOLD, UNLIMITED, make, one_shot

NAN = float("nan")
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "negative cost": (
        {"reward": {"unit_cost": -1.0}},
        "market.reward.unit_cost=-1.0: accepted is a number of at least 0",
    ),
    "nan cost": ({"reward": {"unit_cost": NAN}}, "market.reward.unit_cost=nan: accepted is a finite number"),
    "one cost nan": ({"reward": {"unit_cost": [1.0, NAN]}}, "market.reward.unit_cost"),
    "too many costs": ({"reward": {"unit_cost": [1.0, 1.0, 1.0]}}, "a list of 2 (sellers) or 2 (offers)"),
    "falling grid": (
        {"prices": {"map": "levels", "levels": [1.0, 3.0, 2.0]}},
        "market.prices.levels=[1.0, 3.0, 2.0]: accepted is an increasing list of prices",
    ),
    "grid below zero": ({"prices": {"map": "levels", "levels": [-1.0, 1.0]}}, "market.prices.levels[0]=-1.0"),
    "low below zero": (
        {"prices": LEVELS | {"low": -0.5}},
        "market.prices.low=-0.5: accepted is a number of at least 0",
    ),
    "low above high": ({"prices": LEVELS | {"low": 3.0}}, "market.prices.high=2.5: accepted is a price above"),
    "no grid": ({"prices": {"map": "levels", "levels": []}}, "market.prices.levels=[]: accepted is a list of at least"),
    "no end": ({"prices": {"map": "levels", "low": 1.0}}, "market.prices.high"),
    "two grids": ({"prices": LEVELS | {"levels": [1.0, 2.0]}}, "give either levels, or low and high"),
    "one price level": ({"prices": LEVELS | {"num_price_levels": 1}}, "market.prices.num_price_levels=1"),
    "start outside": ({"prices": LEVELS | {"start": 9.0}}, "market.prices.start=9.0"),
    "lead time 0": ({"inventory": THRESHOLD | {"lead_time": 0}}, "market.inventory.lead_time=0"),
    "lead time 1.5": (
        {"inventory": THRESHOLD | {"lead_time": 1.5}}, "market.inventory.lead_time=1.5: accepted is a whole number"
    ),
    "no sellers": ({"num_sellers": 0}, "market.num_sellers=0: accepted is a number of at least 1"),
    "true sellers": ({"num_sellers": True}, "market.num_sellers=True: accepted is a whole number"),
    "omega above 1": ({"reward": {"omega": 1.5}}, "market.reward.omega=1.5: accepted is a number of at most 1"),
    "omega below 0": ({"reward": {"omega": [0.5, -0.1]}}, "market.reward.omega[1]=-0.1"),
    "omega of three": ({"reward": {"omega": [0.5, 0.5, 0.5]}}, "a list of 2 (sellers)"),
    "unknown key": ({"colour": "red"}, "market.colour='red': there is no such setting"),
    "unknown key inside": ({"demand": LOGIT | {"slope": 1.0}}, "market.demand.slope=1.0: there is no such setting"),
    "text": ({"episode_length": "long"}, "market.episode_length='long': accepted is a whole number"),
    "unknown demand": (
        {"demand": {"model": "magic"}},
        "market.demand.model='magic': accepted is 'logit', 'power', 'linear'",
    ),
    "unknown rule": ({"inventory": {"rule": "magic"}}, "market.inventory.rule='magic'"),
    "unknown map": ({"prices": {"map": "magic"}}, "market.prices.map='magic'"),
    "scale 0": ({"demand": LOGIT | {"scale": 0.0}}, "market.demand.scale=0.0: accepted is a number above 0"),
    "elasticity above 0": (
        {"demand": {"model": "power", "base": 0.1, "elasticity": 0.5, "reference_price": 1.0}},
        "market.demand.elasticity=0.5",
    ),
    "cross above own slope": (
        {"demand": {"model": "linear", "intercept": 1.0, "slope": 0.2, "cross_slope": 0.3}},
        "market.demand.cross_slope=0.3: accepted is below market.demand.slope=0.2",
    ),
    "agent of another model": (
        {"agent": {"elasticity": -1.0}},
        "market.agent.elasticity=-1.0: no setting of logit demand",
    ),
    "adjust and chosen": (
        {"prices": {"map": "adjust", "low": 1.0, "high": 2.0},
         "inventory": {"rule": "chosen", "initial_stock": 1.0, "order_levels": [0.0, 1.0]}},
        "market.prices.map='adjust': accepted is levels or scale",
    ),
    "range and chosen": (
        {"prices": {"map": "range", "low": 1.0, "high": 2.0},
         "inventory": {"rule": "chosen", "initial_stock": 1.0, "order_levels": [0.0, 1.0]}},
        "market.prices.map='range': accepted is levels or scale",
    ),
    "range of one end": ({"prices": {"map": "range", "low": 1.0}}, "market.prices.high: has to be given"),
    "range of no ends": ({"prices": {"map": "range"}}, "market.prices: give either low and high, or around_equilib"),
    "range upside down": (
        {"prices": {"map": "range", "low": 2.0, "high": 1.0}}, "market.prices.high=1.0: accepted is a price above"
    ),
    "levels of a range": (
        {"prices": {"map": "range", "low": 1.0, "high": 2.0, "num_price_levels": 3}},
        "market.prices.num_price_levels=3: there is no such setting",
    ),
    "surprise of any price": (
        {"prices": {"map": "range", "low": 1.0, "high": 2.0},
         "reward": {"unit_cost": 1.0, "information_value": "revelation"}},
        "market.reward.information_value='revelation': accepted is constant with market.prices.map=range",
    ),
    "waves without stock": ({"sub_slots": 2, "inventory": UNLIMITED}, "market.sub_slots=2"),
    "pay on order without orders": (
        {"reward": {"unit_cost": 1.0, "pay_on_order": True}, "inventory": UNLIMITED}, "market.reward.pay_on_order=True"
    ),
    "stock not kept": ({"features": ["stock"], "inventory": UNLIMITED}, "stock needs limited stock"),
    "pipeline without stock": ({"features": ["pipeline"], "inventory": UNLIMITED}, "pipeline needs limited stock"),
    "no shock": ({"features": ["shock"]}, "shock needs shocks"),
    "same twice": ({"features": ["time", "time"]}, "a list of different features"),
    "no feature": ({"features": []}, "at least one"),
    "orders without nothing": (
        {"inventory": {"rule": "chosen", "initial_stock": 1.0, "order_levels": [1.0, 2.0]}},
        "market.inventory.order_levels=[1.0, 2.0]: accepted is an increasing list that begins with 0",
    ),
    "S below s": (
        {"inventory": {"rule": "s_S", "initial_stock": 1.0, "reorder_point": 5.0, "order_up_to": 5.0}},
        "market.inventory.order_up_to=5.0",
    ),
    "bankrupt at once": (
        {"bankruptcy": {"initial_cash": 1.0, "cash_limit": 2.0}}, "market.bankruptcy.initial_cash=1.0"
    ),
    "leak without sessions": ({"reward": {"coi_leakage": 1.0}}, "market.reward.coi_leakage=1.0: accepted is 0"),
    "error without sessions": ({"reward": {"estimate_error": 1.0}}, "market.reward.estimate_error=1.0: accepted is 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused_in_one_line_that_names_the_field(case: str) -> None:
    settings, message = BAD[case]
    with pytest.raises(ConfigError) as caught:
        make(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_traffic_is_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"traffic.agent_share=0.5: accepted is 0 in a market without agents"):
        make({"agent_share": 0.5})
    with pytest.raises(ConfigError, match=r"traffic.agent_share=1.5"):
        make({"agent_share": 1.5}, agent={"scale": 0.1})
    with pytest.raises(ConfigError, match=r"traffic.sessions_per_epoch=0"):
        make({"sessions_per_epoch": 0})
    with pytest.raises(ConfigError, match=r"traffic.model='magic': accepted is 'analytic'"):
        make({"model": "magic"})
    with pytest.raises(ConfigError, match=r"traffic.order_law='multinomial': accepted is 'poisson' with .*model=chain"):
        make({"model": "chain", "order_law": "multinomial"})
    with pytest.raises(ConfigError, match=r"traffic.order_law='multinomial': .* with traffic.random_orders=false"):
        make({"random_orders": False, "order_law": "multinomial"})
    with pytest.raises(ConfigError, match=r"traffic.order_law='multinomial': .* with market.demand.model=linear"):
        make({"order_law": "multinomial"}, demand={"model": "linear", "intercept": 1.0, "slope": 0.1})


def test_a_price_that_is_given_is_a_grid_of_one_level() -> None:
    shape, params = make(prices={"map": "levels", "levels": [1.5]})
    assert shape.prices.num_levels == 1 and params.prices.start_low.tolist() == [1.5, 1.5]


def test_several_faults_are_a_line_each() -> None:
    with pytest.raises(ConfigError) as caught:
        make(num_sellers=0, episode_length=0, reward={"unit_cost": -1.0})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert {line.split("=")[0] for line in lines} == {
        "market.num_sellers", "market.episode_length", "market.reward.unit_cost",
    }  # fmt: skip


def test_whole_numbers_are_numbers() -> None:
    assert float(make(reward={"unit_cost": 1}).params.reward.unit_cost[0]) == 1.0


def test_numbers_by_seller_go_to_all_their_products() -> None:
    own = make(num_products=2, reward={"unit_cost": [1.0, 2.0]})
    assert own.params.reward.unit_cost.tolist() == [1.0, 1.0, 2.0, 2.0]


def test_what_is_off_is_not_in_the_program() -> None:
    shape = one_shot().shape
    assert not shape.demand.shocks
    assert not shape.demand.moving_level
    assert not shape.bankruptcy
    assert shape.demand.num_types == 1
    assert shape.reward.penalties == ()
    assert make(types={"spread": 0.1, "nodes": 3}).shape.demand.num_types == 3


def test_a_grid_around_the_equilibrium_has_its_ends_and_refuses_a_market_without_one() -> None:
    own = one_shot(prices={"map": "levels", "around_equilibrium": 0.1, "num_price_levels": 15})
    grid = own.params.prices.levels[0]
    margin = 0.1 * (1.924981 - 1.472927)
    assert float(grid[0]) == pytest.approx(1.472927 - margin, abs=1e-5)
    assert float(grid[-1]) == pytest.approx(1.924981 + margin, abs=1e-5)
    demand = {"model": "power", "base": 0.01, "elasticity": -0.5, "reference_price": 1.0}
    with pytest.raises(ConfigError, match=r"market.prices.around_equilibrium=0.1: .*ever higher prices"):
        make(demand=demand, prices={"map": "levels", "around_equilibrium": 0.1})


def test_stock_in_periods_is_in_periods_of_expected_demand() -> None:
    stock = {
        "rule": "threshold", "in_periods": True, "initial_stock": 4.0, "reorder_point": [2.0, 3.0],
        "order_quantity": 1.5, "lead_time": 2,
    }  # fmt: skip
    own = make(inventory=stock, demand={"model": "logit", "quality": [2.0, 1.8], "scale": 0.25})
    per_epoch = static.demand_at(*own, np.full(2, 1.8))  # the middle of 1.1 … 2.5 is where episodes begin
    for name, periods in (("initial_stock", 4.0), ("reorder_point", [2.0, 3.0]), ("order_quantity", 1.5)):
        np.testing.assert_array_equal(getattr(own.params.inventory, name), np.ceil(periods * per_epoch - 1e-6))
    with pytest.raises(ConfigError, match="period"):
        make(season={"period": 3.0, "cosine": [0.1, 0.1], "sine": [0.0, 0.0]})
    with pytest.raises(ConfigError, match=r"market\.season\.sine=\[\]: accepted is a list as long as cosine, 1"):
        make(season={"cosine": [0.1]})

"""What stock can be worth at best: exact benchmarks of a market with one seller of one product.

At a given price the question is what replenishment costs; where the price is chosen too, what price and order are worth
together. Every other market is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import stats

from marl_pricing.equilibrium import backorders, replenishment
from marl_pricing.equilibrium.dynamic import PriceAndOrder, price_and_order
from marl_pricing.equilibrium.stock_problem import Replenishment, Rule, largest_reach
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.traffic import Conditions
from marl_pricing.traffic.analytic import expected_orders

COLUMNS = {
    "benchmark": "text; optimal, base_stock, capped_base_stock, s_S, or base_stock_backorders, where demand waits",
    "level": "units of on hand plus on order up to which is ordered; empty for the optimum",
    "cap": "units; largest order of capped_base_stock",
    "point": "units; s_S orders where the position is below it",
    "cost": "money per epoch, on average: holding, stockout penalty, lost margin, placing orders; empty: not known",
    "note": "text; why a figure is not known",
}


class NoStockBenchmarkError(ValueError):
    """The market has no exact benchmark of its stock; the message says what it would have to be."""


def _refuse_unfit(shape: MarketShape, params: MarketParams) -> None:
    own, level = shape.inventory, shape.demand
    still = not (level.level_moves or level.shocks or shape.traffic.process != "static")
    lone = not own.single_order or bool((params.inventory.lead_time == 1).all())
    needs = [
        (shape.num_offers == 1, "one seller of one product"),
        (not own.unlimited and own.rule != "none", "stock that is replenished"),
        (lone, "several orders on the way (market.inventory.single_order=false)"),
        (shape.prices.map == "levels", "prices on a grid (market.prices.map=levels)"),
        (shape.traffic.model == "analytic" and shape.traffic.random_orders, "drawn orders of traffic.model=analytic"),
        (still, "demand that is the same in every epoch: no moving level, season, shock or share of agents"),
        (not shape.demand.waits, "shoppers of whom none waits (market.patience.share=0)"),
        (shape.sub_slots == 1, "one wave of shoppers (market.sub_slots=1)"),
        (not shape.pass_over, "shoppers that ask for what is sold out (market.sold_out=asked)"),
        (not (shape.bankruptcy or shape.collapse_patience), "a market without an end of its own"),
        (not shape.reward.penalties, "a reward without penalties on prices or information"),
    ]
    for fits, need in needs:
        if not fits:
            raise NoStockBenchmarkError(f"no exact benchmark of stock: it needs {need}")


def demand_law(shape: MarketShape, params: MarketParams, price: float) -> np.ndarray:
    """Probabilities [D] of 0, 1, … units ordered in an epoch at a price."""
    found = Conditions(jnp.full((1,), price), jnp.ones((1,)), jnp.ones((1,), bool), params.demand.scale)
    own = params.traffic
    rate = own.session_orders(own.agent_share)
    mean = float(expected_orders(shape.traffic, shape.demand, params.demand, found, own.agent_share, rate).sum())
    if shape.traffic.order_law == "poisson":
        return replenishment.poisson(mean)
    sessions = shape.traffic.sessions * float(params.demand.scale * own.visits_factor(own.agent_share))
    fewer = int(np.floor(sessions))
    units = np.arange(fewer + 2)
    laws = (stats.binom.pmf(units, count, mean / sessions) for count in (fewer, fewer + 1))
    return np.average(list(laws), axis=0, weights=[fewer + 1 - sessions, sessions - fewer])


def _lead_time(shape: MarketShape, params: MarketParams) -> int:
    """The literature's: a rule decides after the sales of its epoch, a chosen quantity before."""
    return int(params.inventory.lead_time[0]) - (not shape.chooses_quantities)


def _order_cost(params: MarketParams) -> float:
    return 0.0 if params.reward.order_cost is None else float(params.reward.order_cost[0])


def replenishment_of(shape: MarketShape, params: MarketParams) -> Replenishment:
    """The replenishment problem of a market whose price is given.

    A unit that is not sold costs the stockout penalty and its margin; margins of demand are out of the seller's hands.

    Raises:
        NoStockBenchmarkError: where the market is another one.
    """
    _refuse_unfit(shape, params)
    if shape.prices.num_levels > 1:
        raise NoStockBenchmarkError("no replenishment cost: it needs a price that is given (one price level)")
    price, own = float(params.prices.levels[0, 0]), params.reward
    penalty, holding = float(own.stockout_penalty[0]) + price - float(own.unit_cost[0]), float(own.holding_cost[0])
    if penalty <= 0 or holding <= 0:
        raise NoStockBenchmarkError(
            f"no replenishment cost: it needs a unit that costs something to hold (here {holding:g}) and to miss (here "
            f"{penalty:g}, margin and stockout penalty)"
        )
    law = demand_law(shape, params, price)
    return Replenishment(law, holding, penalty, _lead_time(shape, params), _order_cost(params))


def price_and_order_of(shape: MarketShape, params: MarketParams, gamma: float, most_stock: int) -> PriceAndOrder:
    """The problem of a seller that sets price and order, for `equilibrium.dynamic.price_and_order`.

    Args:
        gamma: discount an epoch.  most_stock: units that the seller never exceeds.

    Raises:
        NoStockBenchmarkError: where the market is another one.
    """
    _refuse_unfit(shape, params)
    own, orders = params.reward, np.asarray(params.inventory.order_levels)
    needs = [
        (shape.chooses_quantities, "chosen orders (market.inventory.rule=chosen)"),
        (shape.reward.pay_on_order, "units that are paid for when ordered (market.reward.pay_on_order=true)"),
        (bool((orders == np.round(orders)).all()), "orders of whole units"),
    ]
    for fits, need in needs:
        if not fits:
            raise NoStockBenchmarkError(f"no value of price and order: it needs {need}")
    prices = np.asarray(params.prices.levels[0], float)
    laws = [demand_law(shape, params, price) for price in prices]
    longest = max(law.size for law in laws)
    return PriceAndOrder(
        demand=np.stack([np.pad(law, (0, longest - law.size)) for law in laws]),
        prices=prices,
        orders=orders[orders <= float(params.inventory.order_cap[0])].astype(int),
        unit_cost=float(own.unit_cost[0]),
        holding=float(own.holding_cost[0]),
        penalty=float(own.stockout_penalty[0]),
        gamma=gamma,
        most_stock=most_stock,
        lead_time=int(params.inventory.lead_time[0]),
        order_cost=_order_cost(params),
    )


def best_values(shape: MarketShape, params: MarketParams, gamma: float, stocks: Sequence[int]) -> np.ndarray:
    """The most that price and order are worth, discounted, from each stock at the start of an epoch; nothing is due.

    Args:
        gamma: discount an epoch.  stocks: units, after arrivals.

    Raises:
        NoStockBenchmarkError: as `price_and_order_of`.
    """
    most = int(max(stocks) + params.inventory.order_levels.max())
    while True:
        own = price_and_order_of(shape, params, gamma, most)
        found, orders = price_and_order(own), np.asarray(own.orders)
        choice = np.searchsorted(orders, found.order)
        reach, _ = largest_reach(choice, orders, own.demand.shape[1] - 1, list(stocks))
        if reach < most:  # so that the end of the table, where stock is thrown away, is never met
            return found.value.reshape(most + 1, -1)[list(stocks), 0]
        most *= 2


def _at_no_lead_time(own: Replenishment) -> Rule:
    """The best rule at the literature's lead time 0, where what is owed is served before anybody comes.

    Raises:
        ValueError: where it pays to owe more than nothing before an order is placed, which lost sales can't.
    """
    if not own.order_cost:
        return backorders.base_stock(own)
    found = backorders.best_min_max(own)
    if found.point is None or found.point < 1:
        raise ValueError(
            f"order_cost={own.order_cost:g}: at lead time 0 accepted is a cost at which it pays to order before "
            "the stock has run out"
        )
    return found


def why_no_replenishment(shape: MarketShape, params: MarketParams) -> str | None:
    """Why `benchmarks_of` has nothing to say about a market; None where it has."""
    try:
        replenishment_of(shape, params)
    except NoStockBenchmarkError as error:
        return str(error)
    return None


def benchmarks_of(shape: MarketShape, params: MarketParams) -> pd.DataFrame:
    """Costs of the best policy and of the best rules of each kind, in the market's own units.

    Rules and the optimum may order any whole number of units.

    Returns:
        A frame with the columns of `COLUMNS`. With the literature's lead time 0 the base-stock rule is optimal.

    Raises:
        NoStockBenchmarkError: where the market is another one.
    """
    own = replenishment_of(shape, params)
    waiting = backorders.base_stock(own)
    if own.lead_time == 0:
        rules: list[tuple[str, Callable[[], Rule | float]]] = [
            ("optimal", lambda: _at_no_lead_time(own).cost),
            ("base_stock", lambda: waiting),
        ]
        if own.order_cost:
            rules.append(("s_S", lambda: _at_no_lead_time(own)))
    else:
        rules = [
            ("optimal", lambda: replenishment.best_cost(own)),
            ("base_stock", lambda: replenishment.best_base_stock(own)),
            ("capped_base_stock", lambda: replenishment.best_capped_base_stock(own)),
            ("s_S", lambda: replenishment.best_min_max(own)),
        ]
    rows = []
    for name, solve in [*rules, ("base_stock_backorders", lambda: waiting)]:
        row: dict[str, object] = {"benchmark": name, "note": ""}
        try:
            found = solve()
        except ValueError as error:  # too many states
            row["note"] = str(error)
        else:
            row |= vars(found) if isinstance(found, Rule) else {"cost": found}
        rows.append(row)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"level": "Int64", "cap": "Int64", "point": "Int64", "cost": float})

"""All measures, by name: what each is, in what unit, how it is computed, and where it means nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from marl_pricing.evaluation import surplus
from marl_pricing.evaluation.metrics import economics, fairness, information, operations, prices
from marl_pricing.evaluation.metrics.episodes import Episodes
from marl_pricing.evaluation.metrics.parts import Parts
from marl_pricing.market import MarketParams, MarketShape

Array = np.ndarray
Reason = Callable[[MarketShape, MarketParams], str]


def _always(shape: MarketShape, params: MarketParams) -> str:
    return ""


@dataclass(frozen=True)
class Measure:
    """What is measured.

    Attributes:
        label, unit: for people.
        explanation: one sentence, with the formula's name.
        compute: episodes → `Parts`, by seller [E, S] or of the market [E].
        by_seller: given for each seller, too.
        total: by seller; the market's is the sum of the sellers' amounts, each per epoch that the market ran. Otherwise
            numerators and denominators are both added up.
        withheld: why a market cannot have it; empty where it can.
        nothing: what to say where the denominator is 0 throughout.
        percent: shown in per cent.
    """

    label: str
    unit: str
    explanation: str
    compute: Callable[[Episodes], Parts]
    by_seller: bool = True
    total: bool = False
    withheld: Reason = _always
    nothing: str = "nothing happened that could be measured"
    percent: bool = False


def _needs_stock(shape: MarketShape, params: MarketParams) -> str:
    return "stock is unlimited" if shape.inventory.unlimited else ""


def _needs_orders(shape: MarketShape, params: MarketParams) -> str:
    if shape.inventory.unlimited:
        return "stock is unlimited"
    return "stock is never replenished" if shape.inventory.rule == "none" else ""


def _needs_order_cost(shape: MarketShape, params: MarketParams) -> str:
    return "placing an order costs nothing" if params.reward.order_cost is None else ""


def _needs_contracts(shape: MarketShape, params: MarketParams) -> str:
    return "supply is not bargained for" if shape.contracts is None else ""


def _needs_rivals(shape: MarketShape, params: MarketParams) -> str:
    return "there is one seller" if shape.num_sellers == 1 else ""


def _needs_sessions(shape: MarketShape, params: MarketParams) -> str:
    return "" if shape.traffic.walks_sessions else "demand comes without sessions (traffic.model=analytic)"


def _needs_surplus(shape: MarketShape, params: MarketParams) -> str:
    return surplus.unknown(shape)


def _per_epoch(own: Episodes, amounts: Array) -> Parts:
    """Amounts [E, T, N or S] of each seller, or [E, T] of the market, per epoch that the market ran."""
    if amounts.ndim == 2:
        return Parts(amounts.sum(1), own.epochs)
    by_seller = amounts.sum(1).reshape(len(amounts), own.shape.num_sellers, -1).sum(-1)
    return Parts(by_seller, np.broadcast_to(own.epochs[:, None], by_seller.shape))


def _mean(own: Episodes, values: Array) -> Parts:
    """Mean of values [E, T, N] over the epochs and products of each seller."""
    return Parts(values.sum(1), own.offered.sum(1)).by_seller(own.shape.num_sellers)


def _sellers(own: Episodes, parts: Parts) -> Parts:
    return parts.by_seller(own.shape.num_sellers)


def _each_episode(values: Array) -> Parts:
    """One number an episode [E], NaN where it has none: a plain mean over the others."""
    known = np.isfinite(values)
    return Parts(np.where(known, values, 0.0), known.astype(float))


def _revenue(own: Episodes) -> Array:
    return (
        (own.offers("price_paid") * own.offers("sales"))
        .sum(1)
        .reshape(len(own.live), own.shape.num_sellers, -1)
        .sum(-1)
    )


def _margin(own: Episodes, formula: Callable[[Array, Array, Array], Parts]) -> Parts:
    return _sellers(own, formula(own.offers("price_paid"), own.unit_costs, own.offers("sales")))


def _signed(own: Episodes) -> Array:
    """[E, T, N] 1.0 where a contract was signed."""
    return (own.contracts("quantity") > 0).astype(float)


def _suppliers_profit(own: Episodes) -> Array:
    """Money [E, T, N] of contracts as they were signed: (w − c_s) q − rush q / L."""
    assert own.params.contracts is not None
    costs, number = own.params.contracts.suppliers, np.maximum(own.contracts("supplier").astype(int), 0)
    offers = np.arange(own.shape.num_offers)
    made, rush = (np.asarray(cost, np.float64)[offers, number] for cost in (costs.unit_cost, costs.rush_cost))
    margin = own.contracts("unit_cost") - made - rush / np.maximum(own.contracts("lead_time"), 1.0)
    return margin * own.contracts("quantity")


def _leak(own: Episodes) -> Array:
    cost = float(own.params.reward.information_cost)
    return information.coi_leak(cost, own.market("suspicion"), own.market("visits"))


def _agent_loss(own: Episodes) -> Array:
    return information.agent_loss(own.offers("price_linked"), own.offers("price_paid"), own.offers("sales"))


def _surplus(own: Episodes) -> Array:
    return economics.consumer_surplus(own.market("surplus"), own.offers("demand"), own.offers("sales"))


def _cycle(own: Episodes) -> Array:
    """Periods [E] of episodes that ran to their end."""
    lengths = prices.cycle_lengths(np.asarray(own.record.price, np.float64))
    return np.where(own.offered.min((1, 2)) > 0, lengths, 0)


def _period(own: Episodes) -> Parts:
    lengths = _cycle(own)
    return Parts(np.where(lengths > 0, lengths, 0).astype(float), (lengths > 0).astype(float))


def _erosion(own: Episodes) -> Parts:
    posted = np.where(own.offered > 0, np.asarray(own.record.price, np.float64), np.nan)
    return information.erosion(posted.reshape(len(posted), -1), float(own.unit_costs.mean()))


MEASURES: dict[str, Measure] = {
    "profit": Measure(
        "profit", "money per epoch",
        "raw reward (not shaped) of all sellers, or of one, per epoch that the market ran",
        lambda own: _per_epoch(own, own.sellers("reward_raw")), total=True,
    ),
    "consumer_surplus": Measure(
        "consumer surplus", "money per epoch",
        "log-sum of logit demand at the posted prices, people and agents weighted by their sessions, times the share "
        "of units served",
        lambda own: _per_epoch(own, _surplus(own)), by_seller=False, withheld=_needs_surplus,
    ),
    "welfare": Measure(
        "welfare", "money per epoch", "consumer surplus plus the sellers' profits before penalties",
        lambda own: _per_epoch(own, _surplus(own) + own.offers("profit").sum(-1)),
        by_seller=False, withheld=_needs_surplus,
    ),
    "lerner": Measure(
        "Lerner index", "share of price", "(price − unit cost) / price, weighted by revenue",
        lambda own: _margin(own, economics.lerner_index),
        nothing="nothing was sold",
    ),
    "hhi": Measure(
        "HHI", "0 to 1", "Herfindahl–Hirschman index of an episode's revenue shares: 1/S for equal sellers, 1 for one",
        lambda own: _each_episode(economics.herfindahl(_revenue(own))),
        by_seller=False, withheld=_needs_rivals, nothing="nothing was sold",
    ),
    "price_mean": Measure(
        "mean price", "money per unit", "posted price, every offer and epoch alike",
        lambda own: _mean(own, own.offers("price")),
    ),
    "price_spread": Measure(
        "price dispersion", "money per unit",
        "highest less lowest seller's price in an epoch (a seller's price is the mean over its products)",
        lambda own: _per_epoch(own, np.nan_to_num(prices.dispersion(own.seller_prices))),
        by_seller=False, withheld=_needs_rivals,
    ),
    "volatility": Measure(
        "price volatility", "per epoch", "mean relative price movement |p_t − p_{t−1}| / p_{t−1}",
        lambda own: _sellers(own, prices.volatility(own.offers("price"), own.offered)),
        nothing="episodes of one epoch have no movement", percent=True,
    ),
    "unchanged": Measure(
        "unchanged prices", "share of epochs", "share of epochs whose price is that of the epoch before",
        lambda own: _sellers(own, prices.unchanged(own.offers("price"), own.offered)),
        nothing="episodes of one epoch have no movement", percent=True,
    ),
    "cycling": Measure(
        "episodes that cycle", "share",
        "share of episodes whose prices end up repeating with a period of at least two epochs, three times over",
        lambda own: _each_episode((_cycle(own) > 1).astype(float)), by_seller=False, percent=True,
    ),
    "cycle_period": Measure(
        "period of prices", "epochs",
        "mean period of the episodes whose prices end up repeating; 1 is a constant price",
        lambda own: _period(own), by_seller=False, nothing="no episode's prices repeat",
    ),
    "stock": Measure(
        "stock", "units per offer", "units on hand when the shoppers come",
        lambda own: _mean(own, own.offers("stock")), withheld=_needs_stock,
    ),
    "fill_rate": Measure(
        "fill rate", "share", "units sold over units wanted",
        lambda own: _sellers(own, operations.fill_rate(own.offers("sales"), own.offers("demand"))),
        nothing="nobody wanted anything", percent=True,
    ),
    "cycle_service": Measure(
        "cycle service", "share of cycles", "share of replenishment cycles, arrival to arrival, without unmet demand",
        lambda own: _sellers(own, operations.cycle_service(own.offers("arrivals"), own.offers("unmet"))),
        withheld=_needs_orders, nothing="no order arrived", percent=True,
    ),
    "stockout_share": Measure(
        "stockouts", "share of epochs", "share of offers and epochs with unmet demand",
        lambda own: _mean(own, (own.offers("unmet") > 0).astype(float)), percent=True,
    ),
    "unmet": Measure(
        "unmet demand", "units per epoch", "units wanted and not in stock",
        lambda own: _per_epoch(own, own.offers("unmet")), total=True,
    ),
    "turns": Measure(
        "stock turns", "per epoch", "cost of goods sold over the mean value of stock, before and after sales",
        lambda own: _sellers(own, operations.turns(own.offers("sales"), own.offers("stock"), own.unit_costs)),
        withheld=_needs_stock, nothing="no stock of any value was held",
    ),
    "cover": Measure(
        "cover", "epochs", "mean stock after sales over mean demand of an epoch",
        lambda own: _sellers(own, operations.cover(own.offers("sales"), own.offers("stock"), own.offers("demand"))),
        withheld=_needs_stock, nothing="nobody wanted anything",
    ),
    "lost_sales_cost": Measure(
        "cost of lost sales", "money per epoch", "stockout penalty times unmet units",
        lambda own: _per_epoch(own, own.cost("stockout_penalty") * own.offers("unmet")),
        total=True, withheld=_needs_stock,
    ),
    "holding_cost": Measure(
        "cost of holding", "money per epoch", "holding cost times units left after sales",
        lambda own: _per_epoch(own, own.cost("holding_cost") * (own.offers("stock") - own.offers("sales"))),
        total=True, withheld=_needs_stock,
    ),
    "order_cost": Measure(
        "cost of ordering", "money per epoch", "cost of placing an order times orders placed",
        lambda own: _per_epoch(own, own.cost("order_cost") * (own.offers("ordered") > 0)),
        total=True, withheld=_needs_order_cost,
    ),
    "bullwhip": Measure(
        "bullwhip ratio", "variance ratio", "variance of orders over variance of demand, over the epochs of an episode",
        lambda own: _sellers(own, operations.bullwhip(own.offers("ordered"), own.offers("demand"), own.offered)),
        withheld=_needs_orders, nothing="demand does not vary",
    ),
    "agreements": Measure(
        "bargains that end in an agreement", "share", "contracts signed over bargains with suppliers",
        lambda own: _sellers(own, Parts(_signed(own).sum(1), own.contracts("asked").sum(1))),
        withheld=_needs_contracts, nothing="nobody bargained", percent=True,
    ),
    "agreed_cost": Measure(
        "agreed unit cost", "money per unit", "unit cost of contracts, rebates taken off, weighted by their units",
        lambda own: _sellers(
            own, Parts(
                (own.contracts("unit_cost") * own.contracts("quantity")).sum(1), own.contracts("quantity").sum(1)
            )
        ),
        withheld=_needs_contracts, nothing="nothing was agreed upon",
    ),
    "agreed_quantity": Measure(
        "agreed quantity", "units", "units of a contract",
        lambda own: _sellers(own, Parts(own.contracts("quantity").sum(1), _signed(own).sum(1))),
        withheld=_needs_contracts, nothing="nothing was agreed upon",
    ),
    "agreed_lead_time": Measure(
        "agreed lead time", "epochs", "lead time of a contract",
        lambda own: _sellers(own, Parts((own.contracts("lead_time") * _signed(own)).sum(1), _signed(own).sum(1))),
        withheld=_needs_contracts, nothing="nothing was agreed upon",
    ),
    "supplier_profit": Measure(
        "suppliers' profit", "money per epoch",
        "(agreed unit cost − supplier's unit cost) × units − rush cost × units / lead time, of contracts as signed",
        lambda own: _per_epoch(own, _suppliers_profit(own)), total=True, withheld=_needs_contracts,
    ),
    "jain": Measure(
        "Jain index", "1/S to 1",
        "(Σ x)² / (S Σ x²) of an episode's profits: 1 for equal sellers; a loss counts as nothing",
        lambda own: _each_episode(fairness.jain_index(own.profits)),
        by_seller=False, withheld=_needs_rivals, nothing="nobody earned anything",
    ),
    "gini": Measure(
        "Gini", "0 to 1", "mean difference of an episode's profits over the sum of their sizes: 0 for equal sellers, 1 "
        "where one has all; losses count at face value",
        lambda own: _each_episode(fairness.gini(own.profits)),
        by_seller=False, withheld=_needs_rivals, nothing="nobody earned anything",
    ),
    "coi": Measure(
        "COI level", "money per unit", "cost of information: mean price paid less unit cost, weighted by units sold",
        lambda own: _margin(own, information.coi_level),
        nothing="nothing was sold",
    ),
    "coi_posted": Measure(
        "COI level, posted", "money per unit", "E[P] less unit cost: mean posted price, every offer and epoch alike, "
        "sold or not; without mark-ups",
        lambda own: _mean(own, own.offers("price") - own.unit_costs * own.offered),
    ),
    "coi_leak": Measure(
        "COI leak", "money per epoch", "suspicion of an epoch's sessions times the cost of information",
        lambda own: _per_epoch(own, _leak(own)),
        by_seller=False, withheld=_needs_sessions,
    ),
    "coi_erosion": Measure(
        "COI erosion", "share",
        f"share of the mean mark-up that the cheapest of {information.QUOTES} independent quotes takes away",
        _erosion, by_seller=False, nothing="prices are at cost", percent=True,
    ),
    "agent_loss": Measure(
        "agent loss", "money per epoch", "what agents that came back in a clean session did not pay",
        lambda own: _per_epoch(own, _agent_loss(own)),
        total=True, withheld=_needs_sessions,
    ),
    "look_to_book": Measure(
        "look to book", "views per unit", "product views over units wanted",
        lambda own: Parts(own.market("views").sum(1), own.offers("demand").sum((1, 2))),
        by_seller=False, withheld=_needs_sessions, nothing="nobody wanted anything",
    ),
    "reward_shaped": Measure(
        "shaped reward", "per epoch",
        "omega × own + (1 − omega) × everybody's raw reward; what sellers were trained for, not money",
        lambda own: _per_epoch(own, own.sellers("reward_shaped")), total=True,
    ),
}  # fmt: skip


# Indices say where a measure lies between two benchmarks; here, which measure that is.
INDICES = {"profit_gain": "profit", "relative_price_deviation": "price_mean"}
# Which measures are read together.
SUBJECTS: dict[str, tuple[str, ...]] = {
    "economics": ("profit", "consumer_surplus", "welfare", "lerner", "hhi", "jain", "gini", "reward_shaped"),
    "prices": ("price_mean", "price_spread", "volatility", "unchanged", "cycling", "cycle_period"),
    "stock and service": (
        "fill_rate", "cycle_service", "stockout_share", "unmet", "stock", "turns", "cover", "lost_sales_cost",
        "holding_cost", "order_cost", "bullwhip",
    ),
    "supply": ("agreements", "agreed_cost", "agreed_quantity", "agreed_lead_time", "supplier_profit"),
    "information": ("coi", "coi_posted", "coi_leak", "coi_erosion", "agent_loss", "look_to_book"),
}  # fmt: skip


def measure(own: Episodes) -> dict[str, Parts]:
    """Every measure that the market can have.

    Returns:
        By name, parts [E, 1 + S]: the market in column 0, then its sellers; NaN for sellers where it is the market's
        only.
    """
    found = {}
    for name, what in MEASURES.items():
        if what.withheld(own.shape, own.params):
            continue
        parts = what.compute(own)
        if not what.by_seller:
            alone = np.full((len(parts.top), own.shape.num_sellers), np.nan)
            found[name] = Parts(*(np.column_stack([values, alone]) for values in parts))
            continue
        together = Parts(parts.top.sum(-1), own.epochs if what.total else parts.bottom.sum(-1))
        found[name] = Parts(*(np.column_stack(pair) for pair in zip(together, parts, strict=True)))
    return found

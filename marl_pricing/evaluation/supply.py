"""What was bargained for: the contracts of an evaluation, and what each could have come to.

Every contract is judged in the situation in which it was played (`negotiation.table`): what it is worth to the seller
and to its supplier above what they have without one, how far it lies from the Pareto frontier, and Nash's bargaining
point there.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing import negotiation
from marl_pricing.evaluation.play import Record
from marl_pricing.market import ContractParams, ContractShape, MarketParams, MarketShape
from marl_pricing.negotiation import Worth
from marl_pricing.presentation.bargain import BargainPicture

COLUMNS = {
    "run": "text",
    "policy": "text",
    "seed": "whole number; the training seed, 0 for a rule",
    "episode": "whole number from 0",
    "epoch": "whole number from 0; when it was signed",
    "seller": "whole number from 0",
    "product": "whole number from 0",
    "supplier": "whole number from 0, in the order of market.inventory.suppliers",
    "quantity": "units agreed upon",
    "unit_cost": "money per unit agreed upon, rebates taken off",
    "lead_time": "epochs agreed upon",
    "exponent": "of the seller's aspiration: how long it stayed tough",
    "position": "units on hand and on the way when it was bargained for",
    "price": "money per unit at which the seller was selling",
    "forecast": "units per epoch that the seller expected",
    "seller_gain": "money; what the contract is worth to the seller above having none",
    "supplier_gain": "money; what it is worth to the supplier",
    "to_frontier": "money; distance of both utilities from the nearest outcome of the Pareto frontier",
    "nash_seller_gain": "money; what Nash's bargaining point would be worth to the seller",
    "nash_supplier_gain": "money; … to the supplier",
}
MOST = 128  # contracts of a policy and seed: judging one compares every outcome with every other


class Situations(NamedTuple):
    """In which contracts were played: arrays [C]."""

    offer: Any  # int
    supplier: Any  # int
    outcome: Any  # int, number
    position: Any  # int, units
    price: Any  # money
    demand: Any  # units per epoch


def forecasts(params: ContractParams, demand: np.ndarray) -> np.ndarray:
    """What sellers expect when they bargain [E, T, N], from what was asked for: `contracts.expect_demand`."""
    memory = float(params.forecast_memory)
    expected = np.broadcast_to(np.asarray(params.first_forecast, np.float64), demand[:, 0].shape)
    found = np.empty(demand.shape)
    for epoch in range(demand.shape[1]):
        found[:, epoch] = expected = memory * expected + (1.0 - memory) * demand[:, epoch]
    return found


def in_words(contracts: pd.DataFrame) -> str:
    """A sentence on the contracts of one policy, rows of `COLUMNS`: how good they are, and for whom."""
    own, theirs = contracts["seller_gain"].sum(), contracts["supplier_gain"].sum()
    nash_own, nash_theirs = contracts["nash_seller_gain"].sum(), contracts["nash_supplier_gain"].sum()
    whole, fair = own + theirs, nash_own + nash_theirs
    if min(whole, fair) <= 0.0:
        return f"{len(contracts)} contracts, worth nothing to both sides together"
    return (
        f"{len(contracts)} contracts judged: on average {contracts['to_frontier'].mean():.3g} money from the Pareto "
        f"frontier; sellers get {own / whole:.0%} of the gains, at Nash's bargaining points they would get "
        f"{nash_own / fair:.0%} of {fair / whole:.3g} times as much"
    )


def _worths(shape: ContractShape, params: ContractParams, own: Situations) -> tuple[Worth, Worth]:
    """What the outcomes are worth to the seller and to its supplier, in one situation."""
    costs = jax.tree.map(lambda leaf: leaf[own.offer], params.buyer)
    every = negotiation.buyer_worth(shape.space, shape.stock, own.price, own.demand, costs)
    theirs = negotiation.supplier_worth(
        shape.space, jax.tree.map(lambda leaf: leaf[own.offer, own.supplier], params.suppliers)
    )
    utility = jnp.where(jnp.isfinite(theirs.utility), every.utility[own.position], -jnp.inf)
    return Worth(utility, every.reserved[own.position]), theirs


def bargain_of(shape: MarketShape, params: MarketParams, contract: pd.Series) -> BargainPicture:
    """The bargain that ended in a contract, offer by offer.

    Args:
        contract: a row of `contracts_table`.
    """
    own, static = params.contracts, shape.contracts
    assert own is not None and static is not None
    offer = int(contract["seller"]) * shape.num_products + int(contract["product"])
    supplier = int(contract["supplier"])
    place = [offer]
    price = _nearest(np.asarray(own.table.prices)[place], np.asarray([contract["price"]]))[0]
    demand = _nearest(np.asarray(own.table.demands)[place], np.asarray([contract["forecast"]]))[0]
    position = int(np.clip(np.rint(contract["position"]), 0, static.stock.max_position))
    mine, theirs = _worths(
        static, own, Situations(offer, supplier, -1, position, jnp.float32(price), jnp.float32(demand))
    )
    worths = {"buyer": mine, "supplier": theirs}
    exponents = {"buyer": float(contract["exponent"]), "supplier": float(own.toughness[offer, supplier])}
    sides = {
        "buyer": negotiation.sort_side(mine, theirs.utility),
        "supplier": negotiation.sort_side(theirs, mine.utility),
    }
    how_tough = {name: jnp.float32(exponent) for name, exponent in exponents.items()}
    asked = {name: negotiation.demands(side, how_tough[name], static.rounds) for name, side in sides.items()}
    ended = negotiation.agree(
        sides["buyer"], sides["supplier"], how_tough["buyer"], how_tough["supplier"], static.rounds
    )
    last, utility = int(ended.round), {name: np.asarray(worth.utility) for name, worth in worths.items()}
    offered = {
        name: np.asarray(side.outcome)[
            np.minimum(np.asarray(negotiation.offers(side, asked[name])), static.space.cardinality - 1)
        ]
        for name, side in sides.items()
    }
    rows = []
    for number in range(last + 1):
        for name, outcomes in offered.items():
            rows.append({"round": number, "by": name} | {side: utility[side][outcomes[number]] for side in utility})
    # The last offer is the one that was accepted: the supplier's of the round before, or the buyer's of this one.
    trace = pd.DataFrame(rows[: 2 * last if bool(ended.by_buyer) else 2 * last + 1])
    return BargainPicture(
        utility=utility,
        reserved={name: float(worth.reserved) for name, worth in worths.items()},
        frontier=np.asarray(negotiation.pareto_frontier(mine.utility, theirs.utility)),
        trace=trace.assign(accepted=np.arange(len(trace)) == len(trace) - 1),
        agreement=int(ended.outcome),
        solutions={
            "Nash": int(negotiation.nash_bargaining(mine, theirs)),
            "Kalai–Smorodinsky": int(negotiation.kalai_smorodinsky(mine, theirs)),
        },
        asked={name: np.asarray(values) for name, values in asked.items()},
        titles={
            "buyer": f"seller {int(contract['seller'])}, exponent {exponents['buyer']:g}",
            "supplier": f"{supplier}, exponent {exponents['supplier']:g}",
        },
    )


@partial(jax.jit, static_argnames="shape")
def _judge(shape: ContractShape, params: ContractParams, contracts: Situations) -> jax.Array:
    """Gains of both, distance, and Nash's gains of both, of each contract [C, 5]."""

    def one(own: Situations) -> jax.Array:
        buyer, supplier = _worths(shape, params, own)
        nash = negotiation.nash_bargaining(buyer, supplier)
        gains = [side.utility[number] - side.reserved for number in (own.outcome, nash) for side in (buyer, supplier)]
        apart = negotiation.distance_to_frontier(buyer.utility, supplier.utility, own.outcome)
        return jnp.stack([*gains[:2], apart, *gains[2:]])

    return jax.lax.map(one, contracts)


def _nearest(grid: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The values [C] of the grids [C, K] that lie nearest; the lower of two."""
    above = value[:, None] > (grid[:, 1:] + grid[:, :-1]) / 2
    return np.take_along_axis(grid, above.sum(-1)[:, None], 1)[:, 0]


def contracts_table(
    shape: MarketShape, params: MarketParams, record: Record, run: str, policy: str, seed: int
) -> pd.DataFrame:
    """The first contracts of a policy and seed, one row each; see `COLUMNS`. No rows where nothing was bargained for.

    Args:
        record: of E episodes; at most `MOST` contracts are taken, of the first episodes.
    """
    own, supplied = params.contracts, record.supplied
    if shape.contracts is None or own is None or supplied is None:
        return pd.DataFrame(columns=list(COLUMNS))
    live = np.repeat(np.asarray(record.live), shape.num_products, axis=-1)
    signed = np.argwhere(live & (np.asarray(supplied.quantity) > 0))[:MOST]
    episode, epoch, offer = signed.T
    place = tuple(signed.T)
    if not len(signed):
        return pd.DataFrame(columns=list(COLUMNS))

    def told(values: Any) -> np.ndarray:
        return np.asarray(values, np.float64)[place]

    left = told(record.stock) - told(record.sales)
    position = left + told(record.on_order) - told(supplied.quantity)
    forecast = forecasts(own, np.asarray(record.demand, np.float64))[place]
    prices, demands = np.asarray(own.table.prices)[offer], np.asarray(own.table.demands)[offer]
    played = Situations(
        offer=jnp.asarray(offer, jnp.int32),
        supplier=jnp.asarray(told(supplied.supplier), jnp.int32),
        outcome=jnp.asarray(told(supplied.outcome), jnp.int32),
        position=jnp.asarray(np.clip(np.rint(position), 0, shape.contracts.stock.max_position), jnp.int32),
        price=jnp.asarray(_nearest(prices, told(record.price)), jnp.float32),
        demand=jnp.asarray(_nearest(demands, forecast), jnp.float32),
    )
    # One size: one compilation.
    filled = jax.tree.map(lambda leaf: jnp.pad(leaf, (0, MOST - len(signed))), played)
    judged = np.asarray(_judge(shape.contracts, own, filled), np.float64)[: len(signed)]
    columns = {
        "run": run, "policy": policy, "seed": seed, "episode": episode, "epoch": epoch,
        "seller": offer // shape.num_products, "product": offer % shape.num_products,
        "supplier": told(supplied.supplier).astype(int), "quantity": told(supplied.quantity),
        "unit_cost": told(supplied.unit_cost), "lead_time": told(supplied.lead_time).astype(int),
        "exponent": np.asarray(own.exponents)[offer, told(supplied.exponent).astype(int)],
        "position": position, "price": told(record.price), "forecast": forecast,
    }  # fmt: skip
    names = ("seller_gain", "supplier_gain", "to_frontier", "nash_seller_gain", "nash_supplier_gain")
    return pd.DataFrame(columns | dict(zip(names, judged.T, strict=True)))[list(COLUMNS)]

"""One bargain over a supply contract between any two negotiators: who offered what, and what it could have come to."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
import pandas as pd
from pydantic import Field

from marl_pricing import negotiation
from marl_pricing.config.errors import ConfigError, Settings
from marl_pricing.config.supply import (
    Issues,
    NonNegative,
    Positive,
    Supply,
    Whole,
    build_space,
    buyer_costs,
    check_horizon,
    check_possible,
    check_supply,
    supplier_costs,
)
from marl_pricing.negotiation import OutcomeSpace, Stock, Worth
from marl_pricing.procurement.library import load
from marl_pricing.procurement.negotiators import make
from marl_pricing.procurement.oracle import as_ufun

SIDES = ("buyer", "supplier")


class Situation(Settings):
    """Where the buyer stands, a seller in its market."""

    price: Annotated[Positive, Field(description="money per unit that it sells at")] = 2.5
    demand: Annotated[NonNegative, Field(description="units per epoch that it expects to sell at that price")] = 1.5
    stock: Annotated[int, Field(ge=0, le=10_000, description="units on hand and on order")] = 2
    horizon: Annotated[Whole, Field(description="epochs that it looks ahead")] = 8
    holding_cost: Annotated[NonNegative, Field(description="money per unit left at their end")] = 0.1
    shortage_cost: Annotated[NonNegative, Field(description="money per unit of demand not served")] = 0.2
    capital_cost: Annotated[NonNegative, Field(description="share of a payment that an epoch's delay is worth")] = 0.0


class Beside(Settings):
    """A further supplier of a buyer that bargains with several at once."""

    supplier: str = "aspiration"
    supplier_exponent: Positive | None = None
    supply: Supply = Supply()


class PlaySettings(Settings):
    """A bargain to be played."""

    out: Annotated[str, Field(min_length=1, description="folder for the trace, the frontier and the figure")]
    buyer: Annotated[
        str, Field(description="negotiator: a name or module:Class; controller, or one of yours, bargains with several")
    ] = "aspiration"
    supplier: Annotated[str, Field(description="negotiator: a name or module:Class")] = "aspiration"
    buyer_exponent: Annotated[
        Positive | None, Field(description="of aspiration: 4 stays tough, 0.25 gives way; null: 1 for `aspiration`")
    ] = None
    supplier_exponent: Annotated[Positive | None, Field(description="the same of the supplier")] = None
    rounds: Annotated[int, Field(ge=1, le=100_000, description="rounds until the deadline")] = 100
    seed: Annotated[int, Field(ge=0, description="of negotiators that draw")] = 0
    beside: Annotated[
        list[Beside], Field(description="a controller's further suppliers: supplier, supplier_exponent, supply of each")
    ] = []  # noqa: RUF012
    issues: Issues = Issues()
    situation: Situation = Situation()
    supply: Supply = Supply()


@dataclass(frozen=True)
class PlayedBargain:
    """What happened. Utilities are money; outcomes are numbers of the space.

    Attributes:
        ended: agreement, deadline, broken off, or a negotiator's error.
        agreement: outcome, −1: none.
        trace: a row an offer: round, time, by, outcome, the issues, buyer, supplier (utilities), accepted.
        frontier: [O] bool.
        nash, kalai_smorodinsky: outcomes, −1: none.
        exponents: of each side whose demands follow the clock alone, else None.
    """

    settings: PlaySettings
    space: OutcomeSpace
    buyer: Worth
    supplier: Worth
    ended: Literal["agreement", "deadline", "broken off", "error"]
    agreement: int
    trace: pd.DataFrame
    frontier: np.ndarray
    nash: int
    kalai_smorodinsky: int
    exponents: tuple[float | None, float | None]


def worths(own: PlaySettings) -> tuple[OutcomeSpace, Worth, Worth]:
    """The outcomes and what they are worth to buyer and supplier.

    Raises:
        ConfigError: naming what makes an agreement impossible.
    """
    space = build_space(own.issues, "issues")
    check_supply(own.supply, own.issues, "supply", "issues")
    at = own.situation
    check_horizon(at.horizon, own.issues, "situation.horizon", "issues")
    costs = buyer_costs(at.holding_cost, at.shortage_cost, at.capital_cost)
    every = negotiation.buyer_worth(
        space, Stock(at.stock, at.horizon), jnp.float32(at.price), jnp.float32(at.demand), costs
    )
    supplier = negotiation.supplier_worth(space, supplier_costs(own.supply))
    possible = jnp.isfinite(supplier.utility)
    buyer = Worth(jnp.where(possible, every.utility[at.stock], -jnp.inf), every.reserved[at.stock])
    told = f"situation.price={at.price!r}, situation.demand={at.demand!r}, situation.stock={at.stock!r}"
    check_possible(buyer, supplier, told)
    return space, buyer, supplier


def _exponent(negotiator: Any) -> float | None:
    """The exponent of a negotiator that concedes by the clock from its best outcome, else None."""
    if not isinstance(negotiator, load().sao.TimeBasedConcedingNegotiator):
        return None
    curve = negotiator._offering_curve
    value, most = getattr(curve, "exponent", None), getattr(curve, "max_aspiration", 1.0)
    return float(value) if value is not None and most == 1.0 else None


def play(own: PlaySettings) -> PlayedBargain:
    """Play it with NegMAS's stacked alternating offers, the buyer first.

    Raises:
        ConfigError: naming a negotiator or what makes an agreement impossible.
    """
    negmas = load()
    random.seed(own.seed)
    np.random.seed(own.seed)  # noqa: NPY002  NegMAS's negotiators draw from it
    defaults = {side: 1.0 if getattr(own, side) == "aspiration" else None for side in SIDES}
    given = {side: getattr(own, f"{side}_exponent") for side in SIDES}
    negotiators = [
        make(side, getattr(own, side), defaults[side] if given[side] is None else given[side], side) for side in SIDES
    ]
    space, buyer, supplier = worths(own)
    feasible = np.flatnonzero(np.isfinite(np.asarray(buyer.utility)))
    numbers = {space.outcome(int(number)): int(number) for number in feasible}
    outcomes = list(numbers)
    mechanism = negmas.sao.SAOMechanism(outcomes=outcomes, n_steps=own.rounds, ignore_negotiator_exceptions=True)
    for side, negotiator, worth in zip(SIDES, negotiators, (buyer, supplier), strict=True):
        ufun = as_ufun(np.asarray(worth.utility)[feasible], float(worth.reserved), outcomes)
        if not mechanism.add(negotiator, ufun=ufun):
            raise ConfigError(f"{side}={getattr(own, side)!r}: the mechanism of alternating offers refuses it")
    state = mechanism.run()
    agreement = -1 if state.agreement is None else numbers[tuple(state.agreement)]
    whole = buyer.utility, supplier.utility
    return PlayedBargain(
        settings=own,
        space=space,
        buyer=buyer,
        supplier=supplier,
        ended=ended(state),
        agreement=agreement,
        trace=_trace(mechanism, space, numbers, buyer, supplier, agreement),
        frontier=np.asarray(negotiation.pareto_frontier(*whole)),
        nash=int(negotiation.nash_bargaining(buyer, supplier)),
        kalai_smorodinsky=int(negotiation.kalai_smorodinsky(buyer, supplier)),
        exponents=(_exponent(negotiators[0]), _exponent(negotiators[1])),
    )


def ended(state: Any) -> Literal["agreement", "deadline", "broken off", "error"]:
    """How a bargain of NegMAS's ended, from its last state."""
    if state.agreement is not None:
        return "agreement"
    if state.has_error:
        return "error"
    return "deadline" if state.timedout else "broken off"


def _trace(
    mechanism: Any, space: OutcomeSpace, numbers: dict[tuple, int], buyer: Worth, supplier: Worth, agreement: int
) -> pd.DataFrame:
    """A row an offer, in the order of play; the last one is accepted where there is an agreement."""
    names = {negotiator.id: negotiator.name for negotiator in mechanism.negotiators}
    rows = []
    for entry in mechanism.full_trace:
        if entry.offer is None:
            continue
        number = numbers[tuple(entry.offer)]
        row = {"round": entry.step, "time": entry.relative_time, "by": names[entry.negotiator], "outcome": number}
        row |= {issue.name: value for issue, value in zip(space.issues, entry.offer, strict=True)}
        rows.append(row | {"buyer": float(buyer.utility[number]), "supplier": float(supplier.utility[number])})
    columns = ["round", "time", "by", "outcome", *(issue.name for issue in space.issues), *SIDES]
    table = pd.DataFrame(rows, columns=columns)
    standing = table.index[table["outcome"] == agreement]
    table["accepted"] = table.index == (standing[-1] if len(standing) else -1)
    return table

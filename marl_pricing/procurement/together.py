"""One buyer's bargains with several suppliers at once, under one utility: what was offered to whom and agreed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marl_pricing import negotiation
from marl_pricing.config.errors import refuse
from marl_pricing.config.supply import check_supply, supplier_costs
from marl_pricing.negotiation import OutcomeSpace
from marl_pricing.presentation import style
from marl_pricing.presentation.style import styled
from marl_pricing.procurement.agents import CONTROLLER, CONTROLLERS
from marl_pricing.procurement.controller import JointBuyer
from marl_pricing.procurement.deliveries import Need
from marl_pricing.procurement.library import load
from marl_pricing.procurement.negotiators import find, make
from marl_pricing.procurement.oracle import as_ufun
from marl_pricing.procurement.playing import Beside, PlaySettings, ended, worths

CAPTION = (
    "The unit costs (above) and quantities (below) that the buyer (filled) and each supplier (hollow) offered, round "
    "by round, a column a supplier; the star is what was agreed."
)


@dataclass(frozen=True)
class PlayedTogether:
    """What happened. Utilities are money; outcomes are numbers of the space.

    Attributes:
        names: of the suppliers' negotiators.  ends, agreements: by supplier; −1: none.
        trace: a row an offer: supplier, round, time, by, outcome, the issues, accepted.
        reserved: what the buyer has without a contract.  worth: with all of them.
        alone: with the one of them that is best by itself.
        gains: of each supplier.
    """

    settings: PlaySettings
    space: OutcomeSpace
    names: tuple[str, ...]
    ends: tuple[str, ...]
    agreements: tuple[int, ...]
    trace: pd.DataFrame
    reserved: float
    worth: float
    alone: float
    gains: tuple[float, ...]


def is_together(own: PlaySettings) -> bool:
    """Whether the buyer is a controller.

    Raises:
        ConfigError: as `negotiators.find`, and for further suppliers of a buyer that is none.
    """
    found = JointBuyer if own.buyer == CONTROLLER else find("buyer", own.buyer, CONTROLLERS)
    controls = issubclass(found, load().sao.SAOController)
    if own.beside and not controls:
        raise refuse("beside", f"{len(own.beside)} suppliers", f"[] with buyer={own.buyer!r}; a controller has several")
    return controls


def play_together(own: PlaySettings) -> PlayedTogether:
    """Play the bargains with NegMAS's stacked alternating offers, round by round, the buyer first in each.

    Raises:
        ConfigError: naming a negotiator, or a supplier with whom an agreement is impossible.
    """
    negmas = load()
    random.seed(own.seed)
    np.random.seed(own.seed)  # noqa: NPY002  NegMAS's negotiators draw from it
    space, _, _ = worths(own)
    at = own.situation
    costs = at.holding_cost, at.shortage_cost, at.capital_cost
    need = Need(space, at.stock, at.price, at.demand, at.horizon, *costs)
    first = Beside(supplier=own.supplier, supplier_exponent=own.supplier_exponent, supply=own.supply)
    others = [first, *own.beside]
    outcomes = [space.outcome(number) for number in range(space.cardinality)]
    controller = _controller(own, need, outcomes)
    mechanisms, utilities = [], []
    for number, other in enumerate(others):
        field = "supplier" if number == 0 else f"beside[{number - 1}].supplier"
        if number:
            check_supply(other.supply, own.issues, f"beside[{number - 1}].supply", "issues")
            worths(own.model_copy(update={"supply": other.supply}))  # refuses what is impossible
        utility = np.asarray(negotiation.supplier_worth(space, supplier_costs(other.supply)).utility, float)
        here = np.flatnonzero(np.isfinite(utility))
        mechanism = negmas.sao.SAOMechanism(
            outcomes=[outcomes[own] for own in here], n_steps=own.rounds, ignore_negotiator_exceptions=True
        )
        mechanism.add(controller.create_negotiator(name="buyer"))
        exponent = 1.0 if other.supplier == "aspiration" else None
        exponent = exponent if other.supplier_exponent is None else other.supplier_exponent
        supplier = make(field, other.supplier, exponent, "supplier")
        mechanism.add(supplier, ufun=as_ufun(utility[here], 0.0, [outcomes[own] for own in here]))
        mechanisms.append(mechanism)
        utilities.append(utility)
    while any(not mechanism.state.ended for mechanism in mechanisms):
        for mechanism in mechanisms:
            if not mechanism.state.ended:
                mechanism.step()
    found = [mechanism.state.agreement for mechanism in mechanisms]
    agreements = tuple(-1 if agreed is None else space.index(tuple(agreed)) for agreed in found)
    agreed = [number for number in agreements if number >= 0]
    return PlayedTogether(
        settings=own,
        space=space,
        names=tuple(other.supplier for other in others),
        ends=tuple(ended(mechanism.state) for mechanism in mechanisms),
        agreements=agreements,
        trace=_trace(mechanisms, space, agreements),
        reserved=need.worth(),
        worth=need.worth(agreed),
        alone=max([need.worth([number]) for number in agreed], default=need.worth()),
        gains=tuple(
            float(utility[number]) if number >= 0 else 0.0
            for utility, number in zip(utilities, agreements, strict=True)
        ),
    )


def _controller(own: PlaySettings, need: Need, outcomes: list[tuple]) -> Any:
    if own.buyer == CONTROLLER:
        return JointBuyer(need.joint, 1.0 if own.buyer_exponent is None else own.buyer_exponent, name="buyer")
    if own.buyer_exponent is not None:
        raise refuse("buyer_exponent", own.buyer_exponent, f"null with buyer={own.buyer!r}")
    found = find("buyer", own.buyer, CONTROLLERS)
    return found(name="buyer", ufun=as_ufun(need.worths(), need.worth(), outcomes))


def _trace(mechanisms: list[Any], space: OutcomeSpace, agreements: tuple[int, ...]) -> pd.DataFrame:
    rows = []
    for supplier, mechanism in enumerate(mechanisms):
        names = {negotiator.id: negotiator.name for negotiator in mechanism.negotiators}
        own = [entry for entry in mechanism.full_trace if entry.offer is not None]
        last = max(
            (k for k, entry in enumerate(own) if space.index(tuple(entry.offer)) == agreements[supplier]), default=-1
        )
        for k, entry in enumerate(own):
            row = {"supplier": supplier, "round": entry.step, "time": entry.relative_time}
            row |= {"by": names[entry.negotiator], "outcome": space.index(tuple(entry.offer))}
            row |= {issue.name: value for issue, value in zip(space.issues, entry.offer, strict=True)}
            rows.append(row | {"accepted": k == last})
    issues = [issue.name for issue in space.issues]
    columns = ["supplier", "round", "time", "by", "outcome", *issues, "accepted"]
    return pd.DataFrame(rows, columns=columns).sort_values(["round", "supplier"], kind="stable")


@styled
def picture(own: PlayedTogether) -> Figure:
    """Unit costs above, quantities below; a column a supplier."""
    figure = style.new_figure(4.6)
    count = len(own.names)
    axes = figure.subplots(2, count, sharex=True, sharey="row", squeeze=False)
    for supplier, name in enumerate(own.names):
        rows = own.trace[own.trace["supplier"] == supplier]
        for place, issue in enumerate(("unit_cost", "quantity")):
            here = axes[place, supplier]
            for by, colour, filled in (("buyer", style.PALETTE[0], True), ("supplier", style.PALETTE[1], False)):
                mine = rows[rows["by"] == by]
                face = colour if filled else "none"
                here.plot(mine["round"], mine[issue], "o", color=colour, markerfacecolor=face, markersize=3.5, label=by)
            taken = rows[rows["accepted"]]
            here.plot(
                taken["round"], taken[issue], "*", color=style.PALETTE[2], markersize=14, markeredgecolor="white",
                label="agreement", linestyle="",
            )  # fmt: skip
            if supplier == 0:
                here.set_ylabel(issue.replace("_", " "))
        axes[0, supplier].set_title(f"supplier {supplier}: {name.rpartition(':')[2]}")
        axes[1, supplier].set_xlabel("round")
    style.legend_below(figure, axes[0, 0])
    return figure

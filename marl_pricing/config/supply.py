"""Supply contracts, as people write them: what is bargained over, and what supplying costs."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from marl_pricing.config.errors import ConfigError, Settings, refuse
from marl_pricing.negotiation import BuyerCosts, OutcomeSpace, SupplierCosts, Worth, possible, supply_space

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Whole = Annotated[int, Field(ge=1)]
MOST_OUTCOMES = 200_000


class Issues(Settings):
    """The grid of each issue of a contract; those that are null are not bargained over."""

    quantities: Annotated[list[Whole], Field(min_length=1, description="packs")] = [*range(1, 11)]  # noqa: RUF012
    pack_size: Annotated[Whole, Field(description="units in a pack")] = 1
    cost_low: Annotated[NonNegative, Field(description="money per unit, the lowest unit cost …")] = 1.0
    cost_high: Annotated[Positive, Field(description="… and the highest")] = 2.0
    cost_levels: Annotated[int, Field(ge=2, description="unit costs from one to the other")] = 20
    lead_times: Annotated[list[Whole], Field(min_length=1, description="epochs to delivery")] = [*range(1, 6)]  # noqa: RUF012
    payment_delays: Annotated[
        list[NonNegative] | None, Field(min_length=1, description="epochs from delivery to payment")
    ] = None
    rebates: Annotated[
        list[Annotated[float, Field(ge=0, lt=1)]] | None,
        Field(min_length=1, description="shares of the unit cost that come back above half of the largest quantity"),
    ] = None


class Supply(Settings):
    """What supplying costs."""

    unit_cost: Annotated[NonNegative, Field(description="money per unit")] = 1.0
    rush_cost: Annotated[NonNegative, Field(description="money per unit in one epoch; an L-th of it in L epochs")] = 0.3
    capacity: Annotated[NonNegative | None, Field(description="units that it takes on in an epoch; null: any")] = None
    capital_cost: Annotated[NonNegative, Field(description="share of a payment that an epoch's delay costs it")] = 0.0


def build_space(own: Issues, field: str) -> OutcomeSpace:
    """The outcomes that the grids make.

    Args:
        field: where the grids stand, for messages.

    Raises:
        ConfigError: naming the grid.
    """
    for name in ("quantities", "lead_times", "payment_delays", "rebates"):
        values = getattr(own, name)
        if values is not None and any(low >= high for low, high in pairwise(values)):
            raise refuse(f"{field}.{name}", values, "an increasing list")
    if own.cost_high <= own.cost_low:
        raise refuse(f"{field}.cost_high", own.cost_high, f"a cost above {field}.cost_low={own.cost_low!r}")
    grids = (own.quantities, range(own.cost_levels), own.lead_times, own.payment_delays or [0], own.rebates or [0])
    count = math.prod(map(len, grids))
    if count > MOST_OUTCOMES:
        raise ConfigError(f"{field}: its grids make {count} outcomes: accepted are {MOST_OUTCOMES} at most")
    return supply_space(
        np.linspace(own.cost_low, own.cost_high, own.cost_levels).tolist(),
        own.quantities,
        own.lead_times,
        pack_size=own.pack_size,
        payment_delays=own.payment_delays,
        rebates=own.rebates,
    )


def check_supply(own: Supply, issues: Issues, field: str, grids: str) -> None:
    """Refuse a supplier that nobody can come to terms with.

    Args:
        field: where the supplier stands.  grids: where the issues stand.

    Raises:
        ConfigError: naming its capacity or the grid of costs.
    """
    least = issues.quantities[0] * issues.pack_size
    if own.capacity is not None and own.capacity < least:
        raise refuse(f"{field}.capacity", own.capacity, f"at least the smallest quantity of {grids}, {least}, or null")
    if issues.cost_high <= own.unit_cost:
        raise refuse(f"{grids}.cost_high", issues.cost_high, f"a cost above {field}.unit_cost={own.unit_cost!r}")


def check_horizon(horizon: int, issues: Issues, field: str, grids: str) -> None:
    """Refuse lead times after the end of the horizon.

    Raises:
        ConfigError: naming them.
    """
    if issues.lead_times[-1] > horizon:
        raise refuse(f"{grids}.lead_times", issues.lead_times, f"at most {field}={horizon} epochs")


def supplier_costs(own: Supply) -> SupplierCosts:
    """Arrays [] of one supplier."""
    capacity = np.inf if own.capacity is None else own.capacity
    return SupplierCosts(*(jnp.float32(x) for x in (own.unit_cost, own.rush_cost, capacity, own.capital_cost)))


def buyer_costs(holding: float, shortage: float, capital: float) -> BuyerCosts:
    """Arrays [] of one buyer."""
    return BuyerCosts(jnp.float32(holding), jnp.float32(shortage), jnp.float32(capital))


def check_possible(buyer: Worth, supplier: Worth, told: str) -> None:
    """Refuse a bargain of which no outcome is worth to both what they have without one.

    Args:
        told: the settings that it hangs on, with their values.

    Raises:
        ConfigError: naming them.
    """
    if not bool(possible(buyer, supplier)):
        raise ConfigError(f"{told}: an agreement is impossible, no outcome is worth to both what they have without one")

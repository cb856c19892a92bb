"""Supply contracts of a market: suppliers, the table of agreements, and what makes an agreement impossible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from marl_pricing import market, negotiation
from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.config.market_settings import ChosenContracts, ContractRule, Supplier
from marl_pricing.config.supply import build_space, check_horizon
from marl_pricing.equilibrium import static
from marl_pricing.negotiation import BuyerCosts, Stock, SupplierCosts

if TYPE_CHECKING:
    from marl_pricing.config.market import _Spread

_FIELD = "market.inventory"
_DEMANDS = 16  # demands that agreements are tabulated for, …
_HIGHEST = 3.0  # … from none to this many times what is expected at the first prices
_MOST_BARGAINS, _MOST_UTILITIES = 20_000_000, 50_000_000  # in all, and of a buyer at one price
_PRICES = 16  # prices that they are tabulated for where prices are no grid


def _check(own: ContractRule | ChosenContracts, suppliers: list[dict[str, np.ndarray]]) -> None:
    """Refuse what can never come to a contract, by name."""
    issues = own.issues
    if issues.payment_delays is not None:
        raise refuse(f"{_FIELD}.issues.payment_delays", issues.payment_delays, f"null; {_FIELD}.payment says when")
    check_horizon(own.horizon, issues, f"{_FIELD}.horizon", f"{_FIELD}.issues")
    if own.max_lead_time is not None and issues.lead_times[-1] > own.max_lead_time:
        accepted = f"at most max_lead_time={own.max_lead_time}, the length of the pipeline"
        raise refuse(f"{_FIELD}.issues.lead_times", issues.lead_times, accepted)
    least = issues.quantities[0] * issues.pack_size
    for number, (given, numbers) in enumerate(zip(own.suppliers, suppliers, strict=True)):
        where = f"{_FIELD}.suppliers[{number}]"
        if np.any(numbers["capacity"] < least):
            accepted = f"at least the smallest quantity of {_FIELD}.issues, {least}, or null"
            raise refuse(f"{where}.capacity", given.capacity, accepted)
        if np.any(numbers["unit_cost"] >= issues.cost_high):
            accepted = f"a cost above {where}.unit_cost={given.unit_cost!r}"
            raise refuse(f"{_FIELD}.issues.cost_high", issues.cost_high, accepted)


def _numbers(supplier: Supplier, number: int, spread: _Spread) -> dict[str, np.ndarray]:
    """A supplier's numbers by offer, each [N]."""
    values = supplier.model_dump()
    if values["capacity"] is None:
        values["capacity"] = np.inf
    return {name: spread.offers(f"inventory.suppliers[{number}].{name}", value) for name, value in values.items()}


def _check_possible(table: negotiation.AgreementTable, field: str, rounds: int) -> None:
    never = np.flatnonzero((np.asarray(table.code) < 0).all((1, 2, 3, 4)))
    if never.size:
        raise ConfigError(
            f"{field}: offer {never[0]} can come to no agreement at any price, stock and demand within {rounds} "
            "rounds: no outcome is worth to both what they have without one, or both stay tough too long"
        )


def supplied_otherwise(
    shape: market.ContractShape, own: market.ContractParams, field: str, *, cost: float = 1.0, capacity: float = 1.0
) -> market.ContractParams:
    """The same bargains with suppliers whose costs, or capacities, are so many times what they are.

    Raises:
        ConfigError: naming `field`, where no agreement is possible then.
    """
    suppliers = own.suppliers.replace(
        unit_cost=cost * own.suppliers.unit_cost,
        rush_cost=cost * own.suppliers.rush_cost,
        capacity=capacity * own.suppliers.capacity,
    )
    table = negotiation.tabulate(
        shape.space,
        shape.stock,
        shape.rounds,
        prices=own.table.prices,
        demands=own.table.demands,
        exponents=own.exponents,
        buyer=own.buyer,
        suppliers=suppliers,
        supplier_exponents=own.toughness,
    )
    _check_possible(table, field, shape.rounds)
    return own.replace(table=table, suppliers=suppliers)


def _last_position(own: ContractRule | ChosenContracts, spread: _Spread) -> int:
    """The highest position at which an offer's seller bargains."""
    return int(np.ceil(float(np.max(spread.offers("inventory.reorder_point", own.reorder_point)))))


def shape_of(own: ContractRule | ChosenContracts, spread: _Spread) -> market.ContractShape:
    """The static half."""
    risky = [supplier.default_probability for supplier in own.suppliers]
    return market.ContractShape(
        space=build_space(own.issues, f"{_FIELD}.issues"),
        stock=Stock(_last_position(own, spread), own.horizon),
        rounds=own.rounds,
        pay_on_signing=own.payment == "signing",
        defaults=bool(np.any(np.hstack(risky) > 0)),
    )


def with_contracts(
    own: ContractRule | ChosenContracts, shape: market.MarketShape, params: market.MarketParams, spread: _Spread
) -> market.MarketParams:
    """The market's numbers with every agreement tabulated.

    Raises:
        ConfigError: naming what makes agreements impossible.
    """
    suppliers = [_numbers(supplier, number, spread) for number, supplier in enumerate(own.suppliers)]
    _check(own, suppliers)

    def by_supplier(name: str) -> jnp.ndarray:
        return jnp.asarray(np.stack([numbers[name] for numbers in suppliers], 1), jnp.float32)

    first = params.prices
    try:
        expected = static.demand_at(shape, params, 0.5 * (np.asarray(first.start_low) + np.asarray(first.start_high)))
    except static.NoEquilibriumError as error:
        raise ConfigError(f"{_FIELD}.rule={own.rule!r}: {error}") from None
    assert shape.contracts is not None
    space, sizes = shape.contracts.space, shape.contracts.stock
    stock, rewards = params.inventory, params.reward
    if isinstance(own, ChosenContracts):
        exponents = np.tile(own.exponents, (spread.num_offers, 1))
    else:
        exponents = spread.offers("inventory.exponent", own.exponent)[:, None]
    levels = shape.prices.map == "levels"
    prices = first.levels if levels else jnp.linspace(first.low, first.high, _PRICES, axis=1)
    positions = sizes.max_position + 1
    size = spread.num_offers * prices.shape[1] * _DEMANDS * exponents.shape[1] * positions * len(suppliers)
    if size > _MOST_BARGAINS or space.cardinality * _DEMANDS * positions > _MOST_UTILITIES:
        told = f"{size} bargains of {space.cardinality} outcomes would have to be tabulated"
        accepted = f"a lower one, or coarser {_FIELD}.issues: {told}"
        raise refuse(f"{_FIELD}.reorder_point", float(sizes.max_position), accepted)
    nothing = jnp.zeros((spread.num_offers,))
    largest = np.full(spread.num_offers, own.issues.quantities[-1] * own.issues.pack_size, np.float32)
    # What is left at the end of the horizon was held all the while.
    buyer = BuyerCosts(rewards.holding_cost * own.horizon, rewards.stockout_penalty, nothing)
    others = SupplierCosts(
        unit_cost=by_supplier("unit_cost"),
        rush_cost=by_supplier("rush_cost"),
        capacity=jnp.minimum(by_supplier("capacity"), largest[:, None]),
        capital_cost=jnp.zeros((spread.num_offers, len(suppliers))),
    )
    toughness = by_supplier("toughness")
    table = negotiation.tabulate(
        space,
        sizes,
        own.rounds,
        prices=prices,
        demands=jnp.asarray(np.linspace(0.0, _HIGHEST, _DEMANDS)[None] * expected[:, None], jnp.float32),
        exponents=jnp.asarray(exponents, jnp.float32),
        buyer=buyer,
        suppliers=others,
        supplier_exponents=toughness,
    )
    _check_possible(table, f"{_FIELD}.suppliers", own.rounds)
    return params.replace(
        inventory=stock.replace(order_quantity=jnp.asarray(largest)),
        contracts=market.ContractParams(
            table=table,
            buyer=buyer,
            suppliers=others,
            toughness=toughness,
            exponents=jnp.asarray(exponents, jnp.float32),
            first_cost=rewards.unit_cost,
            first_forecast=jnp.asarray(expected, jnp.float32),
            forecast_memory=jnp.float32(own.forecast_memory),
            default_probability=by_supplier("default_probability"),
            delivered_share=by_supplier("delivered_share"),
            default_penalty=by_supplier("default_penalty"),
        ),
    )

"""What a world of sellers and suppliers is made of, and the market that it plays in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import jax
from pydantic import Field

from marl_pricing import negotiation
from marl_pricing.config.composing import compose_settings
from marl_pricing.config.errors import ConfigError, Settings, refuse
from marl_pricing.config.market import Market, market_of_contracts
from marl_pricing.equilibrium.static import NoEquilibriumError
from marl_pricing.market import ContractParams, ContractShape, Policy
from marl_pricing.negotiation import Stock, SupplierCosts, Worth
from marl_pricing.policies import RULES, RuleError

GROUPS = ("market", "traffic", "experiment")  # of settings that are train.py's
# The market where nothing else is said: conf/'s, with contracts of two suppliers, one of whom is cheaper, dearer in a
# hurry, and defaults.
BASE = (
    "traffic=analytic",
    "market/inventory=contract",
    "market.inventory.suppliers=[{unit_cost: 0.8, rush_cost: 0.2, default_probability: 0.1, default_penalty: 0.2}, "
    "{unit_cost: 0.85, rush_cost: 0.1}]",
)


class WorldSettings(Settings):
    """A world to be played."""

    out: Annotated[str, Field(min_length=1, description="folder for contracts, breaches, stock and the figure")]
    days: Annotated[int, Field(ge=1, le=10_000, description="epochs of the market")] = 50
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="of shoppers, negotiators that draw, and defaults")] = 0
    policy: Annotated[str, Field(description=f"who sets sellers' prices: {', '.join(RULES)}")] = "constant_nash"
    seller: Annotated[
        str, Field(description="how sellers bargain: controller, a negotiator's name, or module:Class of either")
    ] = "aspiration"
    suppliers: Annotated[
        str | list[str],
        Field(description="how suppliers do: a negotiator's name, or module:Class, also of an agent; a list: each"),
    ] = "aspiration"
    overrides: Annotated[
        list[str], Field(description="the market's settings in a file; in a command they stand as they are")
    ] = []  # noqa: RUF012


class Scene(NamedTuple):
    """The market of a world, and who plays in it."""

    market: Market
    policy: Policy
    suppliers: tuple[str, ...]  # how each bargains


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command's own settings, and those that are train.py's."""
    theirs = [own for own in arguments if is_of_market(own)]
    return [own for own in arguments if own not in theirs], theirs


def is_of_market(argument: str) -> bool:
    """Whether a setting is one of train.py's market, traffic or experiment."""
    name, equals, _ = argument.lstrip("+").partition("=")
    return bool(equals) and name.replace("/", ".").partition(".")[0] in GROUPS


def _overrides(given: Sequence[str]) -> list[str]:
    named = {own.lstrip("+").partition("=")[0] for own in given}
    if "experiment" in named:
        return list(given)
    base = [own for own in BASE if own.partition("=")[0] not in named]
    if "market/inventory" in named:
        base = [own for own in base if not own.startswith("market.inventory.")]
    return [*base, *given]


def build_scene(own: WorldSettings) -> Scene:
    """The market that the settings mean.

    Raises:
        ConfigError: naming what it cannot have.
    """
    if own.policy not in RULES:
        raise refuse("policy", own.policy, ", ".join(RULES))
    for given in own.overrides:
        if not is_of_market(given):
            raise refuse("overrides", given, "settings of train.py's market, traffic or experiment, as field=value")
    composed = compose_settings(_overrides(own.overrides), {"market.episode_length": own.days})
    market = market_of_contracts(composed["market"], composed["traffic"])
    if market.shape.collapse_patience:
        raise refuse("market.collapse_patience", market.shape.collapse_patience, "0 in a world")
    _check_suppliers(market)
    try:
        policy = RULES[own.policy](*market)
    except (RuleError, NoEquilibriumError) as error:
        raise ConfigError(f"policy={own.policy!r}: {error}") from None
    count = about(market)[1].toughness.shape[1]
    names = [own.suppliers] * count if isinstance(own.suppliers, str) else own.suppliers
    if len(names) != count:
        raise refuse("suppliers", names, f"a name, or one for each of the {count} of market.inventory.suppliers")
    return Scene(market, policy, tuple(names))


def about(market: Market) -> tuple[ContractShape, ContractParams]:
    """What is bargained over in a market of contracts."""
    assert market.shape.contracts is not None and market.params.contracts is not None
    return market.shape.contracts, market.params.contracts


def _check_suppliers(market: Market) -> None:
    """Refuse a supplier with whom nobody can come to terms, however dear it sells and much it expects."""
    shape, own = about(market)
    for v in range(own.toughness.shape[1]):
        for n in range(own.toughness.shape[0]):
            supplier = negotiation.supplier_worth(shape.space, supplier_of(market, n, v))
            price, demand = own.table.prices[n].max(), own.table.demands[n].max()
            costs = jax.tree.map(lambda leaf, n=n: leaf[n], own.buyer)
            buyer = negotiation.buyer_worth(shape.space, Stock(0, shape.stock.horizon), price, demand, costs)
            if bool(negotiation.possible(Worth(buyer.utility[0], buyer.reserved[0]), supplier)):
                break
        else:
            raise ConfigError(
                f"market.inventory.suppliers[{v}]: an agreement is impossible at any price and demand, no outcome is "
                "worth to both what they have without one"
            )


def supplier_of(market: Market, offer: int, supplier: int) -> SupplierCosts:
    """What supplying one offer costs one supplier, arrays []."""
    return jax.tree.map(lambda leaf: leaf[offer, supplier], about(market)[1].suppliers)

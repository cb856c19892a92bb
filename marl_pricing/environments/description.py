"""What a market shows its sellers, what they may do, and what it pays them: plain values with units and ranges.

Names, units and scales are those of `market.units`, which states the market's own observation code in numbers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, get_args

import numpy as np

from marl_pricing.environments.phantom_defence import PhantomDefenceEnv
from marl_pricing.environments.phantom_prototype import PhantomPrototypeEnv
from marl_pricing.environments.spaces import action_space
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.market.ranges import shown_range
from marl_pricing.market.reward import Penalty
from marl_pricing.market.units import entries

Range = tuple[float, float]


class Input(NamedTuple):
    """One number that a policy is shown.

    Attributes:
        name: what it is.
        shown: between what the number lies.
        unit: of what it stands for.
        raw: between what that lies, by seller, in the unit; ends that nothing bounds are infinite.
    """

    name: str
    shown: Range
    unit: str
    raw: tuple[Range, ...]


class Choice(NamedTuple):
    """One number of an action.

    Attributes:
        name: what it sets.
        form: which numbers are accepted.
        unit: of what it comes to.
        values: what each choice comes to, by seller; of a number that is no choice, the lowest and the highest.
    """

    name: str
    form: str
    unit: str
    values: tuple[tuple[float, ...], ...]


class Term(NamedTuple):
    """One term of the reward: sign, what, and money for one of it, by offer, by seller, or one number for all."""

    name: str
    unit: str
    values: tuple[float, ...]


class Description(NamedTuple):
    """All that there is to know for who wants to play.

    Attributes:
        space: of one seller's action, as Gymnasium writes it.
        shaping: ω by seller.
        ends: what ends an episode, the first of them its length.
    """

    sellers: int
    products: int
    inputs: tuple[Input, ...]
    space: str
    choices: tuple[Choice, ...]
    terms: tuple[Term, ...]
    shaping: tuple[float, ...]
    epochs: int
    ends: tuple[str, ...]


_PENALTIES = {
    "coi_leakage": "cost of information that suspicious sessions got, shared by the sellers",
    "volatility": "mean relative price movement",
    "upward_volatility": "mean relative price rise",
    "supra_competitive": "mean relative excess above the anchor",
    "estimate_error": "mean error of the demand proxy",
    "agent_loss": "money lost to agents that came back in a clean session",
}
assert set(_PENALTIES) == set(get_args(Penalty))


def _exact(values: Any) -> tuple[float, ...]:
    """As short as they are exact: 1.1 and not 1.100000024."""
    return tuple(np.asarray(values, np.float32).reshape(-1).astype(str).astype(np.float64).tolist())


def _inputs(shape: MarketShape, params: MarketParams) -> tuple[Input, ...]:
    found = []
    for entry in entries(shape, params):
        low, high = shown_range(entry.feature, shape)  # type: ignore[arg-type]
        raw = tuple(
            (low * scale + offset, high * scale + offset)
            for offset, scale in zip(entry.offset, entry.scale, strict=True)
        )
        found.append(Input(entry.name, (low, high), entry.unit, raw))
    return tuple(found)


def _of_product(name: str, product: int, shape: MarketShape) -> str:
    return f"{name} of product {product}" if shape.num_products > 1 else name


def _by_seller(values: Any, shape: MarketShape, product: int) -> tuple[tuple[float, ...], ...]:
    """Values [N] or [N, K] of one product, by seller."""
    table = np.asarray(values, np.float32).reshape(shape.num_sellers, shape.num_products, -1)[:, product]
    return tuple(_exact(own) for own in table)


def _choices(shape: MarketShape, params: MarketParams) -> tuple[Choice, ...]:
    own, found = params.prices, []
    for product in range(shape.num_products):
        name = _of_product("price", product, shape)
        if shape.prices.map == "adjust":
            limit = float(_exact(own.max_change)[0])
            ends = ((-limit, limit),) * shape.num_sellers
            found.append(Choice(name, f"a number from -{limit:g} to {limit:g}", "relative change of the price", ends))
            continue
        if shape.prices.map == "range":
            between = _by_seller(np.stack([own.low, own.high], -1), shape, product)
            form = "a number between the seller's lowest and highest"
            if len(set(between)) == 1:
                form = f"a number from {between[0][0]:g} to {between[0][1]:g}"
            found.append(Choice(name, form, "money", between))
            continue
        form = f"0 to {shape.prices.num_levels - 1}"
        if shape.prices.map == "levels":
            found.append(Choice(name, form, "money", _by_seller(own.levels, shape, product)))
        else:
            values = (_exact(own.factors),) * shape.num_sellers
            found.append(Choice(name, form, "times the last price", values))
    if shape.chooses_orders:
        form = f"0 to {shape.inventory.num_order_levels - 1}"
        for product in range(shape.num_products):
            if shape.chooses_quantities:
                values = (_exact(params.inventory.order_levels),) * shape.num_sellers
                found.append(Choice(_of_product("order", product, shape), form, "units", values))
            else:
                assert params.contracts is not None
                name = _of_product("toughness in the bargain over supply", product, shape)
                exponents = _by_seller(params.contracts.exponents, shape, product)
                found.append(Choice(name, form, "exponent of the aspiration", exponents))
    return tuple(found)


def _terms(shape: MarketShape, params: MarketParams) -> tuple[Term, ...]:
    own = params.reward
    when = "ordered" if shape.reward.pay_on_order else "sold"
    found = [Term("+ price paid", "money a unit sold", ())]
    listed: list[tuple[str, str, Any]] = [
        (
            "- unit cost",
            f"money a unit {when}" if params.contracts is None else "money a unit, where no contract says it",
            own.unit_cost,
        ),
        ("- stockout penalty", "money a unit that could not be served", own.stockout_penalty),
        ("- holding cost", "money a unit left and epoch", own.holding_cost),
        ("- order cost", "money an order", own.order_cost),
    ]
    listed += [(f"- {_PENALTIES[name]}", "money for 1 of it", getattr(own, name)) for name in shape.reward.penalties]
    found += [
        Term(name, unit, _exact(value))
        for name, unit, value in listed
        if value is not None and np.any(np.asarray(value) != 0)
    ]
    return tuple(found)


def describe_market(shape: MarketShape, params: MarketParams) -> Description:
    """A market as its sellers meet it."""
    ends = [f"after {shape.episode_length} epochs (truncation)"]
    if shape.bankruptcy:
        limits = sorted(set(_exact(params.reward.cash_limit)))
        ends.append(
            f"for a seller whose cash falls below {', '.join(f'{own:g}' for own in limits)} money (termination)"
        )
    if shape.collapse_patience:
        ends.append(f"for all after {shape.collapse_patience} epochs without any demand (termination)")
    return Description(
        sellers=shape.num_sellers,
        products=shape.num_products,
        inputs=_inputs(shape, params),
        space=str(action_space(shape, params)),
        choices=_choices(shape, params),
        terms=_terms(shape, params),
        shaping=_exact(np.broadcast_to(np.asarray(params.reward.omega), shape.num_sellers)),
        epochs=shape.episode_length,
        ends=tuple(ends),
    )


def describe_env(env: PhantomDefenceEnv | PhantomPrototypeEnv) -> Description:
    """One of PHANTOM's environments: the market's actions and rewards, and an observation of its own."""
    inputs = tuple(
        Input(name, (low, high), unit, (raw,)) for (name, unit, (low, high), raw) in env.observation_entries()
    )
    own = describe_market(env.shape, env.params)
    choices = own.choices
    if isinstance(env, PhantomDefenceEnv):  # one factor, or level, for all products
        choices = (choices[0]._replace(name="price of every product"),)
    return own._replace(inputs=inputs, space=str(env.action_space), choices=choices)


def as_json(own: Description) -> dict[str, Any]:
    """The same as plain values; an end that nothing bounds is null."""

    def ends(values: Range) -> list[float | None]:
        return [value if math.isfinite(value) else None for value in values]

    return {
        "sellers": own.sellers,
        "products": own.products,
        "observation": [
            {
                "index": number,
                "name": one.name,
                "shown": ends(one.shown),
                "unit": one.unit,
                "raw": [ends(raw) for raw in one.raw],
            }
            for number, one in enumerate(own.inputs)
        ],
        "action_space": own.space,
        "actions": [one._asdict() | {"values": [list(values) for values in one.values]} for one in own.choices],
        "reward": {
            "terms": [one._asdict() | {"values": list(one.values)} for one in own.terms],
            "omega": list(own.shaping),
        },
        "epochs": own.epochs,
        "ends": list(own.ends),
    }

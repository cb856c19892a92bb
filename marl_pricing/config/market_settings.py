"""Market settings, as people write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from marl_pricing.config.errors import ConfigError, Settings, at_most, refuse
from marl_pricing.config.supply import Issues
from marl_pricing.market.types import Feature

MOST_EPOCHS = 100_000  # of an episode
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
# One number for all, or one an offer (N) or a seller (S).
Each = float | list[float]
EachNonNegative = NonNegative | list[NonNegative]
EachPositive = Positive | list[Positive]
EachNegative = Annotated[float, Field(lt=0)] | list[Annotated[float, Field(lt=0)]]


Fall = Annotated[float, Field(ge=0, lt=1)]


class AgentClass(Settings):
    """Shoppers that are agents: what differs from people. A null takes the people's value."""

    scale: Positive | None = None
    quality: Each | None = None
    outside: float | None = None
    nesting: Annotated[float, Field(ge=0, lt=1)] | None = None
    base: Positive | None = None
    elasticity: EachNegative | None = None
    cross_elasticity: float | None = None
    popularity: EachNonNegative | None = None
    intercept: EachNonNegative | None = None
    slope: EachNonNegative | None = None
    cross_slope: EachNonNegative | None = None
    type_spread: NonNegative | None = None
    level_sensitivity: NonNegative | None = None


class LogNormal(Settings):
    """Numbers drawn from a log-normal law and divided by their mean (NumPy's default generator)."""

    lognormal: NonNegative
    seed: Annotated[int, Field(ge=0)] = 0


class LogitDemand(Settings):
    model: Literal["logit"]
    quality: Each
    outside: float = 0.0
    scale: Positive
    nesting: Annotated[float, Field(ge=0, lt=1)] = 0.0


class PowerDemand(Settings):
    model: Literal["power"]
    base: Positive
    popularity: EachNonNegative | LogNormal = 1.0
    elasticity: EachNegative
    cross_elasticity: float = 0.0
    reference_price: EachPositive
    cap: Positive = 0.95


class LinearDemand(Settings):
    model: Literal["linear"]
    intercept: EachNonNegative
    slope: EachNonNegative
    cross_slope: EachNonNegative = 0.0


class DemandLevel(Settings):
    """Log AR(1) of each offer's latent level; volatility 0 keeps it at 1. `noise`: spread of what does not last."""

    persistence: Annotated[float, Field(ge=0, lt=1)] | list[Annotated[float, Field(ge=0, lt=1)]] = 0.0
    volatility: EachNonNegative = 0.0
    noise: EachNonNegative = 0.0


class Season(Settings):
    """log factor on demand Σ_h cosine_h cos(2πh (t + start)/period) + sine_h sin(…); empty lists: none."""

    period: Positive = 52.0
    start: NonNegative = 0.0
    cosine: list[float] = []  # noqa: RUF012
    sine: list[float] = []  # noqa: RUF012

    @model_validator(mode="after")
    def _pairs(self) -> Season:
        if len(self.cosine) != len(self.sine):
            raise refuse("market.season.sine", self.sine, f"a list as long as cosine, {len(self.cosine)}")
        if self.cosine and 2 * len(self.cosine) > self.period:
            raise refuse("market.season.period", self.period, f"at least {2 * len(self.cosine)} with so many harmonics")
        return self


class Shocks(Settings):
    """Market-wide demand shocks; probability 0 switches them off."""

    probability: Share = 0.0
    duration: Annotated[int, Field(ge=1)] = 1
    scale: NonNegative = 1.0


class Types(Settings):
    """Law of the latent type: log θ is normal with this spread; `nodes` of its quadrature."""

    spread: NonNegative = 0.0
    nodes: Annotated[int, Field(ge=1, le=64)] = 7


class Patience(Settings):
    """People who may wait for a lower price: a `share` of them, who discount what they gain by `discount` an epoch.

    They expect the next epoch's prices to `fall` by this share of what they are above the `floor`: a number, or one for
    each step of an episode; `rational`: what a monopolist that knows of them does (`equilibrium.patience`), above its
    unit cost. `arrive`: in each epoch as many come, or all of an episode come in its first. `epochs`: that they
    wait for at most; null: until the episode ends.
    """

    share: Share = 0.0
    discount: Annotated[float, Field(ge=0, le=0.99)] = 0.9
    fall: Fall | list[Fall] | Literal["rational"] = 0.0
    floor: NonNegative = 0.0
    arrive: Literal["each_epoch", "at_once"] = "each_epoch"
    epochs: Annotated[int, Field(ge=1, le=64)] | None = None  # each of them adds a group of people to every step


class StartRange(Settings):
    """The price before the first epoch is drawn between these."""

    low: NonNegative
    high: NonNegative


class LevelPrices(Settings):
    """A grid: given level by level, by its ends, or laid around the Nash and the joint-profit price.

    One level is a price that nobody chooses, in a market that is about stock.
    """

    map: Literal["levels"]
    num_price_levels: Annotated[int, Field(ge=2)] = 15
    low: EachNonNegative | None = None
    high: EachNonNegative | None = None
    levels: list[NonNegative] | None = None
    around_equilibrium: NonNegative | None = None
    start: EachNonNegative | StartRange | Literal["middle", "random"] = "middle"

    @model_validator(mode="after")
    def _one_way(self) -> LevelPrices:
        ways = [self.levels is not None, self.around_equilibrium is not None, not (self.low is None is self.high)]
        if sum(ways) != 1:
            raise ConfigError("market.prices: give either levels, or low and high, or around_equilibrium")
        if self.levels is not None:
            if not self.levels:
                raise refuse("market.prices.levels", self.levels, "a list of at least one price")
            if any(b <= a for a, b in pairwise(self.levels)):
                raise refuse("market.prices.levels", self.levels, "an increasing list of prices")
        return self


class ScalePrices(Settings):
    """The last price times a factor, clipped."""

    map: Literal["scale"]
    factors: Annotated[list[Positive], Field(min_length=2, default_factory=lambda: [0.9, 0.97, 1.0, 1.03, 1.1])]
    low: EachPositive
    high: EachPositive
    start: EachPositive | StartRange | Literal["middle", "random"] = "middle"

    @model_validator(mode="after")
    def _increasing(self) -> ScalePrices:
        if any(b <= a for a, b in pairwise(self.factors)):
            raise refuse("market.prices.factors", self.factors, "an increasing list of factors")
        return self


class RangePrices(Settings):
    """Any price between two ends, which are given, or laid around the Nash and the joint-profit price."""

    map: Literal["range"]
    low: EachNonNegative | None = None
    high: EachNonNegative | None = None
    around_equilibrium: NonNegative | None = None
    start: EachNonNegative | StartRange | Literal["middle", "random"] = "middle"

    @model_validator(mode="after")
    def _one_way(self) -> RangePrices:
        if (self.around_equilibrium is not None) == (not (self.low is None is self.high)):
            raise ConfigError("market.prices: give either low and high, or around_equilibrium")
        return self


class AdjustPrices(Settings):
    """A continuous relative change of the last price, clipped."""

    map: Literal["adjust"]
    max_change: Annotated[float, Field(gt=0, lt=1)] = 0.3
    low: EachPositive
    high: EachPositive
    start: EachPositive | StartRange | Literal["middle", "random"] = "middle"


LeadTime = Annotated[int, Field(ge=1, le=1000)]


class _Stocked(Settings):
    """Replenished stock; `in_periods`: quantities are epochs of expected demand at the first prices, rounded up.

    `max_lead_time`: epochs that orders on the way are kept track of, so that markets of shorter lead times share a
    program; null: as many as the lead time.
    """

    in_periods: bool = False
    initial_stock: EachNonNegative
    lead_time: LeadTime | list[LeadTime] = 1
    max_lead_time: LeadTime | None = None
    single_order: bool = True
    order_cap: EachPositive | None = None


class UnlimitedStock(Settings):
    rule: Literal["unlimited"]


class NoReplenishment(Settings):
    rule: Literal["none"]
    initial_stock: EachNonNegative


class ThresholdRule(_Stocked):
    rule: Literal["threshold"]
    reorder_point: EachNonNegative
    order_quantity: EachPositive


class BaseStockRule(_Stocked):
    rule: Literal["base_stock"]
    order_up_to: EachPositive
    single_order: bool = False


class MinMaxRule(_Stocked):
    rule: Literal["s_S"]
    reorder_point: EachNonNegative
    order_up_to: EachPositive


class ChosenOrders(_Stocked):
    rule: Literal["chosen"]
    order_levels: Annotated[list[NonNegative], Field(min_length=2)]
    single_order: bool = False

    @model_validator(mode="after")
    def _has_zero(self) -> ChosenOrders:
        levels = self.order_levels
        if levels[0] != 0 or any(b <= a for a, b in pairwise(levels)):
            raise refuse("market.inventory.order_levels", levels, "an increasing list that begins with 0")
        return self


class Supplier(Settings):
    """Who can be bargained with; numbers for all offers, or lists by seller or offer."""

    unit_cost: EachNonNegative = 1.0
    rush_cost: EachNonNegative = 0.3
    capacity: EachPositive | None = None
    toughness: EachPositive = 1.0
    default_probability: Share | list[Share] = 0.0
    delivered_share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    default_penalty: NonNegative = 0.0


class _Contracts(Settings):
    """Stock that is bargained for below `reorder_point`: see docs/procurement.md.

    `horizon`: epochs that a bargain looks ahead; `forecast_memory`: weight of the past in the demand that it expects.
    """

    in_periods: bool = False
    initial_stock: EachNonNegative
    max_lead_time: LeadTime | None = None
    single_order: bool = True
    reorder_point: EachPositive
    issues: Issues = Issues()
    suppliers: Annotated[list[Supplier], Field(min_length=1)]
    rounds: Annotated[int, Field(ge=1, le=1000)] = 100
    horizon: Annotated[int, Field(ge=1, le=200)] = 8
    forecast_memory: Annotated[float, Field(ge=0, le=1)] = 0.9
    payment: Literal["delivery", "signing"] = "delivery"


class ContractRule(_Contracts):
    rule: Literal["contract"]
    exponent: EachPositive = 1.0


class ChosenContracts(_Contracts):
    rule: Literal["contract_chosen"]
    exponents: Annotated[list[Positive], Field(min_length=2, default_factory=lambda: [0.25, 0.5, 1.0, 2.0, 4.0])]

    @model_validator(mode="after")
    def _increasing(self) -> ChosenContracts:
        if any(b <= a for a, b in pairwise(self.exponents)):
            raise refuse("market.inventory.exponents", self.exponents, "an increasing list")
        return self


class Reward(Settings):
    unit_cost: EachNonNegative = 0.0
    stockout_penalty: EachNonNegative = 0.0
    holding_cost: EachNonNegative = 0.0
    order_cost: EachNonNegative = 0.0
    pay_on_order: bool = False
    omega: Share | list[Share] = 1.0
    normalise_shaping: bool = True
    volatility: NonNegative = 0.0
    upward_volatility: NonNegative = 0.0
    movement_floor: Positive = 1.0
    supra_competitive: NonNegative = 0.0
    excess_memory: Annotated[float, Field(ge=0, lt=1)] = 0.0
    anchor: EachPositive | Literal["nash"] = "nash"
    coi_leakage: NonNegative = 0.0
    information_cost: NonNegative = 1.0
    information_value: Literal["constant", "revelation"] = "constant"
    estimate_error: NonNegative = 0.0
    error_form: Literal["symmetric", "relative"] = "symmetric"
    agent_loss: NonNegative = 0.0


class Bankruptcy(Settings):
    """A seller whose cash falls below the limit leaves; no initial cash switches the rule off."""

    initial_cash: Each | None = None
    cash_limit: Each = 0.0


def draw_lines(draws: Sequence[Sequence[float]]) -> list[str]:
    """Draws [D] of [N] as a file shows them."""
    return [" ".join(f"{one:.6g}" for one in row) for row in draws]


class Calibration(Settings):
    """Where a calibrated market comes from, and how sure its estimates are.

    The estimates are those of the offers in the market: the slope in prices (logit: −1/scale; power: the elasticity)
    and each offer's log attraction at its reference price; there the two are uncorrelated. `robust.worlds=calibration`
    draws candidate worlds from their errors. Where each offer has an elasticity of its own, `elasticity_draws` are [D]
    of [N] from their posterior, a line each in a file, and those worlds are these. `currency` and `period` say what
    money and an epoch are, where the sales did.
    """

    path: str
    sha256: str
    sellers: list[str]
    products: list[str]
    slope: float
    slope_error: NonNegative
    reference_price: list[Positive]
    level_error: list[NonNegative]
    elasticity_draws: list[list[float]] | None = None
    currency: str = ""
    period: str = ""

    @field_validator("elasticity_draws", mode="before")
    @classmethod
    def _from_lines(cls, given: Any) -> Any:
        """A draw a line, numbers by offer: a list of lists would be a line a number."""
        try:
            return [[float(one) for one in row.split()] if isinstance(row, str) else row for row in given or []] or None
        except (TypeError, ValueError):
            return given

    @field_serializer("elasticity_draws")
    def _as_lines(self, draws: list[list[float]] | None) -> list[str] | None:
        return None if draws is None else draw_lines(draws)

    @model_validator(mode="after")
    def _lengths(self) -> Calibration:
        for row in self.elasticity_draws or []:
            if len(row) != len(self.products) or not all(math.isfinite(one) for one in row):
                accepted = f"lines of {len(self.products)} numbers"
                raise refuse("market.calibration.elasticity_draws", row, accepted)
        for name in ("reference_price", "level_error"):
            if len(getattr(self, name)) != len(self.products):
                raise refuse(f"market.calibration.{name}", getattr(self, name), f"a list of {len(self.products)}")
        return self


class MarketSettings(Settings):
    num_sellers: Annotated[int, Field(ge=1)]
    num_products: Annotated[int, Field(ge=1)] = 1
    episode_length: Annotated[int, Field(ge=1), at_most(MOST_EPOCHS, "episodes are played whole, epoch by epoch")] = 64
    sub_slots: Annotated[int, Field(ge=1), at_most(1000, "waves of an epoch come one by one")] = 1
    sold_out: Literal["asked", "passed_over"] = "asked"
    demand: Annotated[LogitDemand | PowerDemand | LinearDemand, Field(discriminator="model")]
    agent: AgentClass | None = None
    demand_scale: NonNegative = 1.0
    level: DemandLevel = DemandLevel()
    season: Season = Season()
    shocks: Shocks = Shocks()
    types: Types = Types()
    patience: Patience = Patience()
    prices: Annotated[LevelPrices | ScalePrices | RangePrices | AdjustPrices, Field(discriminator="map")]
    inventory: Annotated[
        UnlimitedStock
        | NoReplenishment
        | ThresholdRule
        | BaseStockRule
        | MinMaxRule
        | ChosenOrders
        | ContractRule
        | ChosenContracts,
        Field(discriminator="rule"),
    ]
    reward: Reward = Reward()
    bankruptcy: Bankruptcy = Bankruptcy()
    collapse_patience: Annotated[int, Field(ge=0)] = 0
    features: Annotated[tuple[Feature, ...], Field(strict=False)] | None = None
    observe_alpha: bool = False
    observe_omega: bool = False
    calibration: Calibration | None = None

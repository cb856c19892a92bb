"""Market settings, as people write them, and the market that they mean."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from marl_pricing import demand, market
from marl_pricing.config.errors import ConfigError, Settings, refuse, validate
from marl_pricing.config.traffic import Traffic, build_traffic
from marl_pricing.equilibrium import static
from marl_pricing.market.types import Feature

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
# One number for all, or one an offer (N) or a seller (S).
Each = float | list[float]
EachNonNegative = NonNegative | list[NonNegative]
EachPositive = Positive | list[Positive]


class AgentClass(Settings):
    """Shoppers that are agents: what differs from people. A null takes the people's value."""

    scale: Positive | None = None
    quality: Each | None = None
    outside: float | None = None
    base: Positive | None = None
    elasticity: Annotated[float, Field(lt=0)] | None = None
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


class PowerDemand(Settings):
    model: Literal["power"]
    base: Positive
    popularity: EachNonNegative | LogNormal = 1.0
    elasticity: Annotated[float, Field(lt=0)]
    reference_price: EachPositive
    cap: Positive = 0.95


class LinearDemand(Settings):
    model: Literal["linear"]
    intercept: EachNonNegative
    slope: EachNonNegative
    cross_slope: EachNonNegative = 0.0


class DemandLevel(Settings):
    """Log AR(1) of each offer's latent level; volatility 0 keeps it at 1."""

    persistence: Annotated[float, Field(ge=0, lt=1)] | list[Annotated[float, Field(ge=0, lt=1)]] = 0.0
    volatility: EachNonNegative = 0.0


class Shocks(Settings):
    """Market-wide demand shocks; probability 0 switches them off."""

    probability: Share = 0.0
    duration: Annotated[int, Field(ge=1)] = 1
    scale: NonNegative = 1.0


class Types(Settings):
    """Law of the latent type: log θ is normal with this spread; `nodes` of its quadrature."""

    spread: NonNegative = 0.0
    nodes: Annotated[int, Field(ge=1, le=64)] = 7


class StartRange(Settings):
    """The price before the first epoch is drawn between these."""

    low: NonNegative
    high: NonNegative


class LevelPrices(Settings):
    """A grid: given level by level, by its ends, or laid around the Nash and the joint-profit price."""

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
            if len(self.levels) < 2:
                raise refuse("market.prices.levels", self.levels, "a list of at least 2 prices")
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


class AdjustPrices(Settings):
    """A continuous relative change of the last price, clipped."""

    map: Literal["adjust"]
    max_change: Annotated[float, Field(gt=0, lt=1)] = 0.3
    low: EachPositive
    high: EachPositive
    start: EachPositive | StartRange | Literal["middle", "random"] = "middle"


LeadTime = Annotated[int, Field(ge=1, le=1000)]


class _Stocked(Settings):
    initial_stock: EachNonNegative
    lead_time: LeadTime | list[LeadTime] = 1
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


class Reward(Settings):
    unit_cost: EachNonNegative = 0.0
    stockout_penalty: EachNonNegative = 0.0
    holding_cost: EachNonNegative = 0.0
    pay_on_order: bool = False
    omega: Share | list[Share] = 1.0
    normalise_shaping: bool = True
    volatility: NonNegative = 0.0
    upward_volatility: NonNegative = 0.0
    supra_competitive: NonNegative = 0.0
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


class MarketSettings(Settings):
    num_sellers: Annotated[int, Field(ge=1)]
    num_products: Annotated[int, Field(ge=1)] = 1
    episode_length: Annotated[int, Field(ge=1)] = 64
    sub_slots: Annotated[int, Field(ge=1)] = 1
    demand: Annotated[LogitDemand | PowerDemand | LinearDemand, Field(discriminator="model")]
    agent: AgentClass | None = None
    demand_scale: NonNegative = 1.0
    level: DemandLevel = DemandLevel()
    shocks: Shocks = Shocks()
    types: Types = Types()
    prices: Annotated[LevelPrices | ScalePrices | AdjustPrices, Field(discriminator="map")]
    inventory: Annotated[
        UnlimitedStock | NoReplenishment | ThresholdRule | BaseStockRule | MinMaxRule | ChosenOrders,
        Field(discriminator="rule"),
    ]
    reward: Reward = Reward()
    bankruptcy: Bankruptcy = Bankruptcy()
    collapse_patience: Annotated[int, Field(ge=0)] = 0
    features: Annotated[tuple[Feature, ...], Field(strict=False)] | None = None
    observe_alpha: bool = False


class Market(NamedTuple):
    """A market ready to run: what is compiled, and the numbers."""

    shape: market.MarketShape
    params: market.MarketParams


_AGENT_FIELDS = {
    "logit": {"scale", "quality", "outside"},
    "power": {"base", "elasticity", "popularity"},
    "linear": {"intercept", "slope", "cross_slope"},
}
_ANY_AGENT = {"type_spread", "level_sensitivity"}


class _Spread:
    """Broadcasts settings over sellers and offers, and refuses lists of another length."""

    def __init__(self, num_sellers: int, num_products: int) -> None:
        self.num_sellers, self.num_products = num_sellers, num_products
        self.num_offers = num_sellers * num_products

    def offers(self, field: str, value: float | list[float]) -> np.ndarray:
        """[N] from a number, a list by seller or a list by offer."""
        array = np.asarray(value, np.float64)
        if array.ndim == 0:
            return np.full(self.num_offers, float(array))
        if array.size == self.num_offers:
            return array
        if array.size == self.num_sellers:
            return np.repeat(array, self.num_products)
        accepted = f"a number, or a list of {self.num_sellers} (sellers) or {self.num_offers} (offers)"
        raise refuse(f"market.{field}", value, accepted)

    def sellers(self, field: str, value: float | list[float]) -> np.ndarray:
        """[S] from a number or a list by seller."""
        array = np.asarray(value, np.float64)
        if array.ndim == 0:
            return np.full(self.num_sellers, float(array))
        if array.size == self.num_sellers:
            return array
        raise refuse(f"market.{field}", value, f"a number, or a list of {self.num_sellers} (sellers)")


def _f32(value: Any) -> jnp.ndarray:
    return jnp.asarray(value, jnp.float32)


def _choice(settings: MarketSettings, spread: _Spread, classes: list[dict[str, Any]]) -> Any:
    own, agent = settings.demand, settings.agent

    def place(index: int, name: str) -> str:
        """Where the number of a class stands: agents have their own or the people's."""
        return f"agent.{name}" if index and getattr(agent, name) is not None else f"demand.{name}"

    def by_class(name: str) -> jnp.ndarray:
        return _f32([c[name] for c in classes])

    def by_offer(name: str) -> jnp.ndarray:
        return _f32(np.stack([spread.offers(place(index, name), c[name]) for index, c in enumerate(classes)]))

    if own.model == "logit":
        return demand.LogitParams(by_offer("quality"), by_class("outside"), by_class("scale"))
    if own.model == "power":
        reference = _f32(spread.offers("demand.reference_price", own.reference_price))
        return demand.PowerParams(
            by_class("base"), by_offer("popularity"), by_class("elasticity"), reference, _f32(own.cap)
        )
    params = demand.LinearParams(by_offer("intercept"), by_offer("slope"), by_offer("cross_slope"))
    for index, numbers in enumerate(classes):
        cross, slope = params.cross_slope[index], params.slope[index]
        if bool(jnp.any((cross > 0) & (cross >= slope))):
            accepted = f"below market.{place(index, 'slope')}={numbers['slope']!r}"
            raise refuse(f"market.{place(index, 'cross_slope')}", numbers["cross_slope"], accepted)
    return params


def _build_demand(
    settings: MarketSettings, visitors: Traffic, spread: _Spread
) -> tuple[demand.DemandShape, demand.DemandParams]:
    own, agent = settings.demand, settings.agent
    if agent is None and visitors.agent_share > 0:
        raise refuse("traffic.agent_share", visitors.agent_share, "0 in a market without agents (market.agent=null)")
    people = own.model_dump() | {"type_spread": settings.types.spread, "level_sensitivity": 1.0}
    if own.model == "power" and isinstance(own.popularity, LogNormal):
        drawn = np.random.default_rng(own.popularity.seed).lognormal(0.0, own.popularity.lognormal, spread.num_offers)
        people["popularity"] = (drawn / drawn.mean()).tolist()
    classes = [people]
    if agent is not None:
        given = {name: value for name, value in agent.model_dump().items() if value is not None}
        unknown = set(given) - _AGENT_FIELDS[own.model] - _ANY_AGENT
        if unknown:
            name = sorted(unknown)[0]
            accepted = ", ".join(sorted(_AGENT_FIELDS[own.model] | _ANY_AGENT))
            raise ConfigError(
                f"market.agent.{name}={given[name]!r}: no setting of {own.model} demand; accepted are {accepted}"
            )
        classes.append(people | given)
    spreads = [c["type_spread"] for c in classes]
    volatility = spread.offers("level.volatility", settings.level.volatility)
    shape = demand.DemandShape(
        num_sellers=settings.num_sellers,
        num_products=settings.num_products,
        num_classes=len(classes),
        model=own.model,
        num_types=settings.types.nodes if any(spreads) else 1,
        moving_level=bool(volatility.any()),
        shocks=settings.shocks.probability > 0,
    )
    params = demand.DemandParams(
        choice=_choice(settings, spread, classes),
        scale=_f32(settings.demand_scale),
        type_spread=_f32(spreads),
        level_sensitivity=_f32([c["level_sensitivity"] for c in classes]),
        level_persistence=_f32(spread.offers("level.persistence", settings.level.persistence)),
        level_volatility=_f32(volatility),
        shock_probability=_f32(settings.shocks.probability),
        shock_duration=jnp.asarray(settings.shocks.duration, jnp.int32),
        shock_scale=_f32(settings.shocks.scale),
    )
    return shape, params


def _build_inventory(settings: MarketSettings, spread: _Spread) -> tuple[market.InventoryShape, market.InventoryParams]:
    own = settings.inventory.model_dump()
    rule = own.pop("rule")

    def offers(name: str, default: float) -> np.ndarray:
        value = own.get(name)
        return spread.offers(f"inventory.{name}", default if value is None else value)

    lead_time = offers("lead_time", 1)
    levels = own.get("order_levels") or [0.0]
    shape = market.InventoryShape(
        rule="none" if rule == "unlimited" else rule,
        unlimited=rule == "unlimited",
        single_order=own.get("single_order", True),
        max_lead_time=int(lead_time.max()),
        num_order_levels=len(levels),
    )
    params = market.InventoryParams(
        initial_stock=_f32(offers("initial_stock", 0.0)),
        lead_time=jnp.asarray(lead_time, jnp.int32),
        reorder_point=_f32(offers("reorder_point", 0.0)),
        order_quantity=_f32(offers("order_quantity", 0.0)),
        order_up_to=_f32(offers("order_up_to", 0.0)),
        order_cap=_f32(offers("order_cap", np.inf)),
        order_levels=_f32(levels),
    )
    if rule == "s_S" and np.any(offers("order_up_to", 0.0) <= offers("reorder_point", 0.0)):
        raise refuse("market.inventory.order_up_to", own["order_up_to"], "a level above market.inventory.reorder_point")
    return shape, params


def _build_reward(
    settings: MarketSettings, visitors: Traffic, spread: _Spread
) -> tuple[market.RewardShape, market.RewardParams]:
    own = settings.reward
    names = ("coi_leakage", "volatility", "upward_volatility", "supra_competitive", "estimate_error", "agent_loss")
    penalties = tuple(name for name in names if getattr(own, name) > 0)
    for name in ("coi_leakage", "estimate_error", "agent_loss"):
        if name in penalties and visitors.model == "analytic":
            raise refuse(
                f"market.reward.{name}", getattr(own, name), "0 with traffic.model=analytic, which has no sessions"
            )
    if own.agent_loss > 0 and visitors.model != "scripted" and visitors.markup.strength == 0:
        raise refuse("market.reward.agent_loss", own.agent_loss, "0 without a mark-up (traffic.markup.strength=0)")
    if own.information_value == "revelation" and own.coi_leakage == 0:
        raise refuse("market.reward.information_value", "revelation", "'constant' with market.reward.coi_leakage=0")
    cash = settings.bankruptcy.initial_cash
    initial = spread.sellers("bankruptcy.initial_cash", 0.0 if cash is None else cash)
    limit = spread.sellers("bankruptcy.cash_limit", settings.bankruptcy.cash_limit)
    if cash is not None and np.any(initial < limit):
        raise refuse("market.bankruptcy.initial_cash", cash, "at least market.bankruptcy.cash_limit")
    anchor = 1.0 if own.anchor == "nash" else own.anchor
    params = market.RewardParams(
        unit_cost=_f32(spread.offers("reward.unit_cost", own.unit_cost)),
        stockout_penalty=_f32(spread.offers("reward.stockout_penalty", own.stockout_penalty)),
        holding_cost=_f32(spread.offers("reward.holding_cost", own.holding_cost)),
        omega=_f32(spread.sellers("reward.omega", own.omega)),
        coi_leakage=_f32(own.coi_leakage),
        information_cost=_f32(own.information_cost),
        volatility=_f32(own.volatility),
        upward_volatility=_f32(own.upward_volatility),
        supra_competitive=_f32(own.supra_competitive),
        anchor=_f32(spread.offers("reward.anchor", anchor)),
        estimate_error=_f32(own.estimate_error),
        agent_loss=_f32(own.agent_loss),
        initial_cash=_f32(initial),
        cash_limit=_f32(limit),
    )
    shape = market.RewardShape(
        penalties=penalties,  # type: ignore[arg-type]
        information_value=own.information_value,
        error_form=own.error_form,
        pay_on_order=own.pay_on_order,
        normalise_shaping=own.normalise_shaping,
    )
    if own.pay_on_order and settings.inventory.rule in ("unlimited", "none"):
        raise refuse("market.reward.pay_on_order", True, f"false with market.inventory.rule={settings.inventory.rule}")
    return shape, params


def _default_features(settings: MarketSettings, visitors: Traffic) -> tuple[Feature, ...]:
    names: list[Feature] = ["own_price", "rival_price"] if settings.num_sellers > 1 else ["own_price"]
    if settings.inventory.rule != "unlimited":
        names += ["stock", "on_order"]
    names.append("demand")
    if visitors.model != "analytic":
        names += ["proxy_share", "proxy_trend"]
        if settings.agent is not None:
            names += ["suspicion"] if visitors.model == "scripted" else ["suspicion", "share_estimate"]
    if settings.observe_alpha:
        names.append("agent_share")
    names.append("time")
    if settings.shocks.probability > 0:
        names.append("shock")
    if settings.bankruptcy.initial_cash is not None:
        names.append("cash")
    return tuple(names)


def _features(settings: MarketSettings, visitors: Traffic) -> tuple[Feature, ...]:
    if settings.features is None:
        return _default_features(settings, visitors)
    walks = (visitors.model != "analytic", "sessions (traffic.model is analytic)")
    needs = {
        "proxy_share": walks,
        "proxy_trend": walks,
        "suspicion": walks,
        "share_estimate": (visitors.model in ("chain", "bank"), "kernels (traffic.model=chain or bank)"),
        "agent_share": (settings.observe_alpha, "market.observe_alpha=true"),
        "stock": (settings.inventory.rule != "unlimited", "limited stock (market.inventory.rule is unlimited)"),
        "on_order": (settings.inventory.rule != "unlimited", "limited stock (market.inventory.rule is unlimited)"),
        "rival_price": (settings.num_sellers > 1, "at least 2 sellers"),
        "all_rival_prices": (settings.num_sellers > 1, "at least 2 sellers"),
        "shock": (settings.shocks.probability > 0, "shocks (market.shocks.probability is 0)"),
        "cash": (settings.bankruptcy.initial_cash is not None, "bankruptcy (market.bankruptcy.initial_cash is null)"),
    }
    for name in settings.features:
        fits, need = needs.get(name, (True, ""))
        if not fits:
            raise ConfigError(f"market.features={list(settings.features)!r}: {name} needs {need}")
    if not settings.features or len(set(settings.features)) < len(settings.features):
        raise refuse("market.features", list(settings.features), "a list of different features, at least one")
    return settings.features


def _price_ends(spread: _Spread, own: ScalePrices | AdjustPrices | LevelPrices) -> tuple[np.ndarray, np.ndarray]:
    for name in ("low", "high"):
        if getattr(own, name) is None:
            raise ConfigError(f"market.prices.{name}: has to be given with the other end of the grid")
    assert own.low is not None and own.high is not None
    low, high = spread.offers("prices.low", own.low), spread.offers("prices.high", own.high)
    if np.any(high <= low):
        raise refuse("market.prices.high", own.high, f"a price above market.prices.low={own.low!r}")
    return low, high


def _levels(spread: _Spread, own: LevelPrices, bare: Market) -> np.ndarray:
    """The price grid [N, K]."""
    if own.levels is not None:
        return np.tile(np.asarray(own.levels, np.float64), (spread.num_offers, 1))
    if own.around_equilibrium is None:
        low, high = _price_ends(spread, own)
    else:
        try:
            nash = static.nash(bare.shape, bare.params).prices
            joint = static.joint_profit(bare.shape, bare.params).prices
        except static.NoEquilibriumError as error:
            raise ConfigError(f"market.prices.around_equilibrium={own.around_equilibrium!r}: {error}") from None
        margin = own.around_equilibrium * (joint - nash)
        low, high = nash - margin, joint + margin
        if np.any(high <= low) or np.any(low < 0):
            raise refuse(
                "market.prices.around_equilibrium",
                own.around_equilibrium,
                "a market whose joint-profit price is above its Nash price, and a margin that keeps prices above 0",
            )
    return np.linspace(low, high, own.num_price_levels, axis=1)


def _build_prices(
    settings: MarketSettings, spread: _Spread, bare: Market
) -> tuple[market.PriceShape, market.PriceParams]:
    own = settings.prices
    levels = np.zeros((spread.num_offers, 1))
    factors, max_change = [1.0], 0.0
    if isinstance(own, LevelPrices):
        levels = _levels(spread, own, bare)
        low, high, count = levels[:, 0], levels[:, -1], levels.shape[1]
    else:
        low, high = _price_ends(spread, own)
        count = len(own.factors) if isinstance(own, ScalePrices) else 1
        factors = own.factors if isinstance(own, ScalePrices) else factors
        max_change = own.max_change if isinstance(own, AdjustPrices) else max_change
    if own.start == "random":
        start_low, start_high = low, high
    elif own.start == "middle":
        start_low = start_high = 0.5 * (low + high)
    elif isinstance(own.start, StartRange):
        start_low, start_high = (spread.offers("prices.start", end) for end in (own.start.low, own.start.high))
    else:
        start_low = start_high = spread.offers("prices.start", own.start)
    if np.any(start_low < low) or np.any(start_high > high) or np.any(start_low > start_high):
        raise refuse("market.prices.start", own.start, "prices between the lowest and the highest")
    random_start = own.start == "random" or isinstance(own.start, StartRange)
    shape = market.PriceShape(map=own.map, num_levels=count, random_start=random_start)
    params = market.PriceParams(
        levels=_f32(levels),
        factors=_f32(factors),
        max_change=_f32(max_change),
        low=_f32(low),
        high=_f32(high),
        start_low=_f32(start_low),
        start_high=_f32(start_high),
    )
    return shape, params


def build_market(settings: MarketSettings, visitors: Traffic) -> Market:
    """The market that the settings mean.

    Raises:
        ConfigError: for lists of a wrong length and for combinations that cannot be.
    """
    spread = _Spread(settings.num_sellers, settings.num_products)
    demand_shape, demand_params = _build_demand(settings, visitors, spread)
    inventory_shape, inventory_params = _build_inventory(settings, spread)
    reward_shape, reward_params = _build_reward(settings, visitors, spread)
    if settings.prices.map == "adjust" and settings.inventory.rule == "chosen":
        raise refuse("market.prices.map", "adjust", "levels or scale with market.inventory.rule=chosen")
    if settings.sub_slots > 1 and settings.inventory.rule == "unlimited":
        raise refuse("market.sub_slots", settings.sub_slots, "1 with market.inventory.rule=unlimited")
    shocks = settings.shocks
    highest = max(1.0, shocks.scale if shocks.probability > 0 else 1.0) * settings.demand_scale / settings.sub_slots
    own_traffic = build_traffic(visitors, demand_shape.num_classes, spread.num_offers, highest)
    # Benchmarks need costs and demand only: this market without prices serves to lay the grid around them.
    zeros = jnp.zeros((spread.num_offers,))
    bare = Market(
        market.MarketShape(
            demand=demand_shape,
            traffic=own_traffic.shape,
            inventory=inventory_shape,
            prices=market.PriceShape(),
            reward=reward_shape,
            episode_length=settings.episode_length,
            sub_slots=settings.sub_slots,
            features=_features(settings, visitors),
            bankruptcy=settings.bankruptcy.initial_cash is not None,
            collapse_patience=settings.collapse_patience,
        ),
        market.MarketParams(
            demand=demand_params,
            traffic=own_traffic.params,
            inventory=inventory_params,
            prices=market.PriceParams(zeros[:, None], zeros, zeros[0], zeros, zeros, zeros, zeros),
            reward=reward_params,
        ),
    )
    if "supra_competitive" in reward_shape.penalties and settings.reward.anchor == "nash":
        try:
            anchor = static.nash(bare.shape, bare.params).prices
        except static.NoEquilibriumError as error:
            raise ConfigError(f"market.reward.anchor='nash': {error}; give the anchor as a price") from None
        bare = bare._replace(params=bare.params.replace(reward=reward_params.replace(anchor=_f32(anchor))))
    price_shape, price_params = _build_prices(settings, spread, bare)
    shape = market.MarketShape(**{**vars(bare.shape), "prices": price_shape})
    return Market(shape, bare.params.replace(prices=price_params))


def market_from(settings: Mapping[str, Any], visitors: Mapping[str, Any] | None = None) -> Market:
    """A market from plain data, as it stands under `market:` and `traffic:` in YAML.

    Raises:
        ConfigError: naming each field that is wrong, its value and what is accepted.
    """
    return build_market(validate(MarketSettings, settings, "market"), validate(Traffic, visitors or {}, "traffic"))

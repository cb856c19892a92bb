"""The market that settings mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import demand, market
from marl_pricing.config.calibrated import resolve
from marl_pricing.config.contracts import shape_of, with_contracts
from marl_pricing.config.errors import ConfigError, refuse, validate
from marl_pricing.config.holding import hold_orders, with_reference
from marl_pricing.config.market_settings import (
    AdjustPrices,
    ChosenContracts,
    ContractRule,
    LevelPrices,
    LogNormal,
    MarketSettings,
    RangePrices,
    ScalePrices,
    StartRange,
)
from marl_pricing.config.patience import build_patience, waiting_epochs
from marl_pricing.config.robust import Reach
from marl_pricing.config.sizes import check_market
from marl_pricing.config.traffic import build_traffic
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.equilibrium import static
from marl_pricing.forks import refuse_forked
from marl_pricing.market.prices import CONTINUOUS
from marl_pricing.market.types import Feature
from marl_pricing.widths import float32, in_32_bits, int32


class Market(NamedTuple):
    """A market ready to run: what is compiled, and the numbers."""

    shape: market.MarketShape
    params: market.MarketParams


_AGENT_FIELDS = {
    "logit": {"scale", "quality", "outside", "nesting"},
    "power": {"base", "elasticity", "popularity", "cross_elasticity"},
    "linear": {"intercept", "slope", "cross_slope"},
}
_ANY_AGENT = {"type_spread", "level_sensitivity"}


Prices = LevelPrices | ScalePrices | RangePrices | AdjustPrices


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


def _choice(settings: MarketSettings, spread: _Spread, classes: list[dict[str, Any]]) -> Any:
    own, agent = settings.demand, settings.agent

    def place(index: int, name: str) -> str:
        """Where the number of a class stands: agents have their own or the people's."""
        return f"agent.{name}" if index and getattr(agent, name) is not None else f"demand.{name}"

    def by_class(name: str) -> jnp.ndarray:
        return float32([c[name] for c in classes])

    def by_offer(name: str) -> jnp.ndarray:
        return float32(np.stack([spread.offers(place(index, name), c[name]) for index, c in enumerate(classes)]))

    if own.model == "logit":
        nesting = by_class("nesting") if any(c["nesting"] for c in classes) else None
        return demand.LogitParams(by_offer("quality"), by_class("outside"), by_class("scale"), nesting)
    if own.model == "power":
        reference = float32(spread.offers("demand.reference_price", own.reference_price))
        cross = by_class("cross_elasticity") if any(c["cross_elasticity"] for c in classes) else None
        return demand.PowerParams(
            by_class("base"), by_offer("popularity"), by_offer("elasticity"), reference, float32(own.cap), cross
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
    waiting = build_patience(settings, visitors)
    season = settings.season
    noise = spread.offers("level.noise", settings.level.noise)
    volatility = spread.offers("level.volatility", settings.level.volatility)
    shape = demand.DemandShape(
        num_sellers=settings.num_sellers,
        num_products=settings.num_products,
        num_classes=len(classes),
        model=own.model,
        num_types=settings.types.nodes if any(spreads) else 1,
        moving_level=bool(volatility.any()),
        shocks=settings.shocks.probability > 0,
        season=bool(season.cosine),
        noisy_level=bool(noise.any()),
        waits=0 if waiting is None else waiting_epochs(settings),
        at_once=waiting is not None and settings.patience.arrive == "at_once",
    )
    params = demand.DemandParams(
        choice=_choice(settings, spread, classes),
        scale=float32(settings.demand_scale),
        type_spread=float32(spreads),
        level_sensitivity=float32([c["level_sensitivity"] for c in classes]),
        level_persistence=float32(spread.offers("level.persistence", settings.level.persistence)),
        level_volatility=float32(volatility),
        level_noise=float32(noise),
        shock_probability=float32(settings.shocks.probability),
        shock_duration=int32(settings.shocks.duration),
        shock_scale=float32(settings.shocks.scale),
        season=demand.SeasonParams(
            float32(season.period), float32(season.start), float32(season.cosine), float32(season.sine)
        )
        if season.cosine
        else None,
        patience=waiting,
    )
    return shape, params


def _build_inventory(
    settings: MarketSettings, spread: _Spread, delay: int
) -> tuple[market.InventoryShape, market.InventoryParams]:
    own = settings.inventory.model_dump()
    rule = own.pop("rule")

    def offers(name: str, default: float) -> np.ndarray:
        value = own.get(name)
        return spread.offers(f"inventory.{name}", default if value is None else value)

    contracts = settings.inventory if isinstance(settings.inventory, ContractRule | ChosenContracts) else None
    if contracts is not None:
        own["lead_time"] = contracts.issues.lead_times[-1]
    lead_time = offers("lead_time", 1)
    longest = own.get("max_lead_time") or int(lead_time.max())
    if lead_time.max() > longest and contracts is None:  # those of contracts are refused by their own name
        raise refuse("market.inventory.lead_time", own["lead_time"], f"at most max_lead_time={longest}")
    levels = own.get("order_levels") or [0.0] * len(own.get("exponents", [0.0]))
    shape = market.InventoryShape(
        rule="none" if rule == "unlimited" else rule,
        unlimited=rule == "unlimited",
        single_order=own.get("single_order", True),
        max_lead_time=longest + delay,
        num_order_levels=len(levels),
    )
    params = market.InventoryParams(
        initial_stock=float32(offers("initial_stock", 0.0)),
        lead_time=int32(lead_time),
        reorder_point=float32(offers("reorder_point", 0.0)),
        order_quantity=float32(offers("order_quantity", 0.0)),
        order_up_to=float32(offers("order_up_to", 0.0)),
        order_cap=float32(offers("order_cap", np.inf)),
        order_levels=float32(levels),
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
    apart = visitors.model == "scripted" or visitors.markup.strength > 0 or visitors.quotes.differ
    if own.agent_loss > 0 and not apart:
        without = "0 without a mark-up (traffic.markup.strength=0) and with one quote for all (traffic.quotes.factors)"
        raise refuse("market.reward.agent_loss", own.agent_loss, without)
    if own.information_value == "revelation" and own.coi_leakage == 0:
        raise refuse("market.reward.information_value", "revelation", "'constant' with market.reward.coi_leakage=0")
    cash = settings.bankruptcy.initial_cash
    initial = spread.sellers("bankruptcy.initial_cash", 0.0 if cash is None else cash)
    limit = spread.sellers("bankruptcy.cash_limit", settings.bankruptcy.cash_limit)
    if cash is not None and np.any(initial < limit):
        raise refuse("market.bankruptcy.initial_cash", cash, "at least market.bankruptcy.cash_limit")
    anchor = 1.0 if own.anchor == "nash" else own.anchor
    persistence = own.supra_competitive > 0 and own.excess_memory > 0
    order_cost = spread.offers("reward.order_cost", own.order_cost)
    if order_cost.any() and settings.inventory.rule in ("unlimited", "none"):
        raise refuse(
            "market.reward.order_cost", own.order_cost, f"0 with market.inventory.rule={settings.inventory.rule}"
        )
    params = market.RewardParams(
        unit_cost=float32(spread.offers("reward.unit_cost", own.unit_cost)),
        stockout_penalty=float32(spread.offers("reward.stockout_penalty", own.stockout_penalty)),
        holding_cost=float32(spread.offers("reward.holding_cost", own.holding_cost)),
        omega=float32(spread.sellers("reward.omega", own.omega)),
        coi_leakage=float32(own.coi_leakage),
        information_cost=float32(own.information_cost),
        volatility=float32(own.volatility),
        upward_volatility=float32(own.upward_volatility),
        supra_competitive=float32(own.supra_competitive),
        anchor=float32(spread.offers("reward.anchor", anchor)),
        estimate_error=float32(own.estimate_error),
        agent_loss=float32(own.agent_loss),
        initial_cash=float32(initial),
        cash_limit=float32(limit),
        order_cost=float32(order_cost) if order_cost.any() else None,
        movement_floor=float32(own.movement_floor) if {"volatility", "upward_volatility"} & set(penalties) else None,
        excess_memory=float32(own.excess_memory) if persistence else None,
    )
    shape = market.RewardShape(
        penalties=penalties,  # type: ignore[arg-type]
        information_value=own.information_value,
        error_form=own.error_form,
        pay_on_order=own.pay_on_order,
        normalise_shaping=own.normalise_shaping,
        persistence=persistence,
    )
    if own.pay_on_order and settings.inventory.rule in ("contract", "contract_chosen"):
        raise refuse("market.reward.pay_on_order", True, "false with contracts; market.inventory.payment says when")
    if own.pay_on_order and settings.inventory.rule in ("unlimited", "none"):
        raise refuse("market.reward.pay_on_order", True, f"false with market.inventory.rule={settings.inventory.rule}")
    return shape, params


def _default_features(settings: MarketSettings, visitors: Traffic) -> tuple[Feature, ...]:
    names: list[Feature] = ["own_price", "rival_price"] if settings.num_sellers > 1 else ["own_price"]
    if settings.inventory.rule != "unlimited":
        names += ["stock", "on_order"]
    names.append("demand")
    if settings.inventory.rule in ("contract", "contract_chosen"):
        names += ["held_cost", "ordered_cost", "last_agreement"]
    if visitors.model != "analytic":
        names += ["proxy_share", "proxy_trend"]
        if settings.agent is not None:
            names += ["suspicion"] if visitors.model == "scripted" else ["suspicion", "share_estimate"]
    if settings.observe_alpha:
        names.append("agent_share")
    if settings.observe_omega:
        names.append("omega")
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
    bargained = (settings.inventory.rule in ("contract", "contract_chosen"), "contracts (market.inventory.rule)")
    needs = {
        "held_cost": bargained,
        "ordered_cost": bargained,
        "last_agreement": bargained,
        "proxy_share": walks,
        "proxy_trend": walks,
        "suspicion": walks,
        "share_estimate": (visitors.model in ("chain", "bank"), "kernels (traffic.model=chain or bank)"),
        "agent_share": (settings.observe_alpha, "market.observe_alpha=true"),
        "omega": (settings.observe_omega, "market.observe_omega=true"),
        "stock": (settings.inventory.rule != "unlimited", "limited stock (market.inventory.rule is unlimited)"),
        "pipeline": (settings.inventory.rule != "unlimited", "limited stock (market.inventory.rule is unlimited)"),
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


def _price_ends(spread: _Spread, own: Prices) -> tuple[np.ndarray, np.ndarray]:
    for name in ("low", "high"):
        if getattr(own, name) is None:
            raise ConfigError(f"market.prices.{name}: has to be given with the other end of the grid")
    assert own.low is not None and own.high is not None
    low, high = spread.offers("prices.low", own.low), spread.offers("prices.high", own.high)
    if np.any(high <= low):
        raise refuse("market.prices.high", own.high, f"a price above market.prices.low={own.low!r}")
    return low, high


def _as_posted(own: Market) -> Market:
    """The market in which sessions pay what is posted: grids and anchors do not move with the mark-up."""
    return own._replace(shape=replace(own.shape, traffic=replace(own.shape.traffic, markup=False, quotes=False)))


def _range(spread: _Spread, own: Prices, bare: Market) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest prices [N]: as given, or around the equilibrium."""
    around = getattr(own, "around_equilibrium", None)
    if around is None:
        return _price_ends(spread, own)
    try:
        nash = static.nash(*_as_posted(bare)).prices
        joint = static.joint_profit(*_as_posted(bare)).prices
    except static.NoEquilibriumError as error:
        raise ConfigError(f"market.prices.around_equilibrium={around!r}: {error}") from None
    margin = around * (joint - nash)
    low, high = nash - margin, joint + margin
    if np.any(high <= low) or np.any(low < 0):
        raise refuse(
            "market.prices.around_equilibrium",
            around,
            "a market whose joint-profit price is above its Nash price, and a margin that keeps prices above 0",
        )
    return low, high


def _levels(spread: _Spread, own: LevelPrices, bare: Market) -> np.ndarray:
    """The price grid [N, K]."""
    if own.levels is not None:
        return np.tile(np.asarray(own.levels, np.float64), (spread.num_offers, 1))
    return np.linspace(*_range(spread, own, bare), own.num_price_levels, axis=1)


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
        low, high = _range(spread, own, bare)
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
        levels=float32(levels),
        factors=float32(factors),
        max_change=float32(max_change),
        low=float32(low),
        high=float32(high),
        start_low=float32(start_low),
        start_high=float32(start_high),
    )
    return shape, params


def _stock_in_units(built: Market) -> Market:
    """Quantities given in periods of expected demand become whole units."""
    own, first = built.params.inventory, built.params.prices
    try:
        per_epoch = static.demand_at(*built, 0.5 * (np.asarray(first.start_low) + np.asarray(first.start_high)))
    except static.NoEquilibriumError as error:
        raise ConfigError(f"market.inventory.in_periods=True: {error}") from None

    def units(periods: jnp.ndarray) -> jnp.ndarray:
        return float32(np.ceil(np.asarray(periods) * per_epoch - 1e-6))

    names = ("initial_stock", "reorder_point", "order_quantity", "order_up_to", "order_cap")
    # Order levels are the same for all offers, so they go by the mean one.
    own = own.replace(order_levels=float32(np.ceil(np.asarray(own.order_levels) * per_epoch.mean() - 1e-6)))
    return built._replace(
        params=built.params.replace(inventory=own.replace(**{name: units(getattr(own, name)) for name in names}))
    )


@in_32_bits
def build_market(settings: MarketSettings, visitors: Traffic, reach: Reach | None = None) -> Market:
    """The market that the settings mean.

    Args:
        reach: of candidate worlds that are to fit into it; None for those of nobody.

    Raises:
        ConfigError: for lists of a wrong length and for combinations that cannot be.
        ForkedError: in a process that was forked from one in which JAX ran.
    """
    refuse_forked()
    check_market(settings, visitors)
    if settings.prices.map in CONTINUOUS:
        _check_continuous(settings)
    reach = reach or Reach()
    spread = _Spread(settings.num_sellers, settings.num_products)
    demand_shape, demand_params = _build_demand(settings, visitors, spread)
    inventory_shape, inventory_params = _build_inventory(settings, spread, reach.delay)
    reward_shape, reward_params = _build_reward(settings, visitors, spread)
    if visitors.order_law == "multinomial" and settings.demand.model != "logit":
        raise refuse("traffic.order_law", "multinomial", f"'poisson' with market.demand.model={settings.demand.model}")
    if settings.sub_slots > 1 and settings.inventory.rule == "unlimited":
        raise refuse("market.sub_slots", settings.sub_slots, "1 with market.inventory.rule=unlimited")
    if settings.sold_out == "passed_over":
        needs = {"market.sub_slots above 1, whose waves all do": settings.sub_slots > 1}
        needs["market.inventory.rule=unlimited"] = settings.inventory.rule == "unlimited"
        for name, there in needs.items():
            if there:
                raise refuse("market.sold_out", "passed_over", f"'asked' with {name}")
    shocks = settings.shocks
    highest = (
        max(1.0, shocks.scale if shocks.probability > 0 else 1.0)
        * settings.demand_scale
        * reach.demand
        / settings.sub_slots
    )
    own_traffic = build_traffic(visitors, demand_shape.num_classes, spread.num_offers, highest)
    # Benchmarks need costs and demand only: this market without prices serves to lay the grid around them.
    zeros = np.zeros((spread.num_offers,), np.float32)
    bare = Market(
        market.MarketShape(
            demand=demand_shape,
            traffic=own_traffic.shape,
            inventory=inventory_shape,
            prices=market.PriceShape(),
            reward=reward_shape,
            episode_length=settings.episode_length,
            sub_slots=settings.sub_slots,
            pass_over=settings.sold_out == "passed_over",
            features=_features(settings, visitors),
            bankruptcy=settings.bankruptcy.initial_cash is not None,
            collapse_patience=settings.collapse_patience,
        ),
        market.MarketParams(
            demand=demand_params,
            traffic=own_traffic.params,
            inventory=inventory_params,
            prices=market.PriceParams(*map(float32, (zeros[:, None], zeros, zeros[0], zeros, zeros, zeros, zeros))),
            reward=reward_params,
            observed=None if settings.calibration is None else float32(settings.calibration.reference_price),
        ),
    )
    bare = Market(*hold_orders(visitors, settings, *bare))
    if "supra_competitive" in reward_shape.penalties and settings.reward.anchor == "nash":
        try:
            anchor = static.nash(*_as_posted(bare)).prices
        except static.NoEquilibriumError as error:
            raise ConfigError(f"market.reward.anchor='nash': {error}; give the anchor as a price") from None
        bare = bare._replace(params=bare.params.replace(reward=reward_params.replace(anchor=float32(anchor))))
    price_shape, price_params = _build_prices(settings, spread, bare)
    shape = market.MarketShape(**{**vars(bare.shape), "prices": price_shape})
    built = Market(shape, with_reference(visitors, bare.params.replace(prices=price_params)))
    built = _stock_in_units(built) if getattr(settings.inventory, "in_periods", False) else built
    if isinstance(settings.inventory, ContractRule | ChosenContracts):
        shape = replace(built.shape, contracts=shape_of(settings.inventory, spread))
        built = Market(shape, with_contracts(settings.inventory, shape, built.params, spread))
    _refuse_overflow(built.params)
    return built


def _check_continuous(settings: MarketSettings) -> None:
    own = settings.prices.map
    if settings.inventory.rule in ("chosen", "contract_chosen"):
        accepted = f"levels or scale with market.inventory.rule={settings.inventory.rule}"
        raise refuse("market.prices.map", own, accepted)
    if settings.reward.information_value == "revelation":
        accepted = f"constant with market.prices.map={own}: a single price out of a continuum has no probability"
        raise refuse("market.reward.information_value", "revelation", accepted)


# No limit; the logarithm of a share that is 0.
_MAY_BE_INFINITE = ("order_cap", "highest_price", "kind_weights")


def _refuse_overflow(params: market.MarketParams) -> None:
    """Refuse settings that each are numbers, and together make one that 32 bits cannot hold."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            continue
        name, array = jax.tree_util.keystr(path, simple=True, separator="."), np.asarray(leaf)
        wrong = array[np.isnan(array) | (np.isinf(array) & (not name.endswith(_MAY_BE_INFINITE)))]
        if wrong.size:
            raise ConfigError(f"market: {name} comes out as {wrong[0]}: accepted are settings that keep it a number")


def market_of_contracts(settings: Mapping[str, Any], visitors: Mapping[str, Any]) -> Market:
    """A market whose contracts are signed outside of it, between its epochs.

    Raises:
        ConfigError: as `market_from`, and where the market has no contracts.
    """
    own = validate(MarketSettings, resolve(settings), "market")
    if not isinstance(own.inventory, ContractRule | ChosenContracts):
        raise refuse("market.inventory.rule", own.inventory.rule, "contract or contract_chosen")
    built = build_market(own, validate(Traffic, visitors, "traffic"))
    assert built.shape.contracts is not None
    return built._replace(
        shape=replace(built.shape, contracts=replace(built.shape.contracts, defaults=True, outside=True))
    )


def market_from(settings: Mapping[str, Any], visitors: Mapping[str, Any] | None = None) -> Market:
    """A market from plain data, as it stands under `market:` and `traffic:` in YAML.

    Raises:
        ConfigError: naming each field that is wrong, its value and what is accepted.
    """
    own = validate(MarketSettings, resolve(settings), "market")
    return build_market(own, validate(Traffic, visitors or {}, "traffic"))

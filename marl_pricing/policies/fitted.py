"""The stock-and-price rule, fitted to a market: in one seat against others as they are, or for all sellers together.

All candidates meet the same shoppers (common random numbers). Which is best is decided under other shoppers than those
that shaped the search, and what it earns is told under others again, so that the best of many is not taken for better
than it is.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.equilibrium import static
from marl_pricing.equilibrium.one_shot import NoEquilibriumError
from marl_pricing.market import MarketParams, MarketShape, Outcome, Policy
from marl_pricing.policies.episodes import run_episodes
from marl_pricing.policies.expectations import expected_demand
from marl_pricing.policies.orders import order_up_to
from marl_pricing.policies.search import next_generation
from marl_pricing.policies.seats import seat
from marl_pricing.policies.stock_and_price import StockPriceParameters, shows_level, shows_shocks, stock_and_price
from marl_pricing.traffic.params import Array

Objective = Literal["shaped", "raw"]
NAME = "fitted_stock_price"

# A step of the search plays so many rows: candidates × episodes, then finalists × others, then the winner × others.
_CANDIDATES, _EPISODES, _GENERATIONS = 32, 12, 6
_FINALISTS = 8
_ROWS = _CANDIDATES * _EPISODES
_CHOSEN, HELD_OUT = _ROWS // _FINALISTS, _ROWS // 2  # episodes that choose among finalists, and that tell
_ROUNDS = 3  # of best responses among sellers that all use the rule
_TURNS = 6  # the same, where sellers are alike and one finds the answer for all
_NEAR = 0.15  # of the box: how far around the present rule a further round looks
_SLOWEST = 0.02  # least weight of the last epoch in the running demand
_SAFETY = 3.0  # standard deviations of safety stock in the largest order-up-to level that is tried


def coordinates(shape: MarketShape) -> tuple[str, ...]:
    """Names [D] of what a fit looks for: a base price a product, a slope for each thing that there is to react to."""
    names = [f"base {product}" for product in range(shape.num_products)]
    if not shape.inventory.unlimited:
        names.append("stock_slope")
    if shows_level(shape):
        names += ["demand_slope", "memory"]
    if shows_shocks(shape):
        names.append("shock_slope")
    if shape.chooses_quantities:
        names.append("order_up_to")
    return tuple(names)


def rule_at(shape: MarketShape, params: MarketParams, points: Array) -> StockPriceParameters:
    """The rule's numbers at the sellers' points [S, D] of the box [0, 1]^D; 0.5 of a slope is none.

    Slopes are in ranges of the offer's own prices, up to two for stock and one for demand and shocks.
    """
    names = coordinates(shape)
    low, width = params.prices.low, params.prices.high - params.prices.low

    def offers(name: str, otherwise: float) -> Array:
        if name not in names:
            return jnp.full((shape.num_offers,), otherwise)
        own = points[:, names.index(name)]
        return jnp.repeat(own, shape.num_products, total_repeat_length=shape.num_offers)

    most = jnp.zeros((shape.num_offers,))
    if shape.chooses_quantities:
        # At the lowest prices demand is at its highest; sessions by script have no expectation, only a largest order.
        most = params.inventory.order_levels.max() * (params.inventory.lead_time + 1.0)
        if shape.traffic.model != "scripted":
            most = jnp.minimum(most, order_up_to(params, expected_demand(shape, params, low), _SAFETY))
    return StockPriceParameters(
        base=low + width * points[:, : shape.num_products].reshape(-1),
        stock_slope=4.0 * width * (offers("stock_slope", 0.5) - 0.5),
        demand_slope=2.0 * width * (offers("demand_slope", 0.5) - 0.5),
        memory=_SLOWEST ** (1.0 - offers("memory", 1.0)),
        shock_slope=2.0 * width * (offers("shock_slope", 0.5) - 0.5),
        order_up_to=most * offers("order_up_to", 0.0),
    )


def first_generation(shape: MarketShape, key: Array, count: int) -> Array:
    """Points [count, D]: half of them constant prices from the lowest to the highest, the others anywhere."""
    names = coordinates(shape)
    points = jax.random.uniform(key, (count, len(names)))
    constants = count // 2
    slope = jnp.array([name.endswith("slope") for name in names])
    base = jnp.array([name.startswith("base") for name in names])
    along = jnp.linspace(0.0, 1.0, constants)[:, None]
    still = jnp.where(base, along, jnp.where(slope, 0.5, points[:constants]))
    return points.at[:constants].set(still)


class _Game(NamedTuple):
    """A seat, and what a candidate meets there.

    Attributes:
        host: parameters of the policy in the other seats.  memory: of host and rule before the first epoch.
        seller: [] int32.  weight: [] 1.0 for shaped rewards, 0.0 for raw ones.
    """

    host: Any
    memory: Any
    seller: Array
    weight: Array


def _play_rows(
    key: Array, shape: MarketShape, params: MarketParams, act: Any, game: _Game, rows: tuple[Array, Array, Array]
) -> Array:
    """Rewards [R] per epoch of the seat; rows: (points [R, D], episode numbers [R], the rule sits there [R] bool)."""

    def keep(outcome: Outcome, live: Array) -> Array:
        both = game.weight * outcome.shaped + (1.0 - game.weight) * outcome.reward
        return jnp.where(live, both, 0.0)[game.seller]

    def row(point: Array, number: Array, seated: Array) -> Array:
        rule = rule_at(shape, params, jnp.broadcast_to(point, (shape.num_sellers, point.size)))
        taken = (jnp.arange(shape.num_sellers) == game.seller) & seated
        parameters = (game.host, rule, taken)
        return run_episodes(
            key, shape, params, act, parameters, game.memory, numbers=number[None], keep=keep
        ).mean()  # fmt: skip

    return jax.vmap(row)(*rows)


def _search(
    key: Array, shape: MarketShape, params: MarketParams, act: Any, game: _Game, first: Array, tell: bool
) -> tuple[Array, Array]:
    """The best point [D] of a seat and, if they are to be told, rewards [2, E] of rule and host, held out.

    One scan for search, choice and telling, so that the market is compiled once.

    Args:
        first: [C, D] the first generation.
    """
    key_search, key_shoppers = jax.random.split(key)
    finalist, candidate = jnp.arange(_CHOSEN), jnp.arange(_EPISODES)

    def step(carry: tuple, number: Array) -> tuple[tuple, Array]:
        population, finalists, known, best = carry
        searching, choosing = number < _GENERATIONS, number == _GENERATIONS
        points = jnp.where(
            searching,
            jnp.repeat(population, _EPISODES, 0),
            jnp.where(choosing, jnp.repeat(finalists, _CHOSEN, 0), jnp.broadcast_to(best, (_ROWS, best.size))),
        )
        episodes = jnp.where(
            searching,
            jnp.tile(candidate, _CANDIDATES),
            _EPISODES
            + jnp.where(choosing, jnp.tile(finalist, _FINALISTS), _CHOSEN + jnp.tile(jnp.arange(HELD_OUT), 2)),
        )
        seated = searching | choosing | (jnp.arange(_ROWS) < HELD_OUT)
        rewards = _play_rows(key_shoppers, shape, params, act, game, (points, episodes, seated))
        values = rewards.reshape(_CANDIDATES, _EPISODES).mean(1)
        # The first of a later generation is the best of the one before: it stands among the finalists already.
        again = (jnp.arange(_CANDIDATES) == 0) & (number > 0)
        all_points = jnp.concatenate([finalists, population])
        all_values = jnp.concatenate([known, jnp.where(again, -jnp.inf, values)])
        order = jnp.argsort(-all_values)[:_FINALISTS]
        chosen = finalists[rewards.reshape(_FINALISTS, _CHOSEN).mean(1).argmax()]
        following = next_generation(jax.random.fold_in(key_search, number), population, values)
        carry = (
            following,
            jnp.where(searching, all_points[order], finalists),
            jnp.where(searching, all_values[order], known),
            jnp.where(choosing, chosen, best),
        )
        return carry, rewards

    nothing = jnp.full((_FINALISTS,), -jnp.inf)
    begin = (first, first[:_FINALISTS], nothing, first[0])
    carry, rewards = jax.lax.scan(step, begin, jnp.arange(_GENERATIONS + 1 + tell))
    return carry[-1], rewards[-1].reshape(2, HELD_OUT)


_search_alone = jax.jit(_search, static_argnames=("shape", "act", "tell"))


class Response(NamedTuple):
    """A rule fitted to one seat.

    Attributes:
        policy: the rule, to be seated with `policies.seat`.
        numbers: of the rule in that seat, by name; money or units, see `StockPriceParameters`.
        rewards, host_rewards: [E] per epoch of the rule and of the host in the same held-out episodes.
    """

    policy: Policy
    numbers: dict[str, float]
    rewards: np.ndarray
    host_rewards: np.ndarray

    @property
    def gain(self) -> float:
        """Mean reward per epoch that the rule earns more than the host."""
        return float((self.rewards - self.host_rewards).mean())


def numbers_of(shape: MarketShape, rule: StockPriceParameters, seller: int) -> dict[str, float]:
    """The rule's numbers for one seller, those that the market has a use for; `[product k]` where there are several."""
    several = shape.num_products > 1
    used = {name.split(" ")[0] for name in coordinates(shape)}
    found = {}
    for name in ("base", "stock_slope", "demand_slope", "memory", "shock_slope", "order_up_to"):
        if name not in used:
            continue
        values = np.asarray(getattr(rule, name), np.float64).reshape(shape.num_sellers, -1)[seller]
        for product, value in enumerate(values):
            found[f"{name} [product {product}]" if several else name] = float(value)
    return found


def in_words(shape: MarketShape, rule: StockPriceParameters) -> str:
    """The rule's numbers in a line: those of every seller, once where they are the same."""
    each = [
        ", ".join(f"{name} {value:.3g}" for name, value in numbers_of(shape, rule, seller).items())
        for seller in range(shape.num_sellers)
    ]
    if len(set(each)) == 1:
        return each[0] if shape.num_sellers == 1 else f"every seller: {each[0]}"
    return "; ".join(f"seller {seller}: {text}" for seller, text in enumerate(each))


def fit_response(
    key: Array,
    shape: MarketShape,
    params: MarketParams,
    host: Policy,
    seller: int,
    *,
    objective: Objective = "raw",
) -> Response:
    """The best numbers of the rule in one seat while the host plays all others as it is.

    Constant prices are among those tried. Sellers, hosts of one kind and objectives share one compiled program.

    Args:
        host: for all sellers; its own reward in the seat is what the gain is measured against.
        objective: `raw` the seller's own money, `shaped` r' at the market's omega.

    Raises:
        ValueError: for a seat that the market does not have, or another objective.
    """
    if objective not in ("raw", "shaped"):
        raise ValueError(f"objective={objective!r}: accepted is raw or shaped")
    key_first, key_search = jax.random.split(key)
    first = first_generation(shape, key_first, _CANDIDATES)
    middle = stock_and_price(shape, rule_at(shape, params, jnp.full((shape.num_sellers, first.shape[1]), 0.5)))
    seated = seat(host, middle, seller, shape.num_sellers)
    game = _Game(host.parameters, seated.start(), jnp.int32(seller), jnp.float32(objective == "shaped"))
    point, told = _search_alone(key_search, shape, params, seated.act, game, first, tell=True)
    rule = rule_at(shape, params, jnp.broadcast_to(point, (shape.num_sellers, point.size)))
    ours, theirs = np.asarray(told, np.float64)
    return Response(stock_and_price(shape, rule, NAME), numbers_of(shape, rule, seller), ours, theirs)


def _start_points(shape: MarketShape, params: MarketParams) -> Array:
    """Where the sellers begin [S, D]: prices of the one-shot equilibrium at the market's omega, no slopes."""
    names = coordinates(shape)
    points = jnp.full((shape.num_sellers, len(names)), 0.5)
    together = bool((np.asarray(params.reward.omega) == 0.0).all())
    try:
        found = (static.joint_profit if together else static.omega_equilibrium)(shape, params).prices
    except NoEquilibriumError:
        return points
    width = np.maximum(np.asarray(params.prices.high - params.prices.low), 1e-9)
    base = np.clip((found - np.asarray(params.prices.low)) / width, 0.0, 1.0).reshape(shape.num_sellers, -1)
    return points.at[:, : shape.num_products].set(jnp.asarray(base, jnp.float32))


def sellers_alike(shape: MarketShape, params: MarketParams) -> bool:
    """Whether sellers could change places and nothing would change."""

    def same(values: Any) -> bool:
        """Of values whose last axis are offers or sellers."""
        own = np.asarray(values)
        by_seller = own.reshape(*own.shape[:-1], shape.num_sellers, -1)
        return bool((by_seller == by_seller[..., :1, :]).all())

    demand, stock, prices, money = params.demand, params.inventory, params.prices, params.reward
    values = [own for own in jax.tree.leaves(demand.choice) if own.shape[-1:] == (shape.num_offers,)]
    values += [demand.level_persistence, demand.level_volatility, demand.level_noise]
    values += jax.tree.leaves(stock.replace(order_levels=None))
    values += [prices.levels.T, prices.low, prices.high, prices.start_low, prices.start_high]
    values += [own for own in jax.tree.leaves(money) if own.ndim]
    return all(map(same, values))


@partial(jax.jit, static_argnames=("shape", "act", "alike"))
def _settle(
    key: Array, shape: MarketShape, params: MarketParams, act: Any, memory: Any, start: Array, alike: bool
) -> Array:
    """Points [S, D] after some rounds of best responses, seller after seller, each to the others' newest rules.

    Where sellers are `alike` the first one finds an answer, and all take it. The first round looks everywhere, the
    others around the present rules.
    """
    num_sellers, dims = start.shape
    in_a_round = 1 if alike else num_sellers

    def respond(points: Array, turn: Array) -> tuple[Array, None]:
        seller = turn % in_a_round
        own_key, key_first = jax.random.split(jax.random.fold_in(key, turn))
        anywhere = first_generation(shape, key_first, _CANDIDATES)
        near = jnp.clip(points[seller] + _NEAR * jax.random.normal(key_first, (_CANDIDATES, dims)), 0.0, 1.0)
        first = jnp.where(turn < in_a_round, anywhere, near).at[0].set(points[seller])
        game = _Game(rule_at(shape, params, points), memory, seller, jnp.ones(()))
        found = _search(own_key, shape, params, act, game, first, tell=False)[0]
        return jnp.broadcast_to(found, points.shape) if alike else points.at[seller].set(found), None

    turns = _TURNS if alike and num_sellers > 1 else _ROUNDS * num_sellers
    return jax.lax.scan(respond, start, jnp.arange(turns))[0]


def fitted_stock_price(shape: MarketShape, params: MarketParams) -> Policy:
    """The stock-and-price rule for all sellers, each with numbers that are a best response to the others' (at its ω).

    With one seller, or where all share one objective (ω = 0), that is a search for the most that the rule can earn.
    """
    start = _start_points(shape, params)
    rule = stock_and_price(shape, rule_at(shape, params, start))
    seated = seat(rule, rule, 0, shape.num_sellers)
    alike = sellers_alike(shape, params)
    points = _settle(jax.random.key(0), shape, params, seated.act, seated.start(), start, alike)
    return stock_and_price(shape, rule_at(shape, params, points), NAME)

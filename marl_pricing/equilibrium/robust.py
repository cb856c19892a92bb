"""One-shot equilibria of sellers that fear the worst world.

Each seller maximises the worst expectation, over a set of laws on candidate worlds, of its *expected* shaped profit
ω_i π_i + (1 − ω_i) Σ_j π_j (Aghassi and Bertsimas 2006). The expectation over shoppers comes first and has a closed
form, so that all this is exact. The minimum kinks a payoff where two worlds are worth the same to a seller, as along a
kinked demand curve (Sweezy 1939): where that is nearer than the next price of a grid, neither a cut nor a rise pays,
and an interval of the grid's prices are equilibria. `grid_equilibria` lists all there are; `equilibrium` finds the ends
off the grid, from low and from high prices, which are often one point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.equilibrium import grid, one_shot, worst_case
from marl_pricing.equilibrium.one_shot import CyclingError, NoEquilibriumError
from marl_pricing.laws import SetName, demand_distances, worst_law
from marl_pricing.market import MarketParams, MarketShape

Array = np.ndarray
_SWEEPS = 200
# Laws are found by halving: payoffs are exact to about this.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Worlds:
    """Candidate worlds of one market and the laws over them that are thought possible.

    Attributes:
        params: of each of the K worlds; their omega and price levels are the market's.
        set, radius: the set of laws around the `weights` [K].
        metric: [K, K] distances for `wasserstein`; None there measures by expected demand at the prices asked for.
        nature: one adversary chooses against the sum of all shaped profits, and its law is everybody's.
    """

    params: tuple[MarketParams, ...]
    set: SetName
    radius: float
    weights: tuple[float, ...]
    metric: Array | None = None
    nature: bool = False

    @property
    def rule(self) -> tuple[SetName, bool]:
        """What is static about the adversary."""
        return self.set, self.nature


@dataclass(frozen=True)
class RobustEquilibrium:
    """Prices from which no seller gains in its own worst case.

    Attributes:
        prices: [N] money.
        worst: [S] worst expectation of each seller's shaped profit; of all profits together for `joint_profit`, [1].
        laws: [K, S] (or [K, 1]) over the worlds, by which they are the worst.
        profits: [K, S] expected raw profits in each world, money per epoch.
        residual: largest gain, money per epoch, that a seller has left from other prices of its own.
    """

    prices: Array
    worst: Array
    laws: Array
    profits: Array
    residual: float


def _stack(worlds: Worlds) -> MarketParams:
    """All worlds' numbers in float64 with a leading axis [K]; call under `jax.enable_x64`."""
    bare = [
        # Neither a bank of sessions nor variants matter to a closed form.
        one_shot.in_float64(own.replace(variants=None, traffic=own.traffic.without_bank()))
        for own in worlds.params
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *bare)


@partial(jax.jit, static_argnums=0)
def _profits(shape: MarketShape, stacked: MarketParams, prices: jax.Array) -> jax.Array:
    """Raw profits [K, S], money per epoch."""
    return jax.vmap(lambda own: one_shot.profits(shape, own, prices))(stacked)


def _shaped(raw: jax.Array, omega: jax.Array) -> jax.Array:
    """Shaped profits [K, S + 1]; the last column is the sum of all raw ones."""
    total = raw.sum(-1, keepdims=True)
    return jnp.concatenate([omega * raw + (1.0 - omega) * total, total], -1)


def _distances(shape: MarketShape, stacked: MarketParams, prices: jax.Array) -> jax.Array:
    demand = jax.vmap(lambda own: one_shot.demand(shape, own, prices))(stacked)
    return demand_distances(demand)


def _laws(
    shape: MarketShape, rule: tuple[SetName, bool], game: worst_case.Game, prices: jax.Array, shaped: jax.Array
) -> jax.Array:
    """The worst laws [K, S + 1] of every seller, and of all together, at shaped profits [K, S + 1]."""
    name, nature = rule
    metric = game.metric
    if name == "wasserstein" and metric is None:
        metric = _distances(shape, game.stacked, prices)
    by_column = shaped.T
    if nature:
        against = shaped[:, :-1].sum(-1)
        by_column = jnp.concatenate([jnp.broadcast_to(against, (shape.num_sellers, against.size)), by_column[-1:]])
    return worst_law(name, by_column, game.weights, game.radius, metric).T


@partial(jax.jit, static_argnums=(0, 1))
def _payoffs(
    shape: MarketShape, rule: tuple[SetName, bool], game: worst_case.Game, prices: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(worst expectations [S + 1] of shaped profits and of the total, their laws [K, S + 1]) at prices [N]."""
    shaped = _shaped(_profits(shape, game.stacked, prices), game.omega)
    laws = _laws(shape, rule, game, prices, shaped)
    return (laws * shaped).sum(0), laws


@partial(jax.jit, static_argnums=(0, 1))
def _along(
    shape: MarketShape,
    rule: tuple[SetName, bool],
    game: worst_case.Game,
    prices: jax.Array,
    offer: jax.Array,
    points: jax.Array,
) -> jax.Array:
    """Payoff [G] of the offer's seller with that offer at each of `points` [G]."""
    seller = offer // shape.num_products
    return jax.vmap(lambda p: _payoffs(shape, rule, game, prices.at[offer].set(p))[0][seller])(points)


@partial(jax.jit, static_argnums=0)
def _by_world(
    shape: MarketShape, game: worst_case.Game, prices: jax.Array, column: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Shaped profits [K] of one seller (S: of all together) and their slopes [K, N] in all prices."""

    def values(p: jax.Array) -> jax.Array:
        return _shaped(_profits(shape, game.stacked, p), game.omega)[:, column]

    return values(prices), jax.jacfwd(values)(prices)


class _Solver:
    """Best responses of sellers in one market; made under `jax.enable_x64`."""

    def __init__(self, shape: MarketShape, worlds: Worlds, omega: float | Array | None) -> None:
        one_shot.refuse_unknown_orders(shape)
        self.shape, self.worlds = shape, worlds
        stacked = _stack(worlds)
        own = stacked.reward.omega[0] if omega is None else jnp.asarray(omega, float)
        self.game = worst_case.Game(
            stacked=stacked,
            omega=jnp.broadcast_to(own, (shape.num_sellers,)),
            weights=jnp.asarray(worlds.weights, float),
            radius=jnp.asarray(worlds.radius, float),
            metric=None if worlds.metric is None else jnp.asarray(worlds.metric, float),
        )
        self.cost = np.asarray(stacked.reward.unit_cost[0])
        each = [jax.tree.map(lambda leaf, k=k: leaf[k], stacked) for k in range(len(worlds.params))]
        self.high = np.max([one_shot.highest_prices(shape, own, self.cost) for own in each], 0)

    def payoffs(self, prices: Array) -> tuple[Array, Array]:
        """(worst expectations [S + 1], laws [K, S + 1])."""
        value, laws = _payoffs(self.shape, self.worlds.rule, self.game, jnp.asarray(prices))
        return np.asarray(value), np.asarray(laws)

    def best_price(self, prices: Array, offer: int) -> tuple[float, float]:
        """Best price of one offer, the others as they are, and the payoff there."""

        def along(points: Array) -> Array:
            return np.asarray(
                _along(self.shape, self.worlds.rule, self.game, jnp.asarray(prices), jnp.asarray(offer), points)
            )

        return worst_case.highest_point(along, float(self.cost[offer]), float(self.high[offer]))

    def best_prices(self, prices: Array, column: int, near: bool = False) -> tuple[Array, float]:
        """Best prices of all of a seller's products at once (column S: of all sellers as one), and the payoff there."""
        width = self.shape.num_products
        everyone = column == self.shape.num_sellers
        own = np.arange(prices.size) if everyone else np.arange(column * width, (column + 1) * width)

        def everything(point: Array) -> Array:
            changed = prices.copy()
            changed[own] = point
            return changed

        def by_world(point: Array) -> tuple[Array, Array]:
            values, slopes = _by_world(self.shape, self.game, jnp.asarray(everything(point)), jnp.asarray(column))
            return np.asarray(values), np.asarray(slopes)[:, own]

        def worst(point: Array) -> tuple[float, Array]:
            value, laws = self.payoffs(everything(point))
            return float(value[column]), laws[:, column]

        point, value = worst_case.maximise(by_world, worst, prices[own], self.cost[own], self.high[own], near)
        return everything(point), value

    def found(self, prices: Array, residual: float, columns: slice) -> RobustEquilibrium:
        value, laws = self.payoffs(prices)
        profits = np.asarray(_profits(self.shape, self.game.stacked, jnp.asarray(prices)))
        return RobustEquilibrium(prices, value[columns], laws[:, columns], profits, residual)

    def gain(self, prices: Array) -> float:
        """Largest gain that a seller has left from other prices of its own."""
        here, _ = self.payoffs(prices)
        width = self.shape.num_products
        gains = [self.best_price(prices, offer)[1] - here[offer // width] for offer in range(prices.size)]
        if width > 1:
            gains += [self.best_prices(prices, seller)[1] - here[seller] for seller in range(self.shape.num_sellers)]
        return max(0.0, *gains)


def _refuse_nature(worlds: Worlds, shape: MarketShape, omega: jax.Array) -> None:
    if worlds.nature and shape.num_sellers > 1 and bool(jnp.any(omega != 0.0)):
        raise NoEquilibriumError(
            "robust.mode: where one nature chooses against all sellers, payoffs jump where it changes its mind; off "
            "the grid accepted is per_seller, or omega=0"
        )


def equilibrium(
    shape: MarketShape,
    worlds: Worlds,
    omega: float | Array | None = None,
    start: Literal["low", "high"] = "low",
) -> RobustEquilibrium:
    """Prices at which no seller gains in its own worst case, reached by best responses from low or from high prices.

    Where best responses rise with rivals' prices these are the lowest and the highest equilibrium (Milgrom and Roberts
    1990, theorem 5).

    Args:
        omega: a number, [S], or None for the market's own.

    Raises:
        NoEquilibriumError: where best responses do not settle, no finite price is best, or expected orders have no
            closed form; and for one nature against all.
    """
    with jax.enable_x64(True):
        solver = _Solver(shape, worlds, omega)
        _refuse_nature(worlds, shape, solver.game.omega)
        cost, high = solver.cost, solver.high
        prices = (cost + 0.02 * (high - cost)) if start == "low" else high.copy()
        # Sellers of several products settle near by first; then they look around as far as it takes.
        for near in (True, False) if shape.num_products > 1 else (False,):
            prices, moved = _settle(solver, prices, near)
        if np.any(prices >= cost + 0.999 * (high - cost)):
            raise NoEquilibriumError("robust equilibrium: a seller gains from ever higher prices")
        residual = solver.gain(prices)
        scale = float(np.abs(solver.payoffs(prices)[0]).max())
        if residual > 1e-6 * max(scale, 1e-9):
            raise CyclingError(
                f"robust equilibrium: best responses do not settle; after {_SWEEPS} rounds prices move by {moved:.3g} "
                f"and leave a gain of {residual:.3g} an epoch from deviating"
            )
        return solver.found(prices, residual, slice(0, shape.num_sellers))


def _settle(solver: _Solver, prices: Array, near: bool) -> tuple[Array, float]:
    """Best responses one after the other until none moves; (prices [N], how far they moved in the last round)."""
    shape, moved = solver.shape, np.inf
    for _ in range(_SWEEPS):
        before = prices.copy()
        for offer in range(prices.size):
            prices[offer], _ = solver.best_price(prices, offer)
        if shape.num_products > 1:
            for seller in range(shape.num_sellers):
                prices, _ = solver.best_prices(prices, seller, near)
        moved = float(np.abs(prices - before).max())
        if moved <= 1e-7 * float(solver.high.max()):
            break
    return prices, moved


def nash(shape: MarketShape, worlds: Worlds, start: Literal["low", "high"] = "low") -> RobustEquilibrium:
    """Robust Bertrand–Nash prices (ω = 1); see `equilibrium`."""
    return equilibrium(shape, worlds, 1.0, start)


def joint_profit(shape: MarketShape, worlds: Worlds) -> RobustEquilibrium:
    """Prices of the highest worst expectation of the sum of profits, all set by one hand; errors as `equilibrium`."""
    with jax.enable_x64(True):
        solver = _Solver(shape, worlds, 0.0)
        prices, value = solver.best_prices(solver.cost + 0.1 * (solver.high - solver.cost), shape.num_sellers)
        for _ in range(_SWEEPS):
            before = value
            # Distances that go by demand move with prices, so that laws met elsewhere are no cuts here.
            for offer in range(prices.size):
                prices[offer], _ = solver.best_price(prices, offer)
            prices, value = solver.best_prices(prices, shape.num_sellers, near=True)
            if value - before <= 1e-12 * max(abs(value), 1e-9):
                break
        if np.any(prices >= solver.cost + 0.999 * (solver.high - solver.cost)):
            raise NoEquilibriumError("robust joint profit: sellers gain from ever higher prices")
        one_by_one = solver.gain(prices)
        if one_by_one > 1e-6 * max(abs(value), 1e-9):
            raise NoEquilibriumError(f"robust joint profit: a single price leaves a gain of {one_by_one:.3g} an epoch")
        return solver.found(prices, one_by_one, slice(shape.num_sellers, None))


def between(shape: MarketShape, worlds: Worlds, ends: tuple[Array, Array], omega: float | Array | None = None) -> bool:
    """Whether prices on the straight line between two equilibria [N] are equilibria too; five are tried."""
    with jax.enable_x64(True):
        solver = _Solver(shape, worlds, omega)
        low, high = ends
        points = [low + share * (high - low) for share in np.linspace(0.0, 1.0, 7)[1:-1]]
        scale = float(np.abs(solver.payoffs(points[2])[0]).max())
        return all(solver.gain(point) <= 1e-6 * max(scale, 1e-9) for point in points)


def worst_payoffs(shape: MarketShape, worlds: Worlds, prices: Array, omega: float | Array | None = None) -> Array:
    """Worst expectations [S + 1], money per epoch, of shaped profits and of the sum of raw ones, at prices [N]."""
    with jax.enable_x64(True):
        return _Solver(shape, worlds, omega).payoffs(np.asarray(prices, np.float64))[0]


def _grid_values(shape: MarketShape, worlds: Worlds, omega: float | Array | None) -> Array:
    with jax.enable_x64(True):
        solver = _Solver(shape, worlds, omega)
        prices = jnp.asarray(grid.joint_prices(shape, np.asarray(solver.game.stacked.prices.levels[0])))
        value: Callable[[jax.Array], jax.Array] = lambda p: _payoffs(shape, worlds.rule, solver.game, p)[0]  # noqa: E731
        return np.asarray(jax.lax.map(value, prices, batch_size=8_192))


def grid_payoffs(shape: MarketShape, worlds: Worlds, omega: float | Array | None = None) -> Array:
    """Worst expectations of shaped profits in the game restricted to the price grid, [A, …, A, S]; see `static`.

    Raises:
        ValueError: if the market has no grid, or the game has more than four million entries.
        NoEquilibriumError: where expected orders have no closed form.
    """
    return grid.as_game(shape, _grid_values(shape, worlds, omega)[:, :-1])


def grid_equilibria(shape: MarketShape, worlds: Worlds, omega: float | Array | None = None) -> Array:
    """All pure equilibria [E, N] of that game, as indices of price levels; no row where none exists."""
    return grid.pure_equilibria(shape, grid_payoffs(shape, worlds, omega), _TOLERANCE)


def grid_joint(shape: MarketShape, worlds: Worlds) -> tuple[Array, float]:
    """(indices [N] of the grid's prices with the highest worst expectation of total profit, that expectation)."""
    total = _grid_values(shape, worlds, 0.0)[:, -1]
    best = int(total.argmax())
    own = shape.prices.num_levels**shape.num_products
    chosen = np.array(np.unravel_index(best, (own,) * shape.num_sellers))
    return grid.actions_of(shape)[chosen].reshape(-1), float(total[best])

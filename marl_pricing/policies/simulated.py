"""The best constant prices of a market as it is, found by playing it: stock, its chance and all that moves included.

Static benchmarks take it that every order is served. Where sellers choose their orders, each price orders up to what
its demand needs, as `constant` does. Here sellers try each price of their grids against the same
shoppers (common random numbers) until nobody has a better one, or until no price raises the sum of all profits. What
was found is tried again under other shoppers: `tried` says what a seller would still win there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.equilibrium import static
from marl_pricing.equilibrium.one_shot import NoEquilibriumError
from marl_pricing.market import MarketParams, MarketShape, Outcome, Policy
from marl_pricing.policies.constant import ConstantParameters, act_of, constant, levels_at
from marl_pricing.policies.episodes import run_episodes
from marl_pricing.policies.expectations import RuleError, need_expectations
from marl_pricing.traffic.params import Array

NASH, JOINT = "simulated_nash", "simulated_joint"
SIMULATED = (NASH, JOINT)
EPISODES = 32  # of a price, that choose; as many others tell what could still be won
_MEASURED = 256  # at least so many others tell what the prices found bring
_STEPS = 25  # prices of an offer that are tried where they are on no grid
_ROUNDS = 30  # in each of which every direction is looked along once
_FEW = 4  # offers of which any two are moved against each other


@partial(jax.jit, static_argnames=("shape", "act"))
def _profits(key: Array, shape: MarketShape, params: MarketParams, act: Any, prices: Array, first: Array) -> Array:
    """Profits [C, E, S], money per epoch, at constant prices [C, N] in the E episodes from each number `first` [C]."""

    def keep(outcome: Outcome, live: Array) -> Array:
        return jnp.where(live, outcome.reward, 0.0)

    def one(row: tuple[Array, Array]) -> Array:
        own, start = row
        rule = ConstantParameters(own, levels_at(shape, params, own))
        numbers = start + jnp.arange(EPISODES)
        return run_episodes(key, shape, params, act, rule, (), numbers=numbers, keep=keep).mean(1)

    return jax.lax.map(one, (prices, first))


@dataclass(frozen=True)
class _Search:
    """A market whose constant prices are played.

    Attributes:
        grid: [N, K] money, each offer's prices.
        known: [K, S] mean profits by the places that were tried together, so that nothing is played twice.
    """

    shape: MarketShape
    params: MarketParams
    grid: np.ndarray
    known: dict[bytes, np.ndarray] = field(default_factory=dict)

    def played(self, prices: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Profits [K, E, S] at prices [K, N] in episodes from the numbers `first` [K] on."""
        act = act_of(self.shape)
        rows = jnp.asarray(prices), jnp.asarray(first, jnp.int32)
        return np.asarray(_profits(jax.random.key(0), self.shape, self.params, act, *rows), np.float64)

    def tried(self, index: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places [K, N] along a direction from `index` [N], and mean profits [K, S] there, in the episodes that choose.

        Along one offer these are all its prices, else as many steps to both sides, as far as grids go.
        """
        count = self.grid.shape[1]
        steps = np.arange(count) - (index[direction.argmax()] if np.abs(direction).sum() == 1 else count // 2)
        places = np.clip(index + steps[:, None] * direction, 0, count - 1)
        key = places.tobytes()
        if key not in self.known:
            self.known[key] = self.played(self.at(places), np.zeros(count)).mean(1)
        return places, self.known[key]

    def at(self, places: np.ndarray) -> np.ndarray:
        """Prices [..., N] at places of the grid [..., N]."""
        return self.grid[np.arange(self.shape.num_offers), places]

    def nearest(self, prices: np.ndarray) -> np.ndarray:
        """Places [N] of the grid nearest to prices [N]."""
        return np.abs(self.grid - np.asarray(prices)[:, None]).argmin(1)

    def owner(self, offer: int) -> int:
        """The seller of an offer."""
        return offer // self.shape.num_products

    def settle(self, index: np.ndarray, *, together: bool) -> tuple[np.ndarray, float] | None:
        """Places [N] that no change improves, and the profit of all there; None where none is reached.

        Changes are of one price; where `together`, also of all alike, and of few offers' two against each other.

        Args:
            index: [N] where to begin.  together: a price is better where all earn more; else where its seller does.
        """
        earned = 0.0
        directions = _directions(len(index)) if together else list(np.eye(len(index), dtype=int))
        for _ in range(_ROUNDS):
            moved = False
            for direction in directions:
                places, profits = self.tried(index, direction)
                value = profits.sum(-1) if together else profits[:, self.owner(int(direction.argmax()))]
                now = int(np.flatnonzero((places == index).all(1))[0])
                best = int(value.argmax())
                if value[best] > value[now]:
                    index, moved = places[best], True
                earned = profits[now].sum()
            if not moved:
                return index, float(earned)  # of the last look, which moved nothing
        return None


def _directions(count: int) -> list[np.ndarray]:
    """Of one offer each, of all alike, and of two against each other where these are few."""
    units = np.eye(count, dtype=int)
    pairs = [units[a] - units[b] for a, b in combinations(range(count), 2)] if count <= _FEW else []
    return [*units, *([np.ones(count, int)] if count > 1 else []), *pairs]


def _search(shape: MarketShape, params: MarketParams, name: str) -> _Search:
    if shape.chooses_orders:
        need_expectations(shape, name)
    if shape.prices.map == "levels":
        grid = np.asarray(params.prices.levels, np.float32)
    else:
        low, high = (np.asarray(end, np.float32) for end in (params.prices.low, params.prices.high))
        grid = np.linspace(low, high, _STEPS, axis=1)
    return _Search(shape, params, grid)


def _starts(own: _Search) -> list[np.ndarray]:
    """Where searches begin: static Nash and joint prices, where there are any, and the middle of the grid."""
    found = []
    for solve in (static.nash, static.joint_profit):
        try:
            found.append(own.nearest(solve(own.shape, own.params).prices))
        except NoEquilibriumError:
            continue
    return found or [np.full(own.shape.num_offers, own.grid.shape[1] // 2)]


def simulated_nash(shape: MarketShape, params: MarketParams) -> Policy:
    """Constant prices of which no seller would change one alone, as the market is (ω = 1).

    Raises:
        RuleError: where best answers do not settle, or orders are chosen and nobody knows what demand to expect.
    """
    own = _search(shape, params, NASH)
    for start in _starts(own):
        if (found := own.settle(start, together=False)) is not None:
            return constant(shape, params, own.at(found[0]), name=NASH)
    raise RuleError(f"{NASH}: best answers among constant prices do not settle in {_ROUNDS} rounds")


def simulated_joint(shape: MarketShape, params: MarketParams) -> Policy:
    """Constant prices at which all sellers together earn the most, as the market is: the best of several searches.

    Raises:
        RuleError: as `simulated_nash`.
    """
    own = _search(shape, params, JOINT)
    ends = [end for start in _starts(own) if (end := own.settle(start, together=True)) is not None]
    if not ends:
        raise RuleError(f"{JOINT}: no prices were reached in {_ROUNDS} rounds that none improves")
    return constant(shape, params, own.at(max(ends, key=lambda end: end[1])[0]), name=JOINT)


class Tried(NamedTuple):
    """Prices that were found, under shoppers that chose nothing.

    Attributes:
        prices: [N] money.
        profits: [S] money per epoch.  error: [S] its standard error.  total_error: [] that of their sum.
        gain: [S] the most, money per epoch, that another price of one of its offers brings a seller; where prices are
            joint, that it brings all together, in each. The best of many on its own shoppers, so rather too much.
        gain_error: [S] its standard error.
    """

    prices: np.ndarray
    profits: np.ndarray
    error: np.ndarray
    total_error: float
    gain: np.ndarray
    gain_error: np.ndarray


def tried(shape: MarketShape, params: MarketParams, policy: Policy) -> Tried:
    """Play the prices of `simulated_nash` or `simulated_joint` again, and every price beside one of theirs."""
    own, together = _search(shape, params, policy.name), policy.name == JOINT
    index = own.nearest(np.asarray(policy.parameters.prices))
    count = own.grid.shape[1]
    gain, error = np.full(shape.num_sellers, -np.inf), np.zeros(shape.num_sellers)
    for offer in range(shape.num_offers):
        places = np.repeat(index[None], count, axis=0)
        places[:, offer] = np.arange(count)
        earned = own.played(own.at(places), np.full(count, EPISODES))
        ahead = earned - earned[index[offer]]
        value = ahead.sum(-1) if together else ahead[..., own.owner(offer)]
        best = int(value.mean(1).argmax())
        sellers = np.arange(shape.num_sellers) if together else np.array([own.owner(offer)])
        sellers = sellers[value[best].mean() > gain[sellers]]
        gain[sellers], error[sellers] = value[best].mean(), _error(value[best])
    prices = np.repeat(own.at(index)[None], count, axis=0)
    blocks = range(-(-_MEASURED // (count * EPISODES)))
    firsts = [EPISODES * (2 + block * count + np.arange(count)) for block in blocks]
    earned = np.concatenate([own.played(prices, first) for first in firsts]).reshape(-1, shape.num_sellers)
    errors = np.array([_error(values) for values in earned.T])
    return Tried(own.at(index), earned.mean(0), errors, _error(earned.sum(-1)), gain, error)


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(values.size))


def words_of(shape: MarketShape, name: str, found: Tried) -> str:
    """What could still be won, in a line."""
    least = 1e-9
    if name == JOINT:
        who, share = "all sellers together", found.gain[0] / max(abs(found.profits.sum()), least)
    else:
        who, share = "a seller", (found.gain / np.maximum(np.abs(found.profits), least)).max()
    prices = found.prices.reshape(shape.num_sellers, -1)
    each = "; ".join(f"seller {s} {', '.join(f'{p:.3g}' for p in own)}" for s, own in enumerate(prices))
    return (
        f"prices {each}, chosen in {EPISODES} episodes; in {EPISODES} others another price of one offer brings {who} "
        f"at most {100 * share:.2f} % more"
    )

"""Exact best responses and NashConv on games small enough to enumerate.

The one-shot grid game, and the repeated one between deterministic policies whose only state is the last prices
(memory one, as of tabular Q-learning).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import market
from marl_pricing.equilibrium import static
from marl_pricing.market import Action, MarketParams, MarketShape, Policy
from marl_pricing.policies.targets import no_surprise

Array = np.ndarray

_LARGEST = 250_000  # states of the repeated game
_TOLERANCE = 1e-9  # of values, relative to the largest payoff


def nash_conv(gains: Array) -> float:
    """Σ_i max(0, gain_i) (Lanctot et al. 2017, section 2)."""
    return float(np.maximum(gains, 0.0).sum())


def one_shot_gains(payoffs: Array, profile: Array) -> Array:
    """What each seller gains by its best reply to the others' actions.

    Args:
        payoffs: [A, …, A, S] of `static.grid_payoffs`.
        profile: [S] int, the action of each seller along its axis.

    Returns:
        [S], in the units of the payoffs; never negative.
    """
    here = tuple(int(action) for action in profile)
    gains = []
    for seller in range(payoffs.shape[-1]):
        along = np.moveaxis(payoffs[..., seller], seller, 0)[(slice(None), *np.delete(here, seller))]
        gains.append(along.max() - along[here[seller]])
    return np.array(gains)


@dataclass(frozen=True)
class RepeatedGame:
    """The repeated grid game between the policies of one table. Values are per epoch: (1 − γ) Σ γ^t u_t.

    Attributes:
        table: [Z, S] int, the actions after each of the Z = A^S last actions, counted as along the axes of
            `static.grid_payoffs`.
        value: [Z, S] of playing on by the table.
        best: [Z, S] of each seller's best response to the others' tables.
        path: [C] int, the states of the cycle that the policies' own play from the first epoch ends in.
    """

    table: Array
    value: Array
    best: Array
    path: Array

    @property
    def gains(self) -> Array:
        """[S] from the best response, mean over the states of the policies' own cycle."""
        return (self.best - self.value)[self.path].mean(0)

    @property
    def largest_gains(self) -> Array:
        """[S] over all states: all zero where the table is a subgame-perfect equilibrium."""
        return (self.best - self.value).max(0)


def _refuse(shape: MarketShape) -> None:
    """Refuse a market whose future depends on more than its last prices, or whose profits are not the grid game's."""
    more = {
        "market.inventory: stock": not shape.inventory.unlimited,
        "market.level, season or shocks: a level of demand that moves": shape.demand.level_moves or shape.demand.shocks,
        "traffic.process: a share of agents that moves": shape.traffic.process != "static",
        "market.bankruptcy": shape.bankruptcy,
        "market.collapse_patience": shape.collapse_patience > 0,
        "traffic.markup": shape.traffic.markup,
        "traffic.quotes": shape.traffic.quotes,
        "market.reward: penalties": bool(shape.reward.penalties),
    }
    found = [name for name, there in more.items() if there]
    if found:
        raise ValueError(f"{found[0]}: an exact best response needs a market whose only state is its last prices")


def price_table(shape: MarketShape, params: MarketParams, policy: Policy) -> tuple[Array, int]:
    """What a policy does after each combination of last prices.

    Each combination is posted and the market runs one epoch, so that the policy sees all that follows from it.

    Returns:
        (actions [Z, S], the state after the policy's own first epoch); see `RepeatedGame`.

    Raises:
        ValueError: for a market with more state than last prices, prices that are no grid, too many states, a policy
            that remembers, or one that acts otherwise in other epochs or by chance.
    """
    _refuse(shape)
    if shape.prices.map != "levels":
        raise ValueError(f"market.prices.map={shape.prices.map!r}: accepted is 'levels'")
    count = shape.prices.num_levels**shape.num_products
    if count**shape.num_sellers > _LARGEST:
        raise ValueError(f"{count**shape.num_sellers:,} combinations of last prices: accepted are {_LARGEST:,}")
    if jax.tree.leaves(policy.start()):
        raise ValueError(f"policy {policy.name!r} remembers more than last prices; accepted is one without memory")
    actions = np.array(list(product(range(shape.prices.num_levels), repeat=shape.num_products)), np.int32)
    joint = np.indices((count,) * shape.num_sellers).reshape(shape.num_sellers, -1).T  # [Z, S]
    surprise = no_surprise(shape)

    def answer(last: jax.Array, epoch: jax.Array, key: jax.Array) -> jax.Array:
        state, _ = market.reset(key, shape, params)
        state = state.replace(epoch=epoch)
        state, seen, _ = market.step(jax.random.fold_in(key, 1), shape, state, Action(last, None, surprise), params)
        return policy.act(policy.parameters, jax.random.fold_in(key, 2), policy.start(), seen, state, params)[0].price

    answers = jax.jit(jax.vmap(answer, in_axes=(0, None, None)))
    asked = jnp.asarray(actions[joint])
    weights = shape.prices.num_levels ** np.arange(shape.num_products)[::-1]
    moments = [(0, 0), (shape.episode_length // 2, 1), (max(shape.episode_length - 2, 0), 2)]
    tables = [np.asarray(answers(asked, jnp.int32(t), jax.random.key(s))) @ weights for t, s in moments]
    if any((own != tables[0]).any() for own in tables[1:]):
        raise ValueError(f"policy {policy.name!r} acts otherwise in other epochs or by chance; accepted is one that "
                         "depends on last prices only")  # fmt: skip
    state, seen = market.reset(jax.random.key(0), shape, params)
    first = policy.act(policy.parameters, jax.random.key(1), policy.start(), seen, state, params)[0].price
    start = np.ravel_multi_index(tuple(np.asarray(first) @ weights), (count,) * shape.num_sellers)
    return tables[0], int(start)


def _iterate(reward: Array, following: Array, discount: float) -> Array:
    """Values V(z) = max_a (1 − γ) u(z, a) + γ V(z'), to the tolerance.

    Args:
        reward: [Z, A].  following: [Z, A] int.
    """
    close = _TOLERANCE * max(float(np.abs(reward).max()), 1e-12)
    value = np.zeros(len(reward))
    while True:
        new = ((1.0 - discount) * reward + discount * value[following]).max(1)
        if np.abs(new - value).max() * discount <= close * (1.0 - discount):
            return new
        value = new


def repeated_game(
    shape: MarketShape, params: MarketParams, policy: Policy, discount: float, *, raw: bool = False
) -> RepeatedGame:
    """Solve each seller's best response to the others' policies by value iteration.

    Args:
        policy: for all sellers; deterministic, without memory but for the last prices.
        discount: γ, from 0 to below 1.
        raw: sellers look at their own money instead of r' at the market's ω.

    Raises:
        ValueError: as `price_table`, and for a discount that is none.
    """
    if not 0.0 <= discount < 1.0:
        raise ValueError(f"discount={discount!r}: accepted is a number from 0 to below 1")
    table, start = price_table(shape, params, policy)
    if raw:
        params = params.replace(reward=params.reward.replace(omega=jnp.ones_like(params.reward.omega)))
    payoffs = static.grid_payoffs(shape, params)
    sizes = payoffs.shape[:-1]
    flat = payoffs.reshape(-1, shape.num_sellers)
    onwards = np.ravel_multi_index(tuple(table.T), sizes)
    value, best = np.empty_like(flat), np.empty_like(flat)
    for seller in range(shape.num_sellers):
        value[:, seller] = _iterate(flat[onwards, seller][:, None], onwards[:, None], discount)
        others = [np.broadcast_to(table[:, [j]], (len(table), sizes[seller])) for j in range(shape.num_sellers)]
        others[seller] = np.broadcast_to(np.arange(sizes[seller]), (len(table), sizes[seller]))
        there = np.ravel_multi_index(tuple(others), sizes)
        best[:, seller] = _iterate(flat[there, seller], there, discount)
    seen: dict[int, int] = {}
    place = start
    while place not in seen:
        seen[place] = len(seen)
        place = int(onwards[place])
    return RepeatedGame(table, value, best, np.array(list(seen)[seen[place] :]))

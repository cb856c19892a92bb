"""Episodes of one policy, all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from marl_pricing.evaluation import surplus
from marl_pricing.market import MarketParams, MarketShape, Outcome, Policy, Supplied, booked
from marl_pricing.market.reward import profit
from marl_pricing.policies.episodes import run_episodes

Array = jax.Array


class Record(struct.PyTreeNode):
    """What happened in E episodes of T epochs. After a seller has left, its entries mean nothing: `live` is False."""

    price: Array  # [E, T, N] money, posted
    price_paid: Array  # [E, T, N] money per unit
    stock: Array  # [E, T, N] units on hand when the shoppers came; inf where stock is unlimited
    arrivals: Array  # [E, T, N] units that joined the stock
    on_order: Array  # [E, T, N] units on the way after the epoch
    ordered: Array  # [E, T, N] units ordered from the supplier
    demand: Array  # [E, T, N] units that shoppers wanted
    sales: Array  # [E, T, N] units sold
    unmet: Array  # [E, T, N] units, demand less sales
    orders: Array  # [E, T, Y, N] units that shoppers wanted, by class
    events: Array  # [E, T, N] demand proxy q̂
    price_linked: Array  # [E, T, N] money per unit, had agents' recon and purchase sessions been linked
    surplus: Array  # [E, T] money, of the epoch's shoppers were all orders served; NaN where it is not known
    agent_share: Array  # [E, T] share of agents among the sessions
    visits: Array  # [E, T] sessions that came
    views: Array  # [E, T] product views
    suspicion: Array  # [E, T] mean score of the sessions
    profit: Array  # [E, T, N] money, of the offer: market.reward.profit
    reward_raw: Array  # [E, T, S] money, r_i: profit less the penalties of the seller
    reward_shaped: Array  # [E, T, S] r'_i = ω r_i + (1 − ω) Σ_j r_j
    live: Array  # [E, T, S] bool, the seller was in a market that had not ended
    supplied: Supplied | None = None  # [E, T, N] each; None where supply is not bargained for


def _record(shape: MarketShape, params: MarketParams, outcome: Outcome, live: Array) -> Record:
    supplied = outcome.supplied
    offer_profit = profit(
        shape.reward,
        params.reward if supplied is None else booked(params.reward, supplied, outcome.sales),
        price_paid=outcome.price_paid,
        sales=outcome.sales,
        unmet=outcome.unmet,
        stock_left=None if shape.inventory.unlimited else outcome.stock - outcome.sales,
        ordered=outcome.ordered,
    )
    if supplied is not None:
        offer_profit += supplied.fines
    return Record(
        price=outcome.prices,
        price_paid=outcome.price_paid,
        stock=outcome.stock,
        arrivals=outcome.arrivals,
        on_order=outcome.on_order,
        ordered=outcome.ordered,
        demand=outcome.demand,
        sales=outcome.sales,
        unmet=outcome.unmet,
        orders=outcome.orders,
        events=outcome.events,
        price_linked=outcome.price_linked,
        surplus=surplus.of_epoch(shape, params, outcome),
        agent_share=outcome.agent_share,
        visits=outcome.visits,
        views=outcome.views,
        suspicion=outcome.suspicion,
        profit=offer_profit,
        reward_raw=outcome.reward,
        reward_shaped=outcome.shaped,
        live=live,
        supplied=supplied,
    )


def play_episodes(
    key: Array, shape: MarketShape, params: MarketParams, act: Any, parameters: Any, memory: Any, num_episodes: int,
    first: Array | int = 0,
) -> Record:  # fmt: skip
    """Episodes of a policy given by its parts, to be part of a compiled program; see `play`.

    Args:
        first: number of the first of them, so that a long play can be made of short ones.
    """
    keep = partial(_record, shape, params)
    numbers = first + jnp.arange(num_episodes)
    return run_episodes(key, shape, params, act, parameters, memory, numbers=numbers, keep=keep)


_play = jax.jit(play_episodes, static_argnames=("shape", "act", "num_episodes"))


def _check(num_episodes: int) -> None:
    if num_episodes < 1:
        raise ValueError(f"episodes={num_episodes!r}: accepted is a whole number of at least 1")


def play(key: Array, shape: MarketShape, params: MarketParams, policy: Policy, num_episodes: int) -> Record:
    """Play whole episodes, each from its reset to its end.

    Random numbers are common: the market's depend on `key`, the episode's number and the epoch only, so that two
    policies meet the same shoppers, and the first E episodes are the same however many are played. A policy draws from
    keys of its own.

    Args:
        num_episodes: E.

    Returns:
        A record of NumPy arrays.

    Raises:
        ValueError: for less than one episode.
    """
    _check(num_episodes)
    record = _play(key, shape, params, policy.act, policy.parameters, policy.start(), num_episodes)
    return jax.tree.map(np.asarray, record)


def seeds_of(name: str, policies: Sequence[Policy], num_episodes: int, seed: int) -> tuple[Array, Any]:
    """(keys [R], parameters [R, ...]) of R training seeds' policies of one kind, for `play_seeds`.

    Args:
        name: of the run, for messages.
        seed: of the shoppers; the k-th training seed of every run meets the k-th set of them.

    Raises:
        ValueError: for less than one episode, or no policies.
    """
    _check(num_episodes)
    if not policies:
        raise ValueError(f"run {name!r}: has no learned policies")
    parameters = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(policy.parameters for policy in policies))
    return jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(len(policies))), parameters


def whole(record: Record, params: MarketParams) -> Record:
    """Keep everything that happened."""
    return record


@partial(jax.jit, static_argnames=("shape", "act", "num_episodes", "keep"))
def play_seeds(
    keys: Array,
    shape: MarketShape,
    params: MarketParams,
    act: Any,
    parameters: Any,
    memory: Any,
    num_episodes: int,
    keep: Callable[[Record, MarketParams], Any] = whole,
) -> Any:
    """What `keep` makes of each seed's episodes [R, ...], one seed after the other so that memory stays that of one."""

    def one(own: tuple[Array, Any]) -> Any:
        key, seed_parameters = own
        return keep(play_episodes(key, shape, params, act, seed_parameters, memory, num_episodes), params)

    return jax.lax.map(one, (keys, parameters))

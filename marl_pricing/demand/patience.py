"""People who may wait for a lower price: who buys now, who comes back, whom a price that falls late still finds.

A share of the people looks one epoch ahead. Who gains the surplus s by buying now, and expects s' of the next epoch's
prices, buys now where s ≥ max(0, δ s'), and else waits, for W epochs at most (Besanko and Winston 1990, for one
product of one seller; with δ = 0 they stay and take the first price below their value). Values last while people wait.
 They differ in one number, how much somebody needs any of the offers; which of them it is to be is tasted
anew in each epoch. So waiting is a surcharge Δ = δ/(1 − δ) (s' − s) on all prices, the same for everyone, and people
who came together are told by the best they have been offered so far: exact for one offer of any demand, and for logit
with any number of sellers and offers.

Expected are prices that fall by a stated share of what they are above a floor. A path of prices makes that true or not:
`equilibrium.patience` has one that does.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing.demand.choice import inclusive_value, propensities
from marl_pricing.demand.params import Array, DemandParams, DemandShape, LogitParams

_NEVER = -1e6  # money; an index that no price reaches


class Waiting(struct.PyTreeNode):
    """People who wait, by when they came: W groups, the one of the last epoch first."""

    sessions: Array  # [W] of those who may wait, when they came
    reached: Array  # [W] money, the best index that they were ready to buy at: who buys there has bought


class Facing(struct.PyTreeNode):
    """Those who wait before an epoch's prices, with what these are worth to people."""

    waiting: Waiting
    index: Array  # [] money, what the offers are worth up to a constant: higher where prices are lower
    surcharge: Array  # [] money, Δ ≥ 0, by which waiting makes every price dearer


def nobody(shape: DemandShape) -> Waiting:
    """Who waits at the start of an episode."""
    return Waiting(jnp.zeros((shape.waits,)), jnp.full((shape.waits,), _NEVER))


def worth(params: DemandParams, prices: Array, level: Array, available: Array) -> Array:
    """Index [] of what the offers are worth to people, money up to a constant; d more on every price is d less.

    Args:
        prices: [N] money.  level: [N] latent level.  available: [N] bool, at least one.
    """
    if not isinstance(params.choice, LogitParams):
        return -prices[0]
    theta = jnp.ones_like(params.choice.scale)
    return (params.choice.scale * inclusive_value(prices, level, available, theta, params.choice))[0]


def face(
    shape: DemandShape,
    params: DemandParams,
    waiting: Waiting,
    epoch: Array,
    prices: Array,
    level: Array,
    available: Array,
) -> Facing:
    """What people think of prices [N] in epoch t [] int32, who do not know the next ones."""
    own = params.patience
    assert own is not None
    next_prices = prices - own.fall[epoch] * jnp.maximum(prices - own.floor, 0.0)
    index = worth(params, prices, level, available)
    gain = worth(params, next_prices, level, available) - index
    return Facing(waiting, index, own.discount / (1.0 - own.discount) * gain)


def orders(
    shape: DemandShape,
    params: DemandParams,
    prices: Array,
    level: Array,
    available: Array,
    facing: Facing,
    listed: Array | None = None,
) -> tuple[Array, Array]:
    """Orders of people at prices [N].

    Returns:
        (propensities [N] of those who come for the first time, orders [N] of those who had waited).
    """
    own, waiting = params.patience, facing.waiting
    assert own is not None
    now = facing.index - facing.surcharge
    # A surcharge that takes the index down to what a group was offered before finds those who have bought already.
    before = facing.index - waiting.reached
    after = facing.index - jnp.maximum(now, waiting.reached)
    surcharges = jnp.concatenate([jnp.zeros(1), facing.surcharge[None], after, before])
    people = jax.vmap(lambda extra: propensities(shape, params, prices + extra, level, available, listed)[0])
    rate = people(surcharges)
    fresh = (1.0 - own.share) * rate[0] + own.share * rate[1]
    bought = rate[2 : 2 + shape.waits] - rate[2 + shape.waits :]
    return fresh, waiting.sessions @ jnp.maximum(bought, 0.0)


def advance(facing: Facing, came: Array) -> Waiting:
    """Who waits after an epoch: those who have waited for W epochs leave.

    Args:
        came: [] sessions of the epoch whose people may wait.
    """
    now, waiting = facing.index - facing.surcharge, facing.waiting
    sessions = jnp.concatenate([came[None], waiting.sessions[:-1]])
    return Waiting(sessions, jnp.concatenate([now[None], jnp.maximum(now, waiting.reached[:-1])]))


def scaled_index(shape: DemandShape, params: DemandParams, index: Array, low: Array, high: Array) -> Array:
    """Indices [...] as 1 at the lowest prices [N] and 0 at the highest, held between these."""
    level, there = jnp.ones((shape.num_offers,)), jnp.ones((shape.num_offers,), bool)
    least, most = (worth(params, prices, level, there) for prices in (high, low))
    return jnp.clip((index - least) / jnp.maximum(most - least, 1e-6), 0.0, 1.0)

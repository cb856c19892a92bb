"""From a seller's action to its prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array
PriceMap = Literal["levels", "scale", "range", "adjust"]
CONTINUOUS = ("range", "adjust")  # maps of which an action is a number, not an index


@dataclass(frozen=True)
class PriceShape:
    """Static half.

    Attributes:
        map: `levels` (index into a grid), `scale` (index of a factor on the last price), `range` (any price between
            the lowest and the highest), `adjust` (relative change).
        num_levels: K, number of levels or factors; 1 where prices are continuous.
        random_start: the price before the first epoch is drawn between `start_low` and `start_high`.
    """

    map: PriceMap = "levels"
    num_levels: int = 15
    random_start: bool = False

    @property
    def continuous(self) -> bool:
        """Whether an action is a number (a price or a relative change), not an index."""
        return self.map in CONTINUOUS


class PriceParams(struct.PyTreeNode):
    """Traced half."""

    levels: Array  # [N, K] money, increasing along K (`levels`)
    factors: Array  # [K] factor on the last price (`scale`)
    max_change: Array  # [] largest relative change (`adjust`)
    low: Array  # [N] money, lowest price that may be posted
    high: Array  # [N] money, highest price that may be posted
    start_low: Array  # [N] money, price before the first epoch
    start_high: Array  # [N] money


def start(key: Array, shape: PriceShape, params: PriceParams) -> Array:
    """Prices [N] before the first epoch."""
    if not shape.random_start:
        return params.start_low
    return jax.random.uniform(key, params.start_low.shape, minval=params.start_low, maxval=params.start_high)


def action_ends(shape: PriceShape, params: PriceParams) -> tuple[Array, Array]:
    """The lowest and the highest action [N] where actions are numbers: money (`range`), a change (`adjust`)."""
    if shape.map == "range":
        return params.low, params.high
    limit = jnp.broadcast_to(params.max_change, params.low.shape)
    return -limit, limit


def post(shape: PriceShape, params: PriceParams, last: Array, action: Array) -> Array:
    """Prices [N] of this epoch.

    Args:
        last: [N] money, prices of the last epoch.
        action: [N] int32 index (`levels`, `scale`), float32 money (`range`) or relative change (`adjust`).
    """
    if shape.map == "levels":
        # A sum over a one-hot row vectorises; a gather of one element a row does not, on a CPU.
        chosen = jnp.arange(shape.num_levels) == action[:, None]
        return jnp.where(chosen, params.levels, 0.0).sum(-1)
    if shape.map == "scale":
        return jnp.clip(last * params.factors[action], params.low, params.high)
    if shape.map == "range":
        return jnp.clip(action, params.low, params.high)
    change = jnp.clip(action, -params.max_change, params.max_change)
    return jnp.clip(last * (1.0 + change), params.low, params.high)

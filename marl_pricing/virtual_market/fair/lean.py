"""A plan as the start of a policy that is learned: what it would offer, and how near to it other offers are, as logits.

A network's outputs are added to them. Where those are noughts the likeliest offer is the plan's own, every day and
whatever came before; training begins there, and not with offers drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from marl_pricing.learning.networks import NetworkSpec, Parameters
from marl_pricing.virtual_market.fair.feedback import ROW, Feedback
from marl_pricing.virtual_market.levels import OFFERS
from marl_pricing.widths import float32, int32

Array = jax.Array

AHEAD = 1.0  # log odds of the plan's offer before another that is expected to bring as much
_LEAST = -12.0  # log odds of an offer that loses much: it is never drawn, and its gradient is a number


class Lean(struct.PyTreeNode):
    """A plan's offers by day and by what is left, B places, and log odds of all offers at R rows of them."""

    grid: Array  # [B] money a customer
    offers: Array  # [D, B] int32
    odds: Array  # [D, R, 41] at most 0
    threshold: Array  # [] return on investment that the plan asks for

    def logits(self, day: Array, gmv: Array, cost: Array) -> Array:
        """[41] for a day (0 is the first), after so much GMV and cost a customer; after the last day the last one's."""
        place = jnp.searchsorted(self.grid, gmv - self.threshold * cost, side="right") - 1
        place, day = jnp.maximum(place, 0), jnp.minimum(day, self.offers.shape[0] - 1)
        chosen = jnp.arange(len(OFFERS)) == self.offers[day, place]
        return jnp.where(chosen, AHEAD, self.odds[day, (place + ROW // 2) // ROW])


def odds_of(losses: np.ndarray, unit: float) -> np.ndarray:
    """[D, R, 41] log odds of offers that are expected to lose so much money: one for each `unit`."""
    return np.maximum(-losses / unit, _LEAST).astype(np.float16)


def lean_of(plan: Feedback, odds: np.ndarray) -> Lean:
    """What a game is played with."""
    return Lean(float32(plan.grid), int32(plan.offers), float32(odds), float32(plan.threshold))


@dataclass(frozen=True)
class LeaningSpec(NetworkSpec):
    """An actor whose outputs are added to logits that come behind what it observes, [..., D + A]."""

    @classmethod
    def of(cls, spec: NetworkSpec) -> LeaningSpec:
        """The same network, which doesn't observe the logits. Its `in_size` counts them before, and not after."""
        own: dict[str, Any] = {field.name: getattr(spec, field.name) for field in fields(NetworkSpec)}
        return cls(**own | {"in_size": spec.in_size - spec.out_size})

    def sequence(
        self, parameters: Parameters, inputs: Array, memory: Array, first: Array | None
    ) -> tuple[Array, Array]:
        """As `NetworkSpec.sequence`."""
        said, memories = super().sequence(parameters, inputs[..., : self.in_size], memory, first)
        return said + inputs[..., self.in_size :], memories

"""A table of action values over what sellers observe, each entry rounded to a grid."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from marl_pricing.learning.networks import Parameters

Array = jax.Array


@dataclass(frozen=True)
class TableSpec:
    """A table in a network's place; it remembers nothing.

    Attributes:
        num_entries: O, that a seller observes.  bins: values from -1 to 1 that each is rounded to; what lies beyond
            counts as the end.
        out_size: A.  num_sellers: S.  stacked: one table a seller; otherwise all fill the same.
    """

    num_entries: int
    bins: int
    out_size: int
    num_sellers: int
    stacked: bool
    memory: int = 1  # a zero: checkpoints keep no empty arrays

    @property
    def num_states(self) -> int:
        """Rows Z of a table."""
        return self.bins**self.num_entries

    def init(self, key: Array) -> Parameters:
        """Values of nothing learned: zeros, whatever the key."""
        return {"values": jnp.zeros((self.num_sellers if self.stacked else 1, self.num_states, self.out_size))}

    def start(self, num_envs: int) -> Array:
        """Memories [E, S, 1] of nothing."""
        return jnp.zeros((num_envs, self.num_sellers, self.memory))

    def state_of(self, inputs: Array) -> Array:
        """Row [...] of what is observed [..., O]."""
        place = jnp.round((jnp.clip(inputs, -1.0, 1.0) + 1.0) * (0.5 * (self.bins - 1))).astype(jnp.int32)
        return (place * self.bins ** jnp.arange(self.num_entries, dtype=jnp.int32)).sum(-1)

    def table_of(self) -> Array:
        """Which table [S] a seller has."""
        return jnp.arange(self.num_sellers) if self.stacked else jnp.zeros((self.num_sellers,), jnp.int32)

    def read(self, parameters: Parameters, inputs: Array) -> Array:
        """Values [..., S, A] where sellers observe [..., S, O]."""
        # A run that was loaded brings arrays of NumPy, which no traced index can be put to.
        return jnp.asarray(parameters["values"])[self.table_of(), self.state_of(inputs)]

    def step(self, parameters: Parameters, inputs: Array, memory: Array) -> tuple[Array, Array]:
        """As `NetworkSpec.step`: inputs [E, S, O] → (outputs [E, S, A], memory)."""
        return self.read(parameters, inputs), memory

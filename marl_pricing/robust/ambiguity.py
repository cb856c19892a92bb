"""What a learner is unsure of: candidate worlds around the nominal one, a set of laws over them, who chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from marl_pricing.robust.sets import SetName

Array = jax.Array
Mode = Literal["per_seller", "nature", "algorithm_1", "fixed_world"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Ambiguity:
    """The static half of a robust learner.

    Attributes:
        set: which laws over the candidate worlds are thought possible.
        mode: who chooses among them: an adversary of each seller (a robust Markov game), one `nature` against the
            shaped sum, nature by reward alone whose world then happens (`algorithm_1`), or nature once an episode
            (`fixed_world`).
        radius: of the set; for `interval`, how far the candidates' shares of agents lie from the nominal.
        shares: [K] candidates: offsets from the nominal share of agents if `relative`, else shares.
        weights: [K] nominal probabilities of the candidates.
        anneal_updates: updates over which the radius grows from 0; 0 for the full radius from the start.
    """

    set: SetName
    mode: Mode
    radius: float
    shares: tuple[float, ...]
    relative: bool
    weights: tuple[float, ...]
    anneal_updates: int = 0

    @property
    def num_candidates(self) -> int:
        """K."""
        return len(self.shares)

    def radius_at(self, update: Array) -> Array:
        """The radius [] at an update."""
        return self.radius * self.growth(update)

    def growth(self, update: Array) -> Array:
        """Share [] of the full radius that is reached at an update."""
        return jnp.clip(update / self.anneal_updates, 0.0, 1.0) if self.anneal_updates else jnp.ones(())

    def candidates(self, nominal: Array, update: Array) -> Array:
        """Shares of agents [K] of the candidate worlds around the nominal one [], kept in [0, 1]."""
        shares = jnp.asarray(self.shares, jnp.float32)
        if not self.relative:
            return shares
        return jnp.clip(nominal + self.growth(update) * shares, 0.0, 1.0)

    def metric(self) -> Array:
        """Distances [K, K] between the candidates' shares of agents, the ground metric of `wasserstein`."""
        shares = jnp.asarray(self.shares, jnp.float32)
        return jnp.abs(shares[:, None] - shares)

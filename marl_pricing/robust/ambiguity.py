"""What a learner is unsure of: candidate worlds around the nominal one, a set of laws over them, who chooses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.laws import SetName
from marl_pricing.market import MarketParams, Variants
from marl_pricing.traffic.contamination import shares_around

Array = jax.Array
Mode = Literal["expected", "per_draw", "algorithm_1"]
MODES: tuple[Mode, ...] = get_args(Mode)
Adversary = Literal["per_seller", "nature", "fixed_world"]
ADVERSARIES: tuple[Adversary, ...] = get_args(Adversary)


@dataclass(frozen=True)
class Ambiguity:
    """The static half of a robust learner. Its K worlds are the market's variants [G] times shares of agents [C].

    Attributes:
        set: which laws over the candidate worlds are thought possible.
        mode: what is known when a law is chosen: state and joint action (`expected`), or also how the epoch's draw
            turns out in every world (`per_draw`, whose pessimism is for a part noise); or the smallest reward of the
            draw decides, and that world happens (`algorithm_1`).
        radius: of the set; for `interval`, how far the candidates lie from the nominal world.
        shares: [C] candidates: evenly spaced offsets from the nominal share of agents if `relative`, else shares.
        weights: [K] nominal probabilities of the worlds.
        anneal_updates: updates over which the radius grows from 0; 0 for the full radius from the start.
        others: [G] coordinates of each of the market's variants, beside its share of agents; one empty one where the
            market has none. They make the ground metric of `wasserstein`.
        distances: [K, K] another ground metric.
        demand_metric: the ground metric is how far apart the worlds' demand was, in each step.
        labels: [K] names of the worlds.
        adversary: who chooses: one of each seller (a robust Markov game), one `nature` against the shaped sum, or
            nature once an episode (`fixed_world`). Under `algorithm_1` it is nature.
        one_law: all worlds are known to be one law of what happens, so that each law over them has one expectation: a
            learner that goes by expectations is the plain one, to the bit.
        sellers: numbers of those that fear, the others learn from plain targets; None: all.
    """

    set: SetName
    mode: Mode
    radius: float
    shares: tuple[float, ...]
    relative: bool
    weights: tuple[float, ...]
    anneal_updates: int = 0
    others: tuple[tuple[float, ...], ...] = ((),)
    distances: tuple[tuple[float, ...], ...] | None = None
    demand_metric: bool = False
    labels: tuple[str, ...] = field(default=(), compare=False)
    adversary: Adversary = "per_seller"
    sellers: tuple[int, ...] | None = None
    one_law: bool = False

    @property
    def num_candidates(self) -> int:
        """K."""
        return len(self.others) * len(self.shares)

    @property
    def expects(self) -> bool:
        """Whether laws are chosen by what the worlds are expected to be worth, and not by draws."""
        return self.mode == "expected"

    @property
    def frightens(self) -> bool:
        """Whether there is anything to look at in other worlds; by draws there always is, if only their noise."""
        return not (self.one_law and self.expects)

    def fearful(self, num_sellers: int) -> np.ndarray:
        """Who fears [S], bool."""
        return np.ones(num_sellers, bool) if self.sellers is None else np.isin(np.arange(num_sellers), self.sellers)

    def radius_at(self, update: Array) -> Array:
        """The radius [] at an update."""
        return self.radius * self.growth(update)

    def growth(self, update: Array) -> Array:
        """Share [] of the full radius that is reached at an update."""
        return jnp.clip(update / self.anneal_updates, 0.0, 1.0) if self.anneal_updates else jnp.ones(())

    def candidates(self, nominal: Array, update: Array) -> Array:
        """Shares of agents [C] around the nominal one [], kept in [0, 1]."""
        shares = jnp.asarray(self.shares, jnp.float32)
        if not self.relative:
            if self.set != "interval":
                return shares
            reach = self.radius_at(update)
            return jnp.clip(shares, nominal - reach, nominal + reach)
        return shares_around(nominal, self.growth(update) * shares)

    def variants(self, params: MarketParams, update: Array) -> Variants:
        """The market's variants [G]; an interval that grows brings demand nearer to the market's own."""
        variants = params.variants
        assert variants is not None
        if self.set != "interval" or not self.anneal_updates or variants.choice is None:
            return variants
        growth = self.growth(update)

        def nearer(other: Array, own: Array) -> Array:
            return own + growth * (other - own)

        return variants.replace(choice=jax.tree.map(nearer, variants.choice, params.demand.choice))

    def metric(self) -> Array:
        """Distances [K, K] between the worlds: those given, or the sum of their coordinates' differences."""
        if self.distances is not None:
            return jnp.asarray(self.distances, jnp.float32)
        own = np.array([(*other, share) for other in self.others for share in self.shares])
        return jnp.asarray(np.abs(own[:, None] - own).sum(-1), jnp.float32)

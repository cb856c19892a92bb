"""What the demand room needs to know: sizes and choices (static), numbers (traced)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
from flax import struct

Array = jax.Array
DemandModel = Literal["logit", "power", "linear"]


@dataclass(frozen=True)
class DemandShape:
    """Static half: everything here changes the compiled program.

    Attributes:
        num_sellers: S, sellers in the market.
        num_products: P, products of each seller; offer index j = i·P + k.
        num_classes: Y, shopper classes: 1 (people only) or 2 (people, agents), in that order.
        model: how prices become purchase propensities.
        num_types: nodes of the quadrature over the latent type θ; 1 means θ = 1 for everyone.
        moving_level: the latent demand level of each offer follows a log AR(1).
        shocks: demand shocks can occur.
        season: demand has a season.
        noisy_level: each epoch's level has noise that does not last.
        waits: W, epochs that people who may wait for a lower price stay in the market for after their first; 0: nobody
            waits.
        at_once: all shoppers of an episode come in its first epoch.
    """

    num_sellers: int
    num_products: int = 1
    num_classes: int = 1
    model: DemandModel = "logit"
    num_types: int = 1
    moving_level: bool = False
    shocks: bool = False
    season: bool = False
    noisy_level: bool = False
    waits: int = 0
    at_once: bool = False

    @property
    def level_moves(self) -> bool:
        """Whether the level of demand differs from 1 at all."""
        return self.moving_level or self.season or self.noisy_level

    @property
    def num_offers(self) -> int:
        """N = S·P."""
        return self.num_sellers * self.num_products


class LogitParams(struct.PyTreeNode):
    """Multinomial logit with an outside option; money is the unit of utility."""

    quality: Array  # [Y, N] a_j, money
    outside: Array  # [Y] a_0, money
    scale: Array  # [Y] μ > 0, money
    nesting: Array | None = (
        None  # [Y] ρ in [0, 1): all offers in one nest, alike beside the outside option; None: ρ = 0
    )


class PowerParams(struct.PyTreeNode):
    """Constant elasticity times popularity (PHANTOM's prototype)."""

    base: Array  # [Y] propensity at the reference price of an offer of popularity 1
    popularity: Array  # [Y, N]
    elasticity: Array  # [Y, N] < 0
    reference_price: Array  # [N] money
    cap: Array  # [] largest propensity of one offer
    cross_elasticity: Array | None = None  # [Y] in the mean log price of the other offers; None: 0


class LinearParams(struct.PyTreeNode):
    """Linear in the own price and, where cross_slope > 0, in the rivals' mean price."""

    intercept: Array  # [Y, N] units per session
    slope: Array  # [Y, N] units per session and money
    cross_slope: Array  # [Y, N] units per session and money


class SeasonParams(struct.PyTreeNode):
    """A season: log factor Σ_h c_h cos(2πh (t + start)/period) + s_h sin(…), H harmonics."""

    period: Array  # [] epochs
    start: Array  # [] epochs into the season at epoch 0
    cosine: Array  # [H]
    sine: Array  # [H]


class PatienceParams(struct.PyTreeNode):
    """People who may wait for a lower price."""

    share: Array  # [] of the people, who may wait; the others buy at once or never
    discount: Array  # [] δ in [0, 1) of what they gain by buying, an epoch
    fall: Array  # [T] expected fall of prices to the next epoch, a share of what they are above the floor; 0 at the end
    floor: Array  # [] money


class DemandParams(struct.PyTreeNode):
    """Traced half: numbers, so that a grid of them is one vmap and one compile."""

    choice: LogitParams | PowerParams | LinearParams
    scale: Array  # [] multiplies every arrival rate
    type_spread: Array  # [Y] standard deviation of log θ; E[θ] = 1
    level_sensitivity: Array  # [Y] exponent of the latent level in a class's demand
    level_persistence: Array  # [N] ρ of the log AR(1), in [0, 1)
    level_volatility: Array  # [N] σ of its innovations
    level_noise: Array  # [N] ν, spread of the log noise that does not last
    shock_probability: Array  # [] per epoch, when none is running
    shock_duration: Array  # [] int32, epochs
    shock_scale: Array  # [] factor on demand while a shock runs
    season: SeasonParams | None = None
    patience: PatienceParams | None = None

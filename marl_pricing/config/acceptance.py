"""Which candidate worlds lie in a Wasserstein ball around the empirical law of demand (the PHANTOM methodology).

P̂_N is a sample of N demand vectors of the nominal market at its first prices; every candidate is sampled with the same
shoppers. Accepted are the candidates G(α) with W_p(G(α), P̂_N) ≤ ε. The ground metric is Euclidean, over units of each
offer, divided by the mean units of all offers under P̂_N: a radius of 0.1 is a tenth of demand.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import traffic
from marl_pricing.config.robust import Robust
from marl_pricing.laws import sliced_distance, wasserstein_distance
from marl_pricing.market import MarketParams, MarketShape, Variants, vary
from marl_pricing.traffic import Conditions

_SEED = 0
# Up to here pairing the points exactly is as fast as slicing.
_FEW_OFFERS = 3


@partial(jax.jit, static_argnums=(0, 3))
def _sample(shape: MarketShape, params: MarketParams, shares: jax.Array, count: int) -> jax.Array:
    """Demand [count, C, N], units, of one epoch at the first prices and level 1."""
    offers = jnp.ones((shape.num_offers,))
    first = jnp.broadcast_to(0.5 * (params.prices.start_low + params.prices.start_high), offers.shape)
    found = Conditions(first, offers, offers > 0, params.demand.scale)

    def one(key: jax.Array) -> jax.Array:
        seen = traffic.simulate(key, shape.traffic, params.traffic, shape.demand, params.demand, found, shares)
        return seen.orders.sum(-2)

    return jax.lax.map(one, jax.random.split(jax.random.key(_SEED), count), batch_size=64)


def distances(
    own: Robust, shape: MarketShape, params: MarketParams, variants: Sequence[Variants], shares: np.ndarray
) -> np.ndarray:
    """W_p [G, C] of every variant under every share of agents from P̂_N; `robust.distance` says how it is measured."""
    nominal = np.asarray(_sample(shape, params, params.traffic.agent_share[None], own.samples), np.float64)[:, 0]
    scale = max(float(nominal.sum(-1).mean()), 1e-9)
    sliced = own.distance == "sliced" or (own.distance is None and shape.num_offers > _FEW_OFFERS)
    measure = sliced_distance if sliced else wasserstein_distance
    found = np.zeros((len(variants), len(shares)))
    for g, variant in enumerate(variants):
        drawn = _sample(shape, vary(params, variant), jnp.asarray(shares, jnp.float32), own.samples)
        demand = np.asarray(drawn, np.float64)
        found[g] = [measure(demand[:, c] / scale, nominal / scale, own.order) for c in range(len(shares))]
    return found

"""The one answer of every traffic model, and what it is asked."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing.demand.patience import Facing

Array = jax.Array


class Conditions(struct.PyTreeNode):
    """What a wave of sessions finds when it arrives."""

    prices: Array  # [N] money, as posted
    level: Array  # [N] latent demand level, mean 1
    available: Array  # [N] bool, offers that can be bought
    intensity: Array  # [] factor on the number of sessions (shock × demand scale × share of the epoch)
    listed: Array | None = None  # [N] bool, offers whose seller is in the market, sold out or not; None: all
    waiting: Facing | None = None  # people who wait, and what they think of these prices; None: nobody does


class Traffic(struct.PyTreeNode):
    """What a wave of sessions did. A leading axis [C] of contamination candidates stands before each shape.

    Y is the number of shopper classes, N the offers, M the places for sessions (0 where a model walks none).
    """

    orders: Array  # [Y, N] units ordered, by class
    events: Array  # [N] weighted event counts, the demand proxy q̂
    price_paid: Array  # [N] money per unit; the posted price where nobody ordered
    price_linked: Array  # [N] money per unit, had recon and purchase been linked (oracle)
    scores: Array  # [M] suspicion f of each session, in [0, 1]; 0 at a place where none came
    class_scores: (
        Array  # [2] what f of people's and of agents' sessions is on average at these prices; 0 without kernels
    )
    visits: Array  # [] sessions that came
    views: Array  # [] product views

    @property
    def look_to_book(self) -> Array:
        """Product views per order; the views themselves where nobody ordered."""
        units = self.orders.sum((-2, -1))
        return self.views / jnp.where(units > 0, units, 1.0)

    @property
    def mean_score(self) -> Array:
        """Mean suspicion of the sessions that came; 0 where none did."""
        return self.scores.sum(-1) / jnp.maximum(self.visits, 1.0)


def combine(waves: Traffic) -> Traffic:
    """One epoch's traffic out of its waves (leading axis [W]): sums of counts, prices weighted by orders."""
    orders = waves.orders.sum(0)
    by_wave = waves.orders.sum(1)
    total = by_wave.sum(0)
    weight = jnp.where(total > 0, by_wave / jnp.maximum(total, 1e-30), 1.0 / by_wave.shape[0])
    seen = jnp.where(
        waves.visits.sum() > 0, waves.visits / jnp.maximum(waves.visits.sum(), 1.0), 1.0 / waves.visits.size
    )
    return Traffic(
        orders=orders,
        events=waves.events.sum(0),
        price_paid=(weight * waves.price_paid).sum(0),
        price_linked=(weight * waves.price_linked).sum(0),
        scores=waves.scores.reshape(-1),
        class_scores=(seen[:, None] * waves.class_scores).sum(0),
        visits=waves.visits.sum(),
        views=waves.views.sum(),
    )

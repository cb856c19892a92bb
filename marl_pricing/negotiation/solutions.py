"""What a bargain could have come to: the Pareto frontier, Nash's and Kalai and Smorodinsky's solutions."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.negotiation.utilities import Worth

Array = jax.Array


def pareto_frontier(buyer: Array, supplier: Array) -> Array:
    """Outcomes [O] bool that no other is better than for one side and as good for the other.

    Args:
        buyer, supplier: [O] utilities; −inf for outcomes that cannot be.
    """
    as_good = (buyer[:, None] >= buyer) & (supplier[:, None] >= supplier)
    better = (buyer[:, None] > buyer) | (supplier[:, None] > supplier)
    return ~(as_good & better).any(0) & jnp.isfinite(buyer) & jnp.isfinite(supplier)


def _gains(buyer: Worth, supplier: Worth) -> tuple[Array, Array, Array]:
    gain_buyer, gain_supplier = buyer.utility - buyer.reserved, supplier.utility - supplier.reserved
    return gain_buyer, gain_supplier, (gain_buyer >= 0) & (gain_supplier >= 0)


def nash_bargaining(buyer: Worth, supplier: Worth) -> Array:
    """The outcome [] int32 with the largest product of gains over the reserved values (Nash 1950); −1: none gains."""
    gain_buyer, gain_supplier, rational = _gains(buyer, supplier)
    product = jnp.where(rational, gain_buyer * gain_supplier, -1.0)
    return jnp.where(rational.any(), jnp.argmax(product), -1).astype(jnp.int32)


def kalai_smorodinsky(buyer: Worth, supplier: Worth) -> Array:
    """The outcome [] int32 of the frontier where the sides get most nearly equal shares of their best gains; −1: none.

    On a grid the line to the ideal point (Kalai and Smorodinsky 1975) meets no outcome in general: this is the one
    with the least difference of shares, as NegMAS takes it.
    """
    gain_buyer, gain_supplier, rational = _gains(buyer, supplier)

    def share(own: Worth, gain: Array) -> Array:
        """Of the best gain, counted from the reserved value or from the worst outcome if that is better."""
        feasible = jnp.isfinite(own.utility)
        least = jnp.where(feasible, own.utility, jnp.inf).min()
        floor = jnp.maximum(least, own.reserved) - own.reserved
        span = gain.max() - floor
        return (gain - floor) / jnp.where(span > 0, span, 1.0)

    apart = jnp.abs(share(buyer, gain_buyer) - share(supplier, gain_supplier))
    rational &= pareto_frontier(buyer.utility, supplier.utility)
    return jnp.where(rational.any(), jnp.argmin(jnp.where(rational, apart, jnp.inf)), -1).astype(jnp.int32)


def distance_to_frontier(buyer: Array, supplier: Array, outcome: Array | int) -> Array:
    """How far an outcome's utilities lie from the nearest of the frontier's, money []; nan for no outcome.

    Args:
        buyer, supplier: [O] utilities.  outcome: [] int32 number; −1: none.
    """
    here = pareto_frontier(buyer, supplier)
    apart = jnp.hypot(buyer - buyer[outcome], supplier - supplier[outcome])
    return jnp.where(outcome >= 0, jnp.where(here, apart, jnp.inf).min(), jnp.nan)

"""Stacked alternating offers between two sides that concede with time, without a loop over the rounds.

In each of N rounds s the buyer answers the supplier's last offer and, if it refuses, makes its own; then the supplier
likewise. A side asks at least lo_s = clip((max u − mn)·(1 − t^e) + mn − 0.001, mn, max u) with t = (s + 1)/(N + 1) and
mn = max(min u, reserved), and offers the outcome that is worth least to it among those (Faratin et al. 1998; NegMAS's
`AspirationNegotiator`). Neither side's demands depend on the other, so that every offer is known beforehand, and the
agreement is the first offer that is good enough for the other side.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from marl_pricing.negotiation.utilities import Worth

Array = jax.Array

TOLERANCE = 1e-3  # utility below its aspiration that a side still takes, NegMAS's
BOULWARE, LINEAR, CONCEDER = 4.0, 1.0, 0.25  # exponents of the aspiration; inf never concedes


class Side(NamedTuple):
    """One side's outcomes, from the one that is worth least to it to the one that is worth most."""

    own: Array  # [..., O] its utility, ascending; −inf for outcomes that cannot be
    theirs: Array  # [..., O] the other side's utility of the same outcomes
    outcome: Array  # [..., O] int32, numbers of the outcomes
    reserved: Array  # [...] its utility without an agreement
    least: Array  # [...] its utility of the worst outcome that can be


class Agreement(NamedTuple):
    """How a bargain ended."""

    outcome: Array  # [...] int32 number of the outcome; −1: none
    round: Array  # [...] int32, s; −1: none
    by_buyer: Array  # [...] bool, the buyer accepted the supplier's offer


def sort_side(own: Worth, theirs: Array) -> Side:
    """A side's outcomes in its own order; equal ones in the order of their numbers.

    Args:
        own: its utilities [O] and reserved value [].  theirs: [O] the other side's utilities.
    """
    utility = jnp.where(jnp.isfinite(theirs), own.utility, -jnp.inf)
    return arrange(Worth(utility, own.reserved), theirs, jnp.argsort(utility, stable=True).astype(jnp.int32))


def arrange(own: Worth, theirs: Array, order: Array) -> Side:
    """A side's outcomes in an order [O] that is known already: ascending in its utility, what cannot be first."""
    feasible = jnp.isfinite(own.utility) & jnp.isfinite(theirs)
    least = jnp.where(feasible, own.utility, jnp.inf).min()
    return Side(own.utility[order], jnp.where(feasible, theirs, -jnp.inf)[order], order, own.reserved, least)


def relative_times(rounds: int) -> Array:
    """t_s = (s + 1)/(N + 1), [N]."""
    return (jnp.arange(rounds) + 1.0) / (rounds + 1.0)


def demands(side: Side, exponent: Array, rounds: int) -> Array:
    """What the side asks for at least in each round, lo [..., N]; inf where no outcome is worth its reserved value."""
    best = side.own[..., -1:]
    lowest = jnp.maximum(side.least, side.reserved)[..., None]
    aspiration = 1.0 - relative_times(rounds) ** jnp.asarray(exponent)[..., None]
    asked = jnp.clip((best - lowest) * aspiration + lowest - TOLERANCE, lowest, best)
    return jnp.where(best >= lowest, asked, jnp.inf)


def _place(ascending: Array, asked: Array) -> Array:
    """The first place [N] of values [O] that are at least what is asked for [N]."""
    return jnp.searchsorted(ascending, asked, method="scan")


def offers(side: Side, asked: Array) -> Array:
    """The place [N] of the side's offer in each round, for one bargain; O where it has none.

    Args:
        asked: [N] of `demands`.
    """
    return _place(side.own, asked)


def agree(buyer: Side, supplier: Side, buyer_exponent: Array, supplier_exponent: Array, rounds: int) -> Agreement:
    """The agreement of one bargain; a batch is the caller's `vmap`.

    Args:
        buyer, supplier: of `sort_side`, arrays [O].
        buyer_exponent, supplier_exponent: [] how long each stays tough.
    """
    asked_buyer, asked_supplier = (
        demands(buyer, buyer_exponent, rounds), demands(supplier, supplier_exponent, rounds),
    )  # fmt: skip
    place_buyer, place_supplier = offers(buyer, asked_buyer), offers(supplier, asked_supplier)
    to_supplier = jnp.take(buyer.theirs, place_buyer, mode="fill", fill_value=-jnp.inf)
    to_buyer = jnp.take(supplier.theirs, place_supplier, mode="fill", fill_value=-jnp.inf)
    # The order of play: the buyer answers the offer of the round before, then the supplier the buyer's of this one.
    buyer_takes = jnp.concatenate([jnp.zeros(1, bool), to_buyer[:-1] >= asked_buyer[1:]])
    supplier_takes = to_supplier >= asked_supplier
    taken = jnp.stack([buyer_takes, supplier_takes], -1).reshape(-1)
    turn = jnp.argmax(taken).astype(jnp.int32)
    number, by_buyer = turn // 2, turn % 2 == 0
    outcome = jnp.where(
        by_buyer,
        supplier.outcome[place_supplier[jnp.maximum(number - 1, 0)]],
        buyer.outcome[place_buyer[number]],
    )
    agreed = taken.any()
    return Agreement(jnp.where(agreed, outcome, -1), jnp.where(agreed, number, -1), agreed & by_buyer)


def bargain(
    buyer: Worth, supplier: Worth, buyer_exponent: Array, supplier_exponent: Array, rounds: int = 20
) -> Agreement:
    """The agreement of two sides from their utilities [O], sorted here."""
    sides = sort_side(buyer, supplier.utility), sort_side(supplier, buyer.utility)
    return agree(*sides, buyer_exponent, supplier_exponent, rounds)


def possible(buyer: Worth, supplier: Worth) -> Array:
    """Whether any outcome is worth to both what they have without one, and more to one of them: [...] bool."""
    gain_buyer = buyer.utility - buyer.reserved[..., None]
    gain_supplier = supplier.utility - supplier.reserved[..., None]
    return ((gain_buyer >= 0) & (gain_supplier >= 0) & (gain_buyer + gain_supplier > 0)).any(-1)

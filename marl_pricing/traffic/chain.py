"""Sessions as Markov chains on events: one walk, reduced to rows as it goes.

Events and products factorise: the product of an event does not depend on the event (see `kernels.expand`), so a walk
moves between events only and keeps a uniform number for the product.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.traffic import detection, draws
from marl_pricing.traffic.params import Array, Rows, RowTimes, SessionParams, TimeParams, TrafficShape


def _cumulative(kernels: Array) -> Array:
    """Thresholds [..., E, E − 1] in [0, 2^16] that turn 16 random bits into a destination."""
    return jnp.round(jnp.cumsum(kernels, -1)[..., :-1] * 65_536.0).astype(jnp.int32)


def _clock(key: Array, params: TimeParams, classes: Array, length: Array, purchases: Array, dwelled: Array) -> RowTimes:
    """Times of sessions [..., M] of so many events, purchases and dwell events: n gaps together are Gamma(n k, θ).

    A purchase comes last, so that without it a session is as much shorter. Sessions in one place share their numbers.
    """
    keys = jax.random.split(key, 3)

    def total(number: int, count: Array, laws: Array) -> Array:
        law = laws[classes]
        drawn = draws.gamma(keys[number], jnp.maximum(count, 1.0) * law[..., 0])
        return jnp.where(count > 0, drawn * law[..., 1], 0.0)

    gaps = jnp.maximum(length - 1.0, 0.0)
    seen = jnp.maximum(length - purchases - 1.0, 0.0)
    refused = total(0, seen, params.gaps)
    rest = total(1, gaps - seen, params.gaps)
    return RowTimes(length, refused + rest, refused, total(2, dwelled, params.dwell))


def walk(key: Array, shape: TrafficShape, params: SessionParams, classes: Array, slots: int) -> Rows:
    """Sessions from their start to their end, or to `max_events`.

    Probabilities are met to 2^-16. Two sessions in the same place of the last axis share their random numbers, so that
    a person and an agent in one place are two candidates for one visit.

    Args:
        classes: [..., M] int32, the class that each session belongs to.
        slots: L, places for events.

    Returns:
        Rows [..., M, ...].
    """
    num_kinds, num_states = params.kernels.shape[1], params.kernels.shape[-1]
    count = classes.shape[-1]
    end = num_states - 1
    key_kind, key_walk = jax.random.split(key)
    first = jnp.zeros_like(classes)
    if num_kinds > 1:
        uniform = jax.random.uniform(key_kind, (count,))
        share = jnp.cumsum(params.kind_shares, -1)[:, :-1][classes]
        first = (uniform[:, None] >= share).sum(-1).astype(jnp.int32)
    table = _cumulative(params.kernels).reshape(-1, num_states - 1)
    base = (classes * num_kinds + first) * num_states
    # One table of all that an event adds, so that a step gathers once by state and once by transition.
    counted = params.weights if params.product is None else params.weights * params.product
    shown = [] if params.product is None else [params.weights]
    adds = jnp.stack([counted, params.purchase, params.view, *shown], -1)
    ratio = params.log_ratio.reshape(1, -1)
    if params.kind_logs is not None:  # of each class and kind; one number a session is made of them at its end
        ratio = params.kind_logs.reshape(-1, num_states * num_states)
    lanes = classes.shape
    purchase_slots = shape.purchase_slots

    def more(carry: tuple) -> Array:
        step, state = carry[0], carry[1]
        return (step < shape.max_events) & jnp.any(state != end)

    def advance(carry: tuple) -> tuple:
        step, state, item, weight, bought_item, bought, signal, views, log_ratio, moves, unbought, dwelled = carry
        bits = jax.random.bits(jax.random.fold_in(key_walk, step), (count,))
        destination = (bits >> 16).astype(jnp.int32)
        place = (bits & 0xFFFF).astype(jnp.uint16)
        following = (destination[..., None] >= table[base + state]).sum(-1).astype(jnp.int32)
        walking = state != end
        following = jnp.where(walking, following, end)
        added = adds[following]
        log_ratio += jnp.where(walking, ratio[:, state * num_states + following], 0.0)
        moves += walking
        if not shape.counts_refused:  # the same session as it is seen if what it means to buy is refused
            last, refused_ratio, refused_moves = unbought
            seen = walking & (added[..., 1] == 0)
            refused_ratio += jnp.where(seen, ratio[:, last * num_states + following], 0.0)
            unbought = (jnp.where(seen, following, last), refused_ratio, refused_moves + seen)
        if params.times is not None:
            dwelled += params.times.dwells[following] * walking
        slot = step % slots
        # The first event of a slot chooses its product.
        item = item.at[slot].set(jnp.where(step < slots, jnp.broadcast_to(place, lanes), item[slot]))
        buys = added[..., 1]
        weight = weight.at[slot].add(added[..., 0] * (1.0 - buys))
        number = bought.sum(0).astype(jnp.int32)
        here = (number % purchase_slots == jnp.arange(purchase_slots).reshape(-1, *(1,) * len(lanes))) & (buys > 0)
        bought_item = jnp.where(here & (bought == 0), place, bought_item)
        bought = bought + here * buys
        signal += added[..., 3 if shown else 0] * (1.0 - buys)
        return (
            step + 1,
            following,
            item,
            weight,
            bought_item,
            bought,
            signal,
            views + added[..., 2],
            log_ratio,
            moves,
            unbought,
            dwelled,
        )

    zeros = jnp.zeros(lanes)
    unseen: tuple[Array, ...] = (jnp.zeros(lanes, jnp.int32), jnp.zeros((len(ratio), *lanes)), zeros)
    if shape.counts_refused:
        unseen = ()
    carry = (
        jnp.zeros((), jnp.int32),
        jnp.zeros(lanes, jnp.int32),
        jnp.zeros((slots, *lanes), jnp.uint16),
        jnp.zeros((slots, *lanes)),
        jnp.zeros((purchase_slots, *lanes), jnp.uint16),
        jnp.zeros((purchase_slots, *lanes)),
        zeros,
        zeros,
        jnp.zeros((len(ratio), *lanes)),
        zeros,
        unseen,
        zeros if params.times is not None else None,
    )
    carry = jax.lax.while_loop(more, advance, carry)
    _, state, item, weight, bought_item, bought, signal, views, log_ratio, moves, unbought, dwelled = carry

    def known(totals: Array) -> Array:
        if params.kind_logs is None:
            return totals[0]
        assert params.kind_weights is not None
        return detection.mixture_ratio(totals.reshape(2, -1, *lanes), params.kind_weights)

    log_ratio = known(log_ratio)
    times = refused_gap = None
    attention: Array | float = 0.0
    if params.times is not None:
        assert dwelled is not None
        purchases = bought.sum(0)
        times = _clock(jax.random.fold_in(key, 2), params.times, classes, moves - (state == end), purchases, dwelled)
    if shape.detector == "timed":
        assert times is not None and params.times is not None and dwelled is not None
        attention = detection.timing_ratio(dwelled, times.dwell, params.times.dwell)
        log_ratio += attention + detection.timing_ratio(times.length - 1.0, times.duration, params.times.gaps)
    if not shape.counts_refused:
        _, refused_ratio, refused_moves = unbought
        refused = known(refused_ratio)
        if shape.detector == "timed":
            assert times is not None and params.times is not None
            seen = times.length - bought.sum(0) - 1.0
            refused += attention + detection.timing_ratio(seen, times.refused_duration, params.times.gaps)
        refused_gap = refused / jnp.maximum(refused_moves, 1.0)
    return Rows(
        item=jnp.moveaxis(item, 0, -1),
        weight=jnp.moveaxis(weight, 0, -1),
        purchase_item=jnp.moveaxis(bought_item, 0, -1),
        purchases=jnp.moveaxis(bought, 0, -1),
        signal=signal,
        views=views,
        log_ratio=log_ratio,
        gap=log_ratio / jnp.maximum(moves, 1.0),
        times=times,
        refused_gap=refused_gap,
    )

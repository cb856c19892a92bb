"""A bank of sessions, drawn beforehand, so that an epoch gathers rows and walks no chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.compiler import for_one_run
from marl_pricing.traffic import chain, detection
from marl_pricing.traffic.params import Array, Rows, RowTimes, SessionParams, TrafficParams, TrafficShape


def fill(key: Array, shape: TrafficShape, params: SessionParams, size: int) -> Rows:
    """A bank [Y, B, ...] of `size` sessions a class, drawn from the kernels.

    Classes are drawn independently: a row of people and a row of agents have nothing in common. Classes that behave
    alike hold the same rows in different orders, so that a bank makes no difference between them.
    """
    # Only what a walk needs is static here, so that markets of other sizes share the compiled program.
    walked = TrafficShape(
        max_events=shape.max_events, slots=shape.slots, purchase_slots=shape.purchase_slots, detector=shape.detector
    )
    return _compiled()(key, walked, params.replace(bank=None), size)


def _fill(key: Array, shape: TrafficShape, params: SessionParams, size: int) -> Rows:
    num_classes = params.kernels.shape[0]
    keys = jax.random.split(key, num_classes)
    rows = [
        chain.walk(keys[own], shape, params, jnp.full((size,), own, jnp.int32), shape.slots)
        for own in range(num_classes)
    ]
    for own in range(1, num_classes):
        order = jax.random.permutation(keys[own], size)
        again = jax.tree.map(lambda leaf, order=order: leaf[order], rows[0])
        alike = (params.kernels[own] == params.kernels[0]).all()
        alike &= (params.kind_shares[own] == params.kind_shares[0]).all()
        rows[own] = jax.tree.map(partial(jnp.where, alike), again, rows[own])
    return jax.tree.map(lambda *parts: jnp.stack(parts), *rows)


@cache  # not where this is imported, which starts no device
def _compiled() -> Callable[..., Rows]:
    """The drawing of a market's first bank: people wait for the compiler, not for the walk."""
    return jax.jit(_fill, static_argnames=("shape", "size"), compiler_options=for_one_run(0))


def refresh(key: Array, shape: TrafficShape, params: TrafficParams) -> TrafficParams:
    """The same traffic with a bank of new sessions, so that training does not learn one bank by heart."""
    own = params.sessions
    if own is None or own.bank is None:
        return params
    return params.replace(sessions=own.replace(bank=_fill(key, shape, own, own.bank.signal.shape[-1])))


def _log_ratios(params: SessionParams, sessions: Sequence[np.ndarray]) -> np.ndarray:
    """How much likelier each session [B] is an agent's, as the detector of these sessions knows it."""
    if params.kind_logs is None:
        ratio = np.asarray(params.log_ratio)
        return np.array([ratio[own[:-1], own[1:]].sum() for own in sessions])
    return detection.session_ratios(sessions, np.asarray(params.kind_logs), np.asarray(params.kind_weights))


def _clocks(
    shape: TrafficShape,
    params: SessionParams,
    sessions: Sequence[np.ndarray],
    times: Sequence[tuple[np.ndarray, float]],
    scalars: np.ndarray,
) -> RowTimes:
    """Times of real sessions; what they tell a timed detector is added to rows 2 to 4 of `scalars`."""
    assert params.times is not None
    bought = np.asarray(params.purchase) > 0
    whole = [own for own, _ in times]
    seen = [own[~bought[session[1 : len(own) + 1]]] for own, session in zip(whole, sessions, strict=True)]
    length, fewer = (np.array([len(own) for own in part], np.float32) for part in (whole, seen))
    duration, refused = (
        np.array([own[-1] - own[0] if len(own) else 0.0 for own in part], np.float32) for part in (whole, seen)
    )
    dwell = np.array([total for _, total in times], np.float32)
    if shape.detector == "timed":
        laws, dwells = params.times, np.asarray(params.times.dwells)
        looked = jnp.asarray([dwells[session].sum() for session in sessions], jnp.float32)
        attention = np.asarray(detection.timing_ratio(looked, jnp.asarray(dwell), laws.dwell))
        moves = np.array([len(session) - 1 for session in sessions])
        for row, count, seconds, steps in ((3, length, duration, moves), (4, fewer, refused, moves - length + fewer)):
            gaps = detection.timing_ratio(jnp.asarray(count - 1.0), jnp.asarray(seconds), laws.gaps)
            told = np.asarray(gaps) + attention
            scalars[row] += told / np.maximum(steps, 1)
            scalars[2] += told if row == 3 else 0.0
    return RowTimes(*(jnp.asarray(part) for part in (length, duration, refused, dwell)))


def from_sessions(
    sessions: Sequence[Sequence[np.ndarray]],
    shape: TrafficShape,
    params: SessionParams,
    size: int,
    seed: int = 0,
    times: Sequence[Sequence[tuple[np.ndarray, float]]] | None = None,
) -> Rows:
    """A bank [Y, B, ...] of real sessions.

    Each class's sessions are repeated (every one as often as any other, give or take one) to `size` rows. Products are
    drawn by the attention of the day, as in the chain: a log's catalogue is not the market's.

    Args:
        sessions: for each class its sessions, as state numbers from start to end (see `kernels.encode`).
        times: of each the seconds of its events since the first, and its dwell in all, where the detector asks.

    Raises:
        ValueError: for a class without sessions, or a session longer than `max_events`.
    """
    random = np.random.default_rng(seed)
    weights, purchase, view = (np.asarray(x) for x in (params.weights, params.purchase, params.view))
    product = 1.0 if params.product is None else np.asarray(params.product)
    names = ("signal", "views", "log_ratio", "gap", "refused_gap")
    banks = []
    for number, own in enumerate(sessions):
        if not len(own):
            raise ValueError(f"the log has no sessions of class {('human', 'agent')[number]!r}")
        slots, bought_slots = shape.slots, shape.purchase_slots
        rows = {
            "weight": np.zeros((len(own), slots), np.float32),
            "purchases": np.zeros((len(own), bought_slots), np.float32),
        }
        scalars = np.zeros((5, len(own)), np.float32)
        ratios = _log_ratios(params, own)
        unbought = [session[purchase[session] == 0] for session in own]
        refused = _log_ratios(params, unbought) / np.maximum([len(session) - 1 for session in unbought], 1)
        for index, session in enumerate(own):
            inner = session[1:-1] if session[-1] == len(weights) - 1 else session[1:]
            if len(inner) > shape.max_events:
                raise ValueError(f"a session of {len(inner)} events: accepted are at most {shape.max_events}")
            interest = weights[inner] * (1.0 - purchase[inner])
            counted = (weights * (1.0 - purchase) * product)[inner]
            np.add.at(rows["weight"][index], np.arange(len(inner)) % slots, counted)
            bought = np.flatnonzero(purchase[inner])
            np.add.at(rows["purchases"][index], np.arange(len(bought)) % bought_slots, 1.0)
            total = ratios[index]
            gap = total / max(len(session) - 1, 1)
            scalars[:, index] = interest.sum(), view[inner].sum(), total, gap, refused[index]
        clock = None if times is None else _clocks(shape, params, own, times[number], scalars)
        pick = random.permutation(np.resize(np.arange(len(own)), size))
        banks.append(
            Rows(
                item=jnp.asarray(random.integers(0, 65_536, (size, slots), np.uint16)),
                weight=jnp.asarray(rows["weight"][pick]),
                purchase_item=jnp.asarray(random.integers(0, 65_536, (size, bought_slots), np.uint16)),
                purchases=jnp.asarray(rows["purchases"][pick]),
                times=None if clock is None else jax.tree.map(lambda part, pick=pick: part[pick], clock),
                **dict(zip(names, jnp.asarray(scalars[:, pick]), strict=True)),
            )
        )
    return jax.tree.map(lambda *parts: jnp.stack(parts), *banks)

"""The minGRU (Feng et al. 2024): a gate of the input alone, so that a segment is one product and one linear recurrence.

The recurrence h_t = a_t h_{t−1} + b_t goes step by step on a CPU, where a step is a handful of vector instructions, and
by a tree of pairs (an associative scan) elsewhere, where a step costs a launch. Its gradient is the same recurrence
backwards, so it is written by hand: autodiff would keep more of every step.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def step_by_step(decay: Array, enter: Array, start: Array) -> Array:
    """h_t = a_t h_{t−1} + b_t by a loop.

    Args:
        decay, enter: a and b [T, ...].  start: h_0 [...].

    Returns:
        h_1 … h_T [T, ...].
    """

    def step(hidden: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        hidden = at[0] * hidden + at[1]
        return hidden, hidden

    return jax.lax.scan(step, start, (decay, enter))[1]


def by_pairs(decay: Array, enter: Array, start: Array) -> Array:
    """`step_by_step` in log T rounds: two steps in a row are one with a = a₂a₁ and b = a₂b₁ + b₂ (Blelloch 1990)."""

    def pair(one: tuple[Array, Array], two: tuple[Array, Array]) -> tuple[Array, Array]:
        return two[0] * one[0], two[0] * one[1] + two[1]

    enter = enter.at[0].add(decay[0] * start)
    return jax.lax.associative_scan(pair, (decay, enter))[1]


@jax.custom_vjp
def linear_recurrence(decay: Array, enter: Array, start: Array) -> Array:
    """`step_by_step` on a CPU, `by_pairs` elsewhere."""
    return jax.lax.platform_dependent(decay, enter, start, cpu=step_by_step, default=by_pairs)


def _forward(decay: Array, enter: Array, start: Array):
    hiddens = linear_recurrence(decay, enter, start)
    return hiddens, (decay, start, hiddens)


def _backward(saved, grad: Array) -> tuple[Array, Array, Array]:
    decay, start, hiddens = saved
    # λ_t = ∂/∂h_t = grad_t + a_{t+1} λ_{t+1}: the recurrence again, from the last step to the first.
    later = jnp.concatenate([decay[1:], jnp.zeros_like(decay[:1])])
    whole = linear_recurrence(later[::-1], grad[::-1], jnp.zeros_like(start))[::-1]
    before = jnp.concatenate([start[None], hiddens[:-1]])
    return whole * before, whole, whole[0] * decay[0]


linear_recurrence.defvjp(_forward, _backward)


def candidate(x: Array) -> Array:
    """g(x): x + ½ from 0 on, σ(x) below; positive and increasing (Feng et al. 2024, appendix B)."""
    return jnp.where(x >= 0.0, x + 0.5, jax.nn.sigmoid(x))


def min_gru_step(gates_in: Array, hidden: Array) -> Array:
    """One step: h' = (1 − z) h + z g(W_h x + b_h), z = σ(W_z x + b_z).

    Args:
        gates_in: [..., 2H], W_z x + b_z, then W_h x + b_h.  hidden: [..., H].

    Returns:
        [..., H].
    """
    size = hidden.shape[-1]
    update = jax.nn.sigmoid(gates_in[..., :size])
    return (1.0 - update) * hidden + update * candidate(gates_in[..., size:])


def min_gru_sequence(gates_in: Array, hidden: Array, first: Array) -> Array:
    """A minGRU over a segment.

    Args:
        gates_in: [T, B, 2H], as of `min_gru_step`.  hidden: [B, H] before the segment.
        first: [T, B] bool, step t begins an episode: the memory is zero there.

    Returns:
        [T, B, H] hidden states after each step.
    """
    size = hidden.shape[-1]
    update = jax.nn.sigmoid(gates_in[..., :size])
    kept = jnp.where(first[..., None], 0.0, 1.0 - update)
    return linear_recurrence(kept, update * candidate(gates_in[..., size:]), hidden)

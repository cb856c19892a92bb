"""The minGRU (Feng et al. 2024): its gate sees the input alone: two products for a segment, and one linear recurrence.

The recurrence h_t = a_t h_{t−1} + b_t goes step by step on a CPU, where a step is a handful of vector instructions, and
by a tree of pairs (an associative scan) elsewhere, where a step costs a launch. Its gradient is the same recurrence
backwards, so it is written by hand down to what the products gave: autodiff would keep more of every step, and would
join the gates' gradients out of two halves padded with zeros, which alone took a tenth of an update.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


def linear_recurrence(decay: Array, enter: Array, start: Array, *, reverse: bool = False) -> Array:
    """h_t = a_t h_{t−1} + b_t in log T rounds: two steps in a row are one, a = a₂a₁, b = a₂b₁ + b₂ (Blelloch 1990).

    Args:
        decay, enter: a and b [T, ...].  start: h_0 [...].
        reverse: h_t = a_t h_{t+1} + b_t from the last step to the first; `start` is h_{T+1} then.

    Returns:
        h_1 … h_T [T, ...].
    """

    def pair(one: tuple[Array, Array], two: tuple[Array, Array]) -> tuple[Array, Array]:
        return two[0] * one[0], two[0] * one[1] + two[1]

    begin = -1 if reverse else 0
    enter = enter.at[begin].add(decay[begin] * start)
    return jax.lax.associative_scan(pair, (decay, enter), reverse=reverse)[1]


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
    return _after(hidden, gates_in[..., :size], gates_in[..., size:])


def _after(hidden: Array, update_in: Array, new_in: Array) -> Array:
    update = jax.nn.sigmoid(update_in)
    return (1.0 - update) * hidden + update * candidate(new_in)


class Inputs(NamedTuple):
    """A segment as a minGRU takes it."""

    update_in: Array  # [T, B, H] W_z x + b_z
    new_in: Array  # [T, B, H] W_h x + b_h
    hidden: Array  # [B, H] before the segment
    first: Array  # [T, B] bool, step t begins an episode: the memory is zero there


def hiddens_by_steps(own: Inputs) -> Array:
    """Hidden states [T, B, H] after each step, by a loop that takes the gates along."""

    def step(hidden: Array, at: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        update_in, new_in, first = at
        hidden = _after(jnp.where(first[:, None], 0.0, hidden), update_in, new_in)
        return hidden, hidden

    return jax.lax.scan(step, own.hidden, (own.update_in, own.new_in, own.first))[1]


def hiddens_by_pairs(own: Inputs) -> Array:
    """The same, all steps at once."""
    update = jax.nn.sigmoid(own.update_in)
    kept = jnp.where(own.first[..., None], 0.0, 1.0 - update)
    return linear_recurrence(kept, update * candidate(own.new_in), own.hidden)


def _of_gates(grad: Array, update_in: Array, new_in: Array, before: Array) -> tuple[Array, Array, Array]:
    """From ∂/∂h_t to what flows on to h_{t−1}, to W_z x + b_z and to W_h x + b_h.

    Args:
        before: h_{t−1}, zero where an episode begins.
    """
    update, low = jax.nn.sigmoid(update_in), jax.nn.sigmoid(new_in)
    above = new_in >= 0.0
    new, slope = jnp.where(above, new_in + 0.5, low), jnp.where(above, 1.0, low * (1.0 - low))
    through = grad * update
    return grad * (1.0 - update), through * (1.0 - update) * (new - before), through * slope


Gradients = tuple[Array, Array, Array]


def gradients_by_steps(own: Inputs, hiddens: Array, grad_hiddens: Array) -> Gradients:
    """Gradients of `update_in`, `new_in` and `hidden`, by a loop from the last step to the first.

    Args:
        hiddens: [T, B, H] as the segment left them.  grad_hiddens: [T, B, H], of each by itself.
    """

    def step(grad: Array, at: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        grad_out, update_in, new_in, before, first = at
        before = jnp.where(first[:, None], 0.0, before)
        grad, grad_update, grad_new = _of_gates(grad + grad_out, update_in, new_in, before)
        return jnp.where(first[:, None], 0.0, grad), (grad_update, grad_new)

    before = jnp.concatenate([own.hidden[None], hiddens[:-1]])
    along = (grad_hiddens, own.update_in, own.new_in, before, own.first)
    grad_hidden, (grad_update, grad_new) = jax.lax.scan(step, jnp.zeros_like(own.hidden), along, reverse=True)
    return grad_update, grad_new, grad_hidden


def gradients_by_pairs(own: Inputs, hiddens: Array, grad_hiddens: Array) -> Gradients:
    """The same, all steps at once."""
    first = own.first[..., None]
    kept = jnp.where(first, 0.0, 1.0 - jax.nn.sigmoid(own.update_in))
    # λ_t = ∂/∂h_t = grad_t + a_{t+1} λ_{t+1}: the recurrence again, from the last step to the first.
    later = jnp.concatenate([kept[1:], jnp.zeros_like(kept[:1])])
    whole = linear_recurrence(later, grad_hiddens, jnp.zeros_like(own.hidden), reverse=True)
    before = jnp.where(first, 0.0, jnp.concatenate([own.hidden[None], hiddens[:-1]]))
    _, grad_update, grad_new = _of_gates(whole, own.update_in, own.new_in, before)
    return grad_update, grad_new, whole[0] * kept[0]


@jax.custom_vjp
def min_gru_sequence(own: Inputs) -> Array:
    """A minGRU over a segment: hidden states [T, B, H] after each step; step by step on a CPU, by pairs elsewhere."""
    return jax.lax.platform_dependent(own, cpu=hiddens_by_steps, default=hiddens_by_pairs)


def _forward(own: Inputs) -> tuple[Array, tuple[Inputs, Array]]:
    hiddens = min_gru_sequence(own)
    return hiddens, (own, hiddens)


def _backward(saved: tuple[Inputs, Array], grad_hiddens: Array) -> tuple[Inputs]:
    ways = {"cpu": gradients_by_steps, "default": gradients_by_pairs}
    update, new, hidden = jax.lax.platform_dependent(*saved, grad_hiddens, **ways)
    return (Inputs(update, new, hidden, None),)  # type: ignore[arg-type]


min_gru_sequence.defvjp(_forward, _backward)

"""Recurrent cells over whole sequences: GRU, LSTM, minGRU, one or several on top of each other; or no memory.

The memory is reset where an episode begins.

The GRU's gradient is written by hand. Differentiating a `lax.scan` sums the weight gradients step by step in its
backward loop; here that loop carries the state gradient only, and each weight gradient is one matrix product over the
whole sequence. On two CPU cores that is 1.3 to 2 times as fast (`python -m benchmarks` prints it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing.learning.min_gru import Inputs, min_gru_sequence, min_gru_step
from marl_pricing.learning.products import gradient_of_weights, product

Array = jax.Array

# Blocks of H columns in a cell's kernels, one a gate.
GATES = {"gru": 3, "lstm": 4, "mingru": 2, "none": 1}


class CellParams(struct.PyTreeNode):
    """Weights of a cell.

    F is 3H for a GRU (gates r, z, n), 4H for an LSTM (gates i, f, g, o), 2H for a minGRU (z, h̃), H without memory.
    """

    kernel_in: Array  # [D, F]
    kernel_hidden: Array | None  # [H, F]; None where no gate reads the memory (minGRU, none)
    bias: Array  # [F]
    bias_hidden: Array | None  # [H], inside the reset gate's product (GRU only); None as above


def reads_memory(cell: str) -> bool:
    """Whether the cell's gates read its memory, so that there are weights for it."""
    return cell in ("gru", "lstm")


def memory_size(cell: str, hidden_size: int, num_layers: int = 1) -> int:
    """Width of the memory, layer after layer.

    A layer's is H for a GRU and a minGRU, 2H (hidden, then cell state) for an LSTM; H, which nobody reads, for `none`.
    """
    return num_layers * (2 if cell == "lstm" else 1) * hidden_size


def hidden_of(cell: str, memory: Array, hidden_size: int, num_layers: int = 1) -> Array:
    """The last layer's hidden state [..., H] of memories [..., M]."""
    start = memory_size(cell, hidden_size, num_layers - 1)
    return memory[..., start : start + hidden_size]


def _gates(params: CellParams, gate_in: Array, hidden: Array) -> tuple[Array, Array, Array, Array]:
    size = hidden.shape[-1]
    assert params.kernel_hidden is not None and params.bias_hidden is not None
    gate_hidden = hidden @ params.kernel_hidden
    reset = jax.nn.sigmoid(gate_in[..., :size] + gate_hidden[..., :size])
    update = jax.nn.sigmoid(gate_in[..., size : 2 * size] + gate_hidden[..., size : 2 * size])
    inner = gate_hidden[..., 2 * size :] + params.bias_hidden
    new = jnp.tanh(gate_in[..., 2 * size :] + reset * inner)
    return reset, update, new, inner


def gru_step(params: CellParams, inputs: Array, hidden: Array) -> Array:
    """One step of Cho et al. (2014) in the form of PyTorch and Flax: h' = (1 − z) n + z h.

    r = σ(W_r x + U_r h + b_r), z = σ(W_z x + U_z h + b_z), n = tanh(W_n x + b_n + r (U_n h + b_hn)).

    Args:
        inputs: [B, D].  hidden: [B, H].

    Returns:
        [B, H].
    """
    _, update, new, _ = _gates(params, inputs @ params.kernel_in + params.bias, hidden)
    return (1.0 - update) * new + update * hidden


def _gru_scan(params: CellParams, inputs: Array, hidden: Array, first: Array) -> tuple[Array, Array]:
    """Hidden states [T, B, H] and gates [T, B, 4H] (r, z, n, inner)."""
    gates_in = inputs @ params.kernel_in + params.bias

    def step(hidden: Array, at: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        gate_in, first = at
        hidden = jnp.where(first[:, None], 0.0, hidden)
        reset, update, new, inner = _gates(params, gate_in, hidden)
        hidden = (1.0 - update) * new + update * hidden
        return hidden, (hidden, jnp.concatenate([reset, update, new, inner], axis=-1))

    _, (hiddens, gates) = jax.lax.scan(step, hidden, (gates_in, first))
    return hiddens, gates


@jax.custom_vjp
def gru_sequence(params: CellParams, inputs: Array, hidden: Array, first: Array) -> Array:
    """A GRU over a segment.

    Args:
        inputs: [T, B, D].  hidden: [B, H] before the segment.
        first: [T, B] bool, step t begins an episode: the memory is zero there.

    Returns:
        [T, B, H] hidden states after each step.
    """
    return _gru_scan(params, inputs, hidden, first)[0]


def _gru_forward(params: CellParams, inputs: Array, hidden: Array, first: Array):
    hiddens, gates = _gru_scan(params, inputs, hidden, first)
    return hiddens, (params, inputs, hidden, first, hiddens, gates)


def _gru_backward(saved, grad_hiddens: Array):
    params, inputs, hidden, first, hiddens, gates = saved
    size = hidden.shape[-1]
    before = jnp.concatenate([hidden[None], hiddens[:-1]])
    before = jnp.where(first[..., None], 0.0, before)
    assert params.kernel_hidden is not None
    kernel = params.kernel_hidden.T

    def step(grad: Array, at: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
        grad_out, gates, before, first = at
        reset, update = gates[:, :size], gates[:, size : 2 * size]
        new, inner = gates[:, 2 * size : 3 * size], gates[:, 3 * size :]
        grad = grad + grad_out
        grad_new = grad * (1.0 - update) * (1.0 - new * new)
        grad_update = grad * (before - new) * update * (1.0 - update)
        grad_reset = grad_new * inner * reset * (1.0 - reset)
        grad_gates = jnp.concatenate([grad_reset, grad_update, grad_new * reset], axis=-1)
        grad = grad_gates @ kernel + grad * update
        return jnp.where(first[:, None], 0.0, grad), jnp.concatenate([grad_gates, grad_new], axis=-1)

    grad_hidden, grads = jax.lax.scan(step, jnp.zeros_like(hidden), (grad_hiddens, gates, before, first), reverse=True)
    grad_from_hidden = grads[..., : 3 * size]
    grad_from_input = jnp.concatenate([grads[..., : 2 * size], grads[..., 3 * size :]], axis=-1)
    grad_params = CellParams(
        kernel_in=gradient_of_weights(inputs, grad_from_input),
        kernel_hidden=gradient_of_weights(before, grad_from_hidden),
        bias=grad_from_input.sum((0, 1)),
        bias_hidden=grad_from_hidden[..., 2 * size :].sum((0, 1)),
    )
    return grad_params, grad_from_input @ params.kernel_in.T, grad_hidden, None


gru_sequence.defvjp(_gru_forward, _gru_backward)


def lstm_step(params: CellParams, inputs: Array, memory: Array) -> Array:
    """One step of Hochreiter and Schmidhuber (1997) with a forget gate.

    Args:
        inputs: [B, D].  memory: [B, 2H], hidden then cell state.

    Returns:
        [B, 2H].
    """
    size = memory.shape[-1] // 2
    assert params.kernel_hidden is not None
    hidden, cell = memory[..., :size], memory[..., size:]
    gates = inputs @ params.kernel_in + params.bias + hidden @ params.kernel_hidden
    enter, forget, new, out = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
    return jnp.concatenate([jax.nn.sigmoid(out) * jnp.tanh(cell), cell], axis=-1)


def lstm_sequence(params: CellParams, inputs: Array, memory: Array, first: Array) -> Array:
    """An LSTM over a segment; shapes as `gru_sequence`, with memories [T, B, 2H]."""

    def step(memory: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        inputs, first = at
        memory = lstm_step(params, inputs, jnp.where(first[:, None], 0.0, memory))
        return memory, memory

    return jax.lax.scan(step, memory, (inputs, first))[1]


def forgetful(params: CellParams, inputs: Array) -> Array:
    """The cell `none`: tanh(W x + b), one layer in the cell's place, for a network that remembers nothing.

    Args:
        inputs: [..., D].

    Returns:
        [..., H].
    """
    return jnp.tanh(inputs @ params.kernel_in + params.bias)


def cell_step(cell: str, params: CellParams, inputs: Array, memory: Array) -> Array:
    """One step of the named cell; see `gru_step`, `lstm_step`, `min_gru_step` and `forgetful`."""
    if cell == "none":
        return forgetful(params, inputs)
    if cell == "mingru":
        return min_gru_step(inputs @ params.kernel_in + params.bias, memory)
    return gru_step(params, inputs, memory) if cell == "gru" else lstm_step(params, inputs, memory)


def cell_sequence(cell: str, params: CellParams, inputs: Array, memory: Array, first: Array) -> Array:
    """The named cell over a segment: memories [T, B, …] after each step."""
    if cell == "none":
        return forgetful(params, inputs)
    if cell == "mingru":
        # A product a gate: of one for both, the halves would have to be cut apart, and their gradients joined again.
        update, new = zip(jnp.split(params.kernel_in, 2, -1), jnp.split(params.bias, 2, -1), strict=True)
        update_in, new_in = (product(inputs, kernel) + bias for kernel, bias in (update, new))
        return min_gru_sequence(Inputs(update_in, new_in, memory, first))
    sequence = gru_sequence if cell == "gru" else lstm_sequence
    return sequence(params, inputs, memory, first)


def layers_step(cell: str, layers: Sequence[CellParams], inputs: Array, memory: Array) -> Array:
    """One step of cells on top of each other, each of which reads the hidden state of the one below.

    Args:
        layers: from the lowest.  inputs: [..., D].  memory: [..., M], layer after layer.

    Returns:
        [..., M].
    """
    return _layered(cell, layers, inputs, memory, lambda own, below, held: cell_step(cell, own, below, held))


def layers_sequence(cell: str, layers: Sequence[CellParams], inputs: Array, memory: Array, first: Array) -> Array:
    """`layers_step` over a segment: inputs [T, B, D], memory [B, M], first [T, B] → memories [T, B, M]."""
    return _layered(cell, layers, inputs, memory, lambda own, below, held: cell_sequence(cell, own, below, held, first))


def _layered(
    cell: str,
    layers: Sequence[CellParams],
    inputs: Array,
    memory: Array,
    through: Callable[[CellParams, Array, Array], Array],
) -> Array:
    if len(layers) == 1:
        return through(layers[0], inputs, memory)
    kept: list[Array] = []
    for own, held in zip(layers, jnp.split(memory, len(layers), axis=-1), strict=True):
        kept.append(through(own, inputs, held))
        inputs = hidden_of(cell, kept[-1], own.bias.shape[-1] // GATES[cell])
    return jnp.concatenate(kept, axis=-1)

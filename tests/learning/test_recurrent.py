"""The cells: equal to the libraries' cells, and the gradient by hand equal to autodiff."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from marl_pricing.learning.recurrent import (
    CellParams,
    cell_sequence,
    cell_step,
    gru_sequence,
    gru_step,
    lstm_step,
    memory_size,
)

T, B, D, H = 9, 3, 5, 4


def case(cell: str, dtype=np.float32):
    rng = np.random.default_rng(0)
    gates = {"gru": 3, "lstm": 4, "none": 1}[cell] * H
    params = CellParams(
        *(jnp.asarray(rng.normal(0, 0.5, size), dtype) for size in ((D, gates), (H, gates), (gates,), (H,)))
    )
    inputs = jnp.asarray(rng.normal(size=(T, B, D)), dtype)
    memory = jnp.asarray(rng.normal(size=(B, memory_size(cell, H))), dtype)
    first = jnp.asarray(rng.random((T, B)) < 0.3).at[0].set(jnp.array([True, False, False]))
    return params, inputs, memory, first


def plain(cell: str, params, inputs, memory, first):
    outs = []
    for t in range(T):
        memory = jnp.where(first[t][:, None], 0.0, memory)
        memory = cell_step(cell, params, inputs[t], memory)
        outs.append(memory)
    return jnp.stack(outs)


@pytest.mark.parametrize("cell", ["gru", "lstm", "none"])
def test_a_sequence_is_its_steps_with_resets(cell: str) -> None:
    arguments = case(cell)
    np.testing.assert_allclose(cell_sequence(cell, *arguments), plain(cell, *arguments), rtol=1e-5, atol=1e-6)


def test_without_memory_a_step_depends_on_nothing_before_it() -> None:
    params, inputs, memory, first = case("none")
    whole = cell_sequence("none", params, inputs, memory, first)
    other = cell_sequence("none", params, inputs[::-1], memory + 1.0, ~first)[::-1]
    np.testing.assert_array_equal(whole, other)
    np.testing.assert_allclose(whole[3], np.tanh(inputs[3] @ params.kernel_in + params.bias), rtol=1e-5, atol=1e-6)


def test_the_gradient_by_hand_is_autodiffs() -> None:
    with jax.enable_x64(True):
        params, inputs, hidden, first = case("gru", np.float64)
        weight = jnp.asarray(np.random.default_rng(1).normal(size=(T, B, H)))

        def loss(sequence, params, inputs, hidden):
            return (weight * sequence(params, inputs, hidden, first) ** 2).sum()

        def by_loop(*arguments):
            return plain("gru", *arguments)

        ours = jax.grad(lambda *a: loss(gru_sequence, *a), argnums=(0, 1, 2))(params, inputs, hidden)
        theirs = jax.grad(lambda *a: loss(by_loop, *a), argnums=(0, 1, 2))(params, inputs, hidden)
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_the_gradient_by_hand_maps_over_a_stack() -> None:
    params, inputs, hidden, first = case("gru")
    stack = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), params)
    gradient = jax.grad(lambda p: (gru_sequence(p, inputs, hidden, first) ** 2).sum())
    together = jax.vmap(gradient)(stack)
    for number in range(2):
        alone = gradient(jax.tree.map(lambda x, number=number: x[number], stack))
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(one, other[number], rtol=1e-4, atol=1e-5)


def test_the_gru_has_the_gate_conventions_of_flax() -> None:
    params, inputs, hidden, _ = case("gru")
    theirs = nnx.GRUCell(D, H, rngs=nnx.Rngs(0))
    theirs.dense_i.kernel[...] = params.kernel_in
    theirs.dense_h.kernel[...] = params.kernel_hidden
    theirs.dense_i.bias[...] = params.bias
    # Flax keeps no bias inside the reset gate's product; PyTorch does.
    ours = gru_step(params.replace(bias_hidden=jnp.zeros(H)), inputs[0], hidden)
    np.testing.assert_allclose(ours, theirs(hidden, inputs[0])[0], rtol=1e-5, atol=1e-6)


def test_the_lstm_has_the_gate_conventions_of_flax() -> None:
    params, inputs, memory, _ = case("lstm")
    theirs = nnx.OptimizedLSTMCell(D, H, rngs=nnx.Rngs(0))
    theirs.dense_i.kernel[...] = params.kernel_in
    theirs.dense_h.kernel[...] = params.kernel_hidden
    theirs.dense_h.bias[...] = params.bias
    (cell, hidden), _ = theirs((memory[:, H:], memory[:, :H]), inputs[0])
    np.testing.assert_allclose(
        lstm_step(params, inputs[0], memory), jnp.concatenate([hidden, cell], -1), rtol=1e-5, atol=1e-6
    )

"""The cells: equal to the libraries' cells, and the gradient by hand equal to autodiff."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from marl_pricing.learning.min_gru import (
    Inputs,
    gradients_by_pairs,
    gradients_by_steps,
    hiddens_by_pairs,
    hiddens_by_steps,
    min_gru_sequence,
    min_gru_step,
)
from marl_pricing.learning.recurrent import (
    GATES,
    CellParams,
    cell_sequence,
    cell_step,
    gru_sequence,
    gru_step,
    hidden_of,
    layers_sequence,
    layers_step,
    lstm_step,
    memory_size,
)

T, B, D, H = 9, 3, 5, 4


def case(cell: str, dtype=np.float32):
    rng = np.random.default_rng(0)
    gates = GATES[cell] * H
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


@pytest.mark.parametrize("cell", GATES)
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


@pytest.mark.slow
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


@pytest.mark.parametrize("cell", ["gru", "lstm", "mingru"])
def test_layers_read_the_hidden_state_of_the_one_below_step_by_step(cell: str) -> None:
    below, inputs, _, first = case(cell)
    above = jax.tree.map(lambda x: 0.5 - x[:H] if x.shape[0] == D else 0.5 - x, below)
    memory = jnp.asarray(np.random.default_rng(2).normal(size=(B, memory_size(cell, H, 2))), jnp.float32)
    memories = layers_sequence(cell, [below, above], inputs, memory, first)
    low = plain(cell, below, inputs, memory[:, : memory_size(cell, H)], first)
    high = plain(cell, above, low[..., :H], memory[:, memory_size(cell, H) :], first)
    np.testing.assert_allclose(memories, jnp.concatenate([low, high], -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(hidden_of(cell, memories, H, 2), memories[..., memory_size(cell, H) :][..., :H])
    begun = jnp.where(first[0][:, None], 0.0, memory)
    one = layers_step(cell, [below, above], inputs[0], begun)
    np.testing.assert_allclose(one, memories[0], rtol=1e-5, atol=1e-6)


def test_a_min_gru_is_its_equations() -> None:
    params, inputs, hidden, first = case("mingru")
    hiddens = cell_sequence("mingru", params, inputs, hidden, first)
    kernel, bias, held = np.asarray(params.kernel_in), np.asarray(params.bias), np.asarray(hidden)
    for t in range(T):
        gate, new = np.split(np.asarray(inputs[t]) @ kernel + bias, 2, -1)
        held = np.where(np.asarray(first[t])[:, None], 0.0, held)
        z, g = 1.0 / (1.0 + np.exp(-gate)), np.where(new >= 0.0, new + 0.5, 1.0 / (1.0 + np.exp(-new)))
        held = (1.0 - z) * held + z * g
        np.testing.assert_allclose(hiddens[t], held, rtol=1e-5, atol=1e-6)


def test_a_min_gru_by_steps_and_by_pairs_is_its_steps_in_float64_and_so_are_its_gradients() -> None:
    """A segment of 128 in which episodes begin: what came before is forgotten there, exactly."""
    rng = np.random.default_rng(4)
    gates, weight = rng.normal(size=(128, B, 2 * H)), rng.normal(size=(128, B, H))
    hidden, first = rng.normal(size=(B, H)), rng.random((128, B)) < 0.05

    def plain(gates, hidden):
        hiddens = []
        for gate, begins in zip(gates, first, strict=True):
            hidden = min_gru_step(gate, jnp.where(begins[:, None], 0.0, hidden))
            hiddens.append(hidden)
        return jnp.stack(hiddens)

    with jax.enable_x64(True):
        (expected, back) = jax.vjp(plain, jnp.asarray(gates), jnp.asarray(hidden))
        of_gates, of_hidden = (np.asarray(grad) for grad in back(jnp.asarray(weight)))
    expected = np.asarray(expected)
    own = Inputs(*(jnp.asarray(x, jnp.float32) for x in (gates[..., :H], gates[..., H:], hidden)), jnp.asarray(first))
    grads = [*np.split(of_gates, 2, -1), of_hidden]
    for forward, backward in ((hiddens_by_steps, gradients_by_steps), (hiddens_by_pairs, gradients_by_pairs)):
        hiddens = jax.jit(forward)(own)
        np.testing.assert_allclose(hiddens, expected, rtol=1e-4, atol=1e-5)
        for one, other in zip(jax.jit(backward)(own, hiddens, jnp.asarray(weight, jnp.float32)), grads, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    whole = jax.jit(jax.grad(lambda own: (weight * min_gru_sequence(own)).sum(), allow_int=True))(own)
    for one, other in zip(whole, grads, strict=False):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    begun = np.argwhere(first[1:])[0]
    alone = min_gru_step(gates[begun[0] + 1, begun[1]], np.zeros(H))
    np.testing.assert_allclose(expected[begun[0] + 1, begun[1]], alone, rtol=1e-5)

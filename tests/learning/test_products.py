"""Products whose weights' gradient is written by hand."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from marl_pricing.learning.products import dot_general, gradient_of_weights, product


@pytest.mark.parametrize("rows", [(), (7,), (4, 7)])
def test_a_product_and_its_gradients_are_those_of_float64(rows: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(rows))
    inputs, kernel, weight = rng.normal(size=(*rows, 5)), rng.normal(size=(5, 3)), rng.normal(size=(*rows, 3))
    out, back = jax.vjp(product, jnp.asarray(inputs, jnp.float32), jnp.asarray(kernel, jnp.float32))
    np.testing.assert_allclose(out, inputs @ kernel, rtol=1e-5, atol=1e-5)
    of_inputs, of_kernel = back(jnp.asarray(weight, jnp.float32))
    np.testing.assert_allclose(of_inputs, weight @ kernel.T, rtol=1e-5, atol=1e-5)
    flat = inputs.reshape(-1, 5).T @ weight.reshape(-1, 3)
    np.testing.assert_allclose(of_kernel, flat, rtol=1e-5, atol=1e-5)


def test_a_stack_of_products_is_each_by_itself() -> None:
    """As of networks of one seller each, which are mapped over."""
    rng = np.random.default_rng(3)
    inputs, kernel = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((2, 4, 7, 5), (2, 5, 3)))

    def square(kernel, inputs):
        return (product(inputs, kernel) ** 2).sum()

    together = jax.vmap(jax.grad(square))(kernel, inputs)
    for number in range(2):
        alone = jax.grad(square)(kernel[number], inputs[number])
        np.testing.assert_allclose(together[number], alone, rtol=1e-5, atol=1e-5)


def test_the_weights_gradient_is_one_product_of_rows_with_rows() -> None:
    """Autodiff transposes what it multiplied, the other way round: a CPU then copies the larger of both first."""
    inputs, kernel, grad = jnp.ones((8, 16, 5)), jnp.ones((5, 3)), jnp.ones((8, 16, 3))

    def steps(way) -> list[str]:
        traced = jax.make_jaxpr(lambda x, y: jax.vjp(lambda kernel: way(x, kernel), kernel)[1](y)[0])(inputs, grad)
        return [step.primitive.name for step in traced.jaxpr.eqns]

    assert "transpose" in steps(jnp.matmul)[1:]
    made = jax.make_jaxpr(gradient_of_weights)(inputs, grad)
    assert [step.primitive.name for step in made.jaxpr.eqns] == ["dot_general"]
    np.testing.assert_allclose(
        gradient_of_weights(inputs, grad), jax.vjp(partial(jnp.matmul, inputs), kernel)[1](grad)[0]
    )


def test_flaxs_layers_take_it_and_nothing_else_is_asked_of_it() -> None:
    layer = nnx.Linear(5, 3, dot_general=dot_general, rngs=nnx.Rngs(0))
    plain = nnx.Linear(5, 3, rngs=nnx.Rngs(0))
    inputs = jnp.arange(20.0).reshape(4, 5)
    np.testing.assert_allclose(layer(inputs), plain(inputs), rtol=1e-6)
    with pytest.raises(ValueError, match="float16"):
        dot_general(inputs, layer.kernel[...], (((1,), (0,)), ((), ())), preferred_element_type=jnp.float16)

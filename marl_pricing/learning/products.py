"""Products of rows and weights, with the gradient of the weights in the form that a CPU multiplies fastest.

Autodiff takes xᵀy as (yᵀx)ᵀ, which XLA turns into a product with a transposed copy of y: on a CPU that is half as fast
as the product itself, and a fifth where few weights meet many rows (`python -m benchmarks cell`).
"""

from __future__ import annotations

from typing import Any

import jax

Array = jax.Array


@jax.custom_vjp
def product(inputs: Array, kernel: Array) -> Array:
    """x W.

    Args:
        inputs: [..., D].  kernel: [D, F].

    Returns:
        [..., F].
    """
    return inputs @ kernel


def _forward(inputs: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return inputs @ kernel, (inputs, kernel)


def _backward(saved: tuple[Array, Array], grad: Array) -> tuple[Array, Array]:
    inputs, kernel = saved
    return grad @ kernel.T, gradient_of_weights(inputs, grad)


product.defvjp(_forward, _backward)


def gradient_of_weights(inputs: Array, grad: Array) -> Array:
    """∂/∂W of x W: the sum over all rows of x y.

    Args:
        inputs: x [..., D].  grad: y [..., F], of the product.

    Returns:
        [D, F].
    """
    rows = tuple(range(inputs.ndim - 1))
    return jax.lax.dot_general(inputs, grad, ((rows, rows), ((), ())))


def dot_general(inputs: Array, kernel: Array, dimensions: Any, **others: Any) -> Array:
    """`product` as layers of flax ask for one (their argument `dot_general`).

    Raises:
        ValueError: for another product than that of rows and weights, or for a precision or type of its own.
    """
    rows = ((inputs.ndim - 1,), (0,)), ((), ())
    asked = {name: value for name, value in others.items() if value is not None}
    if kernel.ndim != 2 or dimensions != rows or asked:
        raise ValueError(
            f"dot_general: dimensions {dimensions}, {asked}: accepted are those of rows [..., D] and weights"
        )
    return product(inputs, kernel)

"""Markets compute in 32 bits, also in a process in which JAX has been set to 64 (`jax_enable_x64`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

_NARROW: dict[str, type[np.number]] = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32}


def in_32_bits(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """The function, with arrays of JAX that are 32 bits wide whatever this process is set to; it costs 2 µs a call."""

    @wraps(function)
    def narrow(*given: Given.args, **named: Given.kwargs) -> Answer:
        with jax.enable_x64(False):
            return function(*given, **named)

    return narrow


def as_32_bits(leaf: jax.typing.ArrayLike) -> jax.Array:
    """An array in 32 bits; what is narrower or holds truths stays as it is."""
    narrow = _NARROW.get(str(jnp.asarray(leaf).dtype))
    # By way of NumPy: where JAX is set to 32 bits it takes an array of 64 for one that is narrow already.
    return jnp.asarray(leaf) if narrow is None else jnp.asarray(np.asarray(leaf).astype(narrow))


def float32(value: npt.ArrayLike | jax.Array) -> jax.Array:
    """Numbers that are known as an array of JAX. `jnp.asarray` would compile a program for each shape that it meets."""
    with np.errstate(over="ignore"):  # infinite then, which is refused where it is no number to work with
        return jax.device_put(np.asarray(value, np.float32))


def int32(value: npt.ArrayLike | jax.Array) -> jax.Array:
    """The same of whole numbers."""
    return jax.device_put(np.asarray(value, np.int32))

"""A program is the same whether its context is its own or has served others."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax._src.interpreters import mlir

from tests.contexts import share_contexts


def test_programs_are_those_of_a_context_of_their_own(monkeypatch) -> None:
    def program(x: jax.Array) -> jax.Array:
        later = jax.lax.scan(lambda at, key: (at + jax.random.normal(key, at.shape), at.sum()), x, keys)
        return jnp.where(later[0] > 0.0, later[1][0], jnp.float32(2.5))

    def lowered() -> str:
        return jax.jit(lambda x: program(x)).lower(jnp.ones(3)).as_text(debug_info=False)

    keys = jax.random.split(jax.random.key(0), 4)
    made = mlir.make_ir_context.__wrapped__  # as JAX has it
    monkeypatch.setattr(mlir, "make_ir_context", made)
    own = lowered()
    share_contexts()
    contexts = [mlir.make_ir_context() for _ in range(101)]
    assert len({id(context) for context in contexts[:100]}) == 1
    assert contexts[100] is not contexts[0]
    assert [lowered() for _ in range(3)] == [own] * 3

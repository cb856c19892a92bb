"""No random key of the market is drawn from twice, or drawn from and made a parent of other keys."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.market.market import open_epoch
from tests.market.test_session_markets import with_sessions
from tests.markets import make, programs

# What makes of a key another name of it, or picks one out of several.
_NAMES = {"random_wrap", "slice", "squeeze", "broadcast_in_dim", "reshape", "convert_element_type"}


def uses(function: Any, key: jax.Array) -> list[tuple[str, ...]]:
    """What is done with each random key of a traced function: bits drawn, children split or folded in."""
    found: dict[Any, Counter] = defaultdict(Counter)

    def walk(jaxpr: Any, inputs: list[Any]) -> list[Any]:
        names = dict(zip(jaxpr.invars, inputs, strict=True))

        def of(variable: Any) -> Any:
            if hasattr(variable, "val"):
                return ("literal", str(variable.val))
            return names.setdefault(variable, ("constant", id(variable)))

        for equation in jaxpr.eqns:
            name, own = equation.primitive.name, [of(v) for v in equation.invars]
            inner = [v for v in equation.params.values() if hasattr(v, "eqns") or hasattr(v, "jaxpr")]
            if name in ("random_bits", "random_split", "random_fold_in"):
                found[own[0]][name if name != "random_fold_in" else f"fold {own[1]}"] += 1
            told = str({k: v for k, v in equation.params.items() if k not in ("jaxpr", "call_jaxpr", "sharding")})
            results = [(name, told, tuple(own), number) for number, _ in enumerate(equation.outvars)]
            if name in _NAMES | {"random_split", "random_fold_in"}:
                pass
            elif len(inner) == 1 and name in ("jit", "pjit", "closed_call", "custom_jvp_call"):
                body = getattr(inner[0], "jaxpr", inner[0])
                results = walk(body, own)
            else:
                for body in inner:
                    body = getattr(body, "jaxpr", body)
                    walk(body, [(name, id(equation), number) for number, _ in enumerate(body.invars)])
                results = [(name, id(equation), number) for number, _ in enumerate(equation.outvars)]
            names.update(zip(equation.outvars, results, strict=True))
        return [of(v) for v in jaxpr.outvars]

    traced = jax.make_jaxpr(function)(key)
    walk(traced.jaxpr, [("key", number) for number, _ in enumerate(traced.jaxpr.invars)])
    return [tuple(sorted(own.elements())) for own in found.values()]


def refuse_reuse(function: Any) -> None:
    """A key is a source of bits, once, or a parent: split in one way or with each number folded in once."""
    found = uses(function, jax.random.key(0))
    assert found
    for own in found:
        drawn = own.count("random_bits")
        assert drawn <= 1, own
        assert not drawn or len(own) == 1, own


def test_a_key_that_is_data_and_parent_is_found() -> None:
    def both(key: jax.Array) -> jax.Array:
        left, right = jax.random.split(key)
        return jax.random.normal(left) + jax.random.normal(jax.random.fold_in(left, 1)) + jax.random.normal(right)

    def apart(key: jax.Array) -> jax.Array:
        left, right = jax.random.split(key)
        return jax.random.normal(left) + jax.random.normal(jax.random.fold_in(right, 1))

    refuse_reuse(apart)
    with pytest.raises(AssertionError, match="fold"):
        refuse_reuse(both)


MOVING = {
    "level": {"persistence": 0.9, "volatility": 0.3, "noise": 0.4},
    "shocks": {"probability": 0.3, "duration": 2, "scale": 2.0},
}


@pytest.mark.parametrize("kind", ["analytic", "bank"])
def test_keys_are_data_or_parents(kind: str) -> None:
    prices = {"map": "levels", "low": 1.1, "high": 2.5, "num_price_levels": 8, "start": "random"}
    own = make(prices=prices, **MOVING) if kind == "analytic" else with_sessions("bank", prices=prices, **MOVING)
    refuse_reuse(lambda key: market.reset(key, *own))
    state, _ = programs.reset(jax.random.key(0), *own)
    action = market.Action(jnp.zeros((own.shape.num_sellers, own.shape.num_products), jnp.int32), None)
    refuse_reuse(lambda key: market.step(key, own.shape, state, action, own.params))


def test_noise_is_not_the_level_s() -> None:
    """What does not last is independent of what does, and of the same law as before it is drawn."""
    own = make(**MOVING)
    state, _ = programs.reset(jax.random.key(0), *own)
    action = market.Action(jnp.zeros((2, 1), jnp.int32), None)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        opened = open_epoch(own.shape, own.params, state, action, key)
        return jnp.log(opened.found.level[0]), opened.after.log_level[0]

    noise, level = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 4_000))
    np.testing.assert_allclose(noise.std(), 0.4, rtol=0.05)
    assert abs(np.corrcoef(noise, level)[0, 1]) < 4.0 / np.sqrt(4_000)

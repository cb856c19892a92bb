"""Market calls that cost one dispatch and one transfer.

The cost of a jitted call on one small market is that of handing over its arguments, an array at a time. So parameters
and carried state are one array each, of 32-bit words, and everything that Python wants to see comes in one more array.
A bank of sessions is handed over as it is: cutting megabytes out of an array at every call would cost more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import market
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation
from marl_pricing.widths import in_32_bits

Array = jax.Array

BY_OFFER = ("prices", "stock", "arrivals", "on_order", "ordered", "demand", "sales", "unmet")
BY_SELLER = ("reward", "shaped", "learning", "terminated")


@dataclass(frozen=True)
class Form:
    """How a pytree of booleans and of numbers of 32 or 64 bits lies in one array of words.

    Attributes:
        tree: its structure.
        leaves: shape and dtype of each leaf.
    """

    tree: Any
    leaves: tuple[tuple[tuple[int, ...], np.dtype], ...]

    @property
    def num_words(self) -> int:
        """Length of the array."""
        return sum(int(np.prod(shape)) * max(dtype.itemsize // 4, 1) for shape, dtype in self.leaves)


def form_of(tree: Any) -> Form:
    """The form of a tree of arrays (or of their abstract shapes)."""
    leaves, structure = jax.tree.flatten(tree)
    return Form(structure, tuple((leaf.shape, np.dtype(leaf.dtype)) for leaf in leaves))


@jax.jit
def to_words(tree: Any) -> Array:
    """All leaves, bit for bit, as uint32 [words]; floats would not do, because they may lose the bits of integers."""
    leaves = [leaf.astype(jnp.uint32) if leaf.dtype.kind == "b" else leaf for leaf in jax.tree.leaves(tree)]
    return jnp.concatenate([jax.lax.bitcast_convert_type(leaf, jnp.uint32).reshape(-1) for leaf in leaves])


def split(params: MarketParams) -> tuple[MarketParams, Any]:
    """(the parameters without their bank of sessions, the bank or None)."""
    sessions = params.traffic.sessions
    if sessions is None or sessions.bank is None:
        return params, None
    return params.replace(traffic=params.traffic.replace(sessions=sessions.replace(bank=None))), sessions.bank


def join(params: MarketParams, bank: Any) -> MarketParams:
    """What `split` took apart."""
    if bank is None:
        return params
    sessions = params.traffic.sessions
    assert sessions is not None
    return params.replace(traffic=params.traffic.replace(sessions=sessions.replace(bank=bank)))


def from_words(form: Form, words: Array) -> Any:
    """The tree that `to_words` was given."""
    leaves, begin = [], 0
    for shape, dtype in form.leaves:
        parts = (2,) if dtype.itemsize == 8 else ()
        end = begin + int(np.prod(shape + parts))
        leaf = words[begin:end].reshape(shape + parts)
        leaves.append(leaf.astype(bool) if dtype.kind == "b" else jax.lax.bitcast_convert_type(leaf, dtype))
        begin = end
    return jax.tree.unflatten(form.tree, leaves)


class Plan:
    """All that is static about a market's calls; get it from `plan`, which gives equal markets the same object.

    It is compared by identity, so that a call need not hash the whole shape.

    Attributes:
        shape: static half of the market.
        params: form of its parameters.  carry: form of (key data, state).
        sizes: widths (O, G) of the local and the global view.
        slices: where each part stands in the array that `reset` and `step` answer with; `reset` fills only the
            first parts, the observation.
    """

    @in_32_bits
    def __init__(self, shape: MarketShape, params: Form) -> None:
        self.shape, self.params = shape, params
        words = jax.ShapeDtypeStruct((params.num_words,), jnp.uint32)
        carried, seen = jax.eval_shape(lambda own: _start(shape, from_words(params, own), jnp.uint32(0)), words)
        self.carry = form_of(carried)
        self.sizes = (seen.local.shape[-1], seen.state.shape[-1])
        widths = {"local": shape.num_sellers * self.sizes[0], "state": self.sizes[1]}
        if shape.chooses_orders:
            widths["order_mask"] = shape.num_offers * shape.inventory.num_order_levels
        widths |= dict.fromkeys(BY_OFFER, shape.num_offers) | dict.fromkeys(BY_SELLER, shape.num_sellers)
        widths["truncated"] = 1
        ends = np.cumsum(list(widths.values())).tolist()
        self.slices = {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}

    def __reduce__(self):
        # A copied or unpickled environment finds the plan of its process again, and with it the compiled programs.
        return plan, (self.shape, self.params)


@cache
def plan(shape: MarketShape, params: Form) -> Plan:
    """The plan of a market; one object for all markets of this shape, so that they share compiled programs."""
    return Plan(shape, params)


def _start(shape: MarketShape, params: MarketParams, seed: Array) -> tuple[tuple[Array, MarketState], Observation]:
    key, reset_key = jax.random.split(jax.random.key(seed))
    state, observation = market.reset(reset_key, shape, params)
    return (jax.random.key_data(key), state), observation


def _floats(parts: list[Array]) -> Array:
    return jnp.concatenate([part.astype(jnp.float32).reshape(-1) for part in parts])


def _seen(observation: Observation) -> list[Array]:
    mask = [] if observation.order_mask is None else [observation.order_mask]
    return [observation.local, observation.state, *mask]


@partial(jax.jit, static_argnums=0)
def reset(own: Plan, params: Array, seed: Array) -> tuple[Array, Array]:
    """Start an episode from a seed [] uint32.

    Returns:
        What is carried (random key and market state, in words), and the observation, packed float32.
    """
    carried, observation = _start(own.shape, from_words(own.params, params), seed)
    return to_words(carried), _floats(_seen(observation))


@partial(jax.jit, static_argnums=0)
def step(own: Plan, params: Array, bank: Any, carry: Array, actions: Array) -> tuple[Array, Array]:
    """One epoch.

    Args:
        params, bank: the two parts of `split`, the first in words.
        actions: [S, heads] as the action spaces order them.

    Returns:
        What is carried, and one packed float32 array, cut by `own.slices`.
    """
    key_data, state = from_words(own.carry, carry)
    key, step_key = jax.random.split(jax.random.wrap_key_data(key_data))
    price = actions[:, : own.shape.num_products]
    order = actions[:, own.shape.num_products :] if own.shape.chooses_orders else None
    numbers = join(from_words(own.params, params), bank)
    state, observation, outcome = market.step(step_key, own.shape, state, Action(price, order), numbers)
    happened = [getattr(outcome, name) for name in (*BY_OFFER, *BY_SELLER)]
    packed = _floats([*_seen(observation), *happened, outcome.truncated])
    return to_words((jax.random.key_data(key), state)), packed

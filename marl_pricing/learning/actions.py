"""A network's outputs to actions: the price of every product, and its order where sellers choose it.

A *head* is what decides one of them. Of a grid it is an array of log probabilities, of a continuous price a law
(`price_laws`); of an order it is always an array. What is chosen is a number a product: the index of a choice, or the
place z of a price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.learning.networks import head_sizes
from marl_pricing.learning.price_laws import LAWS, Law, LawName
from marl_pricing.market import Action, MarketParams, MarketShape
from marl_pricing.market.prices import action_ends

Array = jax.Array
Head = Array | Law
# (shape, a network's outputs [..., S, A], mask of orders) → the heads, as of `split_heads`.
Heads = Callable[[MarketShape, Array, Array | None], Sequence[Head]]


def split_heads(shape: MarketShape, logits: Array, order_mask: Array | None, law: LawName = "beta") -> list[Head]:
    """The heads: price [..., S, P, K], or a law [..., S, P], and, where orders are chosen, order [..., S, P, Q].

    Args:
        logits: [..., S, A].  order_mask: [..., S, P, Q] bool, order levels that are allowed.
        law: of continuous prices.
    """
    by_product = logits.reshape(*logits.shape[:-1], shape.num_products, -1)
    price = head_sizes(shape)[0]
    heads: list[Head] = [
        jax.nn.log_softmax(by_product[..., :price]) if shape.discrete_prices else LAWS[law].of(by_product[..., :price])
    ]
    if shape.chooses_orders:
        order = by_product[..., price:]
        if order_mask is not None:
            order = jnp.where(order_mask, order, jnp.finfo(order.dtype).min)
        heads.append(jax.nn.log_softmax(order))
    return heads


# One function a law, so that equal learners are one static argument.
HEADS: dict[str, Heads] = {"beta": split_heads, "gaussian": partial(split_heads, law="gaussian")}


def sample(key: Array, heads: Sequence[Head]) -> list[Array]:
    """One draw from every head: indices or places [..., S, P]."""
    keys = jax.random.split(key, len(heads))
    return [
        head.sample(k) if isinstance(head, Law) else jax.random.categorical(k, head)
        for k, head in zip(keys, heads, strict=True)
    ]


def greedy(heads: Sequence[Head]) -> list[Array]:
    """The most probable index of every head, or a law's centre [..., S, P]."""
    return [head.centre() if isinstance(head, Law) else head.argmax(-1) for head in heads]


def constant_prices(shape: MarketShape, points: int) -> np.ndarray:
    """What one product's price may be chosen to be all along [C]: every index, or `points` places."""
    if shape.discrete_prices:
        return np.arange(shape.prices.num_levels, dtype=np.int32)
    share = (np.arange(points, dtype=np.float32) + np.float32(0.5)) / np.float32(points)
    return np.log(share / (1 - share))


def between(low: Array, high: Array, place: Array) -> Array:
    """Where a place on the real line lies between two ends: low + (high − low) / (1 + exp(−place))."""
    return low + (high - low) * jax.nn.sigmoid(place)


def to_action(shape: MarketShape, params: MarketParams, heads: Sequence[Head], indices: Sequence[Array]) -> Action:
    """The market's action, with the log-probability of its prices where the reward asks for it."""
    surprise = log_prob(heads[:1], indices[:1]) if shape.reward.information_value == "revelation" else None
    price = indices[0]
    if not shape.discrete_prices:
        ends = action_ends(shape.prices, params.prices)
        low, high = (end.reshape(shape.num_sellers, shape.num_products) for end in ends)
        price = between(low, high, price)
    return Action(price=price, order=indices[1] if len(indices) > 1 else None, log_prob=surprise)


def log_prob(heads: Sequence[Head], indices: Sequence[Array]) -> Array:
    """Log probability [..., S] of what was chosen, or density of x: the sum over products and heads."""
    total = jnp.zeros(())
    for head, index in zip(heads, indices, strict=True):
        if isinstance(head, Law):
            total += head.log_prob(index).sum(-1)
            continue
        # A sum over a one-hot row vectorises where a gather does not, forward and backward.
        chosen = jnp.arange(head.shape[-1]) == index[..., None]
        total += jnp.where(chosen, head, 0.0).sum((-1, -2))
    return total


def entropy(heads: Sequence[Head]) -> Array:
    """Entropy [..., S], nats: the sum over products and heads."""
    total = jnp.zeros(())
    for head in heads:
        if isinstance(head, Law):
            total += head.entropy().sum(-1)
            continue
        probability = jnp.exp(head)
        total -= jnp.where(probability > 0, probability * head, 0.0).sum((-1, -2))
    return total

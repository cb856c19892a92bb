"""Logits to actions: one categorical a product for the price, one more for the order where sellers choose it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from marl_pricing.market import Action, MarketShape

Array = jax.Array
# (shape, a network's outputs [..., S, A], mask of orders) → log probabilities of each head, as of `split_heads`.
Heads = Callable[[MarketShape, Array, Array | None], list[Array]]


def split_heads(shape: MarketShape, logits: Array, order_mask: Array | None) -> list[Array]:
    """Log probabilities of each head: price [..., S, P, K] and, where orders are chosen, order [..., S, P, Q].

    Args:
        logits: [..., S, A].  order_mask: [..., S, P, Q] bool, order levels that are allowed.
    """
    by_product = logits.reshape(*logits.shape[:-1], shape.num_products, -1)
    heads = [jax.nn.log_softmax(by_product[..., : shape.prices.num_levels])]
    if shape.chooses_orders:
        order = by_product[..., shape.prices.num_levels :]
        if order_mask is not None:
            order = jnp.where(order_mask, order, jnp.finfo(order.dtype).min)
        heads.append(jax.nn.log_softmax(order))
    return heads


def sample(key: Array, heads: list[Array]) -> list[Array]:
    """One draw from every head: indices [..., S, P]."""
    keys = jax.random.split(key, len(heads))
    return [jax.random.categorical(k, head) for k, head in zip(keys, heads, strict=True)]


def greedy(heads: list[Array]) -> list[Array]:
    """The most probable index of every head [..., S, P]."""
    return [head.argmax(-1) for head in heads]


def to_action(shape: MarketShape, heads: list[Array], indices: list[Array]) -> Action:
    """The market's action, with the log-probability of its prices where the reward asks for it."""
    surprise = log_prob(heads[:1], indices[:1]) if shape.reward.information_value == "revelation" else None
    return Action(price=indices[0], order=indices[1] if len(indices) > 1 else None, log_prob=surprise)


def log_prob(heads: list[Array], indices: list[Array]) -> Array:
    """Log probability [..., S] of what was chosen: the sum over products and heads."""
    total = jnp.zeros(heads[0].shape[:-2])
    for head, index in zip(heads, indices, strict=True):
        # A sum over a one-hot row vectorises where a gather does not, forward and backward.
        chosen = jnp.arange(head.shape[-1]) == index[..., None]
        total += jnp.where(chosen, head, 0.0).sum((-1, -2))
    return total


def entropy(heads: list[Array]) -> Array:
    """Entropy [..., S], nats: the sum over products and heads."""
    total = jnp.zeros(heads[0].shape[:-2])
    for head in heads:
        probability = jnp.exp(head)
        total -= jnp.where(probability > 0, probability * head, 0.0).sum((-1, -2))
    return total

"""A network's outputs as values of choices.

A seller chooses one entry of every head (a price for each product, and an order where it chooses one). The value of all
choices together is the sum over heads (as Sunehag et al. 2018 add up agents), so the best of all is the best of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from marl_pricing.learning import actions
from marl_pricing.market import MarketShape

Array = jax.Array


def split_values(shape: MarketShape, outputs: Array, order_mask: Array | None) -> list[Array]:
    """Values of each head's choices: [..., S, P, K] and, where orders are chosen, [..., S, P, Q].

    Args:
        outputs: [..., S, A].  order_mask: [..., S, P, Q] bool; what is not allowed is worth less than anything.
    """
    by_product = outputs.reshape(*outputs.shape[:-1], shape.num_products, -1)
    heads = [by_product[..., : shape.prices.num_levels]]
    if shape.chooses_orders:
        order = by_product[..., shape.prices.num_levels :]
        if order_mask is not None:
            order = jnp.where(order_mask, order, jnp.finfo(order.dtype).min)
        heads.append(order)
    return heads


def value_of(values: list[Array], indices: list[Array]) -> Array:
    """Value [..., S] of what was chosen: the sum over products and heads."""
    return actions.log_prob(values, indices)  # sums the chosen entries, whatever they are


def best_value(values: list[Array]) -> Array:
    """Value [..., S] of the best that can be chosen."""
    return sum((head.max(-1).sum(-1) for head in values), jnp.zeros(()))


@dataclass(frozen=True)
class EpsilonGreedy:
    """ε-greedy play as log probabilities of each head: with ε any allowed choice, each alike, else the best.

    Attributes:
        epsilon: ε < 1; a number, or an array [] while it moves.
    """

    epsilon: Any

    def __call__(self, shape: MarketShape, outputs: Array, order_mask: Array | None) -> list[Array]:
        """As `actions.split_heads`."""
        found = []
        for values in split_values(shape, outputs, order_mask):
            least = jnp.finfo(values.dtype).min
            allowed = values > least
            best = jnp.arange(values.shape[-1]) == values.argmax(-1, keepdims=True)
            chance = self.epsilon * allowed / allowed.sum(-1, keepdims=True) + (1.0 - self.epsilon) * best
            found.append(jnp.where(chance > 0, jnp.log(jnp.maximum(chance, 1e-38)), least))
        return found

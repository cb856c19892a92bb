"""The networks: memory, promotion and weekday → a customer's answer; memory → the coupon that is handed out."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen

from marl_pricing.virtual_market.counts import MOST_MORE
from marl_pricing.virtual_market.levels import NUM_LEVELS

Array = jax.Array
NUM_COUNTS = 5  # coupons 1 … 5


class Answer(NamedTuple):
    """The law of a day's orders and fee."""

    odds: Array  # log odds of any order
    more: Array  # mean orders beyond the first where there is any
    fee: Array  # mean of the log fee
    spread: Array  # its standard deviation


class AnswerNetwork(linen.Module):
    """Features [..., F] and what is known of the fee → `Answer`."""

    width: int

    @linen.compact
    def __call__(self, inputs: Array, fee: Array, usual_fee: Array) -> Answer:
        """fee: [...] the customer's mean fee, 0 where nothing is known.  usual_fee: [2] log fee of all, its spread."""
        hidden = linen.silu(linen.Dense(self.width)(inputs))
        hidden = linen.silu(linen.Dense(self.width)(hidden))
        out = linen.Dense(4, kernel_init=linen.initializers.normal(0.01))(hidden)
        known = fee > 0
        around = jnp.where(known, jnp.log(jnp.maximum(fee, 1e-3)), usual_fee[0])
        spread = jnp.where(known, 0.3, 1.0) * usual_fee[1] * jnp.exp(jnp.clip(out[..., 3], -5, 3))
        more = jax.nn.softplus(out[..., 1] - 1.0)
        return Answer(out[..., 0], jnp.minimum(more, MOST_MORE / 3), around + out[..., 2], spread)


class CouponNetwork(linen.Module):
    """Features of a memory [..., F] → logits of level [..., 9] and number [..., 5]."""

    width: int

    @linen.compact
    def __call__(self, inputs: Array) -> tuple[Array, Array]:
        hidden = linen.silu(linen.Dense(self.width)(inputs))
        out = linen.Dense(NUM_LEVELS + NUM_COUNTS, kernel_init=linen.initializers.normal(0.01))(hidden)
        return out[..., :NUM_LEVELS], out[..., NUM_LEVELS:]


def answer_of(width: int, parameters: Any, inputs: Array, fee: Array, usual_fee: Array) -> Answer:
    """The network's answer; arguments as its own."""
    told: Any = AnswerNetwork(width).apply(parameters, inputs, fee, usual_fee)
    return told


def coupon_logits(width: int, parameters: Any, inputs: Array) -> tuple[Array, Array]:
    """What the platform's network says."""
    told: Any = CouponNetwork(width).apply(parameters, inputs)
    return told


def answer_loss(answer: Answer, orders: Array, log_fee: Array) -> Array:
    """− log likelihood [...] of a day: hurdle and Poisson for the orders, normal for the log fee where there is one."""
    ordered = orders > 0
    beyond = jnp.maximum(orders - 1.0, 0.0)
    hurdle = jnp.where(ordered, jax.nn.softplus(-answer.odds), jax.nn.softplus(answer.odds))
    count = answer.more - beyond * jnp.log(answer.more + 1e-8)
    fee = 0.5 * ((log_fee - answer.fee) / answer.spread) ** 2 + jnp.log(answer.spread)
    return hurdle + jnp.where(ordered, count + fee, 0.0)


def coupon_loss(logits: tuple[Array, Array], level: Array, number: Array) -> Array:
    """− log likelihood [...] of the coupon handed out: its level, and how many where there is one."""
    levels, numbers = jax.nn.log_softmax(logits[0]), jax.nn.log_softmax(logits[1])
    own = jnp.take_along_axis(levels, level[..., None], -1)[..., 0]
    count = jnp.take_along_axis(numbers, jnp.clip(number - 1, 0, NUM_COUNTS - 1)[..., None], -1)[..., 0]
    return -(own + jnp.where(level > 0, count, 0.0))

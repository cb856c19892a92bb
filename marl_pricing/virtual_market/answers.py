"""The networks: memory, promotion and weekday → a customer's answer; memory → the coupon that is handed out."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen

from marl_pricing.virtual_market.counts import MOST_MORE, draw_orders, expected_orders
from marl_pricing.virtual_market.levels import DISCOUNTS, NUM_COUNTS, NUM_LEVELS, cell_of

Array = jax.Array
_MOST_SHIFT = 1.5  # what a network may add to the log fee that is known, up or down
_SPREADS = (-4.0, 0.7)  # log of the least and largest factor of the usual spread


class Answer(NamedTuple):
    """The law of a day's orders and fee."""

    odds: Array  # log odds of any order
    more: Array  # mean orders beyond the first where there is any
    fee: Array  # mean of the log fee
    spread: Array  # its standard deviation


def silu(x: Array) -> Array:
    """x · sigmoid(x), by a hyperbolic tangent: one polynomial, where a sigmoid is an exponential and a division."""
    half = 0.5 * x
    return half + half * jnp.tanh(half)


def answer_from(out: tuple[Array, ...], fee: Array, usual_fee: Array) -> Answer:
    """The law that four outputs of a network stand for.

    Fees stay within reach of what the log holds: of customers who never ordered nothing is learned, and the exponential
    of an output that nothing held back would be any number.

    Args:
        out: log odds of any order; more, log fee and spread, each on the scale of the network.
        fee: [...] the customer's mean fee, 0 where nothing is known.
        usual_fee: [3] log fee of all, its spread, and the largest log fee of the log.
    """
    odds, more, shift, width = out
    known = fee > 0
    around = jnp.where(known, jnp.log(jnp.maximum(fee, 1e-3)), usual_fee[0])
    around = jnp.minimum(around + _MOST_SHIFT * jnp.tanh(shift / _MOST_SHIFT), usual_fee[2])
    spread = jnp.where(known, 0.3, 1.0) * usual_fee[1] * jnp.exp(jnp.clip(width, *_SPREADS))
    return Answer(odds, jnp.minimum(jax.nn.softplus(more - 1.0), MOST_MORE / 3), around, spread)


class AnswerNetwork(linen.Module):
    """Features [..., F], the promotion and what is known of the fee → `Answer`.

    How many coupons there are is no input of the layers. It adds, by depth, to the log odds of an order and to the
    orders beyond the first; what it adds is held near nought by a prior (`FitSettings.number_odds`), since of forty
    offers each is seldom met, and by others than the rest.
    """

    width: int

    @linen.compact
    def __call__(self, inputs: Array, promotion: Array, fee: Array, usual_fee: Array) -> Answer:
        """promotion: [..., 2] coupons and discount.  fee, usual_fee: as `answer_from`."""
        hidden = silu(linen.Dense(self.width)(inputs))
        hidden = silu(linen.Dense(self.width)(hidden))
        out = linen.Dense(4, kernel_init=linen.initializers.normal(0.01))(hidden)
        by_number = self.param("by_number", linen.initializers.zeros, (2, NUM_LEVELS - 1, NUM_COUNTS))
        cell = cell_of(promotion[..., 0], promotion[..., 1], jnp).reshape(*promotion.shape[:-1], -1)
        added = cell @ by_number.reshape(2, -1).T
        return answer_from((out[..., 0] + added[..., 0], out[..., 1] + added[..., 1], out[..., 2], out[..., 3]), fee,
                           usual_fee)  # fmt: skip


class CouponNetwork(linen.Module):
    """Features of a memory [..., F] → logits of level [..., 9] and number [..., 5]."""

    width: int

    @linen.compact
    def __call__(self, inputs: Array) -> tuple[Array, Array]:
        hidden = silu(linen.Dense(self.width)(inputs))
        out = linen.Dense(NUM_LEVELS + NUM_COUNTS, kernel_init=linen.initializers.normal(0.01))(hidden)
        return out[..., :NUM_LEVELS], out[..., NUM_LEVELS:]


def answer_of(width: int, parameters: Any, inputs: Array, promotion: Array, fee: Array, usual_fee: Array) -> Answer:
    """The network's answer; arguments as its own."""
    told: Any = AnswerNetwork(width).apply(parameters, inputs, promotion, fee, usual_fee)
    return told


def coupon_logits(width: int, parameters: Any, inputs: Array) -> tuple[Array, Array]:
    """What the platform's network says."""
    told: Any = CouponNetwork(width).apply(parameters, inputs)
    return told


def mean_answer(law: Answer) -> Array:
    """[..., 2] expected orders and the mean fee of a day with an order, of a law."""
    return jnp.stack(
        [expected_orders(jax.nn.sigmoid(law.odds), law.more), jnp.exp(law.fee + law.spread**2 / 2)], axis=-1
    )


def drawn_answer(key: Array, law: Answer) -> Array:
    """[..., 2] orders and fee (0 without an order), drawn from a law."""
    key_orders, key_fee = jax.random.split(key)
    uniform = jax.random.uniform(key_orders, (2, *law.odds.shape))
    orders = draw_orders(jax.nn.sigmoid(law.odds), law.more, uniform[0], uniform[1])
    fee = jnp.exp(law.fee + law.spread * jax.random.normal(key_fee, law.fee.shape))
    return jnp.stack([orders, jnp.where(orders > 0, fee, 0.0)], axis=-1)


def offer_of(level: Array, number: Array) -> Array:
    """Promotions [..., 2] of a level, 0 no coupon, and a number, 0 one coupon."""
    shares = jnp.asarray(np.append(1.0, DISCOUNTS), jnp.float32)
    return jnp.stack([jnp.where(level > 0, number + 1, 0).astype(jnp.float32), shares[level]], axis=-1)


def drawn_offer(key: Array, logits: tuple[Array, Array]) -> Array:
    """Promotions [..., 2] drawn from what the platform's network says."""
    keys = jax.random.split(key)
    return offer_of(jax.random.categorical(keys[0], logits[0]), jax.random.categorical(keys[1], logits[1]))


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

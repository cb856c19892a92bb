"""A day on which all customers are offered the same, as fast as it goes: customers lie along the last axis.

The same numbers as `memory.features` and `answers.AnswerNetwork` say (a test compares them). What the offer and the
weekday add to the first layer is the same for everybody, so that it is a bias; and one 32-bit word draws a customer's
day, 20 bits its orders and 12 its fee.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from marl_pricing.virtual_market.answers import Answer, answer_from, silu
from marl_pricing.virtual_market.counts import MOST_MORE
from marl_pricing.virtual_market.levels import NUM_LEVELS, cell_of, level_of
from marl_pricing.virtual_market.memory import NUM_STATE_FEATURES
from marl_pricing.virtual_market.states import StateForm, next_state

Array = jax.Array
_OWN = NUM_STATE_FEATURES + 5  # features that differ between customers


def wide_features(memory: Array, level: Array, usual: Array) -> Array:
    """[30, C] the features of `memory.features` that differ between customers.

    Args:
        memory: [21, C].  level: [] of the offer.  usual: [9].
    """
    days, taken = memory[3 : 3 + NUM_LEVELS], memory[3 + NUM_LEVELS :]
    at = jnp.arange(NUM_LEVELS)[:, None]
    rate = (taken + usual[:, None]) / (days + 1.0)
    coupon = at > 0
    shallowest = jnp.where((taken > 0) & coupon, at, NUM_LEVELS).min(0)
    deepest = jnp.where((days > taken) & coupon, at, 0).max(0)
    ordered, fee = taken.sum(0), memory[2]
    shallower = jnp.where(coupon & (at <= level), taken, 0.0).sum(0)
    deeper = jnp.where(coupon & (at >= level), days - taken, 0.0).sum(0)
    rows = [
        shallowest / NUM_LEVELS, deepest / NUM_LEVELS, memory[1] / 2.0, jnp.log(1.0 + memory[0]) / 3.0,
        ordered / (days.sum(0) + 1.0), jnp.log(1.0 + ordered) / 3.0,
        jnp.where(fee > 0, jnp.log(jnp.maximum(fee, 1e-3)) - 3.0, 0.0),
        rate[level], jnp.log(1.0 + shallower), (shallower > 0) * 1.0, jnp.log(1.0 + deeper), (deeper > 0) * 1.0,
    ]  # fmt: skip
    return jnp.concatenate([rate, jnp.log(1.0 + days) / 2.0, jnp.stack(rows)])


def wide_answer(
    network: Any, memory: Array, coupons: Array, discount: Array, weekday: Array, usual: Array, usual_fee: Array
) -> Answer:
    """The laws [C] of a day's answers, of one member.

    Args:
        network: parameters of `AnswerNetwork`.  memory: [21, C].  coupons, discount, weekday: [].
    """
    level = level_of(coupons, discount, jnp)
    first, second, last = (network["params"][f"Dense_{number}"] for number in range(3))
    kernel = first["kernel"]
    after = _OWN + NUM_LEVELS
    bias = first["bias"] + kernel[_OWN + level] + kernel[after + weekday]
    hidden = silu(kernel[:_OWN].T @ wide_features(memory, level, usual) + bias[:, None])
    hidden = silu(second["kernel"].T @ hidden + second["bias"][:, None])
    out = last["kernel"].T @ hidden + last["bias"][:, None]
    added = (network["params"]["by_number"] * cell_of(coupons, discount, jnp)).sum((1, 2))
    return answer_from((out[0] + added[0], out[1] + added[1], out[2], out[3]), memory[2], usual_fee)


def wide_draw(key: Array, law: Answer) -> Array:
    """[2, C] orders and fee (0 without an order), drawn from laws [C]."""
    bits = jax.random.bits(key, law.odds.shape)
    uniform = ((bits >> 12).astype(jnp.float32) + 0.5) * 2.0**-20
    chance = jax.nn.sigmoid(law.odds)
    # Below the chance of any order, a uniform draw over that chance is uniform again.
    beyond_draw = uniform / jnp.maximum(chance, 1e-9)
    mass = jnp.exp(-law.more)
    below, beyond = mass, jnp.zeros_like(mass)
    for k in range(1, MOST_MORE + 1):
        beyond += beyond_draw > below
        mass = mass * law.more / k
        below += mass
    orders = jnp.where(uniform < chance, 1.0 + beyond, 0.0)
    middle = ((bits & 4095).astype(jnp.float32) + 0.5) * 2.0**-11 - 1.0
    fee = jnp.exp(law.fee + law.spread * jax.lax.erf_inv(middle) * 2.0**0.5)
    return jnp.stack([orders, jnp.where(orders > 0, fee, 0.0)])


def wide_next(memory: Array, coupons: Array, discount: Array, answer: Array, form: StateForm) -> Array:
    """Memories [21, C] after a day of one offer for all; answer [2, C]."""
    level = level_of(coupons, discount, jnp)
    met = (jnp.arange(NUM_LEVELS) == level).astype(jnp.float32)[:, None]
    state = jnp.moveaxis(next_state(jnp.moveaxis(memory[:3], 0, -1), jnp.moveaxis(answer, 0, -1), form, jnp), -1, 0)
    days, taken = memory[3 : 3 + NUM_LEVELS], memory[3 + NUM_LEVELS :]
    return jnp.concatenate([state, days + met, taken + met * (answer[0] > 0)])

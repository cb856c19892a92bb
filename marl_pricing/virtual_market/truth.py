"""Customers whose answer to coupons is known: two segments with the orders a day that a delivery platform reports.

Loyal customers order without coupons and more with them; each has a liking of their own. Dormant ones order nearly
nothing without, and once or more where the discount is at least as deep as the least that they ever accept. Where a
discount is deep, one coupon caps what several would not.
"""

from __future__ import annotations

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from pydantic import Field, model_validator

from marl_pricing.config.errors import Settings, refuse
from marl_pricing.virtual_market.counts import draw_orders, expected_orders
from marl_pricing.virtual_market.levels import DISCOUNTS, level_of

Array = jax.Array

_COMMON = np.array([1.16, 1.52, 1.90])  # orders with 1, 2 and 3 coupons at 0.70 and deeper
_BY_COUPONS = _COMMON / _COMMON.mean()
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()

Orders = Annotated[float, Field(gt=0, le=5)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
_EIGHT = "orders a day at 0.95, 0.90 … 0.60, mean over 1, 2 and 3 coupons"


class TruthSettings(Settings):
    """What the customers of a simulated log are like; the descriptions are what `--help` prints."""

    loyal_share: Share = Field(0.39, description="share of loyal customers")
    never_share: Annotated[float, Field(ge=0, lt=1)] = Field(0.13, description="share that never orders, dormant ones")
    loyal_none: Orders = Field(0.665, description="orders a day of loyal customers without coupon")
    dormant_none: Annotated[float, Field(ge=0, le=0.5)] = Field(0.004, description="the same of dormant ones")
    loyal_orders: Annotated[list[Orders], Field(min_length=8, max_length=8)] = Field(
        [0.85, 0.98, 1.00, 1.04, 1.54, 1.60, 1.75, 1.58], description=f"loyal: {_EIGHT}"
    )
    dormant_orders: Annotated[list[Orders], Field(min_length=8, max_length=8)] = Field(
        [0.06, 0.18, 0.42, 0.76, 1.16, 1.25, 1.59, 1.59], description=f"dormant: {_EIGHT}"
    )
    weekdays: Annotated[list[Positive], Field(min_length=7, max_length=7)] = Field(
        [0.209, 0.255, 0.268, 0.293, 0.376, 0.225, 0.165], description="orders without coupon Monday … Sunday, a shape"
    )
    liking: Annotated[float, Field(ge=0, le=2)] = Field(
        0.6, description="spread of loyal customers' own liking, in log odds of ordering"
    )
    loyal_fee: Positive = Field(22.5, description="mean fee between loyal customers, money")
    loyal_fee_sd: Positive = Field(7.0, description="its standard deviation")
    dormant_fee: Positive = Field(15.0, description="mean fee between dormant customers")
    dormant_fee_sd: Positive = Field(14.0, description="its standard deviation")
    fee_noise: Annotated[float, Field(ge=0, le=2)] = Field(0.08, description="within-customer deviation of log fees")

    @model_validator(mode="after")
    def _fits(self) -> TruthSettings:
        if self.never_share >= 1 - self.loyal_share:
            raise refuse("never_share", self.never_share, f"less than the dormant share, {1 - self.loyal_share:g}")
        busiest = max(self.weekdays) / np.mean(self.weekdays) * _any_of(self.loyal_none)
        if busiest >= 0.99:
            raise refuse("weekdays", self.weekdays, "a shape that leaves days without order on the busiest weekday")
        return self


class Truth(struct.PyTreeNode):
    """The law of all customers. Levels: 0 no coupon, 1 … 8 depths 0.95 … 0.60."""

    loyal_odds: Array  # [9, 7] log odds of any order, by level and weekday, of a customer of liking 0
    more: Array  # [2, 9, 6] mean orders beyond the first where there is any: dormant and loyal, level, coupons 0 … 5
    dormant_none: Array  # [] probability that one who orders at all does without a coupon
    fee_noise: Array  # []


class Customers(struct.PyTreeNode):
    """Who they are [C]."""

    loyal: Array  # [C] bool
    liking: Array  # [C] added to a loyal customer's log odds
    least: Array  # [C] int, least depth level that a dormant one accepts; 9 never
    log_fee: Array  # [C] log of their mean fee


def _any_of(mean: float | np.ndarray) -> np.ndarray:
    """Probability of any order where the mean is given: 0.63 at the 0.665 of loyal customers without coupon."""
    return -np.expm1(np.log(0.37) / 0.665 * np.asarray(mean))


def _odds(probability: float | np.ndarray) -> np.ndarray:
    return np.log(probability) - np.log1p(-np.asarray(probability))


def _mean_any(odds: np.ndarray, liking: float) -> np.ndarray:
    """Mean over customers of the probability of any order, at log odds [...]."""
    return (1 / (1 + np.exp(-(np.asarray(odds)[..., None] + liking * _NODES)))) @ _WEIGHTS


def _solve(target: float, shift: np.ndarray, liking: float) -> np.ndarray:
    """Log odds b + shift whose mean over customers, and over the shifts, is the target."""
    low, high = -20.0, 20.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _mean_any(middle + shift, liking).mean() < target else (low, middle)
    return low + shift


def _coupon_factor(level: np.ndarray) -> np.ndarray:
    """[L, 6] orders with so many coupons over their mean with 1, 2 and 3: all of it at 0.70, none at 0.85."""
    by_coupons = np.array([1.0, *_BY_COUPONS, _BY_COUPONS[-1], _BY_COUPONS[-1]])
    weight = np.clip((level - 3.0) / 3.0, 0.0, 1.0)[:, None]  # level 3 is 0.85, level 6 is 0.70
    return 1.0 + weight * (by_coupons - 1.0)


def make_truth(own: TruthSettings) -> tuple[Truth, np.ndarray]:
    """The law, and the probability [9] with which a dormant customer accepts a level."""
    factor = _coupon_factor(np.arange(9))
    loyal = np.array([own.loyal_none, *own.loyal_orders])
    least = factor[:, 1:4].min(1)
    any_loyal = np.minimum(_any_of(loyal), loyal * least)
    shape = np.array(own.weekdays) / np.mean(own.weekdays)
    bare = np.stack([_solve(own_day * any_loyal[0], np.zeros(1), own.liking)[0] for own_day in shape])
    shift = 0.3 * (bare - bare.mean())  # a coupon leaves a part of the week's shape
    odds = np.stack([bare, *(_solve(target, shift, own.liking) for target in any_loyal[1:])])
    dormant = np.array([own.dormant_none, *own.dormant_orders])
    ever = 1 - own.never_share / (1 - own.loyal_share)
    accepts = np.maximum.accumulate(np.minimum(dormant * least, ever))
    accepts[0] = 0.0
    more = np.zeros((2, 9, 6))
    more[1] = loyal[:, None] * factor / any_loyal[:, None] - 1
    more[0, 1:] = dormant[1:, None] * factor[1:] / accepts[1:, None] - 1
    law = Truth(
        loyal_odds=jnp.asarray(odds, jnp.float32),
        more=jnp.asarray(np.maximum(more, 0.0), jnp.float32),
        dormant_none=jnp.float32(own.dormant_none / ever),
        fee_noise=jnp.float32(own.fee_noise),
    )
    return law, accepts


def draw_customers(own: TruthSettings, count: int, seed: int) -> Customers:
    """So many customers, their segments in the shares told."""
    rng = np.random.default_rng(seed)
    _, accepts = make_truth(own)
    order = rng.permutation(count)
    loyal = order < round(own.loyal_share * count)
    never = order >= count - round(own.never_share * count)
    # The first accepted level of one who orders at all: quantiles of the acceptance, so that shares hold in small logs.
    dormant = ~loyal & ~never
    least = np.full(count, 9)
    ranks = (rng.permutation(int(dormant.sum())) + 0.5) / max(int(dormant.sum()), 1)
    least[dormant] = np.minimum(np.searchsorted(accepts / max(accepts[-1], 1e-9), ranks, side="left"), 8)
    mean = np.where(loyal, own.loyal_fee, own.dormant_fee)
    deviation = np.where(loyal, own.loyal_fee_sd, own.dormant_fee_sd)
    variance = np.log1p((deviation / mean) ** 2)
    log_fee = np.log(mean) - variance / 2 + np.sqrt(variance) * rng.standard_normal(count)
    return Customers(
        loyal=jnp.asarray(loyal),
        liking=jnp.asarray(own.liking * rng.standard_normal(count), jnp.float32),
        least=jnp.asarray(least, jnp.int32),
        log_fee=jnp.asarray(log_fee, jnp.float32),
    )


def hurdle(truth: Truth, own: Customers, coupons: Array, discount: Array, weekday: Array) -> tuple[Array, Array]:
    """(probability of any order [C], mean orders beyond the first [C]) on a day.

    Args:
        coupons, discount: [C] or [].  weekday: [] 0 Monday.
    """
    level = jnp.broadcast_to(level_of(coupons, discount, jnp), own.loyal.shape)
    number = jnp.broadcast_to(jnp.clip(coupons, 0, 5).astype(jnp.int32), own.loyal.shape)
    loyal = jax.nn.sigmoid(truth.loyal_odds[level, weekday] + own.liking)
    bare = jnp.where(own.least < 9, truth.dormant_none, 0.0)
    dormant = jnp.where(level > 0, (own.least <= level).astype(jnp.float32), bare)
    return jnp.where(own.loyal, loyal, dormant), truth.more[own.loyal.astype(jnp.int32), level, number]


def draw_day(
    key: Array, truth: Truth, own: Customers, coupons: Array, discount: Array, weekday: Array
) -> tuple[Array, Array]:
    """(orders [C], average fee [C]) of a day, 0 where there is no order. Arguments as `hurdle`."""
    any_orders, more = hurdle(truth, own, coupons, discount, weekday)
    key_orders, key_fee = jax.random.split(key)
    uniform = jax.random.uniform(key_orders, (2, *any_orders.shape))
    orders = draw_orders(any_orders, more, uniform[0], uniform[1])
    noise = truth.fee_noise * jax.random.normal(key_fee, any_orders.shape) - truth.fee_noise**2 / 2
    return orders, jnp.where(orders > 0, jnp.exp(own.log_fee + noise), 0.0)


def response_curve(truth: Truth, own: Customers, coupons: int) -> np.ndarray:
    """[9, 2] mean orders a day of dormant and loyal customers by level, over the weekdays; level 0 is no coupon."""
    loyal = np.asarray(own.loyal)

    def at(level: int) -> np.ndarray:
        number, share = (coupons, float(DISCOUNTS[level - 1])) if level else (0, 1.0)
        days = [
            np.asarray(expected_orders(*hurdle(truth, own, jnp.int32(number), jnp.float32(share), jnp.int32(day))))
            for day in range(7)
        ]
        mean = np.mean(days, axis=0)
        return np.array([mean[part].mean() if part.any() else np.nan for part in (~loyal, loyal)])

    return np.stack([at(level) for level in range(9)])

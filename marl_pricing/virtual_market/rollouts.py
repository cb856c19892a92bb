"""Windows of days: those of the log, and those that one member's customers make from the same beginnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from marl_pricing.virtual_market.answers import (
    Answer,
    answer_loss,
    answer_of,
    coupon_logits,
    drawn_answer,
    drawn_offer,
)
from marl_pricing.virtual_market.memory import features, next_memory, state_features
from marl_pricing.virtual_market.money import day_gmv
from marl_pricing.virtual_market.states import StateForm

Array = jax.Array
Offers = Literal["learned", "logged"]


class Days(NamedTuple):
    """Days of customers [..., ·]; those of W windows are [N, W, ·]."""

    memory: Array  # [..., 21] before the day
    promotion: Array  # [..., 2]
    weekday: Array  # [...]
    answer: Array  # [..., 2] orders, fee


@dataclass(frozen=True, eq=False)
class Rollouts:
    """What rollouts stand on.

    Attributes:
        log: days of all customers [C, D, ·].
        platform: parameters of `CouponNetwork`.
        usual: [9].  usual_fee: [3].
        width, form: of networks and memories.
    """

    log: Days
    platform: Any
    usual: Array
    usual_fee: Array
    width: int
    form: StateForm

    @property
    def days(self) -> int:
        """D, of the log."""
        return int(self.log.weekday.shape[1])

    def logged(self, who: Array, first: Array, length: int) -> Days:
        """Windows of the log [length, W, ·]: customers `who` [W] from the days `first` [W] on."""
        day = first + jnp.arange(length)[:, None]
        return Days(*(leaf[who, day] for leaf in self.log))

    def law(self, customers: Any, days: Days) -> Answer:
        """The law [...] of days' answers, as one member's network says it."""
        inputs = features(days.memory, days.promotion, days.weekday, self.usual)
        return answer_of(self.width, customers, inputs, days.promotion, days.memory[..., 2], self.usual_fee)

    def log_prob(self, customers: Any, days: Days) -> Array:
        """[...] of the answers, but for what depends on them alone."""
        log_fee = jnp.log(jnp.maximum(days.answer[..., 1], 1e-3))
        return -answer_loss(self.law(customers, days), days.answer[..., 0], log_fee)

    def roll(self, customers: Any, key: Array, windows: Days, offers: Offers) -> Days:
        """Windows that begin as those of the log do, and go on as one member's customers answer.

        Args:
            customers: parameters of one member's `AnswerNetwork`.
            offers: `learned`, drawn from the platform's network; `logged`, those of the windows.
        """

        def day(memory: Array, today: tuple[Array, Array, Array]) -> tuple[Array, Days]:
            own_key, promotion, weekday = today
            keys = jax.random.split(own_key)
            if offers == "learned":
                told = coupon_logits(self.width, self.platform, state_features(memory, self.usual))
                promotion = drawn_offer(keys[0], told)
            asked = Days(memory, promotion, weekday, jnp.zeros_like(promotion))
            answer = drawn_answer(keys[1], self.law(customers, asked))
            return next_memory(memory, promotion, answer, self.form, jnp), asked._replace(answer=answer)

        keys = jax.random.split(key, windows.weekday.shape[0])
        return jax.lax.scan(day, windows.memory[0], (keys, windows.promotion, windows.weekday))[1]


def distance(rolled: Days, real: Days) -> Array:
    """[] mean of four Wasserstein distances over the log's means: orders and GMV of customers' days, and of windows.

    Those of a window's sums grow where the errors of days add up.
    """

    def parts(days: Days) -> tuple[Array, ...]:
        orders, fee = days.answer[..., 0], days.answer[..., 1]
        gmv = day_gmv(days.promotion[..., 0], days.promotion[..., 1], orders, fee, jnp)
        return orders.reshape(-1), gmv.reshape(-1), orders.sum(0), gmv.sum(0)

    # Of samples of one size: the mean distance between equal ranks.
    each = [
        jnp.abs(jnp.sort(own) - jnp.sort(other)).mean() / jnp.maximum(other.mean(), 1e-6)
        for own, other in zip(parts(rolled), parts(real), strict=True)
    ]
    return jnp.stack(each).mean()

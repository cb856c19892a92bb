"""Logs of promotions with known truth, written by a platform that gives deep coupons to those who order anyway."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from pydantic import Field

from marl_pricing.presentation.files import write_atomically
from marl_pricing.virtual_market.levels import DISCOUNTS
from marl_pricing.virtual_market.log import PromotionLog, weekdays_of, write_log
from marl_pricing.virtual_market.settings import FirstDay
from marl_pricing.virtual_market.truth import (
    Customers,
    Truth,
    TruthSettings,
    draw_customers,
    draw_day,
    make_truth,
    response_curve,
)

Array = jax.Array
_BEFORE = 30  # days before the log, from which the platform knows its customers
_MEMORY = 0.08  # weight of a day in what the platform remembers of a customer's orders


class SimulationSettings(TruthSettings):
    """What is simulated."""

    out: str = Field(description="folder for promotion_log.csv, customers.csv and truth.json")
    customers: Annotated[int, Field(ge=1, le=200_000)] = Field(1000, description="how many")
    days: Annotated[int, Field(ge=1, le=1000)] = Field(60, description="of the log")
    start: FirstDay = Field("2021-03-01", description="first day, yyyy-mm-dd")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of the customers, their coupons and orders")
    confounding: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="how much a coupon depends on past orders; 0 draws it without looking"
    )


class Simulated(NamedTuple):
    """A log and what is true of it."""

    log: PromotionLog
    truth: Truth
    customers: Customers


def offer_coupons(key: Array, remembered: Array, confounding: Array) -> tuple[Array, Array]:
    """(coupons [C], discount [C]) of the logging policy for a day.

    Customers are ranked by what is remembered of their orders. Who ranks higher gets deeper coupons, and more of
    them; a sixth of the depths is drawn without looking, so that every depth is met by everybody.
    """
    count = remembered.shape[0]
    rank = jnp.argsort(jnp.argsort(remembered)) / jnp.maximum(count - 1, 1)
    rank = confounding * rank + (1 - confounding) * 0.5
    keys = jax.random.split(key, 4)
    handed = jax.random.uniform(keys[0], (count,)) < 0.45 + 0.25 * (rank - 0.5)
    depths = jnp.arange(8)
    aimed = jax.nn.softmax(-confounding * jnp.abs(depths - 7 * rank[:, None]) / 1.2)
    chance = jnp.where(confounding > 0, 5 / 6 * aimed + 1 / 6 / 8, 1 / 8)
    depth = jax.random.categorical(keys[1], jnp.log(chance))
    numbers = jnp.arange(1, 6)
    number = 1 + jax.random.categorical(keys[2], -((numbers - 1.5 - 1.5 * rank[:, None]) ** 2) / 2)
    discount = jnp.asarray(DISCOUNTS, jnp.float32)[depth]
    return jnp.where(handed, number, 0), jnp.where(handed, discount, 1.0)


@partial(jax.jit, static_argnames="days")
def play_log(
    key: Array, truth: Truth, own: Customers, weekdays: Array, confounding: Array, days: int
) -> tuple[Array, Array, Array, Array]:
    """(coupons, discount, orders, fee), each [days, C], of the last days of the logging policy.

    Args:
        weekdays: [30 + days], of the days before the log and of its own.
    """

    def day(remembered: Array, today: tuple[Array, Array]):
        own_key, weekday = today
        key_coupons, key_orders = jax.random.split(own_key)
        coupons, discount = offer_coupons(key_coupons, remembered, confounding)
        orders, fee = draw_day(key_orders, truth, own, coupons, discount, weekday)
        return (1 - _MEMORY) * remembered + _MEMORY * orders, (coupons, discount, orders, fee)

    start = jnp.where(own.loyal, 0.6, 0.0) + 0.1 * jax.random.normal(jax.random.fold_in(key, 1), own.loyal.shape)
    keys = jax.random.split(key, weekdays.shape[0])
    _, daily = jax.lax.scan(day, start, (keys, weekdays))
    return jax.tree.map(lambda leaf: leaf[-days:], daily)


def simulate(settings: SimulationSettings) -> Simulated:
    """A log, its customers and their law."""
    truth, _ = make_truth(settings)
    own = draw_customers(settings, settings.customers, settings.seed)
    first = np.datetime64(settings.start) - _BEFORE
    dates = first + np.arange(_BEFORE + settings.days)
    coupons, discount, orders, fee = play_log(
        jax.random.key(settings.seed), truth, own, jnp.asarray(weekdays_of(dates)), jnp.float32(settings.confounding),
        settings.days,
    )  # fmt: skip
    names = np.arange(settings.customers).astype(str)
    daily = [np.asarray(part).T for part in (coupons, discount, orders, fee)]
    log = PromotionLog(
        names, dates[_BEFORE:], daily[0].astype(int), daily[1].astype(float).round(2), daily[2].astype(int),
        daily[3].astype(float).round(4),
    )  # fmt: skip
    return Simulated(log, truth, own)


def leave(settings: SimulationSettings, found: Simulated) -> list[Path]:
    """Write the log, who its customers are, and the settings and response curves that are true of them."""
    folder = Path(settings.out)
    folder.mkdir(parents=True, exist_ok=True)
    curves = {
        str(count): response_curve(found.truth, found.customers, count).round(5).tolist() for count in range(1, 6)
    }
    told = {
        "settings": settings.model_dump(exclude={"out"}),
        "levels": ["none", *(f"{share:.2f}" for share in DISCOUNTS)],
        "segments": ["dormant", "loyal"],
        "orders_a_day_by_coupons": curves,
    }
    own = found.customers
    table = pd.DataFrame(
        {
            "index": found.log.customers,
            "segment": np.where(np.asarray(own.loyal), "loyal", "dormant"),
            "liking": np.asarray(own.liking).round(5),
            "least_level": np.asarray(own.least),
            "mean_fee": np.exp(np.asarray(own.log_fee, float)).round(4),
        }
    )
    return [
        write_log(folder / "promotion_log.csv", found.log),
        write_atomically(folder / "customers.csv", table.to_csv(index=False, lineterminator="\n")),
        write_atomically(folder / "truth.json", json.dumps(told, indent=1) + "\n"),
    ]

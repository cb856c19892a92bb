"""Simulated shops whose demand is known, also such as a price list does not reckon with.

They know nothing of this package's markets: units are Poisson draws of exp(constant + own · log price + cross · mean
log price of the category's others + level + noise); the next period goes on where the last ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.calibration.reading import Sales
from marl_pricing.calibration.worlds import autoregression, held

Array = np.ndarray


@dataclass(frozen=True)
class Shop:
    """How a shop's sales come about; the defaults are a friendly one.

    Attributes:
        told: what is in it, in words.
        elasticity, among, within: mean own elasticity, spread of categories' means, spread of products around these.
        units: a period at the mean price, a product's typical number.
        move, hold: spread of a log price around its mean, and periods that one is held on average.
        cross: cross-price elasticity within a category.
        follows: what 1 % more of a product's level adds to its price, %.
        margin: lowest and highest share of the mean price that is not cost.
        cost_spread: of log costs, an AR(1) of 0.7; all of it is in the prices.
        settings: of its list, where the defaults are not meant.
    """

    told: str
    categories: int = 5
    products: int = 6
    periods: int = 78
    elasticity: float = -2.3
    among: float = 0.4
    within: float = 0.5
    units: float = 60.0
    move: float = 0.12
    hold: float = 3.0
    persistence: float = 0.7
    spread: float = 0.15
    noise: float = 0.15
    cross: float = 0.0
    follows: float = 0.0
    margin: tuple[float, float] = (0.2, 0.6)
    cost_spread: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)


SHOPS: dict[str, Shop] = {
    "friendly": Shop("30 products in 5 categories, 78 weeks"),
    "slow movers": Shop("a third of the weeks without a sale", units=1.5),
    "half a year": Shop("26 weeks", periods=26),
    "prices hardly move": Shop("prices move by 3 %, held 10 weeks", move=0.03, hold=10.0),
    "right already": Shop("prices are the best ones already, but for what moves them", margin=(0.0, 0.0)),
    "products compete": Shop("cross-price elasticity 0.5, which the list does not reckon with", cross=0.5),
    "prices follow demand": Shop("half of what demand does is in the prices, which the list does not know", hold=1.0,
                                 follows=0.5, spread=0.3),
    "costs tell": Shop("the same, and costs move prices, which the list uses", hold=1.0, follows=0.5, spread=0.3,
                       cost_spread=0.12, settings={"instruments": "cost"}),
}  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What is so in one shop; N products in the order of their names.

    Attributes:
        elasticity: [N].  cross: one number.  category: [N] numbers.
        constants: [N] log units expected in the next period at log price 0 beside what prices do.
        cost, today: [N].
    """

    elasticity: Array
    cross: float
    category: Array
    constants: Array
    cost: Array
    today: Array

    def units(self, prices: Array) -> Array:
        """[N] expected in the next period at prices [N]."""
        logs = np.log(prices)
        return np.exp(self.constants + self.elasticity * logs + self.cross * others_mean(logs, self.category))

    def profit(self, prices: Array) -> float:
        """Of all products, expected."""
        return float(((prices - self.cost) * self.units(prices)).sum())


def others_mean(values: Array, category: Array) -> Array:
    """[…, N] mean over the other products of the same category; 0 where there is none."""
    same = category[:, None] == category
    count = same.sum(1) - 1
    return np.where(count > 0, (values @ same - values) / np.maximum(count, 1), 0.0)


def draw_shop(own: Shop, random: np.random.Generator) -> tuple[Sales, Truth]:
    """Sales of one draw of a shop, and what is so in it."""
    count, periods = own.categories * own.products, own.periods
    category = np.repeat(np.arange(own.categories), own.products)
    mean = own.elasticity + own.among * random.normal(size=own.categories)
    elasticity = np.minimum(mean[category] + own.within * random.normal(size=count), -0.3)
    usual = np.round(np.exp(random.uniform(np.log(1.0), np.log(12.0), count)), 2)
    if own.margin[1] > 0:
        cost = usual * (1.0 - random.uniform(*own.margin, count))
    else:  # the monopoly's mark-up over cost is price / |elasticity|, without cross effects
        elasticity = np.minimum(elasticity, -1.3)
        cost = usual * (1.0 + 1.0 / elasticity)
    level = autoregression(random, (periods + 1, count), own.persistence, own.spread)
    moves = held(random, (periods, count), own.hold, own.move)
    costs = np.zeros((periods, count))
    if own.cost_spread:
        costs = autoregression(random, (periods, count), 0.7, own.cost_spread)
        moves = costs
    prices = np.maximum(np.round(usual * np.exp(moves + own.follows * level[:periods]), 2), 0.05)
    logs = np.log(prices)
    beside = level + own.noise * random.normal(size=level.shape)
    popularity = np.log(own.units) + 0.5 * random.normal(size=count) - elasticity * np.log(usual)
    popularity = popularity - own.cross * others_mean(np.log(usual), category)
    mean_units = np.exp(popularity + elasticity * logs + own.cross * others_mean(logs, category) + beside[:periods])
    names = [f"item {number:03d}" for number in range(count)]
    table = pd.DataFrame(
        {
            "product": np.tile(names, periods),
            "seller": "shop",
            "category": np.tile([f"category {number}" for number in category], periods),
            "period": np.repeat(np.arange(periods), count),
            "units": random.poisson(mean_units).astype(float).reshape(-1),
            "price": prices.reshape(-1),
            "cost": (cost * np.exp(costs)).reshape(-1),
        }
    ).sort_values(["product", "period"], ignore_index=True)
    last = cost * np.exp(costs[-1])
    truth = Truth(elasticity, own.cross, category, popularity + beside[periods], last, prices[-1])
    return Sales(table, len(table), Counter(), "0", period_name="week"), truth

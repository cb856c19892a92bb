"""Units at other prices than today's, for every draw of what the estimates leave open.

Anchored at the units expected at today's prices, so that of the estimates only elasticities count:
units · (p / p₀)^own · exp(cross · mean of log(p / p₀) over the category's other offers, rivals' among them).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Demand:
    """Demand of N products in C categories, D draws.

    Attributes:
        today: [N] prices.  units: [D, N] expected at these.
        own: [D, N] elasticities.  cross: [D, C] cross-price elasticities of categories; zeros where none are used.
        category: [N] numbers from 0.
        rivals: [C] how many offers of rivals are in the category.
        follow: whether rivals change by the mean change (in logs) of the shop's own products of the category; else
            they stay where they are.
        stock: [N] units that there are to sell; infinity where that does not bind or is not known.
        moved: [C] mean over all offers of the category but one of the logs by which rivals move whatever the shop does.
    """

    today: Array
    units: Array
    own: Array
    cross: Array
    category: Array
    rivals: Array
    follow: bool
    moved: Array
    stock: Array

    @cached_property
    def weights(self) -> tuple[Array, Array]:
        """[N] what log 1 of the price of another product of the category adds to the others' mean, and of its own."""
        size = np.bincount(self.category, minlength=len(self.rivals))
        others = np.maximum(size - 1 + self.rivals, 1)
        alone = size - 1 + self.rivals == 0
        answer = self.rivals / size if self.follow else np.zeros(len(size))
        # Where a product has no other beside it, there is no price of others to answer to.
        other, back = np.where(alone, 0.0, (1.0 + answer) / others), np.where(alone, 0.0, answer / others)
        return other[self.category], back[self.category]

    def sold(self, prices: Array) -> Array:
        """[D, N] units sold at prices [N]: those wanted, or all that there are."""
        return np.minimum(self.at(prices), self.stock)

    def at(self, prices: Array) -> Array:
        """[D, N] units wanted at prices [N]."""
        change = np.log(prices / self.today)
        other, back = self.weights
        total = np.bincount(self.category, change, len(self.rivals))[self.category]
        felt = other * (total - change) + back * change + self.moved[self.category]
        return self.units * np.exp(self.own * change + self.cross[:, self.category] * felt)

    def at_one(self, prices: Array, product: int) -> Array:
        """[D] units wanted of one product at prices [N]."""
        own = self.category == self.category[product]
        change = np.log(prices[own] / self.today[own])
        mine = float(np.log(prices[product] / self.today[product]))
        other, back = self.weights
        felt = other[product] * (change.sum() - mine) + back[product] * mine + self.moved[self.category[product]]
        cross = self.cross[:, self.category[product]]
        return self.units[:, product] * np.exp(self.own[:, product] * mine + cross * felt)

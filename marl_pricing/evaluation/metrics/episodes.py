"""Episodes as measures read them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from marl_pricing.evaluation.play import Record
from marl_pricing.market import MarketParams, MarketShape

Array = np.ndarray


@dataclass(frozen=True)
class Episodes:
    """E episodes of T epochs in float64; entries of sellers that have left the market are 0.

    Attributes:
        record: what was played.
    """

    shape: MarketShape
    params: MarketParams
    record: Record

    @cached_property
    def live(self) -> Array:
        """[E, T, S] 1.0 where the seller was in the market."""
        return np.asarray(self.record.live, np.float64)

    @cached_property
    def offered(self) -> Array:
        """[E, T, N] 1.0 where the offer was in the market."""
        return np.repeat(self.live, self.shape.num_products, axis=-1)

    @cached_property
    def ran(self) -> Array:
        """[E, T] 1.0 where the market had not ended."""
        return self.live.max(-1)

    @cached_property
    def epochs(self) -> Array:
        """[E] epochs that the market ran."""
        return self.ran.sum(-1)

    def offers(self, name: str) -> Array:
        """A field [E, T, N] of the record, 0 where the offer was not in the market."""
        return np.where(self.offered > 0, np.asarray(getattr(self.record, name), np.float64), 0.0)

    def sellers(self, name: str) -> Array:
        """A field [E, T, S] of the record, 0 where the seller was not in the market."""
        return np.where(self.live > 0, np.asarray(getattr(self.record, name), np.float64), 0.0)

    def market(self, name: str) -> Array:
        """A field [E, T] of the record, 0 where the market had ended."""
        return np.where(self.ran > 0, np.asarray(getattr(self.record, name), np.float64), 0.0)

    def cost(self, name: str) -> Array:
        """A price of the market's [N]: `unit_cost`, `stockout_penalty`, `holding_cost` or `order_cost`, money."""
        own = getattr(self.params.reward, name)
        value = np.zeros(()) if own is None else np.asarray(own, np.float64)
        return np.broadcast_to(value, (self.shape.num_offers,))

    def contracts(self, name: str) -> Array:
        """A field [E, T, N] of the contracts, 0 where the offer was not in the market."""
        return np.where(self.offered > 0, np.asarray(getattr(self.record.supplied, name), np.float64), 0.0)

    @cached_property
    def unit_costs(self) -> Array:
        """[E or 1, 1, N] money per unit: where supply is bargained for, what the units sold in an episode have cost."""
        own = self.cost("unit_cost")[None, None]
        if self.record.supplied is None:
            return own
        sold = self.offers("sales").sum(1, keepdims=True)
        cost = self.contracts("cost_of_sales").sum(1, keepdims=True)
        return np.where(sold > 0, cost / np.maximum(sold, 1e-9), own)

    @cached_property
    def seller_prices(self) -> Array:
        """[E, T, S] mean posted price over a seller's products; NaN where it is not in the market."""
        prices = np.asarray(self.record.price, np.float64).reshape(*self.live.shape, -1).mean(-1)
        return np.where(self.live > 0, prices, np.nan)

    @cached_property
    def profits(self) -> Array:
        """[E, S] raw reward of each seller over the episode, money."""
        return self.sellers("reward_raw").sum(1)

"""From what a shop's system counts, in money and units, to what a policy is shown: the scales of an observation.

`observation.py` scales to about one; here the same scales are numbers, entry by entry, for a policy that is fed outside
of this market.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from marl_pricing.market.observation import demand_scale, layout, stock_scale
from marl_pricing.market.types import MarketParams, MarketShape

_SHARES = ("suspicion", "share_estimate", "agent_share", "omega", "shock")


class Entry(NamedTuple):
    """One entry of a seller's observation: shown = (raw − offset) / scale.

    Attributes:
        name: as `layout` says it, with the unit of what is shown.
        feature: of the market's settings.
        unit: of the raw figure.
        offset, scale: by seller [S].
    """

    name: str
    feature: str
    unit: str
    offset: tuple[float, ...]
    scale: tuple[float, ...]


def entries(shape: MarketShape, params: MarketParams) -> list[Entry]:
    """Every entry of the observation, in order."""
    columns = [column for feature in shape.features for column in _columns(feature, shape, params)]
    return [
        Entry(name, feature, unit, tuple(offset.tolist()), tuple(scale.tolist()))
        for name, (feature, unit, offset, scale) in zip(layout(shape), columns, strict=True)
    ]


def _columns(feature: str, shape: MarketShape, params: MarketParams) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """(feature, unit, offset [S], scale [S]) of each of a feature's entries."""
    by_seller = (shape.num_sellers, shape.num_products)

    def sellers(values: object) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, np.float64), shape.num_offers).reshape(by_seller)

    def products(unit: str, offset: np.ndarray, scale: np.ndarray) -> list:
        return [(feature, unit, offset[:, k], scale[:, k]) for k in range(shape.num_products)]

    low, half = (
        sellers(params.prices.low),
        np.maximum(sellers(params.prices.high) - sellers(params.prices.low), 1e-6) / 2,
    )
    none, one = sellers(0.0), sellers(1.0)
    if feature == "own_price":
        return products("money", low + half, half)
    if feature == "rival_price":
        if np.ptp(low, 0).any() or np.ptp(half, 0).any():
            return products("mean of the rivals' prices, each shown on the range of its own", none, one)
        return products("money, mean of the rivals' prices", low + half, half)
    if feature == "all_rival_prices":
        return [
            (feature, "money", np.roll(low + half, -further, 0)[:, k], np.roll(half, -further, 0)[:, k])
            for further in range(1, shape.num_sellers)
            for k in range(shape.num_products)
        ]
    if feature in ("stock", "on_order"):
        return products("units", none, sellers(stock_scale(params)))
    if feature == "pipeline":
        scale, waits = sellers(stock_scale(params)), range(1, shape.inventory.max_lead_time)
        return [(feature, "units", none[:, k], scale[:, k]) for k in range(shape.num_products) for _ in waits]
    if feature == "demand":
        return products("units", none, sellers(demand_scale(shape)))
    if feature == "events":
        return products("weighted events", none, sellers(demand_scale(shape) * np.asarray(params.traffic.event_scale)))
    if feature in ("proxy_share", "proxy_trend"):
        unit = (
            "share of all offers' events" if feature == "proxy_share" else "change of the share of all offers' events"
        )
        return products(unit, none, one / shape.num_offers)
    if feature == "time":
        return [(feature, "epochs since the episode began", none[:, 0], shape.episode_length * one[:, 0])]
    if feature == "cash":
        limit = np.broadcast_to(np.asarray(params.reward.cash_limit, np.float64), shape.num_sellers)
        first = np.broadcast_to(np.asarray(params.reward.initial_cash, np.float64), shape.num_sellers) - limit
        return [(feature, "money", limit, np.maximum(first, 1e-6))]
    if feature in _SHARES:
        return [(feature, "0 or 1" if feature == "shock" else "share, kept within 0 and 1", none[:, 0], one[:, 0])]
    if feature in ("held_cost", "ordered_cost", "last_agreement"):
        assert params.contracts is not None
        table = params.contracts.table
        least, most = np.asarray(table.least, np.float64), np.asarray(table.most, np.float64)
        # What is not there is shown as −1; these are the raw figures that come out so.
        span = max(most[1] - least[1], 1e-6)
        cost = (f"money per unit; {least[1] - span:.6g} where there is none", least[1], span)
        if feature != "last_agreement":
            unit, low, span = cost
            return products(unit, sellers(low), sellers(span))
        terms = [
            (f"units; {-most[0]:g} before there is one", 0.0, most[0]),
            cost,
            (f"epochs; {-most[2]:g} before there is one", 0.0, most[2]),
        ]
        return [
            (feature, unit, sellers(low)[:, k], sellers(span)[:, k])
            for k in range(shape.num_products)
            for unit, low, span in terms
        ]
    raise ValueError(f"observation.features={feature!r} is no feature")

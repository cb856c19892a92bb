"""Depths of a coupon as levels: 0 no coupon, 1 … 8 for 0.95, 0.90 … 0.60 of the price."""

from __future__ import annotations

from typing import Any

import numpy as np

DISCOUNTS = np.round(0.95 - 0.05 * np.arange(8), 2)  # of depth levels 1 … 8; the challenge's policy counts them from 0
NUM_LEVELS = 9
MOST_COUPONS = 5
NUM_COUNTS = MOST_COUPONS  # numbers of coupons where there are any, 1 … 5
# Offers of a day (coupons, share of the price that is paid): none, then 1 … 5 coupons of each depth.
OFFERS = np.array([(0, 1.0), *((count, share) for count in range(1, MOST_COUPONS + 1) for share in DISCOUNTS)])


def level_of(coupons: Any, discount: Any, xp: Any = np) -> Any:
    """0 without a coupon, else 1 … 8 for the nearest depth; arrays broadcast."""
    depth = xp.clip(xp.round((0.95 - discount) / 0.05), 0, 7).astype(np.int32)
    return xp.where(coupons > 0, depth + 1, 0)


def cell_of(coupons: Any, discount: Any, xp: Any = np) -> Any:
    """[..., 8, 5] one at the offer's depth and number of coupons; noughts without a coupon."""
    level, number = level_of(coupons, discount, xp), xp.clip(xp.round(coupons), 0, MOST_COUPONS)
    at_level = level[..., None] == xp.arange(1, NUM_LEVELS)
    at_number = number[..., None] == xp.arange(1, MOST_COUPONS + 1)
    return (at_level[..., :, None] & at_number[..., None, :]) * 1.0

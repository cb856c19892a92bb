"""Depths of a coupon as levels: 0 no coupon, 1 … 8 for 0.95, 0.90 … 0.60 of the price."""

from __future__ import annotations

from typing import Any

import numpy as np

DISCOUNTS = np.round(0.95 - 0.05 * np.arange(8), 2)  # of depth levels 1 … 8; the challenge's policy counts them from 0
NUM_LEVELS = 9
MOST_COUPONS = 5
# Offers of a day (coupons, share of the price that is paid): none, then 1 … 5 coupons of each depth.
OFFERS = np.array([(0, 1.0), *((count, share) for count in range(1, MOST_COUPONS + 1) for share in DISCOUNTS)])


def level_of(coupons: Any, discount: Any, xp: Any = np) -> Any:
    """0 without a coupon, else 1 … 8 for the nearest depth; arrays broadcast."""
    depth = xp.clip(xp.round((0.95 - discount) / 0.05), 0, 7).astype(np.int32)
    return xp.where(coupons > 0, depth + 1, 0)

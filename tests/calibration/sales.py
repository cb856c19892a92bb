"""Small files of sales for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.calibration.simulate import simulate_sales
from marl_pricing.config import Market, market_from

GROCERY = Path(__file__).parents[2] / "examples" / "grocery"
LOGIT = {"model": "logit", "quality": [0.4, 0.1, 0.5, 0.2, 0.3, 0.0], "scale": 0.5}
POWER = {"model": "power", "base": 0.05, "elasticity": -2.2, "reference_price": 2.0}
LEVEL = {"persistence": 0.8, "volatility": 0.12, "noise": 0.08}


def a_market(demand: dict[str, Any] | None = None, shoppers: int = 4_000, **settings: Any) -> Market:
    """Two sellers with three products each, stock without limit, no agents."""
    base = {
        "num_sellers": 2,
        "num_products": 3,
        "demand": demand or LOGIT,
        "agent": None,
        "level": LEVEL,
        "prices": {"map": "levels", "num_price_levels": 15, "low": 1.4, "high": 2.6},
        "inventory": {"rule": "unlimited"},
    }
    return market_from(base | settings, {"model": "analytic", "sessions_per_epoch": shoppers, "agent_share": 0.0})


def some_sales(periods: int = 40, seed: int = 0, **settings: Any) -> pd.DataFrame:
    """Rows seller, product, period, units, price of that market."""
    return simulate_sales(*a_market(**settings), periods=periods, seed=seed)


def written(path: Path, table: pd.DataFrame) -> Path:
    """The table as a CSV file."""
    table.to_csv(path, index=False)
    return path


def fixed_prices(table: pd.DataFrame) -> pd.DataFrame:
    """The same sales, all at one price a product."""
    return table.assign(price=table.groupby("product")["price"].transform("first"))


def rising(table: pd.DataFrame) -> pd.DataFrame:
    """The same products, with units that rise with the price."""
    noise = np.random.default_rng(0).normal(0.0, 0.05, len(table))
    return table.assign(units=np.round(100.0 * table["price"] ** 0.8 * np.exp(noise)))

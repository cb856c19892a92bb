"""Rules to compare learned sellers with. Each is a `market.Policy`, built from a market's shape and parameters.

Tabular Q-learning (`tabular_q`, `q_learning`, `q_sessions`) is none of `RULES`: its sellers have to learn first.
"""

from __future__ import annotations

from collections.abc import Callable

from marl_pricing.market import MarketParams, MarketShape, Policy
from marl_pricing.policies.base_stock import base_stock
from marl_pricing.policies.constant import constant, constant_joint, constant_nash
from marl_pricing.policies.drawn import drawn
from marl_pricing.policies.expectations import RuleError
from marl_pricing.policies.fitted import Response, fit_response, fitted_stock_price, in_words
from marl_pricing.policies.myopic import myopic
from marl_pricing.policies.observed import observed
from marl_pricing.policies.random import random
from marl_pricing.policies.seats import seat, table
from marl_pricing.policies.simulated import SIMULATED, Tried, simulated_joint, simulated_nash, tried
from marl_pricing.policies.skimming import price_skimming
from marl_pricing.policies.stock_and_price import StockPriceParameters, stock_and_price
from marl_pricing.policies.surge import surge

RULES: dict[str, Callable[[MarketShape, MarketParams], Policy]] = {
    "constant_nash": constant_nash,
    "constant_joint": constant_joint,
    "simulated_nash": simulated_nash,
    "simulated_joint": simulated_joint,
    "random": random,
    "myopic": myopic,
    "base_stock": base_stock,
    "observed": observed,
    "fitted_stock_price": fitted_stock_price,
    "price_skimming": price_skimming,
    "surge": surge,
}

__all__ = [
    "RULES",
    "SIMULATED",
    "Response",
    "RuleError",
    "StockPriceParameters",
    "Tried",
    "base_stock",
    "constant",
    "constant_joint",
    "constant_nash",
    "drawn",
    "fit_response",
    "fitted_stock_price",
    "in_words",
    "myopic",
    "observed",
    "price_skimming",
    "random",
    "seat",
    "simulated_joint",
    "simulated_nash",
    "stock_and_price",
    "surge",
    "table",
    "tried",
]

"""Worlds in which estimates go wrong: sales of known elasticity whose zeros, stocks, prices or shocks mislead.

They know nothing of this package's market: units are Poisson draws of exp(constant + elasticity · log price + what
moves demand beside it), cut at the stock where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize

from marl_pricing.calibration.calendar import HOLIDAY


@dataclass(frozen=True)
class World:
    """How sales come about; the defaults are a friendly world.

    Attributes:
        told: what is hostile in it, in words.
        elasticity: lowest and highest true own-price elasticity of those drawn.
        units: units a period at the mean price, a product's typical number.
        hold: periods that a price is held on average.
        persistence, spread: of each product's own log demand, an AR(1).
        noise: spread of what does not last.
        shared, shared_persistence: spread of a shock to all products, whose loadings are 1 with spread 0.5.
        shared_prices: spread of a part that all log prices share, held for `hold` periods.
        growth, inflation: of demand and of prices, in logs a period.
        zeros: share of rows of 0 units that the units are chosen for; 0 leaves `units`.
        sold_out: share of rows that sell all of a stock that knows nothing of the period's shock.
        follows: what 1 % more demand adds to the price, %.
        cost_spread: of log costs that move prices, an AR(1) of 0.7; they stand in the file where it is not 0.
        holidays: share of the periods that have one.
        feast, feast_prices: what a holiday adds to log demand and to log prices.
        settings: of the calibration, where the defaults are not meant.
        shoppers: a period; where it is not 0 the sales are a logit's, each buys one unit at most, and the elasticities
            are coefficients of the price.
        holds: the intervals can hold the truth; False where no file of such sales can tell it.
    """

    told: str
    products: int = 30
    periods: int = 40
    elasticity: tuple[float, float] = (-4.0, -1.2)
    units: float = 200.0
    hold: float = 3.0
    persistence: float = 0.7
    spread: float = 0.15
    noise: float = 0.15
    shared: float = 0.0
    shared_persistence: float = 0.8
    shared_prices: float = 0.0
    growth: float = 0.0
    inflation: float = 0.0
    zeros: float = 0.0
    sold_out: float = 0.0
    follows: float = 0.0
    cost_spread: float = 0.0
    holidays: float = 0.0
    feast: float = 0.0
    feast_prices: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    shoppers: int = 0
    holds: bool = True


WORLDS: dict[str, World] = {
    "friendly": World("30 products, 40 weeks, levels that last"),
    "zeros": World("35 % of the weeks without a sale", elasticity=(-3.0, -3.0), zeros=0.35),
    "sold_out_20": World("20 % of the weeks sold out", elasticity=(-2.0, -2.0), units=30.0, sold_out=0.2),
    "sold_out_40": World("40 % of the weeks sold out", elasticity=(-2.0, -2.0), units=30.0, sold_out=0.4),
    "follows": World(
        "prices follow demand (AR .9); a cost moves them too",
        elasticity=(-2.0, -2.0), periods=60, hold=1.0, persistence=0.9, spread=0.4, follows=0.5, cost_spread=0.15,
        settings={"instruments": "cost"},
    ),
    "shared": World(
        "20 products, demand and prices move together", products=20, periods=60, elasticity=(-2.0, -2.0), shared=0.4,
        shared_prices=0.15,
    ),
    "trend": World(
        "demand grows by 1 % a week, prices by 0.3 %", periods=104, elasticity=(-2.0, -2.0), growth=0.01,
        inflation=0.003,
    ),
    "one_product": World(
        "one product, 104 weeks, AR .9, prices held 7 weeks", products=1, periods=104, elasticity=(-2.0, -2.0),
        hold=7.0, persistence=0.9, spread=0.3,
    ),
    "logit_zeros": World(
        "logit, a unit a product and week", elasticity=(-1.5, -1.5), units=1.0, shoppers=200,
        settings={"form": "logit", "market_size": 200.0},
    ),
    "five_products": World("five products, 60 weeks", products=5, periods=60, elasticity=(-2.0, -2.0)),
    "one_with_zeros": World(
        "one product, 104 weeks, 20 % of them without a sale", products=1, periods=104, elasticity=(-2.0, -2.0),
        zeros=0.2,
    ),
    "follows_unseen": World(
        "prices follow demand, and no cost is known: nothing in the file tells", elasticity=(-2.0, -2.0), periods=60,
        hold=1.0, persistence=0.9, spread=0.4, follows=0.5, cost_spread=0.15, holds=False,
    ),
    "holidays": World(
        "one product, 104 weeks; demand rises and prices fall in weeks with a holiday, which are known", products=1,
        periods=104, elasticity=(-2.0, -2.0), holidays=0.12, feast=0.5, feast_prices=-0.15,
    ),
}  # fmt: skip


def autoregression(random: np.random.Generator, shape: tuple[int, int], persistence: float, spread: float):
    """[T, N] stationary AR(1) of the given persistence and spread."""
    draws = random.normal(0.0, spread, shape)
    for period in range(1, shape[0]):
        draws[period] = persistence * draws[period - 1] + np.sqrt(1.0 - persistence**2) * draws[period]
    return draws


def held(random: np.random.Generator, shape: tuple[int, int], hold: float, spread: float) -> np.ndarray:
    """[T, N] log prices, each drawn anew after `hold` periods on average."""
    draws = random.normal(0.0, spread, shape)
    for period in range(1, shape[0]):
        keep = random.random(shape[1]) > 1.0 / hold
        draws[period, keep] = draws[period - 1, keep]
    return draws


def draw(world: World, random: np.random.Generator) -> tuple[pd.DataFrame, float]:
    """(sales in the schema that calibrations read, the true elasticity) of one draw of a world."""
    shape = (world.periods, world.products)
    true = float(random.uniform(*world.elasticity))
    time = np.arange(world.periods, dtype=float)[:, None]
    level = autoregression(random, shape, world.persistence, world.spread)
    shock = autoregression(random, (world.periods, 1), world.shared_persistence, world.shared)
    loading = 1.0 + 0.5 * random.normal(size=world.products)
    moves = level + random.normal(0.0, world.noise, shape) + loading * shock + world.growth * time
    cost = autoregression(random, shape, 0.7, world.cost_spread)
    own = cost if world.cost_spread else held(random, shape, world.hold, 0.2)
    common = held(random, (world.periods, 1), world.hold, world.shared_prices)
    log_price = np.log(2.0) + own + common + world.inflation * time + world.follows * level
    beside: dict[str, np.ndarray] = {}
    if world.holidays:
        feasts = (random.random((world.periods, 1)) < world.holidays) * np.ones(shape)
        beside[HOLIDAY] = feasts
        moves, log_price = moves + world.feast * feasts, log_price + world.feast_prices * feasts
    popularity = random.normal(0.0, 0.5, world.products)
    if world.shoppers:
        wanted = _choices(world, random, popularity + moves + true * (np.exp(log_price) - 2.0))
        return _table(world, log_price, wanted, {}), true
    relative = popularity + true * (log_price - np.log(2.0)) + moves
    constant = np.log(world.units)
    if world.zeros:
        constant = optimize.brentq(lambda at: np.exp(-np.exp(at + relative)).mean() - world.zeros, -10.0, 10.0)
    wanted = random.poisson(np.exp(constant + relative)).astype(float)
    if world.cost_spread:
        beside["cost"] = np.exp(0.4 + cost)
    if world.sold_out:
        # Goods come in by the mean, whatever the period brings.
        typical = np.exp(constant + popularity) * np.exp(random.normal(0.0, 0.3, shape))

        def stock(scale: float) -> np.ndarray:
            return np.maximum(np.round(scale * typical), 1.0)

        scale = optimize.bisect(lambda at: (wanted >= stock(at)).mean() - world.sold_out, 0.05, 20.0, xtol=1e-3)
        beside["stock"] = stock(scale)
        wanted = np.minimum(wanted, stock(scale))
    return _table(world, log_price, wanted, beside), true


def _choices(world: World, random: np.random.Generator, utility: np.ndarray) -> np.ndarray:
    """[T, N] units of shoppers who take one unit of what they like best, or nothing."""
    odds = world.units / (world.shoppers - world.products * world.units)
    weights = np.exp(np.log(odds) + utility)
    everything = np.concatenate([weights, np.ones((len(weights), 1))], axis=1)
    return random.multinomial(world.shoppers, everything / everything.sum(1, keepdims=True))[:, :-1].astype(float)


def _table(world: World, log_price: np.ndarray, units: np.ndarray, beside: dict[str, np.ndarray]) -> pd.DataFrame:
    """Rows by product and period of arrays [T, N]."""
    table = {
        "seller": "shop",
        "product": np.tile([f"product_{number}" for number in range(world.products)], world.periods),
        "category": "all",
        "period": np.repeat(np.arange(world.periods), world.products),
        "units": units.reshape(-1),
        "price": np.exp(log_price).reshape(-1).round(6),
    } | {name: values.reshape(-1) for name, values in beside.items()}
    return pd.DataFrame(table).sort_values(["product", "period"]).reset_index(drop=True)


def simulate_worlds(
    name: str, markets: int, estimate: Callable[[pd.DataFrame, World], Any], seed: int = 0, **changes: Any
) -> pd.DataFrame:
    """Estimates of `markets` draws of a world: a row each, true, value, error, low, high.

    Args:
        estimate: sales and world → an `Estimate` of the elasticity.
        changes: fields of the world that are another's.
    """
    world = replace(WORLDS[name], **changes)
    rows = []
    for random in np.random.default_rng([seed, list(WORLDS).index(name)]).spawn(markets):
        sales, true = draw(world, random)
        found = estimate(sales, world)
        rows.append((true, found.value, found.error, *found.interval))
    return pd.DataFrame(rows, columns=["true", "value", "error", "low", "high"])

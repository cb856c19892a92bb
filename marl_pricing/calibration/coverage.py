"""Simulation-based calibration: markets whose parameters are drawn are simulated and estimated again.

`python -m marl_pricing.calibration.coverage [logit|power|worlds|WORLD …] [--markets N] [--level]` prints how often the
95 % interval holds the true value and how far estimates lie from it in standard errors: per parameter of this package's
own markets, and per hostile world (`worlds.WORLDS`) of the slope, estimated as the settings do by default.
"""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing.calibration import dynamics, elasticity, logit, worlds
from marl_pricing.calibration.fit import constant_elasticity, fit_shares
from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.calibration.simulate import play, sales_table
from marl_pricing.calibration.standard_errors import Estimate
from marl_pricing.config import Market, market_from
from marl_pricing.market import MarketParams
from marl_pricing.presentation.output import run_command

_SELLERS, _PRODUCTS, _PERIODS, _SHOPPERS = 3, 10, 40, 200_000


def _market(form: str) -> Market:
    """30 offers, no stock, levels that move; the numbers are replaced by those drawn."""
    demand = {"model": "logit", "quality": 2.0, "scale": 0.5}
    if form == "power":
        demand = {"model": "power", "base": 0.01, "elasticity": -2.0, "popularity": 1.0, "reference_price": 2.0}
    return market_from(
        {
            "num_sellers": _SELLERS,
            "num_products": _PRODUCTS,
            "demand": demand,
            "agent": None,
            "level": {"persistence": 0.8, "volatility": 0.1, "noise": 0.1},
            "prices": {"map": "levels", "num_price_levels": 15, "low": 1.4, "high": 2.6},
            "inventory": {"rule": "unlimited"},
        },
        {"model": "analytic", "sessions_per_epoch": _SHOPPERS, "agent_share": 0.0},
    )


def _draw(key: jax.Array, form: str, params: MarketParams) -> MarketParams:
    """The same market with slope, constants, persistence, volatility and noise drawn anew."""
    keys = jax.random.split(key, 5)
    own, num_offers = params.demand, params.demand.level_persistence.size

    def uniform(key: jax.Array, low: float, high: float, shape: tuple[int, ...] = ()) -> jax.Array:
        return jax.random.uniform(key, shape, minval=low, maxval=high)

    if form == "logit":
        scale = uniform(keys[0], 0.35, 0.9)
        # Shares of 0.3 to 1.5 % each, hundreds of units, at the middle price, whatever the scale.
        log_share = jnp.log(uniform(keys[1], 0.003, 0.015, (num_offers,)))
        delta = log_share - jnp.log1p(-jnp.exp(log_share).sum())
        choice = own.choice.replace(scale=scale[None], quality=(2.0 + scale * delta)[None])
    else:
        popularity = uniform(keys[1], 0.4, 1.6, (num_offers,))
        elasticity = jnp.full((1, num_offers), uniform(keys[0], -4.0, -1.2))
        choice = own.choice.replace(elasticity=elasticity, popularity=popularity[None])
    demand = own.replace(
        choice=choice,
        level_persistence=jnp.full((num_offers,), uniform(keys[2], 0.5, 0.9)),
        level_volatility=jnp.full((num_offers,), uniform(keys[3], 0.05, 0.15)),
        level_noise=jnp.full((num_offers,), uniform(keys[4], 0.03, 0.2)),
    )
    return params.replace(demand=demand)


def _estimates(form: str, sales: pd.DataFrame, with_level: bool) -> dict[str, Estimate]:
    panel = make_panel(sales.assign(category="all"))
    if form == "logit":
        shares = logit.shares_of(panel.table, _SHOPPERS)
        slope, log_demand = logit.fit_logit(shares).price, logit.inverted(shares)
        price = panel.table["price"]
    else:
        slope = elasticity.fit_elasticity(panel.rows, effects=("product",), cross=False).own
        log_demand, price = panel.table["log_units"].to_numpy(), panel.table["log_price"]
    if not with_level:
        return {"slope": slope}
    residual = log_demand - slope.value * price.to_numpy()
    moves = dynamics.fit_dynamics(panel.table, residual, season=52.0, harmonics=0)
    return {"slope": slope, "persistence": moves.persistence, "volatility": moves.volatility, "noise": moves.noise}


def _truth(form: str, params: MarketParams, index: int) -> dict[str, float]:
    own = params.demand
    choice: Any = own.choice
    slope = -1.0 / choice.scale[index, 0] if form == "logit" else choice.elasticity[index, 0, 0]
    return {
        "slope": float(slope),
        "persistence": float(own.level_persistence[index, 0]),
        "volatility": float(own.level_volatility[index, 0]),
        "noise": float(own.level_noise[index, 0]),
    }


def coverage(
    form: Literal["logit", "power"],
    markets: int,
    *,
    seed: int = 0,
    with_level: bool = False,
    step: Callable[[int], None] = lambda _: None,
) -> pd.DataFrame:
    """Estimates of markets whose parameters are drawn.

    Args:
        with_level: estimate persistence, volatility and noise too, which takes some hundred times as long.
        step: told the number of markets that are done.

    Returns:
        One row a market and parameter: market, parameter, true, value, error, low, high.
    """
    own = _market(form)
    keys = jax.random.split(jax.random.key(seed), (markets, 2))
    params = jax.lax.map(lambda key: _draw(key, form, own.params), keys[:, 0])
    drawn = jax.vmap(lambda key, params: play(key, own.shape, params, _PERIODS, jnp.float32(0.5)))
    prices, units = (np.asarray(values) for values in drawn(keys[:, 1], params))
    rows = []
    for index in range(markets):
        sales = sales_table(prices[index], units[index], _SELLERS)
        true = _truth(form, params, index)
        for name, found in _estimates(form, sales, with_level).items():
            rows.append((index, name, true[name], found.value, found.error, *found.interval))
        step(index + 1)
    return pd.DataFrame(rows, columns=["market", "parameter", "true", "value", "error", "low", "high"])


def default_slope(sales: pd.DataFrame, world: worlds.World) -> Estimate:
    """The slope as a calibration estimates it: form power, all else by default but what the world's settings say."""
    own = CalibrationSettings.model_validate({"data": "sales", "out": "out", "form": "power"} | dict(world.settings))
    panel = make_panel(sales)
    if own.form == "power":
        return constant_elasticity(panel, own, []).own
    size = own.market_size or logit.market_size(panel.rows, 1.5)
    return fit_shares(panel, own, size, [])[0].price


def worlds_table(
    names: Sequence[str], markets: int, *, seed: int = 0, step: Callable[[int], None] = lambda _: None
) -> pd.DataFrame:
    """A row a world: `summary` of the slope, with its mean and the true one."""
    rows = {}
    for number, name in enumerate(names):
        found = worlds.simulate_worlds(name, markets, default_slope, seed)
        told = summary(found.assign(parameter=name)).loc[name]
        rows[name] = {"true": found["true"].mean(), "mean": found["value"].mean()} | told.to_dict()
        step(number + 1)
    return pd.DataFrame(rows).T.astype({"markets": int})


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Per parameter: markets, covered (share of intervals that hold the truth), bias (mean of (value - true) / error),
    bias_error (its standard error) and spread (standard deviation of the same; 1 where errors are right)."""
    own = found.assign(
        covered=(found["low"] <= found["true"]) & (found["true"] <= found["high"]),
        z=(found["value"] - found["true"]) / found["error"],
    )
    grouped = own[np.isfinite(own["z"])].groupby("parameter", sort=False)
    told = grouped.agg(markets=("z", "size"), covered=("covered", "mean"), bias=("z", "mean"), spread=("z", "std"))
    told.insert(3, "bias_error", told["spread"] / np.sqrt(told["markets"]))
    return told


def main() -> int:
    """Print the table of one form of demand, or of both."""
    from marl_pricing.presentation.progress import Progress

    known = f"logit, power, worlds (all) or one of {', '.join(worlds.WORLDS)}"
    parser = argparse.ArgumentParser(prog="python -m marl_pricing.calibration.coverage", description=__doc__)
    parser.add_argument(
        "forms",
        nargs="*",
        metavar="FORM",
        help=f"logit, power (default: both), worlds (all), or {', '.join(worlds.WORLDS)}",
    )
    parser.add_argument("--markets", type=int, default=200, help="markets that are drawn (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--level", action="store_true", help="persistence, volatility and noise too: a second a market")
    given = parser.parse_args()
    unknown = [form for form in given.forms if form not in ("logit", "power", "worlds", *worlds.WORLDS)]
    if unknown or given.markets < 2:
        fault = f"FORM {unknown[0]!r}: accepted are {known}" if unknown else "--markets: accepted is 2 or more"
        print(f"error: {fault}", file=sys.stderr)
        return 2
    asked = given.forms or ("logit", "power")
    hostile = list(worlds.WORLDS) if "worlds" in asked else [form for form in asked if form in worlds.WORLDS]
    forms: list[Literal["logit", "power"]] = [form for form in ("logit", "power") if form in asked]
    for form in forms:
        with Progress(transient=True) as bar:
            task = bar.add_task(form, total=given.markets)
            found = coverage(
                form,
                given.markets,
                seed=given.seed,
                with_level=given.level,
                step=lambda done, bar=bar, task=task: bar.update(task, completed=done),  # type: ignore[misc]
            )
        print(f"{form}\n{summary(found).round(3).to_string()}")
    if hostile:
        with Progress(transient=True) as bar, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task = bar.add_task("worlds", total=len(hostile))
            table = worlds_table(
                hostile, given.markets, seed=given.seed, step=lambda done: bar.update(task, completed=done)
            )
        print(f"worlds\n{table.round(3).to_string()}")
    return 0


if __name__ == "__main__":
    run_command(main)

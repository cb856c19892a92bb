"""What a new policy would have asked for in the periods that were logged, and what that is worth by the new market."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.config import Market
from marl_pricing.export.reading import ExportedPolicy
from marl_pricing.market import expected_demand
from marl_pricing.serving.guardrails import Bounds, within
from marl_pricing.serving.learned import ShopPolicy, State
from marl_pricing.serving.refit.reading import History
from marl_pricing.traffic import Conditions


class Replayed(NamedTuple):
    """A period's mean, money.

    Attributes:
        logged: profit that the log's orders made.  expected: profit of the logged prices by the market.
        candidate: of the candidate's, likewise.  uplift, error: of candidate − expected, and its standard error.
        price: the candidate's mean price to the logged one.
    """

    periods: int
    logged: float
    expected: float
    candidate: float
    uplift: float
    error: float
    price: float


def replay(history: History, made: Market, policy: ExportedPolicy, products: Sequence[str]) -> Replayed:
    """Let a policy decide in every logged period, seeing what was logged, within floor, cap and largest change.

    Its prices meet the market's expected demand, not shoppers: the log does not tell what these would have done. So the
    uplift is as good as the market's estimate of demand, which it was trained on; no experiment, and no bound.

    Args:
        products: of the policy, in its order.
    """
    by_period: dict[int, dict[str, tuple[int, float, float]]] = {}
    for own in history.sales:
        by_period.setdefault(own.period, {})[own.product] = (own.units, own.price, own.cost)
    periods = sorted(by_period)
    units, prices, costs = (
        np.array([[by_period[period][name][place] for name in products] for period in periods], np.float64)
        for place in range(3)
    )
    seat, state, wanted = ShopPolicy(policy, 0, products), State(), [prices[0]]
    endless: list[float | None] = [None] * len(products)
    for period in range(len(periods) - 1):
        nothing = [0.0] * len(products)
        chosen, why = seat.decide(state, prices[period].tolist(), units[period].tolist(), nothing, endless)
        assert chosen is not None, why
        bounded = []
        for name, last, asked in zip(products, prices[period], chosen, strict=True):
            product, pricing = history.catalogue[name], history.pricing
            bounds = Bounds(product.floor, product.cap, pricing.max_change, pricing.max_change_day, pricing.ending)
            bounded.append(within(asked, bounds, round(last * 100)).price / 100)
        wanted.append(np.array(bounded))
    own_profit = _expected(made, prices[1:], costs[1:])
    its_profit = _expected(made, np.array(wanted[1:]), costs[1:])
    difference = its_profit - own_profit
    return Replayed(
        len(periods) - 1, float(((prices - costs) * units)[1:].sum(1).mean()), float(own_profit.mean()),
        float(its_profit.mean()), float(difference.mean()),
        float(difference.std(ddof=1) / math.sqrt(len(difference))),
        float(np.mean(np.array(wanted[1:]) / prices[1:])),
    )  # fmt: skip


def _expected(made: Market, prices: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Expected profit [T] of prices [T, N]."""
    shape, params = made
    ones = jnp.ones(shape.num_offers)

    @jax.jit
    @jax.vmap
    def units(price: jax.Array) -> jax.Array:
        found = Conditions(price, ones, ones > 0, params.demand.scale)
        return expected_demand(shape, params, found, None, params.traffic.agent_share[None])[0]

    return ((prices - costs) * np.asarray(units(jnp.asarray(prices, jnp.float32)), np.float64)).sum(1)

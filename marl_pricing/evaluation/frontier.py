"""What base-stock rules reach: fill rate against holding cost, level by level."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing.evaluation.metrics import Episodes, measure
from marl_pricing.evaluation.play import play_episodes
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.policies import RuleError, constant

# From hardly any stock to hardly any stockout, in standard deviations of lead-time demand.
SAFETIES = tuple(np.linspace(-2.5, 3.5, 13).round(2))


def why_not(shape: MarketShape, params: MarketParams) -> str:
    """Why a market has no such frontier; empty where it has."""
    if not shape.chooses_quantities:
        return f"base-stock frontier: sellers do not choose orders (market.inventory.rule={shape.inventory.rule!r})"
    if float(np.asarray(params.reward.holding_cost).max()) <= 0:
        return "base-stock frontier: holding stock costs nothing (market.reward.holding_cost=0)"
    return ""


def base_stock_frontier(
    key: jax.Array, shape: MarketShape, params: MarketParams, prices: np.ndarray, episodes: int
) -> pd.DataFrame:
    """Play base-stock rules of rising level at constant prices, all in one program.

    Args:
        key: as of the policy that they are compared with: the same shoppers come.
        prices: [N] money.  episodes: of each level.

    Returns:
        Columns `safety` (standard deviations of safety stock), `level` (mean order-up-to level, units), `fill_rate`
        and `holding_cost` (money per epoch), one row a level.

    Raises:
        RuleError: where the market has no such frontier.
    """
    reason = why_not(shape, params)
    if reason:
        raise RuleError(reason)
    rules = [constant(shape, params, prices, safety=safety) for safety in SAFETIES]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(rule.parameters for rule in rules))

    @jax.jit
    def everything(key: jax.Array, own: object):
        return jax.lax.map(
            lambda parameters: play_episodes(key, shape, params, rules[0].act, parameters, rules[0].start(), episodes),
            own,
        )

    records = jax.tree.map(np.asarray, everything(key, stacked))
    rows = []
    for place, (safety, rule) in enumerate(zip(SAFETIES, rules, strict=True)):
        record = jax.tree.map(lambda leaf, place=place: leaf[place], records)
        found = measure(Episodes(shape, params, record))
        value = {
            name: found[name].top[:, 0].sum() / found[name].bottom[:, 0].sum() for name in ("fill_rate", "holding_cost")
        }
        rows.append({"safety": safety, "level": float(np.mean(rule.parameters.order_up_to)), **value})
    return pd.DataFrame(rows)

"""What is worth reporting of a segment: returns, prices, stock, service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.learning.trajectory import Segment
from marl_pricing.learning.worlds import moving
from marl_pricing.market import MarketParams, MarketShape

Array = jax.Array

PRICE_BINS = 32
PARAMETERS_FINITE = "parameters_finite"  # of an update: 1.0 where all networks and statistics are finite after it
NOT_IN_TABLES = ("price_counts", PARAMETERS_FINITE)
# What is said first of an update whose numbers are not finite.
_LOSSES = ("policy_loss", "value_loss", "actor_gradient_norm", "critic_gradient_norm", "entropy", "kl")


def all_finite(tree: Any) -> Array:
    """1.0 [] where every number of a tree is finite, else 0.0."""
    leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return jnp.stack(leaves).all().astype(jnp.float32)


@dataclass(frozen=True)
class Fault:
    """The first update of a block with a number that is not finite.

    Attributes:
        place: of the update in the block, from 0.  seed: number of its seed.
        what: the loss or measure, or the parameters, and the value, in words.
    """

    place: int
    seed: int
    what: str


def first_fault(measures: Mapping[str, np.ndarray]) -> Fault | None:
    """The first update after which training makes no sense any more; None where all numbers are finite.

    Args:
        measures: [seeds, updates, ...], with `PARAMETERS_FINITE`.
    """
    sound = np.asarray(measures[PARAMETERS_FINITE]) > 0
    for value in measures.values():
        sound = sound & np.isfinite(value).all(tuple(range(2, np.ndim(value))))
    if sound.all():
        return None
    place = int((~sound).any(0).argmax())
    seed = int((~sound[:, place]).argmax())
    names = sorted(measures, key=lambda name: (_LOSSES.index(name) if name in _LOSSES else len(_LOSSES), name))
    for name in names:
        own = np.ravel(measures[name][seed, place])
        if not np.isfinite(own).all():
            return Fault(place, seed, f"{name} is {own[~np.isfinite(own)][0]}")
    return Fault(place, seed, "parameters are not finite")


def price_bins(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """The bins in which prices are counted: one scale in money for all offers, whatever their own grids.

    The middles are spread evenly from the lowest to the highest price that any offer may post.

    Returns:
        (middles [B], edges [B + 1]), money; of one price only, bins as narrow as floats allow.
    """
    step = max((high - low) / (PRICE_BINS - 1), 1e-6 * max(abs(low), 1.0))
    middles = low + step * np.arange(PRICE_BINS)
    return middles, np.append(middles, middles[-1] + step) - 0.5 * step


def segment_measures(
    shape: MarketShape, params: MarketParams, segment: Segment, total: Callable[[Any], Any]
) -> dict[str, Array]:
    """Measures of one segment, over all environments of all devices.

    `return_raw`, `return_shaped` [S] are the mean reward per epoch times the episode length; `price_mean` [S] money;
    `price_spread` [] standard deviation of the posted prices; `fill_rate` [S] units sold over units demanded;
    `stockout_rate` [S] share of offers and epochs with unmet demand; `stock_mean` [S] units on hand (absent where stock
    is unlimited); `suspicion` [] mean score of the sessions, over epochs that had any, and `look_to_book` [] views per
    unit ordered (absent without sessions); `active` [] share of sellers in the market; `price_counts` [S, 32] offers
    and epochs by price, in the bins of `price_bins` between the lowest and the highest that any offer may post;
    `agent_share` [] and `omega` [S] where they move with the updates.
    """
    outcome = segment.outcome
    by_seller = (shape.num_sellers, shape.num_products)
    acted = outcome.acted.astype(jnp.float32)
    weight = jnp.repeat(acted, shape.num_products, axis=-1)
    num_steps = total(jnp.asarray(float(segment.first.size)))

    def offers(values: Array) -> Array:
        return total((values * weight).sum((0, 1))).reshape(by_seller).sum(-1)

    live = jnp.maximum(offers(jnp.ones_like(outcome.prices)), 1.0)
    all_live = live.sum()
    mean_price = offers(outcome.prices) / live
    overall = offers(outcome.prices).sum() / all_live
    spread = jnp.sqrt(jnp.maximum(offers((outcome.prices - overall) ** 2).sum() / all_live, 0.0))
    low, high = params.prices.low.min(), params.prices.high.max()
    position = (outcome.prices - low) / jnp.maximum(high - low, 1e-6) * (PRICE_BINS - 1)
    nearest = jnp.clip(jnp.round(position), 0, PRICE_BINS - 1).astype(jnp.int32)
    bins = nearest[..., None] == jnp.arange(PRICE_BINS)
    counts = total((bins * weight[..., None]).sum((0, 1)))
    measures = {
        "return_raw": shape.episode_length * total(outcome.reward.sum((0, 1))) / num_steps,
        "return_shaped": shape.episode_length * total(outcome.shaped.sum((0, 1))) / num_steps,
        "price_mean": mean_price,
        "price_spread": spread,
        "fill_rate": offers(outcome.sales) / jnp.maximum(offers(outcome.demand), 1e-9),
        "stockout_rate": offers(outcome.unmet > 0) / live,
        "active": total(acted.sum()) / (num_steps * shape.num_sellers),
        "price_counts": counts.reshape(*by_seller, PRICE_BINS).sum(1),
    }
    if shape.traffic.walks_sessions:
        visited = outcome.visits > 0
        scores = total(jnp.where(visited, outcome.suspicion, 0.0).sum())
        measures["suspicion"] = scores / jnp.maximum(total(visited.sum()), 1)
        measures["look_to_book"] = total(outcome.views.sum()) / jnp.maximum(total(outcome.demand.sum()), 1.0)
    if not shape.inventory.unlimited:
        measures["stock_mean"] = offers(outcome.stock) / live
    return measures | moving(params)

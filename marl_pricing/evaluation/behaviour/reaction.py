"""What sellers answer: to last prices, to their own stock, to a rival's stockout, to a burst of agents.

Histories are honest: each policy plays up to τ by itself, and remembers it; then one thing is set by force.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from marl_pricing.evaluation.behaviour.forced import Force, Start, check_epochs, leave_alone
from marl_pricing.evaluation.behaviour.responses import each_seller, known_mean, path_rows, respond
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.market.observation import stock_scale
from marl_pricing.market.types import epoch_share

Array = np.ndarray

_INDEX = {
    "run": "text",
    "policy": "text; the learned sellers",
    "seed": "whole number; the training seed",
    "seller": "text; whose answer it is",
}
SURFACE_COLUMNS = _INDEX | {
    "own": "money per unit; the seller's price in epoch tau, by force; mean over products",
    "rival": "money per unit; the price of all rivals in that epoch, by force",
    "price": "money per unit; what the seller posts in the next epoch; mean over histories and products",
    "spread": "money per unit; its standard deviation over histories",
    "histories": "whole number; episodes that were played up to tau",
}
STOCK_COLUMNS = _INDEX | {
    "stock": "units of each of the seller's products on hand when the shoppers of epoch tau come, by force; mean over "
    "products",
    "price": "money per unit; what the seller posts in that epoch; mean over histories and products",
    "order": "units it orders in that epoch, all products together; empty where sellers choose no orders",
    "histories": "whole number; episodes that were played up to tau",
}


class NotHereError(ValueError):
    """A test that this market cannot have; the message says why."""


def price_grid(shape: MarketShape, params: MarketParams, points: int) -> Array:
    """Prices [G, N] to be forced: levels, evenly chosen, or an even grid where prices are none.

    Args:
        points: the largest G.
    """
    own = params.prices
    if shape.prices.map == "levels":
        index = np.unique(np.linspace(0, shape.prices.num_levels - 1, points).round().astype(int))
        return np.asarray(own.levels).T[index]
    return np.linspace(np.asarray(own.low), np.asarray(own.high), points, dtype=np.float32)


def _answers(values: ArrayLike, live: ArrayLike) -> Array:
    """Values [E, S] of sellers that are in the market; NaN for the others."""
    return np.where(live, np.asarray(values, np.float64), np.nan)


def reaction_surface(
    starts: Sequence[Start], points: int = 9, tell: Callable[[str], None] = lambda text: None
) -> pd.DataFrame:
    """Each seller's next price over its own and its rivals' last price.

    In epoch τ all sellers are made to post prices of a grid, all rivals the same point of theirs; the market runs, and
    the next epoch's price is read. Last prices are set outright, so that the price map does not matter.

    Args:
        starts: of `forced.follow`, one a training seed.
        points: largest number of grid points along each axis.
        tell: called once at the end.

    Returns:
        Rows of `SURFACE_COLUMNS` without `run` and `policy`.

    Raises:
        NotHereError: for a single seller.
        ValueError: for fewer than two points, or a τ that leaves no next epoch.
    """
    shape, params = starts[0].shape, starts[0].params
    num_sellers = shape.num_sellers
    if num_sellers < 2:
        raise NotHereError("reaction surface: market.num_sellers=1: a single seller has no rivals to answer")
    if points < 2:
        raise ValueError(f"points={points!r}: accepted is a whole number of at least 2")
    check_epochs(shape, starts[0].at, 2)
    grid = price_grid(shape, params, points)
    owner = np.arange(shape.num_offers) // shape.num_products
    # [S, G, G, N]: seller i at point a, all others at point b. Of two sellers one grid serves both.
    mine = (owner == np.arange(num_sellers)[:, None])[:, None, None]
    wanted = np.where(mine, grid[:, None], grid[None, :]).reshape(-1, shape.num_offers)
    different, place = np.unique(wanted, axis=0, return_inverse=True)
    place = place.reshape(num_sellers, len(grid), len(grid))
    rows = []
    for seed, start in enumerate(starts):
        force = leave_alone(shape, start.num_episodes, len(different))
        force = force.replace(
            price=np.broadcast_to(different, force.price.shape),
            outright=np.ones_like(force.outright),
            epochs=np.ones_like(force.epochs),
        )
        path = start.branch(force, 2)
        posted = path.price.reshape(*path.price.shape[:-1], num_sellers, -1).mean(-1)  # [E, B, 2, S]
        answers = _answers(posted[:, :, 1], path.live[:, :, 1])
        forced = known_mean(_answers(posted[:, :, 0], path.live[:, :, 0]), 0)  # [B, S]
        for seller in range(num_sellers):
            index = place[seller].reshape(-1)
            others = forced[index].sum(1) - forced[index, seller]
            mean = known_mean(answers[:, index, seller], 0)
            rows.append(
                pd.DataFrame(
                    {
                        "seed": seed,
                        "seller": str(seller),
                        "own": forced[index, seller],
                        "rival": others / (num_sellers - 1),
                        "price": mean,
                        "spread": known_mean((answers[:, index, seller] - mean) ** 2, 0) ** 0.5,
                        "histories": start.num_episodes,
                    }
                )
            )
    tell("reaction surface")
    return pd.concat(rows, ignore_index=True)


def _need_stock(shape: MarketShape, test: str) -> None:
    if shape.inventory.unlimited:
        raise NotHereError(f"{test}: market.inventory.rule='unlimited': there is no stock")


def stock_response(
    starts: Sequence[Start], points: int = 9, tell: Callable[[str], None] = lambda text: None
) -> pd.DataFrame:
    """Each seller's price and order over its own stock.

    At the start of epoch τ the seller's stock, what is due then included, is set; the price and the order of that epoch
    are read. What comes later stays on the way.

    Args:
        starts: of `forced.follow`, one a training seed.
        points: levels of stock, from 0 to the largest position that the market's parameters speak of.
        tell: called once at the end.

    Returns:
        Rows of `STOCK_COLUMNS` without `run` and `policy`.

    Raises:
        NotHereError: where stock is unlimited.
        ValueError: for fewer than two points.
    """
    shape, params = starts[0].shape, starts[0].params
    _need_stock(shape, "response to own stock")
    if points < 2:
        raise ValueError(f"points={points!r}: accepted is a whole number of at least 2")
    num_sellers = shape.num_sellers
    largest = np.asarray(stock_scale(params))
    levels = (np.linspace(0.0, 1.0, points)[:, None] * largest).round().astype(np.float32)  # [G, N]
    mine = np.arange(shape.num_offers) // shape.num_products == np.arange(num_sellers)[:, None, None]
    stock = np.where(mine, levels, np.nan).reshape(-1, shape.num_offers)  # [S · G, N]
    by_seller = levels.reshape(points, num_sellers, -1).mean(-1)
    rows = []
    for seed, start in enumerate(starts):
        force = leave_alone(shape, start.num_episodes, len(stock))
        force = force.replace(stock=np.broadcast_to(stock, force.stock.shape).astype(np.float32))
        path = start.branch(force, 1)
        sizes = (start.num_episodes, num_sellers, points, num_sellers, shape.num_products)
        price, ordered = (values[:, :, 0].reshape(sizes) for values in (path.price, path.ordered))
        live = path.live[:, :, 0].reshape(sizes[:-1])
        for seller in range(num_sellers):
            own, orders = price[:, seller, :, seller].mean(-1), ordered[:, seller, :, seller].sum(-1)
            here = live[:, seller, :, seller]
            rows.append(
                pd.DataFrame(
                    {
                        "seed": seed,
                        "seller": str(seller),
                        "stock": by_seller[:, seller],
                        "price": known_mean(_answers(own, here), 0),
                        "order": known_mean(_answers(orders, here), 0) if shape.chooses_orders else np.nan,
                        "histories": start.num_episodes,
                    }
                )
            )
    tell("response to own stock")
    return pd.concat(rows, ignore_index=True)


def stockout_paths(starts: Sequence[Start], tell: Callable[[str], None] = lambda text: None) -> pd.DataFrame:
    """What follows when one seller has nothing left to sell in epoch τ.

    Its stock, and what is due at τ, are taken away; what comes later stays on the way.

    Returns:
        Rows of `responses.COLUMNS` without `run` and `policy`, the case `stockout`; `forced` is who ran out.

    Raises:
        NotHereError: for a single seller, or where stock is unlimited.
    """
    shape = starts[0].shape
    if shape.num_sellers < 2:
        raise NotHereError("rival's stockout: market.num_sellers=1: there is no rival")
    _need_stock(shape, "rival's stockout")
    own = np.arange(shape.num_offers) // shape.num_products == np.arange(shape.num_sellers)[:, None]
    emptied = np.where(own, 0.0, np.nan).astype(np.float32)  # [S, N]

    def force(start: Start) -> Force:
        alone = leave_alone(shape, start.num_episodes, shape.num_sellers)
        return alone.replace(stock=np.broadcast_to(emptied, alone.stock.shape))

    found = respond(starts, [force(start) for start in starts], shape.episode_length - starts[0].at)
    # Besides the usual views, what each seller does when one of its rivals has run out.
    ones = np.eye(shape.num_sellers)
    views = each_seller(shape.num_sellers) | {("all", str(j)): np.outer(1.0 - one, one) for j, one in enumerate(ones)}
    tell("rival's stockout")
    return path_rows("stockout", 1, found, views)


def burst_paths(
    starts: Sequence[Start],
    share: float = 0.8,
    epochs: int = 5,
    tell: Callable[[str], None] = lambda text: None,
) -> pd.DataFrame:
    """What follows a burst of agents: their share is `share` for some epochs from τ on.

    Sellers that observe the share see the forced one. A share that moves by itself goes on underneath.

    Returns:
        Rows of `responses.COLUMNS` without `run` and `policy`, the case `burst`; `seller` also is `all`.

    Raises:
        NotHereError: for a market without agents, or one whose share is at least as high already.
        ValueError: for a share that is none, or more epochs than are left.
    """
    shape, at = starts[0].shape, starts[0].at
    if shape.demand.num_classes < 2:
        raise NotHereError("burst of agents: market.agent=null: there are no agents")
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share={share!r}: accepted is a number above 0 and up to 1")
    check_epochs(shape, at, epochs)
    usual = max(float(np.max(epoch_share(start.params, start.moment.state))) for start in starts)
    if usual >= share:
        raise NotHereError(f"burst of agents: their share is {usual:.3g} already, no less than the burst's {share:.3g}")

    def force(start: Start) -> Force:
        alone = leave_alone(shape, start.num_episodes, 1)
        return alone.replace(
            agent_share=np.full_like(alone.agent_share, share), epochs=np.full_like(alone.epochs, epochs)
        )

    found = respond(starts, [force(start) for start in starts], shape.episode_length - at)
    ones = np.eye(shape.num_sellers)
    views = {("all", str(j)): one[None] for j, one in enumerate(ones)} | {("all", "all"): np.ones((1, len(ones)))}
    tell("burst of agents")
    return path_rows("burst", epochs, found, views)

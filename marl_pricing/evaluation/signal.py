"""How much browsing tells of coming orders, and how agents drown it.

`python -m marl_pricing.evaluation.signal --out FILE.svg` draws it for the default market.
"""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from marl_pricing import market
from marl_pricing.evaluation import tables
from marl_pricing.market import Action, MarketParams, MarketShape
from marl_pricing.market.observation import proxy_share
from marl_pricing.market.prices import action_ends
from marl_pricing.presentation import style
from marl_pricing.presentation.output import run_command

Array = jax.Array
SHARES = tuple(round(0.1 * step, 1) for step in range(9))


def browsing_signal(
    key: Array,
    shape: MarketShape,
    params: MarketParams,
    shares: tuple[float, ...] = SHARES,
    num_episodes: int = 256,
    num_epochs: int = 60,
) -> pd.DataFrame:
    """Correlation of an offer's share of the demand proxy with its orders one epoch later, prices held still.

    Every seller takes the middle one of its price actions in every epoch; what moves is the latent level of demand.

    Args:
        shares: α, each played with the same shoppers.

    Returns:
        One row an α: `agent_share`, `correlation`, and its 95 % bootstrap interval over episodes, `low` and `high`.

    Raises:
        ValueError: for a market without sessions, without agents or with a level that does not move.
    """
    if not shape.traffic.walks_sessions or shape.demand.num_classes < 2:
        raise ValueError(f"traffic.model={shape.traffic.model!r}: accepted are sessions of people and agents")
    if not shape.demand.moving_level:
        raise ValueError("market.level.volatility=0: accepted is a level that moves; otherwise there is no signal")
    by_seller = (shape.num_sellers, shape.num_products)
    if shape.discrete_prices:
        middle = jnp.full(by_seller, shape.prices.num_levels // 2)
    else:
        low, high = action_ends(shape.prices, params.prices)
        middle = (0.5 * (low + high)).reshape(by_seller)
    still = Action(
        middle,
        jnp.zeros((shape.num_sellers, shape.num_products), jnp.int32) if shape.chooses_orders else None,
        jnp.zeros((shape.num_sellers,)),
    )

    def episode(key: Array, share: Array) -> tuple[Array, Array]:
        own = params.replace(traffic=params.traffic.replace(agent_share=share))
        start, steps = jax.random.split(key)
        state, _ = market.reset(start, shape, own)

        def epoch(state: market.MarketState, key: Array):
            state, _, outcome = market.step(key, shape, state, still, own)
            return state, (proxy_share(outcome.events), outcome.demand)

        return jax.lax.scan(epoch, state, jax.random.split(steps, num_epochs))[1]

    played = jax.jit(jax.vmap(episode, in_axes=(0, None)))
    keys = jax.random.split(key, num_episodes)
    rows = []
    for share in shares:
        proxy, orders = (np.asarray(part, np.float64) for part in played(keys, jnp.float32(share)))
        before, after = proxy[:, :-1].reshape(num_episodes, -1), orders[:, 1:].reshape(num_episodes, -1)
        # Sums by episode, so that episodes can be redrawn as wholes.
        sums = np.stack(
            [
                np.full(num_episodes, before.shape[1]),
                *(x.sum(1) for x in (before, after, before**2, after**2, before * after)),
            ]
        )
        low, high = stats.bootstrap(
            tuple(sums), _correlation, paired=True, vectorized=True, n_resamples=1000, method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        rows.append({"agent_share": share, "correlation": float(_correlation(*sums)), "low": low, "high": high})
    return pd.DataFrame(rows).astype(float)


def _correlation(*sums: np.ndarray, axis: int = -1) -> np.ndarray:
    count, x, y, xx, yy, xy = (part.sum(axis) for part in sums)
    return (xy / count - x * y / count**2) / np.sqrt((xx / count - (x / count) ** 2) * (yy / count - (y / count) ** 2))


@style.styled
def draw(signal: pd.DataFrame) -> Figure:
    """The correlation against the share of agents, its interval shaded."""
    figure = style.new_figure(3.6)
    axes = figure.subplots()
    axes.fill_between(signal["agent_share"], signal["low"], signal["high"], color=style.PALETTE[0], alpha=0.2, lw=0)
    axes.plot(signal["agent_share"], signal["correlation"], marker="o", color=style.PALETTE[0])
    axes.set_xlabel("share of agents α")
    axes.set_ylabel("correlation with next orders")
    axes.set_ylim(bottom=0.0)
    axes.set_title("Agents drown what browsing tells of coming orders")
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Draw the figure of the default market and print its numbers."""
    parser = argparse.ArgumentParser("python -m marl_pricing.evaluation.signal", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the figure, .svg or .png")
    parser.add_argument("--episodes", type=int, default=256, help="episodes for each share (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the shoppers (default: %(default)s)")
    given = parser.parse_args(arguments)
    if given.out.suffix not in (".svg", ".png"):
        parser.error(f"--out={given.out}: accepted is a file that ends in .svg or .png")
    if given.episodes < 2:
        parser.error(f"--episodes={given.episodes}: accepted is a whole number of at least 2")
    from marl_pricing.config import default_market  # the door's part of this module

    signal = browsing_signal(jax.random.key(given.seed), *default_market(), num_episodes=given.episodes)
    figure = draw(signal)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    tables.write_atomically(given.out, style.svg(figure) if given.out.suffix == ".svg" else style.png(figure))
    print(signal.round(4).to_string(index=False))
    print(f"figure: {given.out}")
    return 0


if __name__ == "__main__":
    run_command(main)

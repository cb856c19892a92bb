"""How agents that gather quotes under several identities wear the cost of information down (theorem 1), in the market.

`python -m marl_pricing.evaluation.erosion --out FILE.svg` draws it.
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

from marl_pricing.evaluation import tables
from marl_pricing.evaluation.play import play
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.policies.constant import constant
from marl_pricing.presentation import style
from marl_pricing.presentation.output import run_command
from marl_pricing.traffic.information import coi_level, erosion

IDENTITIES = (1, 2, 4, 8, 16, 32)
SHARES = (0.25, 1.0)
# A quarter below the posted price to a quarter above it; the lowest quote of the drawn market is its cost.
FACTORS = tuple(np.linspace(0.75, 1.25, 11).round(3).tolist())
PRICE, COST = 4.0 / 3.0, 1.0


def erosion_by_identities(
    key: jax.Array,
    shape: MarketShape,
    params: MarketParams,
    price: float,
    identities: tuple[int, ...] = IDENTITIES,
    shares: tuple[float, ...] = SHARES,
    num_episodes: int = 64,
) -> pd.DataFrame:
    """The cost of information (mean price paid less cost, money a unit) where all prices stay at one price.

    Args:
        identities: N, quotes that an agent gathers.  shares: α.

    Returns:
        One row an α and N: `agent_share`, `identities`, `coi` as it is simulated with its standard error over episodes,
        `coi_error`, and `formula`: people's mean quote and agents' E[p_(1)] (`information.erosion`), weighted by what
        each of them bought, less cost.

    Raises:
        ValueError: for a market whose sessions all see one price, or that has no agents.
    """
    quoted = params.traffic.quotes
    if quoted is None or shape.traffic.markup or shape.demand.num_classes < 2:
        raise ValueError("traffic.quotes.factors: accepted are factors that differ, agents, and no mark-up")
    prices = np.full(shape.num_offers, price)
    still = constant(shape, params, jnp.asarray(prices, jnp.float32))
    cost = np.asarray(params.reward.unit_cost, np.float64)
    quotes = price * np.asarray(quoted.factors, np.float64)
    rows = []
    for share in shares:
        for count in identities:
            visitors = params.traffic.replace(
                agent_share=jnp.float32(share),
                quotes=quoted.replace(identities=jnp.float32(count)),
            )
            record = play(key, shape, params.replace(traffic=visitors), still, num_episodes)
            paid, sold = (np.asarray(part, np.float64) for part in (record.price_paid, record.sales))
            each = np.array([coi_level(p, s, np.broadcast_to(cost, p.shape)) for p, s in zip(paid, sold, strict=True)])
            by_class = np.asarray(record.orders, np.float64).sum(axis=(0, 1, 3))
            lowest = np.array([quotes.mean(), erosion(quotes, count)])
            rows.append(
                {
                    "agent_share": share,
                    "identities": count,
                    "coi": coi_level(paid, sold, np.broadcast_to(cost, paid.shape)),
                    "coi_error": each.std(ddof=1) / len(each) ** 0.5,
                    "formula": by_class @ lowest / by_class.sum() - cost.mean(),
                }
            )
    return pd.DataFrame(rows)


@style.styled
def draw(found: pd.DataFrame) -> Figure:
    """The cost of information against the number of identities: simulated points on the formula's lines."""
    figure = style.new_figure(3.6)
    axes = figure.subplots()
    for number, (share, own) in enumerate(found.groupby("agent_share")):
        colour = style.PALETTE[number]
        axes.plot(own["identities"], own["formula"], color=colour, label=f"{share:.0%} of sessions are agents'")
        axes.errorbar(own["identities"], own["coi"], 1.96 * own["coi_error"], fmt="o", color=colour)
    axes.set_xscale("log", base=2)
    axes.set_xticks(found["identities"].unique(), [str(count) for count in found["identities"].unique()])
    axes.set_xlabel("identities N of an agent, each with a quote of its own")
    axes.set_ylabel("cost of information, money a unit")
    axes.set_ylim(bottom=0.0)
    axes.set_title("Agents that gather quotes wear the cost of information down")
    axes.legend(title="lines: formula, points: market")
    return figure


def drawn_market() -> tuple[MarketShape, MarketParams]:
    """The market of the figure: two sellers without limits of stock, quotes between cost and two thirds above it."""
    from marl_pricing.config import market_from  # the door's part of this module

    return market_from(
        {
            "num_sellers": 2,
            "episode_length": 32,
            "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
            "agent": {"scale": 0.1},
            "prices": {"map": "levels", "levels": [PRICE, 1.5 * PRICE]},
            "inventory": {"rule": "unlimited"},
            "reward": {"unit_cost": COST},
        },
        {"model": "bank", "sessions_per_epoch": 100, "quotes": {"factors": list(FACTORS)}},
    )


def main(arguments: list[str] | None = None) -> int:
    """Draw the figure and print its numbers."""
    parser = argparse.ArgumentParser("python -m marl_pricing.evaluation.erosion", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the figure, .svg or .png")
    parser.add_argument("--seed", type=int, default=0, help="of the shoppers (default: %(default)s)")
    given = parser.parse_args(arguments)
    if given.out.suffix not in (".svg", ".png"):
        parser.error(f"--out={given.out}: accepted is a file that ends in .svg or .png")
    found = erosion_by_identities(jax.random.key(given.seed), *drawn_market(), PRICE)
    figure = draw(found)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    tables.write_atomically(given.out, style.svg(figure) if given.out.suffix == ".svg" else style.png(figure))
    print(found.round(4).to_string(index=False))
    print(f"figure: {given.out}")
    return 0


if __name__ == "__main__":
    run_command(main)

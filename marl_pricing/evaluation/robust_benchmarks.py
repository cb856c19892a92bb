"""What sellers that fear the worst world would charge: the robust one-shot game beside the plain one.

Where the worst world changes with a seller's own price its payoff has a kink, and many prices can be equilibria without
any agreement. The table shows both sets, and which member was learned.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from marl_pricing.equilibrium import robust, static
from marl_pricing.equilibrium.robust import Worlds
from marl_pricing.equilibrium.static import NoEquilibriumError
from marl_pricing.evaluation.runs import RunToEvaluate
from marl_pricing.market import MarketParams, vary
from marl_pricing.robust import Ambiguity

Array = np.ndarray

# A larger game takes longer to list than a report may take.
_LARGEST_GRID = 200_000
_LARGEST_SEARCH = 6  # offers

COLUMNS = {
    "run": "text",
    "game": "text; the price grid, where all pure equilibria are listed, or any price, where the lowest and the "
    "highest are looked for",
    "fear": "text; none (the nominal world is certain) or worst (each seller maximises its worst expectation)",
    "equilibria": "how many pure equilibria there are; empty off the grid",
    "low": "money per unit; mean price of the equilibrium with the lowest one",
    "high": "money per unit; mean price of the equilibrium with the highest one",
    "joint": "money per unit; mean of the prices with the highest (worst expectation of) total profit",
    "learned": "money per unit; mean greedy price",
    "start": "money per unit; mean price of sellers that have learned nothing yet and post all levels alike",
    "seeds": "training seeds",
    "at_equilibrium": "seeds whose greedy prices (rounded to the grid) are one of the equilibria; empty off the grid",
    "note": "text; what the game ignores, or why it could not be solved",
}


@dataclass(frozen=True)
class _Learned:
    """Greedy prices [seeds, N], money."""

    prices: Array

    @property
    def mean(self) -> float:
        return float(self.prices.mean())


def worlds_of(params: MarketParams, ambiguity: Ambiguity) -> Worlds:
    """The one-shot game's worlds: every variant under every candidate share of agents, at the full radius."""
    last = jnp.asarray(ambiguity.anneal_updates, jnp.int32)
    shares = np.asarray(ambiguity.candidates(params.traffic.agent_share, last), np.float64).round(7)
    variants: list[MarketParams] = [params.replace(variants=None)]
    if params.variants is not None:
        every = ambiguity.variants(params, last)
        variants = [
            vary(variants[0], jax.tree.map(lambda leaf, g=g: leaf[g], every)) for g in range(len(ambiguity.others))
        ]
    each = tuple(own.replace(traffic=own.traffic.replace(agent_share=share)) for own in variants for share in shares)
    metric = None
    if ambiguity.set == "wasserstein" and not ambiguity.demand_metric:
        metric = np.asarray(ambiguity.metric(), np.float64)
    nature = ambiguity.mode == "algorithm_1" or ambiguity.adversary != "per_seller"
    return Worlds(each, ambiguity.set, ambiguity.radius, ambiguity.weights, metric, nature)


def _learned(run: RunToEvaluate, offers: pd.DataFrame) -> _Learned | None:
    own = offers[offers["run"].eq(run.name) & offers["policy"].eq("learned (greedy)")]
    if own.empty:
        return None
    means = own.groupby(["seed", "seller", "product"])["price"].mean().unstack(["seller", "product"])
    return _Learned(means.to_numpy(np.float64))


def _row(run: RunToEvaluate, game: str, fear: str, note: str, learned: _Learned | None) -> dict:
    prices = run.params.prices
    middle = {"levels": prices.levels, "range": 0.5 * (prices.low + prices.high)}.get(run.shape.prices.map)
    return {
        "run": run.name, "game": game, "fear": fear, "equilibria": np.nan, "low": np.nan, "high": np.nan,
        "joint": np.nan, "learned": np.nan if learned is None else learned.mean,
        "start": np.nan if middle is None else np.asarray(middle, np.float64).mean(),
        "seeds": 0 if learned is None else len(learned.prices), "at_equilibrium": np.nan, "note": note,
    }  # fmt: skip


def _on_grid(run: RunToEvaluate, worlds: Worlds, learned: _Learned | None, note: str) -> list[dict]:
    shape, params = run.shape, run.params
    levels = np.asarray(params.prices.levels, np.float64)
    rows = []
    for fear in ("none", "worst"):
        row = _row(run, "price grid", fear, note, learned)
        if fear == "worst":
            found, best = robust.grid_equilibria(shape, worlds), robust.grid_joint(shape, worlds)[0]
        else:
            found, best = static.grid_equilibria(shape, params), robust.grid_joint(shape, _certain(params))[0]
        prices = levels[np.arange(shape.num_offers), found]
        row |= {"equilibria": len(found), "joint": levels[np.arange(shape.num_offers), best].mean()}
        if len(found):
            row |= {"low": prices.mean(-1).min(), "high": prices.mean(-1).max()}
        if learned is not None:
            nearest = np.abs(learned.prices[:, :, None] - levels).argmin(-1)
            known = {tuple(each) for each in found.tolist()}
            row["at_equilibrium"] = sum(tuple(each) in known for each in nearest.tolist())
        rows.append(row)
    return rows


def _certain(params: MarketParams) -> Worlds:
    return Worlds((params.replace(variants=None),), "interval", 1.0, (1.0,))


def _off_grid(run: RunToEvaluate, worlds: Worlds, learned: _Learned | None, note: str) -> list[dict]:
    shape, params = run.shape, run.params
    rows = []
    for fear in ("none", "worst"):
        row = _row(run, "any price", fear, note, learned)
        try:
            if fear == "none":
                ends = [static.omega_equilibrium(shape, params).prices] * 2
            else:
                ends = [robust.equilibrium(shape, worlds, start=start).prices for start in ("low", "high")]
            row |= {"low": ends[0].mean(), "high": ends[1].mean()}
            joint = static.joint_profit(shape, params) if fear == "none" else robust.joint_profit(shape, worlds)
            row["joint"] = joint.prices.mean()
        except NoEquilibriumError as error:
            row["note"] = f"{error}; {note}" if note else str(error)
        rows.append(row)
    return rows


def robust_table(run: RunToEvaluate, ignores: tuple[str, ...], offers: pd.DataFrame) -> pd.DataFrame:
    """The plain and the robust game of a robust run, and what was learned; no rows for a plain run.

    Args:
        ignores: what a one-shot game does not know of, as of the benchmarks.
        offers: the played table of offers.
    """
    if run.ambiguity is None:
        return pd.DataFrame(columns=list(COLUMNS))
    learned = _learned(run, offers)
    note = f"ignores {', '.join(ignores)}" if ignores else ""
    rows: list[dict] = []
    if run.ambiguity.sellers is not None:
        who = ", ".join(map(str, run.ambiguity.sellers))
        told = f"only some sellers fear ({who}): their game with the others is not solved"
        return pd.DataFrame([_row(run, "any price", "worst", told, learned)], columns=list(COLUMNS))
    try:
        worlds = worlds_of(run.params, run.ambiguity)
        joint = (run.shape.prices.num_levels**run.shape.num_products) ** run.shape.num_sellers
        if run.shape.prices.map == "levels" and joint <= _LARGEST_GRID:
            rows += _on_grid(run, worlds, learned, note)
        if run.shape.num_offers <= _LARGEST_SEARCH:
            rows += _off_grid(run, worlds, learned, note)
    except NoEquilibriumError as error:
        rows = [_row(run, "any price", "worst", str(error), learned)]
    if not rows:
        told = f"{run.shape.num_offers} offers: too many prices to look for robust equilibria among"
        rows = [_row(run, "any price", "worst", told, learned)]
    return pd.DataFrame(rows, columns=list(COLUMNS))

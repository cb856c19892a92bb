"""What a factorial study's runs tell: means by factor, analysis of variance, defended against undefended, the link.

Training seeds are what another study would draw anew, and every cell has the same ones: intervals are Student's over
seeds, each seed's number being its mean over all else, and seeds are blocks of the analysis of variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from marl_pricing.evaluation.statistics import interval, student
from marl_pricing.studies.factorial.cells import Cell
from marl_pricing.studies.factorial.held import KEYS

FACTORS = Cell._fields
MEASURES = {
    "reward": "money an epoch",
    "revenue": "money an epoch",
    "coi_level": "money a unit",
    "coi_leak": "money an epoch",
    "volatility": "share of the price",
    "ux": "0 to 1",
}
IN_WORLDS = ("reward", "revenue")  # what the defended are compared by in every world
HELD = "prices held"  # beside the algorithms


def by_factors(table: pd.DataFrame, factors: Sequence[str] = ("algorithm", "alpha")) -> pd.DataFrame:
    """Means of every measure by the values of some factors, over all values of the others.

    Returns:
        The factors' columns, measure, mean, low, high, seeds.
    """
    rows = []
    for values, part in table.groupby(list(factors), sort=False):
        for measure in MEASURES:
            mean, low, high = interval(part.groupby("seed")[measure].mean().to_numpy())
            told = dict(zip(factors, values, strict=True))
            rows.append(
                {**told, "measure": measure, "mean": mean, "low": low, "high": high, "seeds": part["seed"].nunique()}
            )
    return pd.DataFrame(rows)


def variance(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Analysis of variance of a measure: main effects and interactions of two factors (statsmodels, type II).

    Factors of one value are left out, seeds are blocks; what three or more factors do together is part of the residual.
    Effect sizes: η² = SS / SS_total, partial η² = SS / (SS + SS_residual), and ω² = (SS − df MS_residual) / (SS_total +
    MS_residual), which chance alone does not lift above 0 on average (Olejnik and Algina 2003).

    Returns:
        A row a term, seeds and the residual last: term, df, sum_of_squares, f, p, p_holm (Holm's over the terms), eta2,
        partial_eta2, omega2. No rows where nothing can be told: one cell, no residual, or a measure that never moves.
    """
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm
    from statsmodels.stats.multitest import multipletests

    columns = ["term", "df", "sum_of_squares", "f", "p", "p_holm", "eta2", "partial_eta2", "omega2"]
    nothing = pd.DataFrame(columns=columns)
    factors = [name for name in FACTORS if table[name].nunique() > 1]
    terms = [f"C({name})" for name in factors] + [f"C({a}):C({b})" for a, b in combinations(factors, 2)]
    blocks = ["C(seed)"] if table["seed"].nunique() > 1 else []
    spread = float(table[measure].std(ddof=0))
    if not terms or not spread > 1e-9 * max(abs(float(table[measure].mean())), 1e-12):
        return nothing
    fitted = ols(f"{measure} ~ {' + '.join([*terms, *blocks])}", table).fit()
    if fitted.df_resid < 1 or not fitted.ssr > 1e-12 * fitted.centered_tss:
        return nothing
    found = anova_lm(fitted, typ=2)
    total, left = float(fitted.centered_tss), float(fitted.ssr)
    unit = left / fitted.df_resid
    effects = found.loc[terms]
    adjusted = dict(zip(terms, multipletests(effects["PR(>F)"], method="holm")[1], strict=True))
    rows = []
    for name in [*terms, *blocks, "Residual"]:
        squares, freedom = float(found.loc[name, "sum_sq"]), float(found.loc[name, "df"])
        is_term = name != "Residual"
        rows.append(
            {
                "term": name.replace("C(", "").replace(")", "").replace(":", " × ").lower(),
                "df": int(freedom),
                "sum_of_squares": squares,
                "f": float(found.loc[name, "F"]),
                "p": float(found.loc[name, "PR(>F)"]),
                "p_holm": float(adjusted.get(name, np.nan)),
                "eta2": squares / total,
                "partial_eta2": squares / (squares + left) if is_term else np.nan,
                "omega2": (squares - freedom * unit) / (total + unit) if is_term else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=columns)


def defended(table: pd.DataFrame) -> pd.DataFrame:
    """Runs with a radius less runs without one that are alike in all else, seed for seed.

    `reward_worst` and `revenue_worst` are the least at the nominal share of agents, at fewer and at more.

    Returns:
        algorithm, alpha, epsilon_alpha, measure, difference, low, high, base (of the undefended), seeds; no rows where
        the study has no radius of 0, or no other.
    """
    worst = {f"{name}_worst": table[[name, f"{name}_fewer", f"{name}_more"]].min(axis=1) for name in IN_WORLDS}
    own = table.assign(**worst)
    alike = [name for name in (*FACTORS, "seed") if name != "epsilon_alpha"]
    plain = own[own["epsilon_alpha"] == 0.0]
    measures = [f"{name}{world}" for name in IN_WORLDS for world in ("", "_fewer", "_more", "_worst")]
    measures += ["coi_level", "ux"]
    columns = ["algorithm", "alpha", "epsilon_alpha", "measure", "difference", "low", "high", "base", "seeds"]
    both = own[own["epsilon_alpha"] > 0].merge(plain, on=alike, suffixes=("", "_plain"))
    rows = []
    for (algorithm, alpha, epsilon), part in both.groupby(["algorithm", "alpha", "epsilon_alpha"], sort=False):
        for measure in measures:
            apart = (part[measure] - part[f"{measure}_plain"]).groupby(part["seed"]).mean()
            base = float(part[f"{measure}_plain"].mean())
            rows.append((algorithm, alpha, epsilon, measure, *interval(apart.to_numpy()), base, apart.size))
    return pd.DataFrame(rows, columns=columns)


def beside_held(table: pd.DataFrame, held: pd.DataFrame) -> pd.DataFrame:
    """The reward of runs without a radius, less that of the best prices that are held in their market.

    Args:
        held: as `held.best_held`.

    Returns:
        algorithm, alpha (a number, or "all"), reward, held, difference, low, high, share (of what is held's; NaN where
        that is a loss), seeds; no rows where every run has a radius.
    """
    own = table[table["epsilon_alpha"] == 0.0].merge(held[[*KEYS, "reward"]], on=list(KEYS), suffixes=("", "_held"))
    columns = ["algorithm", "alpha", "reward", "held", "difference", "low", "high", "share", "seeds"]
    rows = []
    parts = [*own.groupby(["algorithm", "alpha"], sort=False)]
    parts += [((name, "all"), part) for name, part in own.groupby("algorithm", sort=False)]
    for (algorithm, alpha), part in parts:
        apart = (part["reward"] - part["reward_held"]).groupby(part["seed"]).mean()
        mine, theirs = float(part["reward"].mean()), float(part["reward_held"].mean())
        share = mine / theirs if theirs > 0 else float("nan")
        rows.append((algorithm, alpha, mine, theirs, *interval(apart.to_numpy()), share, apart.size))
    return pd.DataFrame(rows, columns=columns)


def link(table: pd.DataFrame, held: pd.DataFrame | None = None) -> pd.DataFrame:
    """κ of E[ΔCOI level] ≈ −κ · COI leak (the PHANTOM methodology), overall and by algorithm.

    Least squares of the change of the COI level to the next epoch on the leak a session of this one, within runs (each
    has its own constant); standard errors are robust to anything within a run (clusters: runs).

    Args:
        held: play of prices that are held, a row a market: what is left of κ where nobody reacts to anything.

    Returns:
        algorithm (or "all", or `HELD`), kappa, error, low, high, r2 (within runs), pairs, runs.
    """
    rows = []
    groups = [("all", table), *table.groupby("algorithm", sort=False)]
    groups = groups if table["algorithm"].nunique() > 1 else groups[:1]
    if held is not None:  # markets that differ in λ alone are one where nobody looks at it
        groups.append((HELD, held.drop_duplicates([f"link_{kind}" for kind in ("xx", "xy", "yy")])))
    for name, part in groups:
        xx, xy, yy = (part[f"link_{kind}"].to_numpy(float) for kind in ("xx", "xy", "yy"))
        if not xx.sum() > 0 or len(part) < 2:
            continue
        slope = xy.sum() / xx.sum()
        scores = xy - slope * xx
        error = float(np.sqrt(len(part) / (len(part) - 1) * (scores**2).sum()) / xx.sum())
        half = student(len(part)) * error
        r2 = float(xy.sum() ** 2 / (xx.sum() * yy.sum())) if yy.sum() > 0 else float("nan")
        pairs = int(part["link_n"].sum())
        rows.append((name, -slope, error, -slope - half, -slope + half, r2, pairs, len(part)))
    return pd.DataFrame(rows, columns=["algorithm", "kappa", "error", "low", "high", "r2", "pairs", "runs"])


def learned(table: pd.DataFrame) -> pd.DataFrame:
    """What training came to: mean reward an epoch in the first and the last tenth of the updates, by algorithm."""
    grouped = table.groupby("algorithm", sort=False)
    found = grouped[["train_first", "train_last"]].mean()
    found["runs_that_rose"] = grouped.apply(lambda own: float((own["train_last"] > own["train_first"]).mean()))
    return found.reset_index()

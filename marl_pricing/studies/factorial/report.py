"""The tables, figures and page of a factorial study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marl_pricing.config.study import Plan, plan_to_yaml
from marl_pricing.presentation import page, pulse, style
from marl_pricing.presentation.files import write_atomically
from marl_pricing.studies.factorial import analysis, figures
from marl_pricing.studies.factorial.analysis import HELD, MEASURES
from marl_pricing.studies.factorial.cells import Program
from marl_pricing.studies.factorial.figures import CAPTIONS
from marl_pricing.studies.factorial.held import KEYS, LEVELS, best_held
from marl_pricing.studies.factorial.sessions import Apart, sessions_apart
from marl_pricing.studies.factorial.wording import NAMES, SHARES, head, number, probability, term

_TRANSITIONS = 12  # rows of the table of transitions
_ALPHA = 0.05


def write_report(plan: Plan, table: pd.DataFrame, programs: Sequence[Program], out: Path, command: str) -> Path:
    """Write runs.csv, means.csv, held.csv, beside_held.csv, variance.csv, defended.csv, link.csv, sessions.csv,
    transitions.csv, figures and factorial.html into `out`.

    Args:
        table: a row a run, as `store.table_of`.
        programs: of the study, with the markets of its cells.

    Returns:
        The path of the page.
    """
    study = plan.study.factorial
    assert study is not None
    held = best_held(programs, study)
    pulse.doing("writing tables and figures")
    (out / "figures").mkdir(parents=True, exist_ok=True)
    means, kept, beside = analysis.by_factors(table), analysis.defended(table), analysis.beside_held(table, held)
    found = {name: analysis.variance(table, name) for name in MEASURES}
    told, apart = analysis.link(table, held), sessions_apart(plan.base, study.play.seed)
    whole = pd.concat([own.assign(measure=name) for name, own in found.items()], ignore_index=True)
    frames = {
        "runs": table, "means": means, "held": held, "beside_held": beside, "variance": whole, "defended": kept,
        "link": told, "sessions": apart.gaps, "transitions": apart.transitions,
    }  # fmt: skip
    files = [write_atomically(out / f"{name}.csv", own.to_csv(index=False)).name for name, own in frames.items()]
    drawings: list[tuple[str, str, Callable[[], Figure]]] = [
        ("by_alpha", "What platforms come to, by share of agents and algorithm", partial(figures.by_alpha, means))
    ]
    if any(len(own) for own in found.values()):
        drawings.append(("effects", "What decides", partial(figures.effects, found)))
    if len(kept):
        drawings.append(("defended", "Defended less undefended", partial(figures.defended, kept)))
    if len(told):
        drawings.append(("link", "The leak and the level", partial(figures.link, told)))
    drawings.append(("sessions", "Sessions told apart", partial(figures.sessions, apart.gaps)))
    pictures = [
        page.picture(title, CAPTIONS[name], *style.write_for_page(out / "figures", name, draw))
        for name, title, draw in drawings
    ]
    cells = len(table) // study.seeds
    note = (
        f"{cells} cells, {study.seeds} training seeds of each, {study.steps:,} market epochs a run; then greedy play "
        f"of {study.play.episodes} episodes on held-out shoppers, the same for every run. Intervals are Student's, "
        "95 %, over seeds; every cell has the same seeds."
    )
    listed = "".join(f"<li><a href='{escape(name)}'>{escape(name)}</a></li>" for name in files)
    lead = "".join(f"<li>{escape(text)}</li>" for text in sentences(table, found, beside, kept, told, apart))
    betraying = _plain_table(apart.transitions.head(_TRANSITIONS), "")
    parts = {
        "By share of agents and algorithm": _means_table(means),
        "Learned and held prices": _held(beside, held),
        "Figures": "".join(pictures),
        "Analysis of variance": "".join(_variance_table(name, own) for name, own in found.items()),
        "Defended and undefended": page.fold(
            "Reward, revenue, COI level and UX index",
            _plain_table(kept, "no radius of 0 to compare with"),
            told="by algorithm, α and ε" if len(kept) else "none",
        ),
        "E[ΔCOI level] ≈ −κ · COI leak": _plain_table(told, "too few runs, or a leak that never moves"),
        "Which transitions betray an agent": betraying,
        "Training": _plain_table(analysis.learned(table), ""),
        "Study": page.fold("Configuration", f"<pre>{escape(plan_to_yaml(plan))}</pre>")
        + f"<h3>Repeat it</h3><pre>{escape(command)}</pre><h3>Files</h3><ul>{listed}</ul>",
    }
    body = [
        f"<h1>{escape(str(plan.data['name']))}</h1>",
        f"<ul class=lead>{lead}</ul><p class=note>{escape(note)}</p>",
        *(f"<section><h2>{escape(name)}</h2>{part}</section>" for name, part in parts.items()),
    ]
    return write_atomically(out / "factorial.html", page.render(f"Factorial study: {plan.data['name']}", body))


def sentences(
    table: pd.DataFrame,
    found: dict[str, pd.DataFrame],
    beside: pd.DataFrame,
    kept: pd.DataFrame,
    told: pd.DataFrame,
    apart: Apart,
) -> list[str]:
    """What was found, computed from the tables."""
    lines = []
    if len(beside):
        lines.append(_beside(beside[beside["alpha"] == "all"]))
    for name in ("reward", "ux"):
        own = found[name]
        if not len(own):
            lines.append(f"{NAMES[name]}: nothing can be told apart by analysis of variance.")
            continue
        clear = own[own["p_holm"] < _ALPHA].sort_values("partial_eta2", ascending=False)
        listed = ", ".join(f"{term(row['term'])} ({row['partial_eta2']:.2f})" for _, row in clear.head(4).iterrows())
        lines.append(
            f"{NAMES[name]} is decided by {listed} (partial η²; p below {_ALPHA:g} by Holm's adjustment)."
            if len(clear)
            else f"{NAMES[name]}: no factor and no interaction of two is told apart from chance."
        )
    if len(kept):
        lines += _defence(kept)
    if len(told):
        lines.append(_linked(told.set_index("algorithm")))
    test = apart.test
    lines.append(
        f"13 people's and 16 agents' sessions: Mann–Whitney U = {test.u:g}, p = {test.p_value:.2g}, AUC {test.auc:.2f} "
        f"({test.auc_interval[0]:.2f} to {test.auc_interval[1]:.2f})."
    )
    rose = float((table["train_last"] > table["train_first"]).mean())
    lines.append(
        f"Training reward of the last tenth of the updates is above that of the first in {rose:.0%} of the runs."
    )
    return lines


def _beside(whole: pd.DataFrame) -> str:
    """What learners come to beside prices that are held; in money where those make a loss."""
    best = f"the best of {LEVELS} prices that are held"
    if whole["share"].notna().all():
        told = ", ".join(f"{row['algorithm']} {row['share']:.1%}" for _, row in whole.iterrows())
        return f"Trained without a radius, platforms come to this much of the reward of {best}: {told}."
    told = ", ".join(f"{row['algorithm']} {number(row['difference'])}" for _, row in whole.iterrows())
    return f"Reward an epoch of platforms trained without a radius, less that of {best}: {told}."


def _defence(kept: pd.DataFrame) -> list[str]:
    """What the defended come to: in what they were trained for, and in revenue, which is something else."""

    def average(measure: str) -> str:
        own = kept[kept["measure"] == measure]
        mean, base = own["difference"].mean(), own["base"]
        more = "more" if mean >= 0 else "less"
        return f"{abs((own['difference'] / base).mean()):.1%} {more}" if (base > 0).all() else f"{abs(mean):.3g} {more}"

    known = kept[kept["measure"] == "reward_worst"].dropna(subset=["low", "high"])
    better, worse = (known["low"] > 0).sum(), (known["high"] < 0).sum()
    return [
        f"In the worst of three worlds the defended come to {average('reward_worst')} reward than the undefended on "
        f"average, in the world they were trained for to {average('reward')}; by algorithm, α and ε to clearly more in "
        f"the worst in {better} of {len(known)} comparisons and to less in {worse}, each by its own 95 % interval "
        f"({0.05 * len(known):.1f} expected by chance).",
        f"Their revenue is {average('revenue_worst')} in the worst and {average('revenue')} in their own world; nobody "
        "is trained for revenue.",
    ]


def _linked(told: pd.DataFrame) -> str:
    """What the leak tells of the next epoch's level, and how much of that is left where prices stand still."""
    first = told.iloc[0]
    sign = (
        "above 0, as assumed"
        if first["low"] > 0
        else "below 0, against what is assumed"
        if first["high"] < 0
        else "not told apart from 0"
    )
    line = (
        f"κ is {number(first['kappa'])}, standard error {first['error']:.2g}: {sign}. Within runs the leak explains "
        f"{first['r2']:.2%} of how the level moves"
    )
    if HELD not in told.index:
        return f"{line}."
    kappa, low, high = (number(float(told.loc[HELD, name])) for name in ("kappa", "low", "high"))  # type: ignore[arg-type]
    return f"{line}; where prices are held, so that nobody reacts, κ is {kappa} ({low} to {high})."


def _held(beside: pd.DataFrame, held: pd.DataFrame) -> str:
    """Learned beside held prices, and what the latter are."""
    names = [*KEYS, "held_price", "reward", "revenue", "coi_level", "volatility"]
    which = page.fold("The prices that are held", _plain_table(held[names], ""), told="by market")
    return _plain_table(beside, "every run has a radius; prices that are held have none") + which


def _cell(column: str, value: object) -> tuple[str, float | None]:
    if isinstance(value, str):
        return (term(value) if column == "term" else NAMES.get(value, value)), None
    own = float(value)  # type: ignore[arg-type]
    if not np.isfinite(own):
        return "", float("nan")
    if column in ("p", "p_holm"):
        return probability(own), own
    if column in SHARES:
        return f"{own:.3f}".replace("-", "−"), own
    return (f"{own:.0f}" if own == round(own) and abs(own) >= 1 else number(own)), own


def _plain_table(frame: pd.DataFrame, why_not: str) -> str:
    if not len(frame):
        return f"<p class=note>{escape(why_not)}</p>"
    heads = [(head(str(name)), "") for name in frame.columns]
    return page.table(heads, [[_cell(*own) for own in zip(frame.columns, row, strict=True)] for row in frame.values])


def _variance_table(name: str, own: pd.DataFrame) -> str:
    """A measure's table behind a line: the figure shows the gist of all."""
    clear = int((own["p_holm"] < _ALPHA).sum()) if len(own) else 0
    told = f"{clear} of {int(own['p_holm'].notna().sum())} terms told apart from chance" if len(own) else ""
    table = _plain_table(own, "nothing can be told: it never moves, or nothing is left over")
    return page.fold(NAMES[name], table, told=told)


def _means_table(means: pd.DataFrame) -> str:
    """A row an algorithm and share, a column a measure."""
    heads = [("algorithm", ""), ("α", ""), *((NAMES[name], unit) for name, unit in MEASURES.items())]
    rows: list[list[tuple[str, float | None]]] = []
    for _, own in means.groupby(["algorithm", "alpha"], sort=False):
        first, by_name = own.iloc[0], own.set_index("measure")[["mean", "low", "high"]]
        cells: list[tuple[str, float | None]] = [(str(first["algorithm"]), None)]
        cells.append((f"{first['alpha']:g}", float(first["alpha"])))
        for name in MEASURES:
            mean, low, high = by_name.loc[name].to_numpy(float)
            ends = f" ({low:.3g} to {high:.3g})" if np.isfinite(low) else ""
            cells.append((f"{mean:.3g}{ends}", float(mean)))
        rows.append(cells)
    return page.table(heads, rows)

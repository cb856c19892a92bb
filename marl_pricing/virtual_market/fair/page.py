"""One page of a fair policy: how well customers were learned, what it offers them, what that brings beside rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marl_pricing.presentation import page, style
from marl_pricing.presentation.files import write_atomically
from marl_pricing.virtual_market.curves import judge, read_truth, replayed
from marl_pricing.virtual_market.fair import figures
from marl_pricing.virtual_market.fair.compare import Row, Standing, alike, rows_of, said
from marl_pricing.virtual_market.fair.kept import Policy
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.model import VirtualMarket

_FIGURES = "figures"


def _lead(rows: list[Row], policy: Policy, episodes: int, truth: bool) -> str:
    own = rows[0]
    where = "among customers whose truth is known" if truth else "in the learned market"
    ends = f" ({own.score_low:.2f} to {own.score_high:.2f})"
    return (
        f"Everybody is offered the same. {where.capitalize()} the {own.policy} brings {own.score:.2f} times{ends} "
        f"the GMV of no coupons over {policy.settings.days} days, at a return on investment of {own.roi:.2f}: at least "
        f"{policy.settings.goal:g} in {own.reached:.0%} of {episodes} episodes."
    )


def _table(rows: list[Row], goal: float) -> str:
    def ends(low: float, high: float) -> str:
        return f" ({low:.3f} to {high:.3f})" if np.isfinite(low) else ""

    def number(value: float, digits: int) -> str:
        return "nothing spent" if not np.isfinite(value) or value > 1e4 else f"{value:.{digits}f}"

    heads = [("policy", ""), ("score", "GMV / GMV without coupons"), ("ROI", "GMV / cost"),
             ("reached", f"episodes at ROI {goal:g} or more"), ("offers", "day by day, or how often")]  # fmt: skip
    cells: list[list[tuple[str, float | None]]] = [
        [
            (row.policy, None),
            (f"{row.score:.3f}{ends(row.score_low, row.score_high)}", row.score),
            (number(row.roi, 2), row.roi),
            (f"{row.reached:.0%}", row.reached),
            (row.offers, None),
        ]
        for row in rows
    ]
    return page.table(heads, cells)


def write_page(
    folder: Path | str, policy: Policy, model: VirtualMarket, log: PromotionLog, found: list[Standing],
    truth: Path | str | None, episodes: int, seed: int, held_out: VirtualMarket | None = None,
) -> Path:  # fmt: skip
    """Write page.html, its figures and `scores.csv` into a folder; the page.

    Args:
        held_out: the same log's customers, learned without its last days, which show how they behave there; None: the
            model does, of days that it may have learned from.
    """
    folder = Path(folder)
    (folder / _FIGURES).mkdir(parents=True, exist_ok=True)
    goal = policy.settings.goal
    rows = rows_of(found, goal)
    judged, told = judge(model, log, None if truth is None else read_truth(truth, log))
    shown = held_out or model
    days = shown.settings.holdout or min(14, len(log.dates) - 1)
    promotions, real, learned, weekdays = replayed(shown, log, days, seed)
    held = "that were kept from learning" if shown.settings.holdout else "of the log, which were learned from"
    if held_out is not None:
        held += " here, by customers learned once more"

    def show(name: str, title: str, caption: str, draw: Callable[[], Figure]) -> str:
        return page.picture(title, caption, *style.write_for_page(folder / _FIGURES, name, draw))

    differing = any(own.played is not None and not alike(own.played.offers) for own in found)
    differs = " Where others have other offers, the table says so." if differing else ""
    compared = " ".join(line for line in said(found, goal) if not line.startswith("-"))
    best = "the best cycle of up to three days" + (" in the truth" if truth else "")
    body = [
        "<h1>One promotion policy for all customers</h1>",
        f"<p class=lead>{escape(_lead(rows, policy, episodes, truth is not None))}</p>",
        "<h2>What it brings, beside rules</h2>",
        _table(rows, goal),
        show("scores", "Score and return on investment",
             f"Score, GMV over GMV without coupons: means of {episodes} episodes with 95 % intervals, all over the "
             "same draws; the line is the ROI that is asked for."
             " No coupons cost nothing and are left out.",
             partial(figures.scores, rows, goal)),
        *([f"<p>{escape(compared[0].upper() + compared[1:])}.</p>"] if compared else []),
        *([] if policy.verdict is None else [f"<p>When it was trained: {escape(policy.verdict.said())}.</p>"]),
        "<h2>What it offers</h2>",
        show("calendar", "Calendar of coupons",
             "Each day's offer of the first episode: number of coupons and, in per cent, their discount." + differs,
             partial(figures.calendar, found, policy.weekday)),
        show("days", "Day by day",
             f"GMV, cost and ROI so far beside {best}; bands hold 95 % of the episodes, the line is the ROI asked for.",
             partial(figures.days, found, goal)),
        "<h2>The customers, learned</h2>",
        show("curves", "Orders a day by depth of the coupon",
             "Mean over one, two and three coupons and over weekdays. The log's means are what a reader of depths "
             "alone would say." + (" The truth is that of the simulation." if truth else ""),
             partial(figures.curves, judged)),
        *(f"<p class=soft>{escape(line)}</p>" for line in told),
        show("behaviour", "Learned and logged behaviour",
             f"The last {days} days {held}, under the coupons that were handed out.",
             partial(figures.behaviour, real, learned, weekdays)),
        show("rollout", "The same, day by day", "Means over all customers; the learned market goes on by itself.",
             partial(figures.rollout, real, learned, promotions, weekdays)),
    ]  # fmt: skip
    write_atomically(folder / "scores.csv", pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    return write_atomically(folder / "page.html", page.render("One promotion policy for all customers", body))

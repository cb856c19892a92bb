"""The report's table of robust equilibria: what sellers that fear the worst world would charge."""

from __future__ import annotations

import numpy as np
import pandas as pd

from marl_pricing.evaluation.report import texts
from marl_pricing.evaluation.summary import records
from marl_pricing.presentation import page

_FEAR = {"none": "nominal world certain", "worst": "worst world feared"}


def _money(value: float) -> tuple[str, float | None]:
    return (texts.number("price_mean", value), value) if np.isfinite(value) else ("", float("inf"))


def _ends(row: dict) -> tuple[str, float | None]:
    low, high = row["low"], row["high"]
    if not np.isfinite(low):
        return ("none" if row["equilibria"] == 0 else "", float("inf"))
    text = texts.number("price_mean", low)
    if high - low > 1e-4 * abs(high):
        text += f" … {texts.number('price_mean', high)}"
    return text, low


def _from(row: dict) -> tuple[str, float | None]:
    if not (np.isfinite(row["learned"]) and np.isfinite(row["start"])):
        return "", None
    side = "above" if row["start"] > row["learned"] else "below"
    return f"from {side} ({texts.number('price_mean', row['start'])})", None


def robust_table(rows: pd.DataFrame) -> str:
    """The equilibria of the plain and of the robust one-shot game, and which was learned."""
    if rows.empty:
        return ""
    lines: list[list[tuple[str, float | None]]] = []
    for row in records(rows):
        count, seeds = row["equilibria"], int(row["seeds"])
        met = row["at_equilibrium"]
        lines.append(
            [
                (_FEAR[row["fear"]], None),
                (row["run"], None),
                (row["game"], None),
                (f"{int(count)}", count) if np.isfinite(count) else ("", float("inf")),
                _ends(row),
                _money(row["joint"]),
                _money(row["learned"]),
                _from(row),
                (f"{int(met)} of {seeds}", met) if np.isfinite(met) else ("", float("inf")),
                (row["note"], None),
            ]
        )
    heads = [("what sellers think", ""), ("run", ""), ("game", ""), ("equilibria", ""),
             ("lowest … highest price", "money, mean over offers"), ("joint-profit price", "money"),
             ("learned price", "money, mean"), ("learned", "from the first policies' mean price"),
             ("learned one of them", "seeds"), ("note", "")]  # fmt: skip
    return (
        f"<h3>Robust equilibria</h3>{page.table(heads, lines)}<p class=note>One-shot game at the run's omega, exact: "
        "each seller maximises the worst expectation of its own profit over the worlds that it thinks possible. Its "
        "payoff has a kink where the worst world changes; on a grid whose next price lies beyond the kink neither a "
        "cut nor a rise pays, so that many prices can be equilibria at once. Each of them, the highest too, holds "
        "without any agreement: a price in this range is what fear alone supports. By run in robust_equilibria.csv.</p>"
    )

"""Market steps per second with sessions: models, candidates, sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
from matplotlib.figure import Figure

from benchmarks.market import NUM_MARKETS, measure
from marl_pricing.config import Market, market_from, phantom_prototype
from marl_pricing.presentation import style

# Steps a second of PHANTOM's own JAX engine with 1,024 markets on two cores like these: (M, N, candidates).
PHANTOM = {(10, 3, 1): 7_900.0, (10, 3, 5): 1_690.0, (100, 10, 5): 165.0}
PROTOTYPE = 10.9


def session_market(model: str, sessions: int, offers: int, **traffic: Any) -> Market:
    """People and agents in a logit market with stock, lead time and a moving level of demand."""
    return market_from(
        {
            "num_sellers": offers,
            "episode_length": 100,
            "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
            "agent": {"scale": 0.1, "level_sensitivity": 0.0},
            "level": {"persistence": 0.9, "volatility": 0.1},
            "prices": {"map": "levels", "low": 1.1, "high": 2.5},
            "inventory": {
                "rule": "threshold",
                "initial_stock": 20.0,
                "reorder_point": 14.0,
                "order_quantity": 14.0,
                "lead_time": 3,
            },
            "reward": {"unit_cost": 1.0, "stockout_penalty": 0.5},
        },
        {"model": model, "sessions_per_epoch": sessions, "agent_share": 0.25} | traffic,
    )


def rows(repeats: int = 5) -> list[dict[str, Any]]:
    """The traffic rows of the speed table."""
    cases = [
        ("bank", 10, 3, 1, "kernels"),
        ("bank", 10, 3, 5, "kernels"),
        ("bank", 10, 3, 20, "kernels"),
        ("chain", 10, 3, 1, "kernels"),
        ("chain", 10, 3, 1, "timed"),
        ("chain", 10, 3, 5, "kernels"),
        ("bank", 100, 10, 5, "kernels"),
    ]
    table, one, untimed = [], 0.0, 0.0
    for model, sessions, offers, candidates, detector in cases:
        own = session_market(model, sessions, offers, detector=detector)
        value, compiling = measure(own, candidates, NUM_MARKETS, 200 if sessions == 10 else 20, repeats)
        notes = []
        if (model, candidates) == ("chain", 1):
            untimed = value if detector == "kernels" else untimed
            if detector == "timed":
                notes.append(f"costs {untimed / value:.2f} times sessions without times")
        peer = PHANTOM.get((sessions, offers, candidates))
        if peer is not None and detector == "kernels":
            notes.append(f"{value / peer:,.0f} times PHANTOM's JAX engine ({peer:,.0f})")
        if model == "bank" and sessions == 10:
            one = value if candidates == 1 else one
            if candidates > 1:
                notes.append(f"costs {one / value:.2f} times one candidate")
        table.append(
            {
                "name": f"{model}: M = {sessions}, N = {offers}, {candidates} candidate{'s' * (candidates > 1)}"
                + ", timed detector" * (detector == "timed"),
                "value": value,
                "unit": "market steps/s",
                "compile_seconds": compiling,
                "note": "; ".join(notes) or f"{NUM_MARKETS} markets",
            }
        )
    value, compiling = measure(phantom_prototype(), 1, 128, 20, repeats)
    table.append(
        {
            "name": "scripted: prototype, 100 products, 250 sessions",
            "value": value,
            "unit": "market steps/s",
            "compile_seconds": compiling,
            "note": f"{value / PROTOTYPE:,.0f} times the original ({PROTOTYPE})",
        }
    )
    own = session_market("bank", 10, 3, bank={"size": 65_536})
    bank = own.params.traffic.sessions.bank
    table.append(
        {
            "name": "memory: bank of 65,536 sessions a class",
            "value": sum(leaf.nbytes for leaf in jax.tree.leaves(bank)) / 2**20,
            "unit": "MiB",
            "note": "people and agents",
        }
    )
    return table


def cost_table(repeats: int = 3) -> list[dict[str, Any]]:
    """Market steps a second as M, N, candidates and markets grow one at a time from (10, 3, 1, 1024)."""
    grids = {
        "sessions M": [5, 10, 20, 50, 100, 200],
        "offers N": [2, 3, 5, 10, 20, 50],
        "candidates": [1, 2, 5, 10, 20],
        "markets": [16, 64, 256, 1024, 4096],
    }
    table = []
    for axis, values in grids.items():
        for value in values:
            at = {"sessions M": 10, "offers N": 3, "candidates": 1, "markets": NUM_MARKETS} | {axis: value}
            own = session_market("bank", at["sessions M"], at["offers N"])
            work = at["sessions M"] * at["offers N"] * at["candidates"] * at["markets"]
            steps = int(min(max(4_000_000 / work, 10), 400))
            speed, _ = measure(own, at["candidates"], at["markets"], steps, repeats)
            table.append({"axis": axis, "value": value, "microseconds": 1e6 / speed})
    return table


def cost_rows(repeats: int) -> list[dict[str, Any]]:
    """Rows of `cost_table` for the speed table; the figure is drawn into docs/figures."""
    table = cost_table(repeats)
    path = Path(__file__).parents[1] / "docs" / "figures" / "traffic_cost.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(style.svg(draw_costs(table)))
    return [
        {
            "name": f"cost: {row['axis']} = {row['value']:,}",
            "value": row["microseconds"],
            "unit": "microseconds a step",
            "note": "bank, from M = 10, N = 3, 1 candidate, 1,024 markets",
        }
        for row in table
    ]


@style.styled
def draw_costs(table: list[dict[str, Any]]) -> Figure:
    """Four panels: wall-clock microseconds of a market step along each axis."""
    axes = list(dict.fromkeys(row["axis"] for row in table))
    with style.width(8.5):
        figure = style.new_figure(6.0)
    for panel, axis in zip(figure.subplots(2, 2, sharey=True).flat, axes, strict=True):
        own = [row for row in table if row["axis"] == axis]
        x, y = [row["value"] for row in own], [row["microseconds"] for row in own]
        panel.loglog(x, y, marker="o", color=style.PALETTE[0])
        panel.set_xticks(x, [f"{value:,}" for value in x])
        panel.minorticks_off()
        panel.set_xlabel(axis)
        panel.set_ylabel("microseconds a step")
    ticks = [0.5, 1, 2, 5, 10, 20, 50, 100]
    highest = max(row["microseconds"] for row in table)
    panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_ylim(0.5, 1.3 * highest)
    figure.suptitle("Cost of a market step with bank traffic")
    return figure

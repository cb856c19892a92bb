"""What a world leaves in a folder: contracts, breaches, bargains, stock by day, a summary and a figure."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from marl_pricing.presentation import style
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.style import styled
from marl_pricing.procurement.world import SupplyWorld
from marl_pricing.procurement.world_settings import WorldSettings, supplier_of

CAPTION = (
    "Above: each seller's stock at the end of the day, and what was delivered to it (bars). Below: the contracts that "
    "were signed, by the day and the unit cost that were agreed; the size is the quantity, a shape is a supplier, and "
    "a cross a contract that was not delivered in full."
)
_MARKERS = "osD^vP*X"
_COLUMNS = {
    "contracts": ["contract", "day", "seller", "offer", "supplier", "supplier_name", "outcome", "quantity", "unit_cost",
                  "lead_time", "status", "refused_by", "due", "delivered", "paid", "fine"],
    "breaches": ["contract", "day", "by", "against", "kind", "missing", "level", "fine"],
    "bargains": ["day", "seller", "offer", "supplier", "position", "price", "expected_demand", "exponent", "ended",
                 "rounds", "outcome", "buyer_gain", "supplier_gain"],
    "stock": ["day", "offer", "seller", "arrivals", "demand", "sales", "stock", "on_order", "price", "revenue", "paid",
              "fines", "average_cost"],
}  # fmt: skip


def tables(world: SupplyWorld) -> dict[str, pd.DataFrame]:
    """`contracts`, `breaches`, `bargains`, `stock`: a row a contract, breach, bargain, and offer and day."""
    return {name: pd.DataFrame(rows, columns=_COLUMNS[name]) for name, rows in world.records._asdict().items()}


def summary(world: SupplyWorld, settings: WorldSettings) -> dict[str, Any]:
    """Counts, and who had what: units and money."""
    own = tables(world)
    contracts, bargains = own["contracts"], own["bargains"]
    signed = contracts[contracts["status"] != "not signed"]
    rewards = np.sum([outcome.reward for outcome in world.outcomes], 0)
    sellers = {}
    for i, agent in enumerate(world.sellers):
        rows = own["stock"][own["stock"]["seller"] == agent.name]
        sums = rows[["arrivals", "demand", "sales", "revenue", "paid", "fines"]].sum()
        last = rows[rows["day"] == rows["day"].max()][["stock", "on_order"]].sum()
        sellers[agent.name] = {str(k): float(v) for k, v in (dict(sums) | dict(last)).items()} | {
            "reward": float(rewards[i])
        }
    suppliers = {}
    for v, agent in enumerate(world.suppliers):
        rows = signed[signed["supplier"] == v]
        costs = [supplier_of(world.scene.market, int(offer), v) for offer in rows["offer"]]
        made = [
            (float(cost.unit_cost) + float(cost.rush_cost) / wait) * units
            for cost, wait, units in zip(costs, rows["lead_time"], rows["delivered"], strict=True)
        ]
        paid, fine = float(rows["paid"].sum()), float(rows["fine"].sum())
        had = {"income": paid, "fines": fine, "profit": paid - fine - sum(made)}
        suppliers[agent.name] = {"how": world.scene.suppliers[v], "signed": len(rows)} | {
            "delivered": float(rows["delivered"].sum()), **had
        }  # fmt: skip
    delivered = float(signed["delivered"].sum())
    return {
        "settings": settings.model_dump(),
        "days": int(world.current_step),
        "bargains": {str(k): int(v) for k, v in sorted(Counter(bargains["ended"]).items())},
        "contracts": {str(k): int(v) for k, v in sorted(Counter(contracts["status"]).items())},
        "unit_cost": float(signed["paid"].sum() / delivered) if delivered else None,
        "lead_time": float(signed["lead_time"].mean()) if len(signed) else None,
        "sellers": sellers,
        "suppliers": suppliers,
        "faults": {name: {"count": len(raised), "last": raised[-1]} for name, raised in world.faults().items()},
        "figure": CAPTION,
    }


@styled
def picture(world: SupplyWorld) -> Figure:
    """Stock and deliveries above, a row a seller; contracts below."""
    own = tables(world)
    count = len(world.sellers)
    figure = style.new_figure(1.25 * count + 3.0)
    grid = figure.add_gridspec(count + 1, 1, height_ratios=[*[1.0] * count, 2.0])
    shared = None
    for i, agent in enumerate(world.sellers):
        axes = figure.add_subplot(grid[i], sharex=shared)
        shared = shared or axes
        rows = own["stock"][own["stock"]["seller"] == agent.name].groupby("day")[["stock", "arrivals"]].sum()
        axes.bar(rows.index, rows["arrivals"], color="#C9C9C9", width=0.9)
        axes.plot(rows.index, rows["stock"], drawstyle="steps-mid", **style.seller_line(i))
        axes.set_title(f"seller {i}")
        axes.set_ylabel("units")
        axes.tick_params(labelbottom=False)
    axes = figure.add_subplot(grid[count], sharex=shared)
    signed = own["contracts"][own["contracts"]["status"] != "not signed"]
    for _, row in signed.iterrows():
        colour = style.seller_colour(world.seller_of(int(row["offer"])))
        marker = _MARKERS[int(row["supplier"]) % len(_MARKERS)]
        size = 14 + 7 * row["quantity"]
        axes.scatter(row["day"], row["unit_cost"], s=size, marker=marker, color=colour, alpha=0.75, linewidths=0)
        if row["status"] == "breached":
            axes.plot(row["day"], row["unit_cost"], "x", color="black", markersize=7)
    axes.set_xlabel("day")
    axes.set_ylabel("agreed cost of a unit")
    handles = [
        Line2D([], [], linestyle="", marker=_MARKERS[v % len(_MARKERS)], color=style.GREY, label=f"supplier {v}")
        for v in range(len(world.suppliers))
    ]
    handles.append(Line2D([], [], linestyle="", marker="x", color="black", label="not delivered in full"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def write(world: SupplyWorld, settings: WorldSettings, folder: Path) -> dict[str, Any]:
    """Leave everything in the folder, which is made; answers with the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables(world).items():
        write_atomically(folder / f"{name}.csv", table.to_csv(index=False))
    told = summary(world, settings)
    write_atomically(folder / "world.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    style.write(folder, "world", picture(world))
    return told


def tell(told: dict[str, Any]) -> list[str]:
    """The summary in lines."""

    def counted(of: dict[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in of.items()) or "none"

    lines = [
        f"{told['days']} days, {sum(told['bargains'].values())} bargains: {counted(told['bargains'])}",
        f"contracts: {counted(told['contracts'])}",
    ]
    if told["unit_cost"] is not None:
        lines.append(f"a unit cost {told['unit_cost']:.4g} and was agreed to come after {told['lead_time']:.3g} days")
    for name, own in told["sellers"].items():
        lines.append(
            f"{name}: {own['arrivals']:.0f} units came, {own['sales']:.0f} of {own['demand']:.0f} asked for were sold, "
            f"paid {own['paid']:.2f}, got fines of {own['fines']:.2f}, reward {own['reward']:.2f}"
        )
    for name, own in told["suppliers"].items():
        lines.append(
            f"{name} ({own['how']}): {own['signed']} contracts, {own['delivered']:.0f} units, "
            f"income {own['income']:.2f}, fines {own['fines']:.2f}, profit {own['profit']:.2f}"
        )
    for name, own in told["faults"].items():
        lines.append(f"{name}: {own['count']} faults of its code, the last in world.json")
    return lines

"""Evaluations that were kept, read back, to stand beside one that is made now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.markets import market_digest
from marl_pricing.evaluation.measured import Measured
from marl_pricing.evaluation.metrics import MEASURES, Parts
from marl_pricing.evaluation.runs import LEARNED, RunToEvaluate
from marl_pricing.evaluation.summary import COMPARISON_COLUMNS

POLICY = f"{LEARNED} (greedy)"
COLUMNS = COMPARISON_COLUMNS | {
    "against": "text; a run of a kept evaluation, and the folder of that",
    "here": "the measure in this evaluation",
    "there": "the measure in the kept one",
    "note": "text; why no difference is taken, where none is",
}


@dataclass(frozen=True)
class Kept:
    """A run of an earlier evaluation.

    Attributes:
        run: its name.  name: that, and the evaluation's folder.
        market: digest of its market without ω; empty where that was not written.
        shoppers: (seed, episodes).
        parts: by measure, [1, R, E] of all sellers together under the greedy policies.
    """

    run: str
    name: str
    market: str
    shoppers: tuple[int, int]
    parts: dict[str, Parts]


def read_kept(folder: Path) -> list[Kept]:
    """The runs of an evaluation's folder that have greedy policies.

    Raises:
        ValueError: naming the folder and what is missing.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        episodes = pd.read_csv(folder / "episodes.csv", dtype={"run": str, "policy": str, "seller": str})
        shoppers = int(summary["seed"]), int(summary["episodes"])
        told = {str(name): own for name, own in summary["runs"].items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        accepted = "the folder of an evaluation, with summary.json and episodes.csv"
        raise ValueError(f"beside={str(folder)!r}: accepted is {accepted} ({error})") from None
    own = episodes[episodes["policy"].eq(POLICY) & episodes["seller"].eq("all")]
    return [
        Kept(str(name), f"{name} ({folder})", str(told.get(str(name), {}).get("market", "")), shoppers, _parts(rows))
        for name, rows in own.groupby("run", sort=False)
    ]


def _parts(rows: pd.DataFrame) -> dict[str, Parts]:
    rows = rows.sort_values(["seed", "episode"])
    shape = (1, rows["seed"].nunique(), rows["episode"].nunique())
    found = {}
    for name in MEASURES:
        if name in rows and f"{name}_weight" in rows:
            bottom = rows[f"{name}_weight"].to_numpy(float).reshape(shape)
            value = np.nan_to_num(rows[name].to_numpy(float).reshape(shape))
            found[name] = Parts(value * bottom, bottom)
    return found


def _why_not(run: RunToEvaluate, kept: Kept, shoppers: tuple[int, int]) -> str:
    if not kept.market:
        return "a version before wrote it, which did not say which market it was"
    if kept.market != market_digest(run.shape, run.params):
        return "the markets differ beyond omega"
    if kept.shoppers != shoppers:
        return f"other shoppers came (seed {kept.shoppers[0]}, {kept.shoppers[1]} episodes)"
    return ""


def beside(
    measured: Measured, runs: Sequence[RunToEvaluate], earlier: Sequence[Kept], shoppers: tuple[int, int]
) -> pd.DataFrame:
    """Every run beside the kept ones of its name, or all where none has it; see `COLUMNS`.

    A difference is taken where the same shoppers came to the same market, ω left aside, and as many seeds were trained.

    Args:
        shoppers: (seed, episodes) of this evaluation.
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        if (run.name, POLICY) not in measured.groups:
            continue
        parts = measured.parts((run.name, POLICY))
        for kept in [own for own in earlier if own.run == run.name] or earlier:
            reason = _why_not(run, kept, shoppers)
            for name in (name for name in parts if name in kept.parts):
                mine = Parts(*(side[None, ..., 0] for side in parts[name]))
                theirs = kept.parts[name]
                values = [float(statistics.seed_scores(own).mean()) for own in (mine, theirs)]
                row = {"run": run.name, "against": kept.name, "policy": POLICY, "measure": name}
                rows.append(row | {"here": values[0], "there": values[1]} | _difference(mine, theirs, reason))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _difference(mine: Parts, theirs: Parts, reason: str) -> dict[str, Any]:
    if not reason and mine.top.shape != theirs.top.shape:
        reason = f"{mine.top.shape[1]} seeds here, {theirs.top.shape[1]} there"
    if reason:
        return {"note": f"no difference is taken: {reason}"}
    found = statistics.compare(mine, theirs)
    names = [name for name in COMPARISON_COLUMNS if isinstance(getattr(found, name, None), np.ndarray)]
    told = {name: float(getattr(found, name)[0]) for name in names}
    return told | {"units": found.units, "count": found.count, "note": ""}

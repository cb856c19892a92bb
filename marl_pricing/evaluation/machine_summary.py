"""summary.json: what the report says, for machines."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.markets import market_digest
from marl_pricing.evaluation.runs import RunToEvaluate
from marl_pricing.evaluation.summary import records
from marl_pricing.presentation.words import say, spoken

FORMAT = 1


def _plain(value: Any) -> Any:
    """Numbers as JSON has them; what is not known is null."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _rows(frame: pd.DataFrame, without: Sequence[str] = ()) -> list[dict[str, Any]]:
    kept = frame.drop(columns=list(without))
    return [{name: _plain(value) for name, value in row.items()} for row in records(kept)]


def to_json(
    runs: Sequence[RunToEvaluate],
    told: Sequence[str],
    sentences: Sequence[str],
    summary: pd.DataFrame,
    benchmarks: Mapping[str, Benchmarks],
    table: pd.DataFrame,
    comparisons: pd.DataFrame,
    episodes: int,
    seed: int,
    command: str,
    punished: Mapping[str, bool],
    out: Path,
) -> str:
    """One object: `format`, `names`, `in_short`, `sentences`, `episodes`, `seed`, `command`, `runs`, `comparisons`.

    `names` are those that all runs have in common: `sellers` and `products` by number, `currency` and `period` (of an
    epoch); empty where there are none. The sentences use them; keys are numbers everywhere.

    `in_short` is the report's first screen: three answers, then what to mind; `sentences` say the same in more numbers.

    A run has `policies_sha256` (of each training seed), `punishes` (whether a cut of a price is; null: nobody looked),
    `versions`, `command`, `folder` (relative to the evaluation's), `market` (a digest, ω left aside), `held` (who holds
    seats of sellers that did not learn), `omega`, `withheld` (why indices are), `benchmarks` (rows) and `measures`: by
    policy, measure and seller, the columns of the summary.

    Args:
        punished: by run, whether rivals answer a forced cut; without runs where nobody looked.
        out: the evaluation's folder.
    """
    by_run = {}
    for run in runs:
        measures: dict[str, Any] = {}
        for row in _rows(summary[summary["run"] == run.name], ["run"]):
            keys = [str(row.pop(name)) for name in ("policy", "measure", "seller")]
            measures.setdefault(keys[0], {}).setdefault(keys[1], {})[keys[2]] = row
        by_run[run.name] = {
            "policies_sha256": list(run.digests),
            "punishes": punished.get(run.name),
            "versions": dict(run.versions),
            "command": run.command,
            "folder": os.path.relpath(run.folder, out) if run.folder else "",
            "market": market_digest(run.shape, run.params),
            "held": {str(seller): who for seller, who in run.held.items()},
            "omega": np.asarray(run.params.reward.omega, np.float64).round(6).tolist(),
            "withheld": benchmarks[run.name].withheld,
            "benchmarks": _rows(table[table["run"] == run.name], ["run"]),
            "measures": measures,
        }
    everything = {
        "format": FORMAT,
        "names": asdict(spoken()),
        "in_short": [say(text) for text in told],
        "sentences": [say(text) for text in sentences],
        "episodes": episodes,
        "seed": seed,
        "command": command,
        "runs": by_run,
        "comparisons": _rows(comparisons),
    }
    return json.dumps(everything, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

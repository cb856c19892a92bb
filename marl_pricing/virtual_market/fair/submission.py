"""A fair policy → the folder that the challenge's evaluation takes: `policy_validation.py` and its arrays."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from marl_pricing.presentation.files import write_atomically
from marl_pricing.virtual_market.errors import ModelError
from marl_pricing.virtual_market.fair import policy_validation
from marl_pricing.virtual_market.fair.feedback import ROW, Feedback
from marl_pricing.virtual_market.fair.game import MOST_ROI
from marl_pricing.virtual_market.fair.kept import Policy
from marl_pricing.virtual_market.fair.lean import AHEAD
from marl_pricing.virtual_market.fair.plan import PlanPolicy
from marl_pricing.virtual_market.fair.policy import FairPolicy
from marl_pricing.virtual_market.levels import OFFERS

_ENTRY, _ARRAYS = "policy_validation.py", "policy.npz"


def export_policy(policy: Policy, folder: Path | str) -> list[Path]:
    """Write the submission; one that is there is replaced.

    Raises:
        ModelError: for a folder that holds something else.
    """
    folder = Path(folder)
    if folder.exists() and (
        not folder.is_dir() or {own.name for own in folder.iterdir()} - {_ENTRY, _ARRAYS, "__pycache__"}
    ):
        raise ModelError(f"{folder}: holds something else; accepted is a new folder, or a submission's")
    about, arrays = ({"kind": "plan"}, _planned(policy.plan)) if isinstance(policy, PlanPolicy) else _learned(policy)
    about |= {
        "days": policy.settings.days, "form": policy.form, "weekday": policy.weekday, "most_roi": MOST_ROI,
        "threshold": policy.threshold,
    }  # fmt: skip
    arrays |= {"about": np.array(json.dumps(about)), "start": policy.starts[0].astype(np.float32), "offers": OFFERS}
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(policy_validation.__file__).read_text()
    return [write_atomically(folder / _ARRAYS, stream.getvalue()), write_atomically(folder / _ENTRY, source)]


def _planned(plan: Feedback) -> dict[str, np.ndarray]:
    return {"grid": plan.grid, "by_left": plan.offers.astype(np.uint8)}


def _learned(policy: FairPolicy) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    arrays = {name: np.asarray(leaf) for name, leaf in traverse_util.flatten_dict(policy.parameters, sep="/").items()}
    arrays |= {
        "centre": policy.centre.astype(np.float32), "spread": policy.spread.astype(np.float32), "lots": policy.lots,
    }  # fmt: skip
    if policy.plan is not None and policy.odds is not None:
        arrays |= {**_planned(policy.plan), "odds": policy.odds}
    about = {"kind": "learned", "hidden": policy.settings.hidden, "unit": policy.unit, "ahead": AHEAD, "every": ROW}
    return about, arrays

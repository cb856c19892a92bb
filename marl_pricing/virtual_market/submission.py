"""A trained policy → the folder that the challenge's evaluation takes: `policy_validation.py` and its arrays."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from flax import traverse_util

from marl_pricing.presentation.files import write_atomically
from marl_pricing.virtual_market import policy_validation
from marl_pricing.virtual_market.errors import ModelError
from marl_pricing.virtual_market.fair_game import MOST_ROI
from marl_pricing.virtual_market.fair_policy import FairPolicy
from marl_pricing.virtual_market.levels import OFFERS

_ENTRY, _ARRAYS = "policy_validation.py", "policy.npz"


def export_policy(policy: FairPolicy, folder: Path | str) -> list[Path]:
    """Write the submission; one that is there is replaced.

    Raises:
        ModelError: for a folder that holds something else.
    """
    folder = Path(folder)
    if folder.exists() and (
        not folder.is_dir() or {own.name for own in folder.iterdir()} - {_ENTRY, _ARRAYS, "__pycache__"}
    ):
        raise ModelError(f"{folder}: holds something else; accepted is a new folder, or a submission's")
    about = {
        "days": policy.settings.days, "form": policy.form, "weekday": policy.weekday, "hidden": policy.settings.hidden,
        "most_roi": MOST_ROI, "threshold": policy.settings.threshold, "unit": policy.unit,
    }  # fmt: skip
    arrays = {name: np.asarray(leaf) for name, leaf in traverse_util.flatten_dict(policy.parameters, sep="/").items()}
    arrays |= {
        "about": np.array(json.dumps(about)), "start": policy.starts[0].astype(np.float32),
        "centre": policy.centre.astype(np.float32), "spread": policy.spread.astype(np.float32),
        "lots": policy.lots, "offers": OFFERS,
    }  # fmt: skip
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(policy_validation.__file__).read_text()
    return [write_atomically(folder / _ARRAYS, stream.getvalue()), write_atomically(folder / _ENTRY, source)]

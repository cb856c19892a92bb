"""Runs that are loaded hold networks that can be played."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from marl_pricing.learning.runs import RunError
from marl_pricing.studies.loading import _refuse_faults


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_networks_that_are_not_finite_are_refused_by_name_and_seed(value: float) -> None:
    networks = {"actor": {"out": np.zeros((3, 4, 2), np.float32)}, "critic": {"bias": np.zeros((3, 5), np.float32)}}
    _refuse_faults(Path("runs/x"), networks)  # type: ignore[arg-type]
    networks["critic"]["bias"][1, 2] = value
    with pytest.raises(RunError, match=r"^runs/x: critic\.bias of seed 1 is not finite: the training diverged$"):
        _refuse_faults(Path("runs/x"), networks)  # type: ignore[arg-type]

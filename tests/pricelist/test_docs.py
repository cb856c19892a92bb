"""What docs/pricelist.md says is so: its command runs, its settings are there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from marl_pricing.pricelist.settings import PriceListSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pricelist.md").read_text("utf-8")


@pytest.mark.slow
def test_the_command_runs(tmp_path: Path) -> None:
    (block,) = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    for name in ("examples", "marl_pricing"):
        os.symlink(ROOT / name, tmp_path / name)
    command = [sys.executable if word == "python" else word for word in shlex.split(block)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = pd.read_csv(tmp_path / "runs" / "list" / "pricelist.csv")
    changed = listed["change"].abs() > 1e-9
    assert changed.any() and ((listed.loc[changed, "proposed"] * 100).round() % 100).isin([9, 49, 99]).all()


def test_its_settings_are_there() -> None:
    told = set(re.findall(r"`([a-z_]+)(?:=[^`]*)?`", PAGE)) & set(PriceListSettings.model_fields)
    assert {"floor", "endings", "held", "tied", "budget", "costs", "seller", "what_if", "certainty", "cross"} <= told
    named = set(re.findall(r"`([a-z_]+)=", PAGE))
    assert named <= set(PriceListSettings.model_fields)

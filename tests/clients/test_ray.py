"""A factorial study on a Ray cluster of two machines, one of which dies while it computes a group."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pandas as pd

from marl_pricing.config.study import plan_study
from marl_pricing.studies.factorial import carry_out, store
from tests.licences import ACCEPTED, closure, licence, parts
from tests.processes import ROOT
from tests.studies.factorial.helpers import PROVENANCE, tiny


def test_what_ray_brings_has_accepted_licences() -> None:
    assert {name: own for name in closure("ray") if not parts(own := licence(name)) <= ACCEPTED} == {}


def test_a_machine_dies_and_every_cell_is_there_once(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    told = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(20), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.clients.programs.ray_cluster", str(folder)],
        cwd=ROOT, env=os.environ | told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "launcher.cpus=2: accepted is at most 1, what one machine of the cluster has of them nothing" in done.stdout
    assert "launcher.gpus=1: accepted is at most 0, what one machine of the cluster has of them nothing" in done.stdout
    assert "one machine killed" in done.stdout and "8 of 8 runs" in done.stdout
    table = pd.read_parquet(folder / store.TABLE)
    assert table["run"].tolist() == list(range(8))
    carry_out.start_factorial(plan_study(tiny()), tmp_path / "here", PROVENANCE)
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "here" / store.TABLE), rtol=1e-5)

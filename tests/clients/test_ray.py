"""A factorial study on a Ray cluster of two machines, one of which dies while it computes a group."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from marl_pricing.config import ConfigError
from marl_pricing.config.launcher import Ray
from marl_pricing.config.study import plan_study
from marl_pricing.studies.factorial import carry_out, store
from tests.licences import ACCEPTED, closure, licence, parts
from tests.processes import ROOT
from tests.studies.factorial.helpers import PROVENANCE, TINY, tiny

SECONDS = 300


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two machines, as Ray sees them, with a core each; who joins needs a token."""
    with pytest.MonkeyPatch.context() as patch:
        told = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(20), "RAY_USAGE_STATS_ENABLED": "0"}
        for name, value in told.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        folder = tempfile.mkdtemp(prefix="ray")  # sockets' paths have to be short
        found = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "temp_dir": folder}
        )
        try:
            found.add_node(num_cpus=1)
            yield found
        finally:
            found.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def computes(raylet: int) -> bool:
    """Whether a worker of a machine is at a group: Ray calls its process so."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == raylet and (process / "cmdline").read_bytes().startswith(b"ray::factorial group"):
                return True
        except OSError:  # it has ended
            continue
    return False


def test_what_ray_brings_has_accepted_licences() -> None:
    assert {name: own for name in closure("ray") if not parts(own := licence(name)) <= ACCEPTED} == {}


def test_groups_larger_than_any_machine_are_refused(cluster: Any, tmp_path: Path) -> None:
    own = Ray(address=cluster.address, cpus=2)
    with pytest.raises(ConfigError, match=r"launcher\.cpus=2: accepted is at most 1, what one machine"):
        carry_out.start_factorial(plan_study(tiny()), tmp_path / "study", PROVENANCE, own)
    with pytest.raises(ConfigError, match=r"launcher\.gpus=1: accepted is at most 0, what one machine"):
        carry_out.start_factorial(
            plan_study(tiny()), tmp_path / "study", PROVENANCE, Ray(address=cluster.address, gpus=1)
        )
    assert not (tmp_path / "study").exists()


def test_a_machine_dies_and_every_cell_is_there_once(cluster: Any, tmp_path: Path) -> None:
    folder, second = tmp_path / "cluster", cluster.list_all_nodes()[-1]
    raylet = second.all_processes["raylet"][0].process.pid
    given = [*TINY, "launcher=ray", f"launcher.address={cluster.address}", f"run.folder={folder}"]
    driver = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *given], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
    )  # fmt: skip
    try:
        begin = time.monotonic()
        while not computes(raylet):
            assert driver.poll() is None, driver.communicate()[0]
            assert time.monotonic() - begin < SECONDS
            time.sleep(0.01)
        cluster.remove_node(second, allow_graceful=False)
        said = driver.communicate(timeout=SECONDS)[0]
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 0, said
    assert "8 of 8 runs" in said
    table = pd.read_parquet(folder / store.TABLE)
    assert table["run"].tolist() == list(range(8))
    carry_out.start_factorial(plan_study(tiny()), tmp_path / "here", PROVENANCE)
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "here" / store.TABLE), rtol=1e-5)

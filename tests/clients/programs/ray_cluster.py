"""A cluster of two machines, as Ray sees them, one of which dies while it computes a group of a study in argv[1].

A process of its own: Ray reads how it asks for tokens when it is first imported, whoever imports it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from marl_pricing.config import ConfigError
from marl_pricing.config.launcher import Ray
from marl_pricing.config.study import plan_study
from marl_pricing.studies.factorial import carry_out
from tests.processes import ROOT
from tests.studies.factorial.helpers import PROVENANCE, TINY, tiny

SECONDS = 300


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


def say_refusals(address: str, folder: Path) -> None:
    """What is said to groups that are larger than any machine."""
    for own in (Ray(address=address, cpus=2), Ray(address=address, gpus=1)):
        try:
            carry_out.start_factorial(plan_study(tiny()), folder, PROVENANCE, own)
        except ConfigError as error:
            print(error, "kept" if folder.exists() else "nothing kept", flush=True)


def compute(cluster: Any, second: Any, folder: Path) -> None:
    """Carry a study out, and kill the second machine as soon as it is at a group."""
    raylet = second.all_processes["raylet"][0].process.pid
    given = [*TINY, "launcher=ray", f"launcher.address={cluster.address}", f"run.folder={folder}"]
    with subprocess.Popen([sys.executable, str(ROOT / "train.py"), *given], cwd=ROOT) as driver:
        try:
            begin = time.monotonic()
            while not computes(raylet):
                assert driver.poll() is None and time.monotonic() - begin < SECONDS
                time.sleep(0.01)
            cluster.remove_node(second, allow_graceful=False)
            print("one machine killed", flush=True)
            assert driver.wait(SECONDS) == 0
        finally:
            driver.kill()


def main() -> None:
    """Everything, and nothing left of it."""
    place = tempfile.mkdtemp(prefix="ray")  # sockets' paths have to be short
    head = {"num_cpus": 1, "include_dashboard": False, "temp_dir": place}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(num_cpus=1)
        say_refusals(cluster.address, Path(sys.argv[1]))
        compute(cluster, second, Path(sys.argv[1]))
    finally:
        cluster.shutdown()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()

"""How many cores may be used, in a container and outside, and that whoever computes asks there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from marl_pricing.learning import devices
from tests.processes import ROOT

V2 = "0::/service/worker\n"
V1 = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n"


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`usable_cores` with four cores to run on, a process in `own`, and the files of its control groups."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 5, 7}, raising=False)

    def count(own: str, **files: str) -> int:
        groups = tmp_path / "cgroup"
        for name, text in files.items():
            path = groups / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "own").write_text(own)
        return devices.usable_cores(groups, tmp_path / "own")

    return count


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        (V2, {}, 4),
        (V2, {"service/worker/cpu.max": "max 100000\n"}, 4),
        (V2, {"service/worker/cpu.max": "200000 100000\n"}, 2),
        (V2, {"service/worker/cpu.max": "150000 100000\n"}, 2),
        (V2, {"service/worker/cpu.max": "20000 100000\n"}, 1),
        (V2, {"service/worker/cpu.max": "900000 100000\n"}, 4),  # more than may be run on
        (V2, {"service/worker/cpu.max": "max 100000\n", "service/cpu.max": "300000 100000\n"}, 3),  # the group above
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        (V1, {"cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "200000\n",
              "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n"}, 2),
        (V1, {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 1),  # the host's path, own mount
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (V1, {"memory/docker/abc/cpu.max": "100000 100000\n"}, 4),  # another controller's folder
        (V2, {"service/worker/cpu.max": "nonsense\n"}, 4),
    ],
)  # fmt: skip
def test_a_quota_counts_where_it_is_less_than_the_cores(cores, own: str, files: dict, expected: int) -> None:
    assert cores(own, **files) == expected


def test_without_control_groups_or_affinity_all_cores_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert devices.usable_cores(tmp_path / "none", tmp_path / "none") == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert devices.usable_cores(tmp_path / "none", tmp_path / "none") == os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity of processes")
@pytest.mark.parametrize(("flags", "expected"), [("", 1), ("--xla_force_host_platform_device_count=3", 3)])
def test_a_process_that_may_run_on_one_core_starts_one_device(flags: str, expected: int) -> None:
    code = f"""
import os
os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})
from marl_pricing.learning.devices import start_cpu_devices
start_cpu_devices()
import jax
before = jax.device_count()
start_cpu_devices(5)
print(before, jax.device_count())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags}
    )
    assert done.stdout.split() == [str(expected)] * 2, done.stderr


@pytest.mark.parametrize(
    ("wanted", "there", "auto"), [("1, 3, 2", 3, 1), ("'auto', 2", 2, 1), ("'auto',", 1, 1), ("", 1, 1)]
)
def test_devices_are_enough_for_all_that_is_wanted_and_auto_takes_no_more_than_cores(
    wanted: str, there: int, auto: int
) -> None:
    code = f"""
import os
os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})
from marl_pricing.learning.devices import auto_devices, start_cpu_devices
start_cpu_devices({wanted})
import jax
print(jax.device_count(), auto_devices())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=os.environ | {"XLA_FLAGS": ""}
    )
    assert done.stdout.split() == [str(there), str(auto)], done.stderr


def test_nobody_counts_cores_elsewhere() -> None:
    """A machine's cores are not a process's."""
    files = [*ROOT.glob("*.py"), *ROOT.glob("marl_pricing/**/*.py"), *ROOT.glob("benchmarks/*.py")]
    assert len(files) > 100
    counted = [path.name for path in files if "cpu_count" in path.read_text(encoding="utf-8")]
    assert counted == ["devices.py"]

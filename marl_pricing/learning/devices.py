"""How many cores this process may use, and so how many CPU devices JAX is started with."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from marl_pricing.machine import control_groups

_ASKED = "xla_force_host_platform_device_count"


def usable_cores(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may use: those it may run on, or fewer where a container's quota allows fewer.

    A quota of a core and a half counts as two cores: one would leave a third of it unused.

    Args:
        groups: where control groups are mounted.  own: the file that names this process's.
    """
    try:
        there = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        there = os.cpu_count() or 1
    quota = min((_quota(folder) for folder in control_groups(groups, own, "cpu")), default=math.inf)
    return max(1, min(there, math.ceil(quota) if quota < math.inf else there))


def start_cpu_devices(*wanted: int | str) -> None:
    """Tell JAX how many CPU devices to start with, once for all that this process will train.

    Nothing changes where XLA_FLAGS set a number, or where JAX runs already: its devices are what they are then.

    Args:
        wanted: devices of each training, or `auto` for one a core, as without any.
    """
    import jax

    if _ASKED not in os.environ.get("XLA_FLAGS", ""):
        numbers = [own if isinstance(own, int) else usable_cores() for own in wanted or ("auto",)]
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", max(1, *numbers))


def auto_devices() -> int:
    """Devices that `learner.devices=auto` may use: all, but on CPUs no more than cores, unless XLA_FLAGS say so."""
    import jax

    there = jax.device_count()
    if jax.default_backend() != "cpu" or jax.process_count() > 1 or _ASKED in os.environ.get("XLA_FLAGS", ""):
        return there
    return min(there, usable_cores())


def _quota(folder: Path) -> float:
    """Cores' worth of time that a control group gives; infinite where it sets no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()  # version 2
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8").strip()  # version 1; -1: no limit
            period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8").strip()
        except OSError:
            return math.inf
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return math.inf
    return int(quota) / int(period)

"""What this machine, or the container or shell that this process is in, lets it have."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path


def machine_memory(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Bytes: what the machine has, or less where a container or a limit of the shell (`ulimit -v`) allows less.

    Args:
        groups: where control groups are mounted.  own: the file that names this process's.
    """
    found: list[float] = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    found += [_limit(folder) for folder in control_groups(groups, own, "memory")]
    found += [
        soft
        for soft, _ in (resource.getrlimit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
        if soft != resource.RLIM_INFINITY
    ]
    return min(found)


def say_bytes(size: float) -> str:
    """A size in words, as 3.2 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB", "EB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} ZB" if size < 1e6 else f"{float(size):.1e} ZB"


def control_groups(groups: Path, own: Path, controller: str) -> list[Path]:
    """The control group of this process and all above it, of a controller (`cpu`, `memory`): each sets a limit.

    In a container the path may be that of the host, which is not mounted here: then the mount's root is the process's.

    Args:
        groups: where control groups are mounted.  own: the file that names this process's.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for root in (groups, *(groups / name for name in (controller, controllers) if controllers)):
            parts = Path(path.lstrip("/")).parts
            found += [root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    return found


def _limit(folder: Path) -> float:
    """Bytes that a control group allows; infinite where it sets no limit."""
    for name in ("memory.max", "memory.limit_in_bytes"):  # versions 2 and 1
        try:
            text = (folder / name).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            continue
        return float(text) if text.isdigit() and int(text) > 0 else math.inf
    return math.inf

"""Compiled programs that are kept between starts: the second start of a program does not compile it again.

JAX keeps them, by what they are compiled from, for which compiler and with which flags. Here stands where, how much,
and that a start which was killed while it wrote leaves nothing behind that another trips over.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
import warnings
from pathlib import Path

import filelock

FOLDER = "JAX_COMPILATION_CACHE_DIR"
SIZE = "JAX_COMPILATION_CACHE_MAX_SIZE"
MOST_BYTES = 512 * 2**20  # a training takes about one or two million; what was used least lately goes first
LEAST_SECONDS = 0.3  # what compiles faster is compiled again
_STAMP_BYTES = 8
PROGRAM = "-cache"  # how JAX ends the names of its files
BEGUN = time.time()  # commands import this before what their programs are traced from
_TRACES: list[Path] = []  # at most one
_CPU_INFO = Path("/proc/cpuinfo")


def keep_programs(*, traces: bool = False) -> None:
    """Keep this process's compiled programs, and take those that are kept; before JAX compiles anything.

    Args:
        traces: keep traced programs as well (`kept_traces`): for commands, which run this package as it lies on the
            disk. In a caller's own process its functions may be others by now.

    They lie in the user's cache folder (`XDG_CACHE_HOME`), one folder a kind of processor: machine code of one may not
    run on another that shares the folder. JAX's own variables stand: `JAX_COMPILATION_CACHE_DIR` names another folder
    (empty: none), `JAX_COMPILATION_CACHE_MAX_SIZE` another size, `JAX_ENABLE_COMPILATION_CACHE=false` turns it off.
    """
    import jax

    # Where the disk is full, what is said of it is said of the run.
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry")
    if FOLDER in os.environ:
        return
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
    except (OSError, filelock.Timeout) as error:
        print(f"note: programs are compiled anew at every start: {folder}: {error}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    if SIZE not in os.environ:
        jax.config.update("jax_compilation_cache_max_size", MOST_BYTES)
    if traces:
        _TRACES[:] = [folder]


def traces_folder() -> Path | None:
    """Where traced programs are kept; None where they are not."""
    import jax

    return _TRACES[-1] if _TRACES and jax.config.values["jax_enable_compilation_cache"] else None


def only_user(folder: Path, seconds: float) -> filelock.FileLock:
    """What JAX holds, too, while it reads or writes there."""
    return filelock.FileLock(folder / ".lockfile", timeout=seconds)


def stamp(program: Path) -> None:
    """Note that a program is used now, in JAX's form."""
    _stamp_of(program).write_bytes(time.time_ns().to_bytes(_STAMP_BYTES, "little"))


def _stamp_of(program: Path) -> Path:
    return program.with_name(program.name.removesuffix(PROGRAM) + "-atime")


def user_folder() -> Path:
    """Where this user's programs for this processor are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "marl_pricing" / "programs" / _processor()


def _processor() -> str:
    """A short name of the kind of processor: its model and what it can do."""
    told = {platform.machine(), platform.processor()}
    if _CPU_INFO.exists():
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
        told |= {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()[:12]


def _sweep(folder: Path) -> None:
    """Remove programs that were written half: JAX stamps a program once it is whole, and holds the lock until then."""
    with only_user(folder, 10):
        for half in folder.glob(f".*{PROGRAM}-*"):  # a trace's, see `kept_traces`
            half.unlink()
        for program in folder.glob(f"*{PROGRAM}"):
            used = _stamp_of(program)
            if not used.exists() or used.stat().st_size != _STAMP_BYTES:
                program.unlink()
                used.unlink(missing_ok=True)

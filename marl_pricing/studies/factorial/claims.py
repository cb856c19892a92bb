"""Who computes which group of a study, where several processes share its folder: a file a group, made by one of them.

A claim is made by linking its file, which one process only can, and goes when the group's rows are there, or when its
process ends. Where a process was killed the file stays: another process of the same machine sees that it is gone and
takes the group over; one of another machine cannot see that, and says whose claim it is and which file to take away.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

CLAIMS = "claims"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # of disks that have no hard links


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:  # not Linux, or no such process
        return ""


def _machine() -> dict[str, str]:
    """What processes that can see each other have in common."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return {"host": socket.gethostname(), "boot": _read("/proc/sys/kernel/random/boot_id"), "processes": space}


def _process(number: int) -> tuple[str, str]:
    """(state, when it began, in the kernel's ticks) of a process; ("", "") where that cannot be told."""
    fields = _read(f"/proc/{number}/stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")


def _is_gone(holder: Mapping[str, Any]) -> bool:
    """Whether a holder is a process of this machine that has ended."""
    if {name: holder.get(name) for name in ("host", "boot", "processes")} != _machine():
        return False
    number = int(holder["process"])
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    state, began = _process(number)
    return state in ("Z", "X") or began != holder.get("began")


class Claim:
    """A group that this process has for itself; free again after the block.

    Attributes:
        path: of its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


class Held:
    """A group that another process has.

    Attributes:
        path: of its file.  told: who, where, since when, and what to do where that process is no more.
    """

    def __init__(self, path: Path, holder: Mapping[str, Any]) -> None:
        self.path = path
        who = (
            f"process {holder['process']} of {holder['host']} since {holder['since']}"
            if holder
            else "another process, which has not said yet who it is"
        )
        self.told = f"computed by {who}; if that process, or its machine, is no more, take {path} away and begin again"


def claim(folder: Path, number: int) -> Claim | Held:
    """Have a group of the study in `folder` for this process, or learn who has it.

    Raises:
        OSError: naming the file, where none can be made.
    """
    path = folder / CLAIMS / f"group_{number:04d}.json"
    path.parent.mkdir(exist_ok=True)
    if _create(path):
        return Claim(path)
    holder = _holder(path)
    if not _is_gone(holder):
        return Held(path, holder)
    # One process of this machine at a time takes over: what it looks at then is what it replaces.
    with FileLock(Path(tempfile.gettempdir()) / f"marl-pricing-claims-{os.getuid()}.lock"):
        holder = _holder(path)
        if _is_gone(holder):
            path.unlink(missing_ok=True)
        return Claim(path) if _create(path) else Held(path, _holder(path))


def holder_of(folder: Path, number: int) -> Held | None:
    """Who has a group now; None where nobody has."""
    path = folder / CLAIMS / f"group_{number:04d}.json"
    return Held(path, _holder(path)) if path.is_file() else None


def _create(path: Path) -> bool:
    """Make a claim that says whose it is from the first moment on: a process may be killed at any time."""
    told = {**_machine(), "process": os.getpid(), "began": _process(os.getpid())[1]}
    told["since"] = datetime.now().isoformat(timespec="seconds")
    written = path.with_name(f".{path.stem}.{told['host']}.{os.getpid()}")
    try:
        written.write_text(json.dumps(told), encoding="utf-8")
        os.link(written, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_by_itself(path, json.dumps(told))
    finally:
        written.unlink(missing_ok=True)
    return True


def _create_by_itself(path: Path, told: str) -> bool:
    """The same on a disk without hard links, where a claim is empty for a moment."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(told)
    return True


def _holder(path: Path) -> Mapping[str, Any]:
    """What a claim says; nothing where it is gone, or not written yet."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = isinstance(found, dict) and {"host", "process", "since"} <= found.keys()
    return found if known else {}


_ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ends_at_once(mine: Claim) -> Iterator[None]:
    """Inside, Ctrl-C, TERM and HUP free the group and end the process, whatever a compiled program is at.

    Python's handlers wait until such a program returns. Its wake-up file is written to at once, and read by a thread.
    """
    reads, writes = os.pipe()
    os.set_blocking(writes, False)

    def watch() -> None:
        asked = os.read(reads, 1)
        if asked:
            mine.path.unlink(missing_ok=True)
            print("stopped; nothing of this group is kept", file=sys.stderr, flush=True)
            os._exit(128 + asked[0])

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    old = {own: signal.signal(own, lambda *_: None) for own in _ASKED if signal.getsignal(own) != signal.SIG_IGN}
    before = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in old.items():
            signal.signal(number, handler)
        os.close(writes)
        thread.join()
        os.close(reads)

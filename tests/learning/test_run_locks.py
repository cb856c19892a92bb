"""One process trains in a folder; whoever else wants to is refused, and a crash leaves no lock behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from marl_pricing.learning.runs import RunError, only_writer

_HOLD = """
import sys, time
from pathlib import Path
from marl_pricing.learning.runs import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with only_writer(tmp_path):
        told = r"another process trains in it; wait until it has ended, or end it"
        with pytest.raises(RunError, match=told), only_writer(tmp_path):
            pass
        with only_writer(tmp_path.parent):  # a study's own folder is another
            pass
    with only_writer(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_crash_leaves_no_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match="another process trains in it"), only_writer(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with only_writer(tmp_path):
        pass

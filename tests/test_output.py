"""What commands print when nobody reads it any more."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.processes import ROOT

COMMANDS = ["-m marl_pricing.export --help", "-m marl_pricing.calibration --help", "train.py --cfg job"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_has_gone_ends_a_command_without_a_word(command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, *command.split()], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_all_commands_end_so() -> None:
    mains = {
        path.relative_to(ROOT).as_posix(): text.split('__name__ == "__main__"')[1]
        for path in [*ROOT.glob("*.py"), *ROOT.glob("marl_pricing/**/*.py"), *ROOT.glob("benchmarks/*.py")]
        if '__name__ == "__main__"' in (text := path.read_text(encoding="utf-8"))
    }
    assert len(mains) >= 11
    assert [name for name, text in mains.items() if not re.search("run_(command|hydra)\\(main\\)", text)] == []

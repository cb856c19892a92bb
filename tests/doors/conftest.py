"""A door called as a command, in this process."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable

import pytest

from tests.processes import ROOT


def refused(status: int | str | None, told: str) -> str:
    """The one line of a door that refused what it was given."""
    assert status == 2, told
    assert "Traceback" not in told
    lines = told.strip().splitlines()
    assert len(lines) == 1, told
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a door as a command in this process; what it says when it refuses."""

    def run(door: str, *arguments: str) -> str:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [door, *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # doors set it
        # Hydra sets logging up anew, which ends all handlers; absl's one closes stderr, which is pytest's here.
        monkeypatch.setattr("logging.shutdown", lambda _: None)
        # A process whose JAX runs already cannot be given other devices.
        monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / door), run_name="__main__")
        return refused(end.value.code, capsys.readouterr().err)

    return run

"""A command that says nothing for a while says what it does; on a narrow terminal times can be read."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from marl_pricing.presentation import pulse
from marl_pricing.presentation.progress import Progress, named_steps
from marl_pricing.presentation.pulse import SWITCH
from tests.processes import ROOT

# A command that takes a while: what it says, and when it has to.
SLOW = """
from marl_pricing.presentation import pulse
pulse.FIRST, pulse.SILENCE = 0.2, 0.4
from marl_pricing.presentation.output import say_ends
say_ends()
import time
time.sleep(0.7)
pulse.doing("reading sales.csv")
from marl_pricing.presentation.progress import named_steps
time.sleep(0.8)
with named_steps(["first", "second"]) as step:
    step("second")
    time.sleep(1.5)
pulse.stop()
time.sleep(0.6)
"""


def said(code: str, **variables: str) -> str:
    """What a program says on standard error, to a pipe."""
    environment = {name: value for name, value in os.environ.items() if name != SWITCH} | variables
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    return done.stderr


def test_silence_is_broken_by_what_is_being_done() -> None:
    began = time.monotonic()
    lines = said(SLOW).splitlines()
    seconds = time.monotonic() - began
    assert lines[0] == "-c: starting"
    assert any(line.startswith("-c: reading sales.csv") for line in lines)
    assert any(line.startswith("-c: second, 1 of 2, ") and "s so far" in line for line in lines)
    assert len(lines) <= 1 + seconds / 0.4


def test_it_can_be_switched_off() -> None:
    assert said(SLOW.partition("pulse.doing")[0], **{SWITCH: "off"}) == ""
    assert said(SLOW.partition("pulse.doing")[0], **{SWITCH: "on"}) != ""


def test_what_is_said_by_others_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    own, now = pulse._Pulse(), [0.0]  # a clock of its own: a busy machine may stop for longer than a silence
    monkeypatch.setattr(pulse, "_pulse", own)
    monkeypatch.setattr(pulse, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.delenv(SWITCH, raising=False)
    own.start()
    for _ in range(4):
        now[0] += 0.9 * pulse.FIRST
        time.sleep(0.3)
        pulse.said()
    assert capsys.readouterr().err == ""
    now[0] += 2 * pulse.FIRST
    until, told = time.monotonic() + 60, ""
    while not told and time.monotonic() < until:
        time.sleep(0.05)
        told = capsys.readouterr().err
    own.stop()
    assert "starting" in told


@pytest.mark.parametrize("width", [80, 60, 160])
def test_times_are_whole_on_a_narrow_terminal(width: int) -> None:
    written = io.StringIO()
    console = Console(file=written, width=width, force_terminal=True, color_system=None)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, TextColumn("ETA"), TimeRemainingColumn(), console=console, get_time=lambda: now)
    now = 0.0
    task = bar.add_task("best response of seller 2 to competitive and cooperative, seed 3", total=1000)
    for step in range(1, 4):
        now = 30.0 * step
        bar.update(task, advance=10)
    console.print(bar.get_renderable())
    bar.stop()
    line = written.getvalue()
    assert "30/1000" in line and "0:01:30" in line and "0:48:30" in line, line
    assert max(map(len, line.splitlines())) <= width


def test_bars_that_end_are_asked_no_more() -> None:
    before = list(pulse._pulse._tellers)
    with named_steps(["one"]) as step:
        step("one")
        assert len(pulse._pulse._tellers) == len(before) + 1
    assert pulse._pulse._tellers == before

"""What commands print when nobody reads it any more."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from marl_pricing.presentation.files import replace_with
from marl_pricing.presentation.output import FULL, NOT_WRITTEN, fault_of_system, plain, quiet_pipe, readable
from tests.processes import ROOT

# Run by others' Pythons, or with the package of a checkout of long ago: no commands of ours.
THEIRS = {"benchmarks/against_case.py", "benchmarks/jaxmarl_peer.py"}
COMMANDS = ["-m marl_pricing.export --help", "-m marl_pricing.pricelist --help", "train.py --cfg job"]


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
        path.relative_to(ROOT).as_posix(): text.split('__name__ == "__main__"')[-1]
        for path in [*ROOT.glob("*.py"), *ROOT.glob("marl_pricing/**/*.py"), *ROOT.glob("benchmarks/*.py")]
        if '__name__ == "__main__"' in (text := path.read_text(encoding="utf-8"))
    }
    assert len(mains) >= 11 and set(mains) >= THEIRS
    ours = {name: text for name, text in mains.items() if name not in THEIRS}
    assert [name for name, text in ours.items() if not re.search(r"run_(command|hydra)\(main\)|start\(\)", text)] == []


def test_all_commands_say_in_a_line_what_ends_them_from_their_first_import_on() -> None:
    for path in [*ROOT.glob("*.py"), *ROOT.glob("marl_pricing/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in text:
            before = text.split("say_ends()")[0]
            imports = re.findall(r"^(?:import|from) (\S+)", before, re.MULTILINE)
            assert [name for name in imports if name != "__future__"] == ["marl_pricing.presentation.output"], path
    standard = {"__future__", *sys.stdlib_module_names}
    for name in ("output", "pulse"):
        own = (ROOT / "marl_pricing" / "presentation" / f"{name}.py").read_text(encoding="utf-8")
        imports = re.findall(
            r"^(?:import|from) (\S+)", own.replace("from marl_pricing.presentation import pulse", ""), re.MULTILINE
        )
        assert {name.split(".")[0] for name in imports} <= standard


EXPORT = [sys.executable, "-m", "marl_pricing.export", "--help"]


def run(command: list[str], **kept: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | kept.pop("variables", {})
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment, timeout=60, **kept)


def test_a_terminal_of_ascii_is_given_ascii() -> None:
    done = run(EXPORT, stdout=subprocess.PIPE, variables={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "") and "[field=value ...]" in done.stdout
    command = [sys.executable, "-m", "marl_pricing.export", "run=/tmp/nowhere/ü…", "format=torch"]
    done = run(command, stdout=subprocess.PIPE, variables={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (2, "error: /tmp/nowhere/u...: there is no such folder\n")


def test_output_to_a_full_device_is_a_line_and_a_status_of_its_own() -> None:
    with open("/dev/full", "w") as full:
        done = run(EXPORT, stdout=full)
    assert (done.returncode, done.stderr) == (NOT_WRITTEN, "error: standard output: No space left on device\n")


def test_a_command_without_output_does_without() -> None:
    done = run(["sh", "-c", '"$@" >&-', "sh", *EXPORT])
    assert (done.returncode, done.stderr) == (0, "")


def test_too_few_file_handles_are_refused_at_once() -> None:
    done = run(["sh", "-c", 'ulimit -n 24; "$@"', "sh", *EXPORT], stdout=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == "error: this process may open 24 files at once, and needs 64: raise it with ulimit -n\n"


# A library that makes another error of Ctrl-C.
SWALLOWED = """
import os
try:
    os.kill(os.getpid(), 2)
except BaseException:
    pass
None.x
"""


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise KeyboardInterrupt", 130, "stopped\n"),
        (SWALLOWED, 130, "stopped\n"),
        ("raise OSError(24, 'Too many open files')", 2, "error: Too many open files: this process may open"),
        ("raise ImportError('x.so: cannot open shared object file: Too many open files')", 2, "error: Too many open"),
        ("1 / 0", 1, "Traceback"),
    ],
)
def test_what_ends_a_command_while_it_imports_is_a_line(tmp_path: Path, code: str, status: int, said: str) -> None:
    (tmp_path / "hydra.py").write_text(code)
    variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = run([sys.executable, "train.py", "--help"], stdout=subprocess.PIPE, variables=variables)
    assert done.returncode == status and done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1 or said == "Traceback"


def test_ctrl_c_ends_a_command_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, quiet_pipe():
        raise KeyboardInterrupt
    assert end.value.code == 130 and capsys.readouterr().err == "stopped\n"


def test_a_closed_terminal_ends_a_command_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, quiet_pipe():
        raise OSError(errno.EIO, "Input/output error")
    assert end.value.code == 129 and capsys.readouterr().err == ""
    with pytest.raises(OSError, match="disk"), quiet_pipe():  # one of a file is told
        raise OSError(errno.EIO, "Input/output error", "disk")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Zürich – 3 × 4 … “é”", 'Zurich - 3 x 4 ... "e"'),
        ("┏━┳┃ω≤α", "+-+|omega<=alpha"),
        ("漢\udcc3", "??"),
        ("plain", "plain"),
    ],
)
def test_ascii_keeps_what_it_can(text: str, told: str) -> None:
    assert plain(text) == told and told.isascii()


def test_a_table_is_drawn_in_what_the_terminal_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, drawn in (("utf-8", "┃ x –"), ("ascii", "| x -"), ("latin-1", "| x -")):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        assert readable("┃ x –") == drawn


def test_a_full_disk_is_found_behind_what_libraries_say() -> None:
    hidden = RuntimeError("it failed")
    hidden.__cause__ = ValueError('RESOURCE_EXHAUSTED: Failed writing "x": No space left on device [os_error_code=28]')
    found = fault_of_system(hidden)
    assert found is not None and found.errno == errno.ENOSPC
    assert fault_of_system(ValueError("no space here")) is None
    loop = ValueError("a")
    loop.__context__ = loop
    assert fault_of_system(loop) is None


def test_a_file_that_cannot_be_written_is_named_and_leaves_no_part(tmp_path: Path) -> None:
    for error in (OSError(errno.ENOSPC, "x"), RuntimeError("write failed: File too large")):

        def fail(path: Path, error: Exception = error) -> None:
            path.write_bytes(b"half")
            raise error

        with pytest.raises(OSError, match=r"table\.csv") as caught:
            replace_with(tmp_path / "table.csv", fail)
        assert caught.value.errno in FULL and list(tmp_path.iterdir()) == []


_IN_A_CALLBACK = """
from marl_pricing.presentation.output import say_ends
say_ends()
import gc, os, signal, time
def at_collection(phase, details):
    gc.callbacks.remove(at_collection)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)  # the handler runs here
gc.callbacks.append(at_collection)
gc.collect()
time.sleep(60)
"""


def test_an_interrupt_where_no_error_can_be_raised_comes_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_CALLBACK], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (130, "stopped\n")

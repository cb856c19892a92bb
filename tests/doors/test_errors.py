"""How doors and commands say what went wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from marl_pricing.config import ConfigError
from marl_pricing.doors import say_errors


def test_a_fault_of_the_users_is_a_line_and_status_two(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for error, lines in (
        (ConfigError("a=1: accepted is 2\nb=3: accepted is 4"), ["a=1: accepted is 2", "b=3: accepted is 4"]),
        (LookupError("no such column"), ["no such column"]),
    ):
        with pytest.raises(SystemExit) as caught, say_errors(LookupError):
            raise error
        assert caught.value.code == 2
        assert capsys.readouterr().err.splitlines() == [f"error: {line}" for line in lines]
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit), say_errors():
        (tmp_path / "file" / "run").mkdir()
    assert capsys.readouterr().err == f"error: {tmp_path / 'file' / 'run'}: Not a directory\n"


@pytest.mark.parametrize("error", [LookupError("x"), OSError("no file in it"), ValueError("x")])
def test_a_fault_of_ours_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), say_errors():
        raise error

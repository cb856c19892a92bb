"""`marl-pricing VERB …`: one command whose verbs are the commands that there are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from marl_pricing import commands, doors
from marl_pricing.presentation.extras import extra_of, said_missing
from marl_pricing.shipped import found, shipped
from tests.processes import python


def called(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        commands.main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def as_typed(monkeypatch):
    monkeypatch.setattr(doors, "_console", None)
    monkeypatch.setattr(sys, "argv", ["marl-pricing"])


@pytest.mark.usefixtures("as_typed")
def test_every_verb_is_listed_and_has_help(capsys) -> None:
    status, out, _ = called(capsys, "--help")
    assert status == 0
    for name, verb in commands.VERBS.items():
        assert f"  {name} " in out and verb.purpose in out
    for name in (
        "describe",
        "calibrate",
        "pricelist",
        "logs",
        "export",
        "procurement",
        "serve",
        "tune",
        "stock",
        "tabular-q",
    ):
        status, out, _ = called(capsys, name, "--help")
        assert status == 0 and "usage: " in out, name


@pytest.mark.usefixtures("as_typed")
def test_a_verb_that_there_is_not_is_refused_with_the_nearest(capsys) -> None:
    status, out, err = called(capsys, "evalute", "run=x")
    assert (status, out) == (2, "")
    assert err.startswith("error: evalute: accepted is train, evaluate,") and err.endswith("did you mean evaluate?\n")
    assert "did you mean" not in called(capsys, "xyz")[2]


@pytest.mark.usefixtures("as_typed")
def test_what_to_do_next_is_said_in_the_words_of_who_asked(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "name=a b"])
    assert doors.how_to("evaluate", run="runs/x") == "python evaluate.py run=runs/x"
    assert doors.command_line() == "python train.py 'name=a b'"
    doors.through_console("train")
    assert doors.how_to("evaluate", run="runs/x") == "marl-pricing evaluate run=runs/x"
    assert doors.command_line() == "marl-pricing train 'name=a b'"


def test_examples_are_found_from_anywhere_and_ones_own_come_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sales = found("examples/grocery/sales.csv")
    assert sales == shipped("examples") / "grocery" / "sales.csv" and sales.exists()
    assert found("examples/nothing.csv") == Path("examples/nothing.csv")
    assert found("sales.csv") == Path("sales.csv")
    (tmp_path / "examples" / "grocery").mkdir(parents=True)
    (tmp_path / "examples" / "grocery" / "sales.csv").write_text("mine")
    assert found("examples/grocery/sales.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("statsmodels", "calibration"),
        ("optuna", "tune"),
        ("onnx", "export"),
        ("torch", "torch"),
        ("negmas", "procurement"),
        ("uvicorn", "serve"),
    ],
)
def test_the_extra_that_brings_a_module_is_known(module: str, extra: str) -> None:
    assert extra_of(module) == extra


def test_a_module_of_an_extra_that_is_not_there_is_one_line() -> None:
    code = """
        import sys
        from marl_pricing.commands import main
        main(["calibrate", "data=examples/grocery/sales.csv", "mapping=examples/grocery/mapping.yaml", "--check"])
    """
    done = python(code, {"statsmodels"})
    assert done.returncode == 2
    assert done.stderr.strip() == "error: statsmodels is not installed: pip install 'marl-pricing[calibration]'"


def test_a_module_that_is_nobodys_extra_keeps_its_traceback() -> None:
    with pytest.raises(ModuleNotFoundError), said_missing():
        raise ModuleNotFoundError("No module named 'zzz'", name="zzz")

"""How doors and commands say what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from marl_pricing.config import ConfigError
from marl_pricing.doors import as_typed, say_errors


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


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("resume=/no/a=b", "/no/a=b: there is no such folder"),
        ("resume=/no/my (new) 'runs\"", "/no/my (new) 'runs\": there is no such folder"),
        ("learner.gamma=[1,2", "learner.gamma='[1,2': accepted is a number"),
        ("learner.gamma", "learner.gamma: accepted are settings as field=value; --help lists them"),
        ("=3", "=3: accepted are settings as field=value; --help lists them"),
        ("market=3", "market=3: accepted for a group of settings is the name of a file"),
        (
            "experiment=grocry",
            "experiment=grocry: accepted is competitive, contamination, cooperative, factorial, fair_promotion, formal",
        ),
        ("market/inventory=chosn", "threshold, unlimited; did you mean chosen?"),
    ],
)
def test_what_is_typed_is_taken_as_it_is_or_refused_in_a_line(typed: str, message: str, refusal) -> None:
    assert message in refusal("train.py", typed)


def test_values_that_hydra_cannot_read_are_texts() -> None:
    given = ["run.folder=a=b", "learner.gamma=0.5", "-m", "x=1,2", "out=[1]", "~robust", "--config-dir", "my=folder"]
    assert as_typed(given) == ['run.folder="a=b"', *given[1:]]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (
            ["launcher=ray"],
            "launcher='ray': accepted is local with a single run; studies with study.evaluation=factorial",
        ),
        (["launcher.store=x"], "launcher.store='x': accepted is null with a single run"),
        (["experiment=omega_sweep", "launcher=commands"], "launcher='commands': accepted is local with study.eval"),
    ],
)
def test_a_launcher_without_groups_is_refused(typed: list[str], told: str, refusal: Callable, tmp_path: Path) -> None:
    assert told in refusal("train.py", f"run.folder={tmp_path / 'run'}", *typed)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("learner.gamma=0.5", "study.factorial.learners"),
        ("traffic.agent_share=0.5", "study.factorial.factors.alpha"),
        ("market.reward.coi_leakage=0.5", "study.factorial.factors.lambda_coi"),
    ],
)
def test_what_a_factorial_study_decides_cannot_be_typed(
    refusal: Callable[..., str], typed: str, instead: str, tmp_path: Path
) -> None:
    told = refusal("train.py", "experiment=factorial", f"run.folder={tmp_path / 'study'}", typed)
    assert f"{typed}: accepted is {instead} with study.evaluation=factorial" in told
    assert not (tmp_path / "study").exists()

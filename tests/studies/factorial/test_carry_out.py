"""The planner, what is kept, and going on: what is there is never done again, whatever stopped it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marl_pricing.config import ConfigError
from marl_pricing.config.study import STUDY, open_study, plan_study
from marl_pricing.learning.runs import PROVENANCE as PROVENANCE_FILE
from marl_pricing.learning.runs import RunError
from marl_pricing.studies.factorial import carry_out, store
from marl_pricing.studies.factorial.cells import cells_of, runs_of
from tests.doors.compose import settings
from tests.processes import ROOT
from tests.studies.factorial.helpers import PROVENANCE, TINY, FakeTrainer, tiny


def test_the_study_of_the_methodology_has_192_cells_of_five_seeds() -> None:
    study = plan_study(settings("experiment=factorial")).study.factorial
    cells, runs = cells_of(study), runs_of(study)
    assert len(cells) == len(set(cells)) == 192 and len(runs) == 960
    assert study.steps == 100_000 and {study.learner(name).num_updates for name in ("ppo", "dqn")} == {100}
    assert {run.seed for run in runs} == set(range(5))


def test_every_run_is_in_one_group_and_every_group_of_one_program() -> None:
    plan = plan_study(tiny("study.factorial.factors.epsilon_alpha=[0.0,0.1,0.2]", "study.factorial.runs_per_group=5",
                           "study.factorial.factors.action_levels=[3,5]"))  # fmt: skip
    groups = carry_out.plan_groups(plan)
    numbers = [run.number for group in groups for run in group.runs]
    assert sorted(numbers) == list(range(len(runs_of(plan.study.factorial))))
    assert len({id(group.program) for group in groups}) == 4  # two numbers of levels, with candidates and without
    for group in groups:
        assert len(group.runs) <= 4 and all(run.cell in group.program.markets for run in group.runs)
    again = carry_out.plan_groups(plan)
    assert [group.runs for group in again] == [group.runs for group in groups]


def test_an_interrupted_study_does_only_what_is_missing(tmp_path: Path, fake: type[FakeTrainer]) -> None:
    plan = plan_study(tiny())
    assert carry_out.start_factorial(plan, tmp_path / "whole", PROVENANCE)
    whole = list(fake.asked)
    broken = tmp_path / "broken"
    fake.asked.clear()
    fake.until = 2
    with pytest.raises(KeyboardInterrupt):
        carry_out.start_factorial(plan, broken, PROVENANCE)
    fake.until = 3
    with pytest.raises(KeyboardInterrupt):
        carry_out.continue_factorial(open_study(broken), broken)
    (broken / store.ROWS / ".group_0003.parquet.1.part").write_bytes(b"half")  # as a kill in the middle leaves it
    fake.until = 1000
    assert carry_out.continue_factorial(open_study(broken), broken)
    assert fake.asked == whole == [0, 1, 2, 3]
    tables = [pd.read_parquet(folder / store.TABLE) for folder in (tmp_path / "whole", broken)]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == 8 and tables[0]["run"].tolist() == list(range(8))


def test_a_study_stopped_before_its_first_group_leaves_nothing(tmp_path: Path, fake: type[FakeTrainer]) -> None:
    fake.until = 0
    with pytest.raises(KeyboardInterrupt):
        carry_out.start_factorial(plan_study(tiny()), tmp_path / "study", PROVENANCE)
    assert not (tmp_path / "study").exists()
    fake.until = 1000


def test_an_edited_study_is_refused_with_what_differs(tmp_path: Path, fake: type[FakeTrainer]) -> None:
    carry_out.start_factorial(plan_study(tiny()), tmp_path / "study", PROVENANCE)
    path = tmp_path / "study" / STUDY
    path.write_text(path.read_text().replace("steps: 40", "steps: 60"))
    with pytest.raises(ConfigError, match=r"study\.factorial\.steps is 60 and was 40 when the study began"):
        open_study(tmp_path / "study")


def test_what_is_not_this_studys_is_refused(tmp_path: Path, fake: type[FakeTrainer]) -> None:
    plan, folder = plan_study(tiny()), tmp_path / "study"
    carry_out.start_factorial(plan, folder, PROVENANCE)
    first = folder / store.ROWS / "group_0000.parquet"
    first.write_bytes((folder / store.ROWS / "group_0001.parquet").read_bytes())
    with pytest.raises(RunError, match=r"group_0000\.parquet: holds other runs"):
        carry_out.continue_factorial(plan, folder)
    first.write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"group_0000\.parquet: is no table of runs"):
        carry_out.continue_factorial(plan, folder)
    with pytest.raises(RunError, match="is not empty"):
        carry_out.start_factorial(plan, folder, PROVENANCE)


def test_a_run_that_is_not_finite_is_named() -> None:
    group = carry_out.plan_groups(plan_study(tiny()))[0]
    for row in ({"revenue": np.nan, "train_finite": 1.0}, {"revenue": 1.0, "train_finite": 0.0}):
        with pytest.raises(RunError, match=r"algorithm=qtable, alpha=0.1, .*seed=0: .*did not stay finite"):
            store.table_of(group, [row] * 2)


def test_a_place_that_cannot_be_written_is_named_first(tmp_path: Path, fake: type[FakeTrainer]) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / PROVENANCE_FILE).write_text(json.dumps(PROVENANCE))
    (tmp_path / "study" / store.ROWS).write_text("a file where a folder belongs")
    with pytest.raises(OSError, match="rows"):
        carry_out.continue_factorial(plan_study(tiny()), tmp_path / "study")
    assert not fake.asked


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("+study.factorial.factors.lamda_coi=[1]", r"factors\.lamda_coi.*no such setting; did you mean .*lambda_coi"),
        ("study.factorial.factors.algorithm=[sac]", r"factors\.algorithm\[0\]='sac': accepted is 'ppo', 'a2c'"),
        ("study.factorial.factors.alpha=[0.1,0.1]", r"factors\.alpha=.*accepted is a list of different values"),
        ("study.factorial.factors.action_levels=[4]", r"action_levels=4: accepted are odd numbers"),
        ("study.factorial.steps=41", r"study\.factorial\.steps=41: accepted is a multiple of 20, .*qtable"),
        ("+study.factorial.learners.qtable.binss=5", r"learners\.qtable\.binss=5: .*did you mean bins"),
        ("+study.factorial.learners.qtable.seed=5", r"learners\.qtable\.seed: the study decides it"),
        ("robust=interval", r"robust\.set='interval': accepted is none with study.evaluation=factorial"),
        ("+study.runs=[]", r"study\.runs=\[\]: accepted is nothing with study.evaluation=factorial"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_by_name(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        plan_study(tiny(override))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("market.num_sellers=2", r"market\.num_sellers=2: accepted is 1 with study\.evaluation=factorial"),
        ("market/prices=levels", r"market\.prices\.map='levels': accepted is scale"),
        ("study.factorial.learners.qtable.bins=5000",
         r"algorithm=qtable: study\.factorial\.learners\.qtable\.bins=5000: a table over 2 observed entries"),
    ],
)  # fmt: skip
def test_a_market_that_a_learner_cannot_play_is_refused_by_name(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        carry_out.plan_groups(plan_study(tiny(override)))


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=ROOT)


@pytest.mark.slow
def test_killed_three_times_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert _start(*TINY, f"run.folder={whole}").wait(900) == 0
    kept: dict[Path, int] = {}
    for number in range(3):
        process = _start(*(TINY if not number else ()), f"{'resume' if number else 'run.folder'}={killed}")
        begin = time.monotonic()
        while len(list((killed / store.ROWS).glob("*.parquet"))) <= number and process.poll() is None:
            assert time.monotonic() - begin < 900
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(900)
        for path in (killed / store.ROWS).glob("*.parquet"):
            assert kept.setdefault(path, os.stat(path).st_ino) == os.stat(path).st_ino  # written once
    assert _start(f"resume={killed}").wait(900) == 0
    assert all(os.stat(path).st_ino == inode for path, inode in kept.items())
    tables = [pd.read_parquet(folder / store.TABLE) for folder in (whole, killed)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert json.loads((killed / "provenance.json").read_text())["settings"]["study"]["factorial"]["steps"] == 40
    # The reward is what learners are told: it and what was measured are finite, and UX lies where it may.
    assert tables[0]["ux"].between(0, 1).all() and (tables[0]["revenue"] > 0).all()
    assert (tables[0]["train_finite"] == 1).all()

"""Who computes groups: claims, commands, a second place for rows, and what is refused of clusters."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from marl_pricing.config import ConfigError
from marl_pricing.config.composing import compose_settings
from marl_pricing.config.launcher import Commands, Local, read_launcher
from marl_pricing.config.study import open_study, plan_study
from marl_pricing.learning.runs import RunError
from marl_pricing.shipped import shipped
from marl_pricing.studies.factorial import carry_out, on_ray, store
from marl_pricing.studies.factorial.claims import CLAIMS, Claim, Held, claim
from tests.processes import ROOT
from tests.studies.factorial.helpers import PROVENANCE, FakeTrainer, tiny

HOLD = """
import sys
from pathlib import Path
from marl_pricing.studies.factorial.claims import claim
print(type(claim(Path(sys.argv[1]), 0)).__name__, flush=True)
sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that has group 0."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, cwd=ROOT)  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "Claim\n"
    return process


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / store.TABLE)


def test_a_group_is_one_processes_until_that_ends(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        held = claim(tmp_path, 0)
        assert isinstance(held, Held)
        assert f"process {process.pid} of {socket.gethostname()}" in held.told and str(held.path) in held.told
        assert isinstance(claim(tmp_path, 1), Claim)
    finally:
        process.kill()  # it cannot set its group free
        process.wait()
    with claim(tmp_path, 0) as mine:
        assert isinstance(mine, Claim) and json.loads(mine.path.read_text())["process"] == os.getpid()
    assert not mine.path.exists()


@pytest.mark.parametrize("change", [{"host": "node7"}, {"boot": "another"}, None])
def test_a_claim_of_another_machine_is_left_to_people(tmp_path: Path, change: dict[str, Any] | None) -> None:
    path = tmp_path / CLAIMS / "group_0000.json"
    with claim(tmp_path, 0):
        told = json.loads(path.read_text()) | {"process": 2**22 + 1}  # no such process here
    path.write_text("" if change is None else json.dumps(told | change))
    held = claim(tmp_path, 0)
    assert isinstance(held, Held) and f"take {path} away" in held.told
    path.write_text(json.dumps(told))
    assert isinstance(claim(tmp_path, 0), Claim)


def test_a_process_that_is_killed_while_it_claims_leaves_no_claim_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that says nothing yet would be nobody's, and its group never computed again."""

    def killed(source: Path, _: Path) -> None:
        assert json.loads(source.read_text())["process"] == os.getpid()  # it is whole before it is a claim
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", killed)
        with pytest.raises(KeyboardInterrupt):
            claim(tmp_path, 0)
    (tmp_path / CLAIMS / ".group_0000.here.1").write_text("{")  # and the kill itself leaves what it wrote
    assert isinstance(claim(tmp_path, 0), Claim)


def test_on_a_disk_without_hard_links_a_claim_is_one_process_s_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    assert isinstance(claim(tmp_path, 0), Claim)
    held = claim(tmp_path, 0)
    assert isinstance(held, Held) and f"process {os.getpid()}" in held.told


def test_commands_compute_each_group_once_and_the_last_makes_the_table(
    tmp_path: Path, fake: type[FakeTrainer], capsys: pytest.CaptureFixture[str]
) -> None:
    plan, folder = plan_study(tiny()), tmp_path / "a study"
    carry_out.start_factorial(plan, tmp_path / "here", PROVENANCE)
    fake.asked.clear()
    capsys.readouterr()
    assert carry_out.start_factorial(plan, folder, PROVENANCE, Commands())
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [["python", "train.py"]] * 4 + [["python", "evaluate.py"]]
    assert lines[2][2:] == [f"resume={folder}", "launcher=commands", "launcher.group=2"]
    assert lines[4][2:] == [f"run={folder}"] and not fake.asked
    again = open_study(folder)
    with pytest.raises(RunError, match="4 of 4 groups are missing"):
        carry_out.evaluate_factorial(again, folder)
    process = holder(folder)
    try:
        for number in (2, 0, 2, 3):  # 0 is another's, and 2 there the second time
            assert carry_out.continue_factorial(again, folder, Commands(group=number))
        said = capsys.readouterr().out.splitlines()
        assert said[1].startswith(f"group 0 is being computed by process {process.pid}")
        assert said[2] == "group 2 is there already" and fake.asked == [2, 3]
        carry_out.continue_factorial(again, folder, Commands(group=1))
        with pytest.raises(RunError, match=r"1 of 4 groups are missing.*\n.*group 0: computed by process"):
            carry_out.evaluate_factorial(again, folder)
        with pytest.raises(RunError, match="group 0 is being computed by process"):
            carry_out.continue_factorial(again, folder)
    finally:
        process.kill()
        process.wait()
    assert carry_out.continue_factorial(again, folder) and fake.asked == [2, 3, 1, 0]
    assert not list((folder / CLAIMS).iterdir())
    pd.testing.assert_frame_equal(table(folder), table(tmp_path / "here"))


BUSY = """
import hashlib, sys
from pathlib import Path
from marl_pricing.studies.factorial.claims import claim, ends_at_once
with claim(Path(sys.argv[1]), 0) as mine, ends_at_once(mine):
    print("computing", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1)  # as a compiled program: no handler runs before it ends
"""


def test_a_command_that_is_told_to_end_does_at_once_and_sets_its_group_free(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None and process.stdout.readline() == "computing\n"
        assert list((tmp_path / CLAIMS).iterdir())
        process.send_signal(signal.SIGTERM)
        assert process.wait(600) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert not list((tmp_path / CLAIMS).iterdir())


@pytest.mark.parametrize("url", [True, False])
def test_rows_are_kept_in_a_second_place_and_fetched_from_it(
    tmp_path: Path, fake: type[FakeTrainer], url: bool
) -> None:
    there, first, second = tmp_path / "bucket", tmp_path / "first", tmp_path / "second"
    own, plan = Local(store=f"file://{there}" if url else str(there)), plan_study(tiny())
    assert carry_out.start_factorial(plan, first, PROVENANCE, own)
    assert sorted(path.name for path in there.glob("*")) == [f"group_000{n}.parquet" for n in range(4)] + ["study.yaml"]
    (there / "group_0003.parquet").unlink()
    assert carry_out.start_factorial(plan, second, PROVENANCE, own)  # another machine's folder
    assert fake.asked == [0, 1, 2, 3, 3]
    pd.testing.assert_frame_equal(table(first), table(second))
    with pytest.raises(
        ConfigError, match=r"launcher\.store=.*holds rows of another study \(study\.factorial\.steps is 40"
    ):
        carry_out.start_factorial(plan_study(tiny("study.factorial.steps=60")), tmp_path / "third", PROVENANCE, own)
    assert not (tmp_path / "third").exists()
    with pytest.raises(ConfigError, match=r"launcher\.store='other': accepted is .*bucket, as when the study began"):
        carry_out.continue_factorial(open_study(second), second, Local(store="other"))


@pytest.mark.parametrize("place", ["{}/file/below", "file://{}/file/below", "nothing://bucket/x"])
def test_a_second_place_that_cannot_be_written_is_refused_first(
    tmp_path: Path, fake: type[FakeTrainer], place: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    own = Local(store=place.format(tmp_path))
    with pytest.raises(ConfigError, match=r"launcher\.store='.*': cannot be (opened|written to) \("):
        carry_out.start_factorial(plan_study(tiny()), tmp_path / "study", PROVENANCE, own)
    assert not fake.asked and not (tmp_path / "study").exists()


def test_an_address_that_nobody_answers_at_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConfigError, match=rf"launcher\.address='{address}': nobody answers there \(Connection refused"):
        on_ray._check_reachable(address)
    for wrong in ("head", "ray://head:10001", "head:99999"):
        with pytest.raises(ConfigError, match=r"launcher\.address='.*': accepted is auto, or HOST:PORT"):
            on_ray._check_reachable(wrong)


def test_a_worker_of_other_packages_is_named() -> None:
    task = on_ray.Task({}, 0, (), 1, 0, on_ray.runs.versions() | {"jax": "0.0.1"})
    with pytest.raises(RunError, match=rf"{socket.gethostname()}: has jax .* was begun with 0\.0\.1"):
        on_ray.compute(task)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "rey"}, r"launcher\.kind='rey': accepted is 'local', 'ray', 'commands'"),
        ({"kind": "ray", "adress": "auto"}, r"launcher\.ray\.adress|launcher\.adress='auto': there is no such setting"),
        ({"kind": "ray", "cpus": 0}, r"cpus=0: accepted is"),
        ({"kind": "commands", "group": -1}, r"group=-1: accepted is"),
    ],
)
def test_launchers_that_cannot_be_are_refused_by_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_launcher(given)


@pytest.mark.parametrize("name", sorted(path.stem for path in (shipped("conf") / "launcher").glob("*.yaml")))
def test_a_file_of_a_launcher_says_its_defaults(name: str) -> None:
    data = yaml.safe_load((shipped("conf") / "launcher" / f"{name}.yaml").read_text())
    assert read_launcher(data) == read_launcher({"kind": name}) and list(data) == list(read_launcher(data).model_dump())


def test_a_launcher_is_train_pys_alone() -> None:
    with pytest.raises(ConfigError, match="launcher=ray: accepted is local here"):
        compose_settings(["launcher=ray"])


def test_a_group_that_there_is_not_is_refused(tmp_path: Path, fake: type[FakeTrainer]) -> None:
    folder, plan = tmp_path / "study", plan_study(tiny())
    with pytest.raises(ConfigError, match=r"launcher\.group=0: accepted is null for a new study"):
        carry_out.start_factorial(plan, folder, PROVENANCE, Commands(group=0))
    carry_out.start_factorial(plan, folder, PROVENANCE, Commands())
    with pytest.raises(ConfigError, match=r"launcher\.group=4: accepted is at most 3"):
        carry_out.continue_factorial(plan, folder, Commands(group=4))

"""Runs in one program are the runs alone, whatever stops them."""

from __future__ import annotations

from pathlib import Path

import pytest

from marl_pricing import config
from marl_pricing.learning import parallel, runs
from marl_pricing.learning.runs import Checkpoints
from marl_pricing.studies import together
from marl_pricing.studies.single import train_run
from tests.doors.compose import settings
from tests.learning.helpers import QUICK

TINY = [
    "experiment=logit_duopoly", "market/prices=levels", "market.episode_length=4", "learner.num_seeds=2",
    "learner.num_envs=4", "learner.num_steps=4", "learner.num_updates=4", "learner.num_minibatches=2",
    "learner.num_epochs=1", "learner.hidden_size=8", "learner.devices=1", "run.tensorboard=false",
    "run.checkpoint_every=2", "run.report_every=1",
]  # fmt: skip
OMEGAS = (1.0, 0.3)
PROVENANCE = {"command": "python train.py", "versions": {}, "revision": "test"}


def of(*overrides: str) -> config.ExperimentSettings:
    return config.read_settings(settings(*TINY, *overrides))


def two() -> list[config.ExperimentSettings]:
    return [of(f"market.reward.omega={omega}", f"name=omega_{omega}") for omega in OMEGAS]


def train(folder: Path, settings_: list[config.ExperimentSettings]) -> bool:
    experiments = [config.build(own) for own in settings_]
    return together.train_together(experiments, [folder / own.name for own in settings_], PROVENANCE)


def left(folder: Path) -> tuple[bytes, list[int], str]:
    """What a run leaves: its measures, the updates of its checkpoints, the digest of the last state."""
    with Checkpoints(folder) as kept:
        last = kept.latest
        return (folder / runs.METRICS).read_bytes(), kept.updates, kept._digests(last)["digest"]


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "compiler_options", lambda: QUICK)
        yield


@pytest.fixture(scope="module")
def whole(quick, tmp_path_factory) -> Path:
    """Two runs of one program, never stopped."""
    folder = tmp_path_factory.mktemp("together")
    assert train(folder, two())
    return folder


@pytest.mark.slow
def test_a_run_among_others_is_the_run_alone_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    own = two()[1]
    assert train_run(own, tmp_path / "alone", PROVENANCE)
    assert left(whole / own.name) == left(tmp_path / "alone")
    measures = {left(whole / other.name)[0] for other in two()}
    assert len(measures) == 2  # another ω is another run
    for name in (runs.CONFIG, runs.PROVENANCE):
        assert (whole / own.name / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.slow
def test_runs_killed_between_two_checkpoints_go_on_to_the_same_end(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves: list[int] = []
    save = Checkpoints.save

    def dies(self: Checkpoints, update: int, *given) -> None:
        saves.append(update)
        if len(saves) == 2:  # the first run's first state is on the disk, the other's is not
            raise SystemExit(9)
        save(self, update, *given)

    monkeypatch.setattr(Checkpoints, "save", dies)
    with pytest.raises(SystemExit):
        train(tmp_path, two())
    monkeypatch.undo()
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)
    groups: list[list[str]] = []
    real = together.train
    monkeypatch.setattr(
        together, "train", lambda program, members, *given, **more: (
            groups.append([member.folder.name for member in members]) or real(program, members, *given, **more)
        ),
    )  # fmt: skip
    assert train(tmp_path, two())
    assert groups == [["omega_1.0"], ["omega_0.3"]]
    for own in two():
        assert left(tmp_path / own.name) == left(whole / own.name)
    groups.clear()
    assert train(tmp_path, two()) and not groups  # nothing is left to do


def test_runs_are_grouped_by_what_their_programs_are() -> None:
    def program(*overrides: str, update: int = 0):
        return together._Waiting(Path("run"), config.build(of(*overrides)), update).program

    stock = ("market/inventory=base_stock", "market.inventory.max_lead_time=5")
    assert program() == program("market.reward.omega=0.3") != program("market.num_sellers=3")
    assert program() != program("learner.gamma=0.5") and program() != program(update=2)
    assert program(*stock, "market.inventory.lead_time=1") == program(*stock, "market.inventory.lead_time=5")
    one, other = (program(stock[0], f"market.inventory.lead_time={lead}") for lead in (1, 5))
    assert one != other
    with pytest.raises(config.ConfigError, match=r"lead_time=6: accepted is at most max_lead_time=5"):
        program(*stock, "market.inventory.lead_time=6")

"""The loop: blocks that do not divide, stops at what is not finite, best networks, lengthening, until converged."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from marl_pricing import config
from marl_pricing.config import ConfigError
from marl_pricing.learning import convergence, held_out, parallel, runs, training
from marl_pricing.learning.evaluations import Evaluations
from marl_pricing.learning.measures import PARAMETERS_FINITE, first_fault
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.runs import Checkpoints, DivergedError
from marl_pricing.learning.training import Member, Schedule
from marl_pricing.studies import loading, single
from marl_pricing.studies.together import train_together
from tests.doors.compose import settings
from tests.learning.helpers import QUICK, learner_of, market_of

TINY = [
    "experiment=logit_duopoly", "market/prices=levels", "market.prices.num_price_levels=3", "market.episode_length=4",
    "learner.num_seeds=2", "learner.num_envs=4", "learner.num_steps=4", "learner.num_minibatches=2",
    "learner.num_epochs=1", "learner.hidden_size=8", "learner.devices=1", "run.tensorboard=false",
    "run.checkpoint_every=2", "run.report_every=3",
]  # fmt: skip
CONSTANT = ["learner.schedule=constant", "learner.entropy_start=0.01", "learner.entropy_end=0.01"]
COOPERATIVE = "market.reward.omega=0.0"
PROVENANCE = {"command": "python train.py", "versions": {}, "revision": "test"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)


def of(*overrides: str) -> config.ExperimentSettings:
    return config.read_settings(settings(*TINY, *overrides))


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    with Checkpoints(folder) as kept:
        return kept._digests(kept.latest)


def same(one: Path, other: Path) -> None:
    """Two runs left the same numbers."""
    for name in (runs.METRICS, runs.EVALUATION):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert digests(one) == digests(other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven updates in blocks of three and of one, evaluated every second one, at constant rates."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert single.train_run(
        of(COOPERATIVE, *CONSTANT, "learner.num_updates=7", "run.evaluate_every=2"), folder, PROVENANCE
    )
    return folder


@pytest.mark.slow
def test_a_prime_number_of_updates_needs_one_program_and_few_calls(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    calls: list[int] = []
    compiled = Program.compiled

    def counted(self: Program, *given):
        step = compiled(self, *given)
        return lambda state, params, count: calls.append(count) or step(state, params, count)

    there: list[int] = []  # rows of metrics.csv when what evaluations need was begun

    class Late(Evaluations):
        def prepare(self) -> None:
            there.append(len(rows_of(tmp_path, runs.METRICS)))

        def due(self, _: int) -> bool:
            return False

    monkeypatch.setattr(Program, "compiled", counted)
    monkeypatch.setattr(training, "Evaluations", Late)
    own = market_of("stock")
    program = Program(learner_of(own, num_updates=11))
    member = Member(tmp_path, own.params)
    state, _ = training.train(program, [member], Schedule(4, 50, 8), tensorboard=False, quiet=True)
    assert calls == [4, 4, 3]
    assert there == ([4, 8] if jax.default_backend() == "cpu" else [0, 4, 8])  # behind the first line
    rows = rows_of(tmp_path, runs.METRICS)
    assert [int(row["update"]) for row in rows] == list(range(1, 12))
    monkeypatch.undo()
    params = program.stack(own.params)
    other, measures = program.train(program.init(params), params, 11)  # one block of eleven
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    measured = [float(row["entropy"]) for row in rows]
    np.testing.assert_allclose(measured, measures["entropy"][0], rtol=1e-5)


@pytest.mark.slow
def test_evaluations_are_written_for_every_seed_seller_and_kind(whole: Path) -> None:
    rows = rows_of(whole, runs.EVALUATION)
    keys = [(int(r["update"]), int(r["seed"]), int(r["seller"]), r["policy"]) for r in rows]
    expected = [(u, s, i, kind) for u in (2, 4, 6, 7) for s in (0, 1) for i in (0, 1) for kind in ("greedy", "sampled")]
    assert keys == expected
    assert all(float(row["profit"]) > 0 and 0 <= float(row["fill_rate"]) <= 1 for row in rows)
    assert all(row["price_gap"] and not row["worst_world"] for row in rows)
    # ((2 sellers × 3 prices + 1) × 8 episodes + 3 × 24) × 4 epochs = 512 market epochs; trained on are 2 × 16 between
    # two evaluations, of which an eighth is less, and 7 × 16 in all, of which a half is.
    assert held_out.deviation_epochs(config.build(of()).market.shape) == 512
    assert not any(row["deviation_gain"] for row in rows)


@pytest.mark.slow
def test_deviations_are_played_as_often_as_they_are_cheap(tmp_path: Path) -> None:
    """512 market epochs: an eighth of 4,096, which four updates of 1,024 have; half of 1,024, which one has."""
    wide = ["learner.num_envs=32", "learner.num_steps=32", "learner.num_seeds=1"]
    for every, updates, measured in ((4, 8, {4, 8}), (2, 4, {4}), (3, 3, {3}), (1, 1, {1})):
        folder = tmp_path / str(every)
        own = of(*wide, f"learner.num_updates={updates}", f"run.evaluate_every={every}")
        assert single.train_run(own, folder, PROVENANCE)
        rows = rows_of(folder, runs.EVALUATION)
        assert {int(row["update"]) for row in rows if row["deviation_gain"]} == measured
        assert not any(row["deviation_gain"] for row in rows if row["policy"] == "sampled")


@pytest.mark.slow
def test_a_folder_that_another_process_trains_in_is_refused_and_left_alone(whole: Path) -> None:
    settings = of(COOPERATIVE, *CONSTANT, "learner.num_updates=7", "run.evaluate_every=2")
    before = {path: path.read_bytes() for path in whole.glob("*.*")}
    with runs.only_writer(whole):
        with pytest.raises(runs.RunError, match="another process trains in it"):
            single.train_run(settings, whole, None)
        with pytest.raises(runs.RunError, match="another process trains in it"):
            single.lengthen_run(whole, 9, PROVENANCE)
    assert {path: path.read_bytes() for path in whole.glob("*.*")} == before


@pytest.mark.slow
def test_no_evaluations_are_none(tmp_path: Path) -> None:
    assert single.train_run(of("learner.num_updates=2", "run.evaluate_every=0"), tmp_path / "run", PROVENANCE)
    assert not (tmp_path / "run" / runs.EVALUATION).exists()
    with pytest.raises(ConfigError, match=r"run.evaluate_every=0: accepted is at least 1, or null, with run.until="):
        of("run.evaluate_every=0", "run.until=converged")


@pytest.mark.slow
def test_training_does_not_see_its_evaluations(whole: Path, tmp_path: Path) -> None:
    own = of(COOPERATIVE, *CONSTANT, "learner.num_updates=7", "run.evaluate_every=0")
    assert single.train_run(own, tmp_path / "run", PROVENANCE)
    assert (tmp_path / "run" / runs.METRICS).read_bytes() == (whole / runs.METRICS).read_bytes()
    assert digests(tmp_path / "run")["digest"] == digests(whole)["digest"]


@pytest.mark.parametrize("updates", [1, 19, 20, 21, 150])
def test_a_twentieth_of_the_run_is_the_default(updates: int) -> None:
    every = single.schedule_of(of(f"learner.num_updates={updates}")).evaluate_every
    assert every == -(-updates // 20)
    assert updates / every <= 20


def measures(seeds: int = 2, updates: int = 4) -> dict[str, np.ndarray]:
    names = ("policy_loss", "value_loss", PARAMETERS_FINITE)
    return {name: np.ones((seeds, updates)) for name in names} | {"return_raw": np.ones((seeds, updates, 3))}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("value_loss", np.nan, "value_loss is nan"), ("policy_loss", -np.inf, "policy_loss is -inf"),
        ("return_raw", np.inf, "return_raw is inf"), (PARAMETERS_FINITE, 0.0, "parameters are not finite"),
    ],
)  # fmt: skip
def test_the_first_number_that_is_not_finite_is_named(name: str, value: float, said: str) -> None:
    assert first_fault(measures()) is None
    own = measures()
    own[name][1, 2] = value
    own["return_raw"][0, 3, 1] = np.nan
    fault = first_fault(own)
    assert fault is not None
    assert (fault.place, fault.seed, fault.what) == (2, 1, said)


def poisoned(monkeypatch: pytest.MonkeyPatch, update: int) -> None:
    """Training whose value loss of the second seed is NaN at an update."""
    compiled = Program.compiled

    def of_program(self: Program, *given):
        step = compiled(self, *given)

        def play(state, params, count):
            before = int(state.update[0])
            state, own = step(state, params, count)
            own = {name: np.array(value) for name, value in jax.device_get(own).items()}
            if before < update <= before + count:
                own["value_loss"][-1, update - before - 1 :] = np.nan
            return state, own

        return play

    monkeypatch.setattr(Program, "compiled", of_program)


def test_a_run_stops_at_once_and_keeps_its_last_good_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    poisoned(monkeypatch, 6)
    folder, own = tmp_path / "run", of("learner.num_updates=40")
    with pytest.raises(DivergedError) as caught:
        single.train_run(own, folder, PROVENANCE)
    assert str(caught.value) == (
        f"{folder}: update 6, seed 1: value_loss is nan; training stopped, the checkpoint of update 4 is kept"
    )
    assert int(rows_of(folder, runs.METRICS)[-1]["update"]) == 5
    loaded = loading.load_run(folder, "latest")
    assert loaded.updates == (4, 4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loaded.networks))


@pytest.mark.slow
def test_a_study_stops_and_names_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    poisoned(monkeypatch, 1)
    both = [config.build(of(f"market.reward.omega={omega}", "learner.num_updates=2")) for omega in (0.5, 1.0)]
    with pytest.raises(
        DivergedError, match=r"second: update 1, seed 1: value_loss is nan; .* no checkpoint was written"
    ):
        train_together(both, [tmp_path / "first", tmp_path / "second"], PROVENANCE)
    assert not list((tmp_path / "second" / runs.CHECKPOINTS).iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["mappo", "torch_mappo"])
def test_a_learning_rate_without_sense_ends_in_one_line(algorithm: str, tmp_path: Path) -> None:
    if algorithm == "torch_mappo":
        pytest.importorskip("torch")
    own = of(f"learner={algorithm}", "learner.devices=1", "learner.learning_rate=1e30", "learner.num_updates=4")
    with pytest.raises(DivergedError, match=r"update 1, seed 0: \w+ (is nan|is inf|are not finite)") as caught:
        single.train_run(own, tmp_path / "run", PROVENANCE)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_best_is_each_seeds_best_greedy_play_and_comes_back(whole: Path) -> None:
    rows = [row for row in rows_of(whole, runs.EVALUATION) if row["policy"] == "greedy"]
    loaded = loading.load_run(whole, "best")
    for seed, update in enumerate(loaded.updates):
        total = {
            u: sum(float(r["profit"]) for r in rows if int(r["update"]) == u and int(r["seed"]) == seed)
            for u in (2, 4, 6, 7)
        }
        most = max(np.float32(value) for value in total.values())
        assert update == min(u for u, value in total.items() if np.float32(value) == most)
    latest = loading.load_run(whole, "latest")
    assert latest.updates == (7, 7) and latest.update == "7"
    for seed in (0, 1):  # the networks are those that stood there: play says the same
        if loaded.updates[seed] == 7:
            for a, b in zip(*map(jax.tree.leaves, (loaded.networks, latest.networks)), strict=True):
                np.testing.assert_array_equal(a[seed], b[seed])


@pytest.mark.slow
def test_best_is_refused_where_sellers_have_different_aims_or_nothing_was_evaluated(
    whole: Path, tmp_path: Path
) -> None:
    selfish, blind = tmp_path / "selfish", tmp_path / "blind"
    assert single.train_run(of("learner.num_updates=2"), selfish, PROVENANCE)
    with pytest.raises(
        ConfigError, match=r"checkpoint='best': accepted is 'latest' for .* different aims \(omega \[1.0\]"
    ):
        loading.load_run(selfish, "best")
    assert single.train_run(of(COOPERATIVE, "learner.num_updates=2", "run.evaluate_every=0"), blind, PROVENANCE)
    with pytest.raises(ConfigError, match=r"checkpoint='best': accepted is 'latest' for .* without evaluations"):
        loading.load_run(blind, "best")


@pytest.mark.slow
def test_a_lengthened_run_is_the_longer_run_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    own = of(COOPERATIVE, *CONSTANT, "learner.num_updates=4", "run.evaluate_every=2")
    assert single.train_run(own, folder, PROVENANCE)
    first = {name: (folder / name).read_bytes() for name in (runs.METRICS, runs.EVALUATION)}
    for wrong in (4, 3):
        with pytest.raises(ConfigError, match=rf"learner.num_updates={wrong}: accepted is more than 4, the updates"):
            single.lengthen_run(folder, wrong, {})
    longer = single.lengthen_run(folder, 7, {"command": "python train.py resume=…"})
    assert longer.learner.num_updates == 7 and longer.learner.schedule_updates == 4
    assert config.from_yaml(runs.read_config(folder), "config.yaml") == longer
    told = runs.read_provenance(folder)
    (step,) = told["lengthened"]
    assert len(step.pop("config_sha256")) == 64  # of the settings before
    assert step == {"from": 4, "to": 7, "at": 4, "command": "python train.py resume=…"}
    assert {name: told[name] for name in PROVENANCE} == PROVENANCE
    assert single.train_run(longer, folder, None)
    same(folder, whole)
    for name, content in first.items():
        assert (folder / name).read_bytes().startswith(content)


@pytest.mark.slow
def test_a_hundred_updates_and_a_hundred_more_are_two_hundred(tmp_path: Path) -> None:
    own = of(COOPERATIVE, *CONSTANT, "learner.num_updates=200", "run.checkpoint_every=50")
    assert single.train_run(own, tmp_path / "whole", PROVENANCE)
    folder = tmp_path / "run"
    half = of(COOPERATIVE, *CONSTANT, "learner.num_updates=100", "run.checkpoint_every=50", "run.evaluate_every=10")
    assert single.train_run(half, folder, PROVENANCE)
    assert single.train_run(single.lengthen_run(folder, 200, {}), folder, None)
    assert (folder / runs.METRICS).read_bytes() == (tmp_path / "whole" / runs.METRICS).read_bytes()
    ours, theirs = digests(folder), digests(tmp_path / "whole")
    assert ours.pop(runs.EVALUATION) != theirs.pop(runs.EVALUATION)  # see below
    assert ours == theirs
    # Dear deviations are played at the end of a run, which was at 100 for one of them.
    unplayed = {"deviation_gain": "", "deviation_error": ""}
    one, other = ([row | unplayed for row in rows_of(own, runs.EVALUATION)] for own in (folder, tmp_path / "whole"))
    assert one == other and len(one) == 20 * 2 * 2 * 2


@pytest.mark.slow
def test_schedules_stay_at_their_ends_when_a_run_is_lengthened(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert single.train_run(of("learner.num_updates=4", "learner.num_seeds=1"), folder, PROVENANCE)
    first = (folder / runs.METRICS).read_bytes()
    assert single.train_run(single.lengthen_run(folder, 6, {}), folder, None)
    again = single.lengthen_run(folder, 9, {})
    assert again.learner.schedule_updates == 4
    assert single.train_run(again, folder, None)
    assert (folder / runs.METRICS).read_bytes().startswith(first)
    own, rows = again.learner, rows_of(folder, runs.METRICS)
    assert len(rows) == 9
    for column, start, end in (
        ("learning_rate", own.learning_rate, own.learning_rate_end),
        ("entropy_coefficient", own.entropy_start, own.entropy_end),
    ):
        expected = [start + (end - start) * min(update / 4, 1.0) for update in range(9)]
        np.testing.assert_allclose([float(row[column]) for row in rows], expected, rtol=1e-5)
    assert [told["to"] for told in runs.read_provenance(folder)["lengthened"]] == [6, 9]


@pytest.mark.slow
def test_a_stopped_and_resumed_run_is_evaluated_the_same(whole: Path, tmp_path: Path, monkeypatch) -> None:
    """Killed while the third evaluation is written: what was kept is as old as the checkpoint before it."""
    folder = tmp_path / "run"
    own = of(COOPERATIVE, *CONSTANT, "learner.num_updates=7", "run.evaluate_every=2", "run.checkpoint_every=4")
    report = training.Monitor.report

    def dies(self, told) -> None:
        report(self, told)
        if told.update == 6:
            raise SystemExit(9)

    monkeypatch.setattr(training.Monitor, "report", dies)
    with pytest.raises(SystemExit):
        single.train_run(own, folder, PROVENANCE)
    assert int(rows_of(folder, runs.EVALUATION)[-1]["update"]) == 6
    monkeypatch.undo()
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)
    assert single.standing(folder) == 4
    assert single.train_run(own, folder, None)
    same(folder, whole)


def flat(self: Evaluations, update: int, sums, deviations):
    """Rows as if greedy play had risen up to update 5 and were flat from there on."""
    rows = written(self, update, sums, deviations)
    for row in (row for own in rows for row in own):
        row["shaped"] = repr(float(min(update, 5)))
    return rows


written = Evaluations._rows


@pytest.mark.slow
def test_a_run_until_converged_stops_at_the_first_evaluation_at_which_the_rule_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Evaluations, "_rows", flat)
    folder = tmp_path / "run"
    own = of("run.until=converged", "learner.num_updates=30", "run.evaluate_every=1", "run.checkpoint_every=50")
    assert single.train_run(own, folder, PROVENANCE)
    rows = rows_of(folder, runs.EVALUATION)
    ends = next(n for n in range(1, 31) if convergence.judge(convergence.curves_of(
        [row for row in rows if int(row["update"]) <= n])).converged)  # fmt: skip
    assert 6 <= ends < 15
    assert single.standing(folder) == ends == int(rows_of(folder, runs.METRICS)[-1]["update"])
    assert capsys.readouterr().out.splitlines()[-1].startswith("converged: ")
    assert single.has_ended(folder, own, ends) and not single.has_ended(folder, own, ends - 1)
    before = {path: path.read_bytes() for path in (folder / runs.METRICS, folder / runs.EVALUATION)}
    assert single.train_run(own, folder, None)  # has ended: nothing is trained
    assert {path: path.read_bytes() for path in before} == before

    stopped, report = tmp_path / "stopped", training.Monitor.report

    def dies(self, told) -> None:
        report(self, told)
        if told.update == ends - 2:
            raise SystemExit(9)

    monkeypatch.setattr(training.Monitor, "report", dies)
    with pytest.raises(SystemExit):
        single.train_run(own.model_copy(update={"run": own.run.model_copy(update={"checkpoint_every": 2})}), stopped,
                         PROVENANCE)  # fmt: skip
    monkeypatch.setattr(training.Monitor, "report", report)
    assert single.train_run(own, stopped, None)
    same(folder, stopped)


@pytest.mark.slow
def test_runs_of_a_study_end_apart_once_converged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluations, "_rows", flat)
    each = ["run.until=converged", "learner.num_updates=20", "run.evaluate_every=1", "learner.num_seeds=1"]
    both = [config.build(of(f"market.reward.omega={omega}", *each)) for omega in (0.5, 1.0)]
    folders = [tmp_path / "first", tmp_path / "second"]
    assert train_together(both, folders, PROVENANCE)
    assert all(6 <= single.standing(folder) < 15 for folder in folders)
    told = json.loads((folders[0] / runs.PROVENANCE).read_text())
    assert len(told.pop("config_sha256")) == 64 and told == PROVENANCE

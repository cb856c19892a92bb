"""One run: from any thread; what a failed start leaves; its score."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import pytest

from marl_pricing import config
from marl_pricing.learning import parallel, runs, training
from marl_pricing.learning.convergence import Verdict
from marl_pricing.studies import single
from marl_pricing.studies.single import say_verdict, score_of, train_run
from tests.learning.helpers import QUICK
from tests.studies.test_together import PROVENANCE, left, of

GROCERY = Path(__file__).parents[2] / "examples" / "grocery" / "market.yaml"


def test_signals_are_handled_in_the_main_thread_and_left_alone_elsewhere() -> None:
    before = signal.getsignal(signal.SIGINT)
    with training.finish_first() as flag:
        assert signal.getsignal(signal.SIGINT) == flag.set
    assert signal.getsignal(signal.SIGINT) == before
    found: list[object] = []

    def elsewhere() -> None:
        try:
            with training.finish_first() as flag:
                found.append((bool(flag), signal.getsignal(signal.SIGINT)))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [(False, before)]


@pytest.mark.slow
def test_a_run_is_trained_from_any_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)
    found: list[object] = []

    def elsewhere() -> None:
        try:
            found.append(train_run(of(), tmp_path / "run", PROVENANCE))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [True]
    assert len((tmp_path / "run" / runs.METRICS).read_text().splitlines()) == 1 + 4 * 2


def test_a_start_that_fails_leaves_no_folder_and_a_run_that_fails_later_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr(parallel.Program, "init", fail)
    monkeypatch.setattr(parallel.Program, "compiled", fail)
    with pytest.raises(MemoryError):
        train_run(of(), tmp_path / "new", PROVENANCE)
    assert not list(tmp_path.iterdir())
    runs.create(tmp_path / "old", "", {})  # somebody else's, to be gone on with
    with pytest.raises(MemoryError):
        train_run(of(), tmp_path / "old", None)
    assert (tmp_path / "old" / runs.CONFIG).exists()


def test_a_verdict_names_the_sellers_of_the_sales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    verdict = Verdict(False, ("seller 1 (seed 4) gains 2.1% by a constant price",))
    monkeypatch.setattr(single, "verdict_of", lambda *_: verdict)
    monkeypatch.setattr(single, "standing", lambda _: 5)
    for folder, whose in (("sales", "Private (seed 4)"), ("plain", "seller 1 (seed 4)")):
        path = f"market.path={GROCERY}"
        own = of(*(["market=calibrated", path] if folder == "sales" else []))
        runs.create(tmp_path / folder, config.to_yaml(own), PROVENANCE)
        say_verdict(tmp_path / folder)
        assert capsys.readouterr().out == f"not converged: {whose} gains 2.1% by a constant price\n"


def test_the_score_is_the_last_updates_mean_over_sellers_and_seeds(tmp_path: Path) -> None:
    header = "update,seed,return_raw/seller_0,return_shaped/seller_0,return_shaped/seller_1\n"
    (tmp_path / runs.METRICS).write_text(header)
    with pytest.raises(runs.RunError, match="holds no update yet"):
        score_of(tmp_path)
    (tmp_path / runs.METRICS).write_text(header + "1,0,9,100,100\n1,1,9,100,100\n2,0,9,1,2\n2,1,9,3,8\n")
    assert score_of(tmp_path) == 3.5


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_starts_again_from_the_same_networks_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)
    source, whole = tmp_path / "source", tmp_path / "whole"
    still = ("run.evaluate_every=0", "learner.num_updates=2")
    assert train_run(of(*still, "learner.seed=3"), source, PROVENANCE)
    own = of(*still, f"init_from={source}")
    assert train_run(own, whole, PROVENANCE)
    told = runs.read_provenance(whole)
    runs.create(tmp_path / "killed", config.to_yaml(own), told)
    assert train_run(own, tmp_path / "killed", None)
    assert left(tmp_path / "killed") == left(whole)
    # What stands in the folder of its source is another run's by now.
    for name, value in (("digest", "0" * 64), ("update", 1)):
        folder = tmp_path / f"other_{name}"
        runs.create(folder, config.to_yaml(own), told | {"init_from": told["init_from"] | {name: value}})
        with pytest.raises(runs.RunError, match=r"which it starts from, is not what it was when this run began"):
            train_run(own, folder, None)
        assert json.loads((folder / runs.PROVENANCE).read_text())["init_from"][name] == value
        assert not (folder / runs.METRICS).exists()

"""train.py and evaluate.py as a person calls them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doors.conftest import refused
from tests.processes import ROOT

TINY = (
    "learner.num_envs=4", "learner.num_steps=8", "learner.hidden_size=8", "learner.num_updates=40",
    "learner.num_minibatches=2", "market.episode_length=5", "run.report_every=2", "run.checkpoint_every=6",
)  # fmt: skip


def call(door: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A door in a process of its own."""
    command = [sys.executable, str(ROOT / door), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def wait_for_rows(folder: Path, number: int, process: subprocess.Popen[str]) -> None:
    metrics = folder / "metrics.csv"
    begin = time.monotonic()
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > number):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() - begin < 200
        time.sleep(0.02)


def final(folder: Path) -> str:
    last = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
    return json.loads((last / "metrics" / "metrics").read_text())["digest"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = call("train.py", *TINY, f"run.folder={folder}")
    assert done.returncode == 0, done.stderr
    assert f"python evaluate.py run={folder}" in done.stdout
    return folder


@pytest.mark.slow
def test_a_run_folder_holds_what_it_should(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    assert names == {
        "config.yaml", "provenance.json", "metrics.csv", "evaluation.csv", "timing.csv", "checkpoints", "tensorboard",
    }  # fmt: skip
    provenance = json.loads((whole / "provenance.json").read_text())
    assert provenance["versions"]["jax"]
    assert provenance["revision"]
    assert "train.py" in provenance["command"]
    lines = (whole / "metrics.csv").read_text().splitlines()
    assert len(lines) == 41
    header = lines[0].split(",")
    for name in ("return_raw/seller_0", "return_shaped/seller_2", "price_spread", "fill_rate/seller_1", "entropy", "kl",
                 "explained_variance", "stockout_rate/seller_0", "stock_mean/seller_0", "clipped"):  # fmt: skip
        assert name in header
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "tensorboard"), size_guidance={"histograms": 0})
    events.Reload()
    tags = events.Tags()
    assert {"return/raw/seller_0", "price/mean/seller_1", "speed/market_steps_per_second"} <= set(tags["scalars"])
    assert {"greedy/profit/seller_0", "greedy/shaped/mean", "sampled/entropy/seller_1"} <= set(tags["scalars"])
    assert "price/histogram/seller_0" in tags["histograms"]
    assert "strategy" in tags["images"]
    assert [event.step for event in events.Scalars("price/spread")] == list(range(2, 41, 2))


@pytest.mark.slow
def test_a_run_stopped_then_killed_ends_bit_for_bit_like_one_that_was_not(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(*TINY, "run.tensorboard=false", f"run.folder={folder}")  # three processes need not draw
    wait_for_rows(folder, 4, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert f"go on with: python train.py resume={folder}" in output
    assert "Traceback" not in output
    stopped = len((folder / "metrics.csv").read_text().splitlines())
    assert stopped < 41
    process = start(f"resume={folder}")
    wait_for_rows(folder, stopped + 8, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "checkpoints" / "40").exists()
    done = call("train.py", f"resume={folder}")
    assert done.returncode == 0, done.stderr
    for name in ("metrics.csv", "evaluation.csv"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert final(folder) == final(whole)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("market.foo=1", "market.foo=1: there is no such setting"),
        ("+market.foo=1", "market.foo=1: there is no such setting"),
        (
            "experiment=nope",
            "experiment=nope: accepted is competitive, contamination, cooperative, factorial, fair_promotion, formal",
        ),
        ("market.inventory.lead_time=0", "market.inventory.lead_time=0: accepted is a number of at least 1"),
        ("market.shocks.scale=2.0", "market.shocks.scale=2.0: changes nothing with market.shocks.probability=0"),
        ("resume={root}/docs", "docs: is no run folder"),
    ],
)
def test_a_wrong_command_is_one_line_and_status_two(refusal: Callable[..., str], argument: str, message: str) -> None:
    assert message in refusal("train.py", *argument.format(root=ROOT).split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("resume={run} learner.seed=1", "accepted is nothing, or learner.num_updates, beside it, not 'learner.seed=1'"),
        ("run.folder={run}", "already holds a run; continue it with resume="),
    ],
)
def test_a_run_is_gone_on_with_as_it_was_and_never_written_over(
    whole: Path, refusal: Callable[..., str], argument: str, message: str
) -> None:
    assert message in refusal("train.py", *argument.format(run=whole).split())


@pytest.mark.slow
def test_a_shell_sees_the_same(whole: Path) -> None:
    done = call("train.py", "learner.devices=3")
    assert "learner.num_envs=32: accepted is a multiple of learner.devices" in refused(done.returncode, done.stderr)
    done = call("evaluate.py", f"run={whole}", "episodes=0")
    assert "episodes=0: accepted is a number of at least 1" in refused(done.returncode, done.stderr)


@pytest.mark.slow
def test_a_run_whose_settings_no_longer_fit_its_checkpoint_is_refused(
    whole: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(whole, folder)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("hidden_size: 8", "hidden_size: 16"))
    assert "config.yaml: was changed since it was written" in refusal("train.py", f"resume={folder}")
    told = json.loads((folder / "provenance.json").read_text())
    del told["config_sha256"]  # as the refusal says, and as folders of older versions are
    (folder / "provenance.json").write_text(json.dumps(told))
    assert "the checkpoint has another shape" in refusal("train.py", f"resume={folder}")


@pytest.mark.slow
def test_evaluate_writes_a_report(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    # What guests and forced deviations show is looked at in tests/evaluation.
    done = call("evaluate.py", f"run={whole}", f"out={out}", "episodes=4", "rules=[constant_nash,random]",
                "guests=false", "behaviour=false", "best_response=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Without any: tests/test_installed.py.
    assert "trained" in (out / "best_responses.csv").read_text().splitlines()[0]
    assert f"report: {out / 'report.html'}" in done.stdout
    assert (out / "offers.parquet").exists()
    assert "learned (greedy)" in (out / "summary.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run={root}/docs", "is no run folder"),
        ("", "accepted is at least one run folder"),
    ],
)
def test_evaluate_asks_for_run_folders(refusal: Callable[..., str], arguments: str, message: str) -> None:
    assert message in refusal("evaluate.py", *arguments.format(root=ROOT).split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run={run} rules=[nope]", "rules='nope': accepted is constant_nash"),
        ("run={run} trials.delays=[1]", "trials.delays=[1]: changes nothing with evaluation=report"),
        ("run={run} evaluation=robustness guests=false", "guests=false: changes nothing with evaluation=robustness"),
    ],
)
def test_evaluate_refuses_what_it_cannot_do(
    whole: Path, refusal: Callable[..., str], arguments: str, message: str
) -> None:
    assert message in refusal("evaluate.py", *arguments.format(run=whole).split())


def test_evaluate_starts_the_devices_that_it_may_use(
    refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple] = []
    monkeypatch.setattr("marl_pricing.commands.evaluate.start_cpu_devices", lambda *wanted: started.append(wanted))
    assert "is no run folder" in refusal("evaluate.py", f"run={ROOT / 'docs'}")
    assert started == [()]


@pytest.mark.slow
def test_a_multirun_leaves_a_run_each(tmp_path: Path) -> None:
    folders = f"run.folder={tmp_path}/omega_${{market.reward.omega}}"
    done = call("train.py", "-m", *TINY, "run.tensorboard=false", "market.reward.omega=0.0,1.0", folders)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["omega_0.0", "omega_1.0"]

"""The benchmark of accelerators keeps to its time, and measures nothing on a device that is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accelerator
from benchmarks.accelerator import Budget
from tests.processes import python


def test_work_that_could_take_longer_than_is_left_is_not_begun(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(accelerator.time, "perf_counter", lambda: now[0])
    budget = Budget(10.0)

    def lasting(seconds: float) -> float:
        now[0] += seconds
        return seconds

    assert budget.run("small", "a", lambda: lasting(1.0)) == 1.0
    assert budget.run("large", "b", lambda: lasting(4.0)) == 4.0
    assert budget.run("large", "c", lambda: lasting(4.0)) is None  # 5 are left, it could take 8
    assert budget.run("small", "d", lambda: lasting(1.0)) == 1.0
    assert budget.left_out == ["c"]


def test_a_device_that_is_wrong_is_not_measured(monkeypatch) -> None:
    rows = accelerator.correctness()
    assert all(row["right"] for row in rows)
    right = accelerator.market.step

    def wrong(*given):
        state, seen, outcome = right(*given)
        return state, seen, replace(outcome, sales=outcome.sales * np.float32(1.003))

    monkeypatch.setattr(accelerator.market, "step", wrong)
    with pytest.raises(SystemExit, match=r"expected sales against float64.*: this device is wrong"):
        accelerator.run(1.0, (64,), 8, 1)


@pytest.mark.slow
def test_a_small_run_leaves_a_table_and_a_figure(tmp_path: Path) -> None:
    code = """
        import sys
        from benchmarks import accelerator
        accelerator.CELLS, accelerator.TOGETHER = (("mingru", 16),), 2
        sys.exit(accelerator.main(sys.argv[1:]))
    """
    given = ["--markets", "64", "128", "--envs", "8", "--repeats", "1", "--out", str(tmp_path)]
    done = python(code, set(), *given)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "accelerator.json").read_text())
    names = [row["name"] for row in told["rows"]]
    assert told["left_out"] == [] and sum(name.startswith("training") for name in names) == 1
    assert [row["markets"] for row in told["rows"] if row.get("kind") == "bank"] == [64, 128]
    assert all(row["value"] > 0 for row in told["rows"] if row["name"].startswith(("training", "market")))
    assert "<svg" in (tmp_path / "accelerator.svg").read_text()

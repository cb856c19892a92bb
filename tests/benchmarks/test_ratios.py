"""Ratios of a run beside the stored ones: what fell is named, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import ratios
from benchmarks.figure import draw
from benchmarks.training import CASES

PEAK = {"group": "training", "name": ratios.PEAK, "value": 100.0, "unit": "GFLOP/s", "note": "", "peak_mib": 1.0}


def row(group: str, name: str, value: float, unit: str = "steps/s", **more: float) -> dict:
    return {"group": group, "name": name, "value": value, "unit": unit, "note": "", "peak_mib": 10.0} | more


def rows(speed: float = 1.0, machine: float = 1.0) -> list[dict]:
    """A run on a machine so many times as fast, with sessions so many times as fast."""
    market = "market: 2 sellers, Poisson demand, replenishment"
    return [
        row("market", market, 8.0 * machine, "market steps/s", compile_seconds=1.0),
        row("traffic", "bank: M = 10, N = 3, 1 candidate", 2.0 * speed * machine, "market steps/s"),
        row("training", "training: 64 environments, hidden 64", 5.0 * machine, "seller steps/s", share=0.3,
            compile_seconds=4.0),
        row("cell", "GRU gradient", 1.5, "times as fast as lax.scan's"),
        PEAK,
    ]  # fmt: skip


def test_ratios_are_the_same_on_a_machine_of_another_speed() -> None:
    found = ratios.ratios_of(rows())
    assert found == {
        "training: 64 environments, hidden 64, share of the matmul peak": 0.3,
        "GRU gradient, times as fast as lax.scan's": 1.5,
        "sessions of a bank beside Poisson demand": 0.25,
        "compiling a market beside a training": 0.25,
    }
    assert ratios.ratios_of(rows(machine=3.0)) == found
    assert not ratios.slower(ratios.ratios_of(rows(machine=0.3)), found)


def test_a_fall_of_more_than_the_tolerance_is_named_from_the_largest() -> None:
    stored = ratios.ratios_of(rows())
    assert not ratios.slower(ratios.ratios_of(rows(0.86)), stored)
    found = ratios.ratios_of(rows(0.8)) | {"GRU gradient, times as fast as lax.scan's": 0.75, "new": 0.1}
    assert [str(own) for own in ratios.slower(found, stored)] == [
        "GRU gradient, times as fast as lax.scan's: 0.75, was 1.5 (-50 %)",
        "sessions of a bank beside Poisson demand: 0.2, was 0.25 (-20 %)",
    ]


def test_what_seems_slower_is_measured_once_more_and_only_that(monkeypatch, capsys) -> None:
    stored = ratios.ratios_of(rows())
    asked: list[str] = []

    def again(speed: float):
        def measured(group: str, repeats: int) -> list[dict]:
            asked.append(group)
            return [own for own in rows(speed) if own["group"] == group]

        return measured

    monkeypatch.setattr(benchmarks, "measured", again(1.0))
    assert benchmarks.beside_baseline(rows(0.5), 1, stored) == stored
    assert asked == ["market", "traffic"] and "slower" not in capsys.readouterr().out
    monkeypatch.setattr(benchmarks, "measured", again(0.6))
    benchmarks.beside_baseline(rows(0.5), 1, stored)
    assert capsys.readouterr().out == (
        "slower than the baseline: sessions of a bank beside Poisson demand: 0.15, was 0.25 (-40 %)\n"
    )


def test_a_baseline_is_stored_read_and_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    assert ratios.read(path) == {}
    ratios.write({"a": 0.123456, "b": 2.0}, "2 cores", path)
    assert ratios.read(path) == {"a": 0.123, "b": 2.0}
    ratios.write({"b": 3.0}, "2 cores", path)
    assert ratios.read(path) == {"a": 0.123, "b": 3.0}
    path.write_text(json.dumps({"ratios": {"a": 0.0}}))
    with pytest.raises(ValueError, match=r"baseline.json: a=0.0: accepted is a number above 0"):
        ratios.read(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="is no baseline"):
        ratios.read(path)


def test_the_stored_baseline_is_of_ratios_that_a_run_still_gives() -> None:
    stored = ratios.read()
    trained = {f"training: {own.num_envs} environments, hidden {own.hidden_size}" for own in CASES}
    gone = set(stored) - set(ratios.PAIRS) - {"compiling a market beside a training"}
    assert stored and all(name.startswith(tuple(trained)) or ", times as fast as " in name for name in gone)


def test_the_figure_shows_what_was_measured() -> None:
    own = rows(0.5)
    panels = draw(own, ratios.ratios_of(own), ratios.ratios_of(rows())).axes
    titles = [panel.get_title("left") for panel in panels]
    assert [title.split(",")[0] for title in titles] == [
        "market steps/s", "training", "compile", "peak memory", "ratios"
    ]  # fmt: skip
    assert [label.get_text() for label in panels[1].get_yticklabels()] == ["64 environments, hidden 64"]
    assert len(draw(own, ratios.ratios_of(own), {}).axes) == 4

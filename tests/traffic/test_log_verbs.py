"""The cohort test and the contamination generator, on logs whose kernels are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marl_pricing.traffic import cohorts, kernels
from marl_pricing.traffic.logs import read_log, simulate_events, write_log
from marl_pricing.traffic.logs.__main__ import main
from marl_pricing.traffic.logs.summary import actors_of

PEOPLE, AGENTS = kernels.align(kernels.default_kernels())


def log_of(path: Path, agents: kernels.Kernel, counts: tuple[int, int] = (300, 200)) -> Path:
    both = {"human": PEOPLE, "agent": agents}
    events = simulate_events(both, dict(zip(both, counts, strict=True)), num_items=3, seed=4)
    return write_log(path, events)


def test_contributions_are_the_mean_log_ratio_of_many_sessions() -> None:
    """Against sessions that are walked and their likelihoods, which know nothing of the fundamental matrix."""
    random = np.random.default_rng(2)
    walks = []
    for _ in range(4000):
        walk = [0]
        while walk[-1] != len(AGENTS.states) - 1:
            walk.append(int(random.choice(len(AGENTS.states), p=AGENTS.matrix[walk[-1]])))
        walks.append(np.array(walk))
    ratio = kernels.log_likelihood(walks, AGENTS.matrix) - kernels.log_likelihood(walks, PEOPLE.matrix)
    table = cohorts.transition_contributions(PEOPLE, AGENTS)
    assert abs(table["nats"].sum() - ratio.mean()) < 4 * ratio.std() / np.sqrt(len(ratio))
    counts = kernels.transition_counts(walks, len(AGENTS.states)) / len(walks)
    at = {name: number for number, name in enumerate(AGENTS.states)}
    walked = [counts[at[a], at[b]] for a, b in zip(table["source"], table["destination"], strict=True)]
    np.testing.assert_allclose(table["passages"], walked, atol=0.06)
    assert table["nats"].is_monotonic_decreasing and table["share"].sum() == pytest.approx(1.0)


def test_equal_classes_tell_nothing() -> None:
    table = cohorts.transition_contributions(PEOPLE, PEOPLE)
    assert (table["nats"] == 0).all() and (table["share"] == 0).all()


def test_separability_says_whether_and_by_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = log_of(tmp_path / "log.jsonl", AGENTS)
    assert main(["separability", str(file), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("150 sessions of people, 100 of agents") and "they can be told apart" in said
    gaps = pd.read_csv(tmp_path / "out" / "gaps.csv")
    people, agents = (gaps["gap"][gaps["actor"] == who].to_numpy() for who in ("human", "agent"))
    above = (agents[:, None] > people).mean() + 0.5 * (agents[:, None] == people).mean()
    assert f"with probability {above:.3f}" in said
    first = pd.read_csv(tmp_path / "out" / "transitions.csv").iloc[0]
    assert f"{first['source']} → {first['destination']}" in said
    assert (tmp_path / "out" / "separability.png").exists() and (tmp_path / "out" / "separability.svg").exists()


def test_agents_that_move_as_people_are_not_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of them are judged by kernels that have not seen them: seen, they would seem apart."""
    assert main(["separability", str(log_of(tmp_path / "log.jsonl", PEOPLE))]) == 0
    assert "they cannot be told apart" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mixed.jsonl", "mixed.csv.gz"])
def test_a_log_is_mixed_to_a_share(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = log_of(tmp_path / "log.jsonl", AGENTS, (90, 20)), tmp_path / name
    assert main(["contaminate", str(file), "--share", "0.4", "--out", str(out), "--seed", "3"]) == 0
    assert "90 sessions of people, 60 of agents: a share of 0.4" in capsys.readouterr().out
    before, after = read_log(file), read_log(out)
    counts = actors_of(after.events).value_counts()
    assert counts["human"] == 90 and counts["agent"] == 60
    by = {name: list(own["event"].astype("str")) for name, own in after.events.groupby("session", observed=True)}
    known = {name: list(own["event"].astype("str")) for name, own in before.events.groupby("session", observed=True)}
    assert all(events == known[name.partition("~")[0]] for name, events in by.items())
    assert sum("~" in name for name in by) >= 40
    again = tmp_path / f"again-{name}"
    assert main(["contaminate", str(file), "--share", "0.4", "--out", str(again), "--seed", "3"]) == 0
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["separability", "{people}"], "0 sessions labelled 'agent': accepted are at least four of each class"),
        (["separability", "{log}", "--smoothing", "0"], "smoothing=0.0: accepted is a number above 0"),
        (["separability", "{log}", "--seed", "-1"], "--seed=-1: accepted is a whole number of at least 0"),
        (["separability", "none.jsonl"], "none.jsonl"),
        (["contaminate", "{log}", "--share", "1", "--out", "{out}"], "share=1.0: accepted is a number of at least 0"),
        (["contaminate", "{people}", "--share", "0.2", "--out", "{out}"], "there are no sessions labelled 'agent'"),
        (["contaminate", "{log}", "--share", "0.2", "--out", "{log}"], "accepted is another file than the log itself"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = write_log(tmp_path / "people.jsonl", simulate_events({"human": PEOPLE}, {"human": 5}, 2, seed=1))
    places = {"people": people, "log": log_of(tmp_path / "log.jsonl", AGENTS, (9, 9)), "out": tmp_path / "out.jsonl"}
    assert main([word.format(**places) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not places["out"].exists()

"""Shoppers whose truth is known: who comes, what they accept, and what a shop finds out about them."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from marl_pricing.serving.judging import kernels_of, read_judge
from marl_pricing.serving.schemas import EVENTS
from marl_pricing.serving.shoppers.sessions import NAMES, Crowd, accepted, draw_visits
from marl_pricing.serving.sqlite_log import SqliteLog
from marl_pricing.traffic.events import PURCHASE, canonical
from tests.processes import ROOT
from tests.serving.running import running

PRODUCTS = {"hotel": ["a", "b", "c"], "airline": ["d"]}


def _kernels() -> dict:
    return dict(zip(("human", "agent"), kernels_of("storefront"), strict=True))


def test_who_comes_is_who_was_asked_for() -> None:
    crowd = Crowd(0.25, 0.4, {"human": -1.0, "agent": -2.0}, 0.5, 0.1)
    visits = draw_visits(_kernels(), PRODUCTS, 2.0, 2000.0, crowd, 1)
    kinds = Counter((own.actor, own.kind) for own in visits)
    people, alone, recon = kinds["human", "plain"], kinds["agent", "plain"], kinds["agent", "recon"]
    came = people + alone + recon
    assert came == pytest.approx(4000, abs=4 * math.sqrt(4000)) and kinds["agent", "clean"] == recon
    assert (alone + recon) / came == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / came))
    assert recon / (alone + recon) == pytest.approx(0.4, abs=4 * math.sqrt(0.24 / (alone + recon)))
    assert sum(own.mode == "hotel" for own in visits) / len(visits) == pytest.approx(0.75, abs=0.03)
    # People propose as many purchases as their kernel makes, and the words are the storefront's and read back.
    proposed = sum(step.state == PURCHASE for own in visits if own.actor == "human" for step in own.steps)
    assert proposed / people == pytest.approx(_kernels()["human"].purchase_rate, abs=4 * 0.5 / math.sqrt(people))
    states = {step.state for own in visits for step in own.steps}
    assert {NAMES[own] for own in states} <= set(EVENTS) and "login" not in states
    assert all(canonical(NAMES[own]) == own for own in states - {"home", "listing"})
    # Nothing in a recon session is bought; a clean one goes straight, after its recon.
    begins = {own.name: own.begins + own.steps[-1].after for own in visits}
    for own in visits:
        if own.kind == "recon":
            assert not {step.state for step in own.steps} & {"add_item", "checkout", PURCHASE}
        elif own.kind == "clean":
            assert own.recon is not None and own.begins > begins[own.recon]
    assert len({own.name for own in visits}) == len(visits)
    assert draw_visits(_kernels(), PRODUCTS, 2.0, 50.0, crowd, 1) == draw_visits(
        _kernels(), PRODUCTS, 2.0, 50.0, crowd, 1
    )


def test_a_price_is_accepted_by_constant_elasticity() -> None:
    draws = np.random.default_rng(0).random(50_000)
    for price, chance in ((100.0, 0.4), (120.0, 0.4 * 1.2**-2.0), (50.0, 1.0)):
        found = np.mean([accepted(draw, price, 100.0, -2.0, 0.4) for draw in draws])
        assert found == pytest.approx(chance, abs=0.01)


def _visit(arguments: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "marl_pricing.serving.shoppers", *arguments], capture_output=True, text=True,
        check=False, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("events=ftp://x", "accepted is an address as http://127.0.0.1:5000"),
        ("rate=0", "rate=0"),
        ("start=yesterday", "accepted is a time as"),
        ("events=http://127.0.0.1:9", "is the shop there"),
    ],
)
def test_what_cannot_be_visited_is_a_line(given: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    from marl_pricing.serving.shoppers.__main__ import main

    assert main([given]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def _auc(agents: np.ndarray, people: np.ndarray) -> tuple[float, float]:
    """The area under the curve and its standard error (Hanley and McNeil 1982)."""
    ranks = rankdata(np.concatenate([agents, people]))
    m, n = len(agents), len(people)
    area = (ranks[:m].sum() - m * (m + 1) / 2) / (m * n)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    return area, math.sqrt((area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (m * n))


@pytest.mark.slow
def test_a_shop_learns_of_its_shoppers_what_is_true(tmp_path: Path) -> None:
    """Over HTTP: agents are told from people as in the simulator, what was bought is counted, and arms are alike."""
    settings = ("clock=events", "survives=kill", "kernels=fallback", "lateness=300", "experiment=a", "pricer=static")
    with running(
        tmp_path / "shop", *settings, "arms={static: 0.5, surge: 0.5}", "surge_high=1e9", "surge_low=0"
    ) as own:
        done = _visit(
            [
                f"events={own.addresses['events']}", f"prices={own.addresses['prices']}", "rate=1", "seconds=2400",
                "speed=100", "agents=0.4", "recon=0", "accepts=1", "elasticity=0", "agents_elasticity=0", "again=0.05",
                f"out={tmp_path / 'truth.csv'}", "seed=3",
            ]
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = own.ask(own.board, "GET", "/data")
        own.end()
    with (tmp_path / "truth.csv").open() as file:
        truth = {row["session"]: row for row in csv.DictReader(file)}
    log = SqliteLog(tmp_path / "shop" / "events.sqlite")
    posted = [record for record in log.read(1, 1_000_000) if record.topic == "user-interactions"]
    judge = read_judge("fallback", 0.4)
    paths: dict[str, list[list[int]]] = defaultdict(list)
    orders = 0
    for record in posted:
        event = json.loads(record.body)
        orders += event["eventName"] == "purchase_complete"
        if (state := judge.code(event["eventName"])) is not None:
            paths[record.key].append([record.stamp, state])
    assert orders == sum(row["bought"] == "1" for row in truth.values()) > 100
    chance = {actor: [] for actor in ("agent", "human")}
    for name, row in truth.items():
        chance[row["actor"]].append(judge.chance(sorted(paths[name])))
    area, error = _auc(np.array(chance["agent"]), np.array(chance["human"]))
    print(f"\nAUC over HTTP {area:.3f} ± {error:.3f}, in the simulator 0.697; {len(truth)} sessions")
    assert abs(area - 0.697) < 3 * error
    # Both arms ask base prices: an A/A test. Every session that is over is in one of them.
    arms = told["arms"]
    assert set(arms) == {"static", "surge"}
    uplift = arms["surge"]["uplift"]["revenue"]
    assert uplift["low"] is None or uplift["low"] <= 0 <= uplift["high"]

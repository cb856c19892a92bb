"""From a log whose shoppers are known to a candidate: what is estimated is what was true, and it is registered."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from marl_pricing.config.behaviour import read_kernels
from marl_pricing.config.command_line import read_command_line
from marl_pricing.config.errors import ConfigError, validate
from marl_pricing.serving.__main__ import main
from marl_pricing.serving.promoting import VERBS
from marl_pricing.serving.refit.behaviour import estimate
from marl_pricing.serving.refit.reading import read_history
from marl_pricing.serving.refit.working import RefitSettings, refit
from marl_pricing.serving.registry import active, entries
from marl_pricing.serving.schemas import interaction, price_shown
from marl_pricing.traffic import kernels
from marl_pricing.traffic.events import END, PURCHASE, START
from marl_pricing.traffic.logs.simulation import walk
from tests.processes import ROOT
from tests.serving.asking import T0, shop, stamp
from tests.sizes import at_once

CATALOGUE = """id,mode,name,base_price,cost,floor,cap,stock
a,hotel,A,1.50,1,1.05,3,
b,hotel,B,1.60,1,1.05,3,
c,hotel,C,9,1,1,20,
"""
SLOPE, QUALITY = -4.0, np.array([6.6, 6.8])  # of the logit of what a shopper likes
NAMES = {
    "add_item": "add_item_to_cart", "view_item": "view_item_page", "learn_more": "learn_more_about_item",
    "checkout": "checkout_start", "remove": "remove_item",
}  # fmt: skip


def walked(kernel: kernels.Kernel, count: int, drawn: np.random.Generator) -> list[list[str]]:
    session, state = walk(kernel, count, drawn)
    words = np.asarray(kernel.states, object)[state]
    return [
        [name for name in part if name not in (START, END)]
        for part in np.split(words, np.flatnonzero(np.diff(session)) + 1)
    ]


def fill(folder: Path, windows: int, per_window: int, share: float) -> None:
    """A log of people and agents who see prices that move at random, and take them by a logit."""
    (folder / "shop.csv").write_text(CATALOGUE)
    drawn = np.random.default_rng(7)
    own, theirs = kernels.default_kernels()
    with shop(folder / "shop", catalogue=str(folder / "shop.csv"), pricer="static") as live:
        for window in range(windows):
            prices = drawn.uniform(1.2, 2.2, 2).round(2)
            appeal = np.exp(QUALITY + SLOPE * prices)
            chances = appeal / (1.0 + appeal.sum())
            agents = int(drawn.binomial(per_window, share))
            paths = walked(own, per_window - agents, drawn) + walked(theirs, agents, drawn)
            batch = []
            for number, path in enumerate(paths):
                session, at = f"{window}-{number}", 300.0 * window + 1 + number
                product = "ab"[int(drawn.integers(2))]
                common = {"sessionId": session, "storeMode": "hotel", "productId": product}
                for name, price in zip("ab", prices, strict=True):
                    told = {**common, "productId": name, "price": float(price), "ts": stamp(at)}
                    batch.append(price_shown(told, T0, wall=False))
                looked = [name for name in path if name != PURCHASE]
                for place, name in enumerate(looked):
                    event = {"eventName": NAMES.get(name, name), "page": "/", "ts": stamp(at + place / 10)}
                    batch.append(interaction(common | event, T0, wall=False))
                chosen = drawn.random() < chances.cumsum()
                if chosen.any():
                    event = {"eventName": "purchase_complete", "page": "/", "ts": stamp(at + len(looked) / 10)}
                    bought = {**common, "productId": "ab"[int(chosen.argmax())]}
                    batch.append(interaction(bought | event, T0, wall=False))
            live.service.writer.submit(lambda log, batch=batch: log.append(batch)).result(60)
        live.service.settle()


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("refit")
    fill(folder, 60, 30, 0.3)
    return folder / "shop"


def test_a_history_is_what_was_sold_at_the_prices_that_were_shown(filled: Path) -> None:
    history = read_history(filled, 1, None, None)
    assert len(history.sales) == 58 * 3 and history.most == 30 and 28 < history.sessions <= 30
    sold = [sale for sale in history.sales if sale.product == "a"]
    assert {sale.cost for sale in sold} == {1.0} and min(sale.price for sale in sold) >= 1.2
    assert np.corrcoef([sale.price for sale in sold], [sale.units for sale in sold])[0, 1] < -0.4
    assert {sale.price for sale in history.sales if sale.product == "c"} == {9.0}  # nobody was shown one
    part = read_history(filled, 2000, 4000, 600.0)
    assert part.last == 4000 and len({sale.period for sale in part.sales}) < 20
    for given, told in (((10**9, None), "first=1000000000"), ((1, 10**9), "last=1000000000")):
        with pytest.raises(ConfigError, match=told):
            read_history(filled, *given, None)


@pytest.mark.parametrize("power", at_once([0.6, 1.6]))
def test_a_shops_own_behaviour_is_found_without_labels(power: float, tmp_path: Path) -> None:
    """The shop's rows are flatter or steeper than the kernels that the estimate begins with, in both classes."""
    drawn, begun = np.random.default_rng(1), kernels.default_kernels()
    shapes = [own.matrix**power for own in begun]
    human, agent = (
        kernels.Kernel(own.states, shape / shape.sum(1, keepdims=True))
        for own, shape in zip(begun, shapes, strict=True)
    )
    found = estimate(walked(human, 6000, drawn) + walked(agent, 3000, drawn), begun, 0.2, 100.0)
    assert not found.unknown
    # The two are near each other (AUC 0.7), so that the share is known to 0.2; people's rows are learned all the same.
    assert abs(found.share - 1 / 3) < 0.2
    off = [abs(one - human.matrix).sum() for one in (found.human, begun[0].matrix)]
    assert off[0] < 0.25 * off[1]
    off = [abs(one - agent.matrix).sum() for one in (found.agent, begun[1].matrix)]
    assert off[0] < 1.05 * off[1]
    (tmp_path / "kernels.yaml").write_text(yaml.safe_dump(found.rows()))
    back = read_kernels(str(tmp_path / "kernels.yaml"))
    assert abs(back[1].matrix - found.agent).max() < 1e-4


@pytest.mark.slow
def test_a_refit_ends_in_a_candidate(filled: Path, capsys) -> None:
    small = ["learner.num_envs=32", "learner.hidden_size=16", "market.episode_length=32"]
    given = [f"out={filled}", "updates=25", "episodes=4", f"train=[{','.join(small)}]"]
    assert main(["refit", *given]) == 0
    printed = capsys.readouterr().out.splitlines()
    (into,) = (filled / "refits").iterdir()
    told = json.loads((into / "refit.json").read_text())
    assert sorted(told["products"]) == ["a", "b"] and told["pricer"] == "static" and told["periods"] == 58
    assert abs(told["agents"] - 0.3) < 0.15
    slope = yaml.safe_load((into / "market" / "market.yaml").read_text())["estimates"]["slope"]
    assert slope["interval"][0] < SLOPE < slope["interval"][1]
    # Prices were drawn at random; what is trained on the truth's estimate earns more than they do.
    replayed = told["replay"]
    assert replayed["candidate"] > replayed["expected"] and replayed["uplift"] > 2 * replayed["error"]
    assert abs(replayed["expected"] - replayed["logged"]) < 0.2 * replayed["logged"]
    assert any(line.startswith("candidate: ") for line in printed)
    (entry,) = entries(filled)
    assert entry["action"] == "candidate" and active(filled) is None
    promoted = main(["promote", f"out={filled}", f"policy={into}/policy.npz", f"evaluation={into}/evaluation"])
    assert promoted == 0 and active(filled) == entry["policy"]
    assert main(["refit", *given]) == 2
    assert "accepted is a folder that is not there or empty" in capsys.readouterr().err


def test_the_dag_calls_verbs_that_there_are(monkeypatch) -> None:
    """Executed with a stand-in for Airflow that keeps what each operator would run."""
    made: list[Any] = []

    class Operator:
        def __init__(self, task_id: str, bash_command: str) -> None:
            self.command, self.after = bash_command, None
            made.append(self)

        def __rshift__(self, other: Operator) -> Operator:
            other.after = self
            return other

    class Dag:
        def __init__(self, **given: Any) -> None:
            assert given["dag_id"] == "refit_shop" and given["catchup"] is False

        __enter__ = lambda own: own  # noqa: E731
        __exit__ = lambda own, *error: None  # noqa: E731

    for name, content in (("airflow", {"DAG": Dag}), ("airflow.operators", {}), ("airflow.operators.bash", {})):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**content))
    sys.modules["airflow.operators.bash"].BashOperator = Operator  # type: ignore[attr-defined]
    runpy.run_path(str(ROOT / "examples" / "airflow" / "refit_shop.py"))
    refits, candidates = made
    assert candidates.after is refits
    for own in made:
        # Airflow's templates, as it would fill them.
        command = re.sub(r"\{\{[^}]*get\('shop_products'[^}]*\}\}", "[hotel-twin]", own.command)
        called = shlex.split(re.sub(r"\{\{[^}]*\}\}", "night", command))
        assert called[:3] == ["python", "-m", "marl_pricing.serving"]
        kind, _ = VERBS[called[3]]
        found = validate(kind, read_command_line(called[4:], texts=["out", "into"]))
        assert found.out == "night"


def test_a_refit_says_what_it_cannot_do(tmp_path: Path, filled: Path) -> None:
    def refused(**given) -> str:
        with pytest.raises(ConfigError) as error:
            refit(RefitSettings(**{"out": str(filled), "into": str(tmp_path / "into")} | given))
        return str(error.value)

    assert "a shop's folder, with events.sqlite" in refused(out=str(tmp_path))
    assert refused(products=["x"]) == "products='x': accepted is ids of the catalogue"
    assert refused(products=["c"]).startswith("products='c': accepted is products whose price has moved")

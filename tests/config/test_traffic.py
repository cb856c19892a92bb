"""Visitors from files: kernels, logs, funnels."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
import yaml

from marl_pricing.config import ConfigError
from marl_pricing.traffic import kernels, logs
from marl_pricing.traffic.kernels import storefront_kernels
from marl_pricing.traffic.logs import simulate_events, write_log
from tests.traffic.visitors import epochs, with_sessions

FUNNEL = "Administrative,Informational,ProductRelated,Revenue\n"


def rows(human: dict, agent: dict | None = None) -> dict:
    return {"human": human, "agent": agent or human}


PLAIN = {
    "session_start": {"view_item": 1.0},
    "view_item": {"view_item": 0.5, "purchase": 0.2, "session_end": 0.3},
    "purchase": {"session_end": 1.0},
}


def test_kernels_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "kernels.yaml"
    path.write_text(yaml.safe_dump(rows(PLAIN)))
    own = with_sessions("chain", traffic={"kernels": str(path)})
    np.testing.assert_allclose(own.params.traffic.purchase_rate, 0.4, rtol=1e-4)


def test_generic_states_of_a_file_and_of_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "kernels.yaml"
    path.write_text(yaml.safe_dump(rows(PLAIN) | {"generic": ["view_item"]}))
    for own, generic in (({"kernels": str(path)}, True), ({"kernels": str(path), "generic": []}, False)):
        params = with_sessions("chain", traffic=own).params.traffic
        assert float(params.session_events[0]) == pytest.approx(0.0 if generic else 2.0, rel=1e-3)
    with pytest.raises(ConfigError, match=r"traffic.generic='home': accepted are events of the kernel but purchase"):
        with_sessions("bank", traffic={"generic": ["home"]})


@pytest.mark.slow
def test_events_of_a_log_that_never_have_an_item_are_generic(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    shop = dict(zip(("human", "agent"), storefront_kernels(), strict=True))
    write_log(path, simulate_events(shop, {"human": 300, "agent": 300}, 3, seed=1))
    own = with_sessions("chain", traffic={"log": str(path)}).params.traffic
    logged = with_sessions("bank", traffic={"log": str(path), "bank": {"source": "log", "size": 512}}).params.traffic
    plain = with_sessions("chain", traffic={"log": str(path), "generic": []}).params.traffic
    seen = [float(each.session_events[0]) for each in (own, logged, plain)]
    people = storefront_kernels()[0]
    expected = people.visits @ (people.weights * people.product * (np.array(people.states) != "purchase"))
    assert seen[0] == pytest.approx(expected, rel=0.15) and seen[1] == pytest.approx(seen[0], rel=0.15)
    assert seen[2] > 1.2 * seen[0]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("human: [", "line 1: is not YAML"),
        ({"human": PLAIN}, "accepted are two groups, human and agent"),
        (rows({"session_start": 3}), "human: accepted is {event: {next event: probability}}"),
        (rows(PLAIN | {"view_item": {"view_item": -0.5}}), "human: view_item -> view_item = -0.5"),
        (rows(PLAIN | {"view_item": {"view_item": float("nan")}}), "human: view_item -> view_item = nan"),
        (rows(PLAIN | {"view_item": {"view_item": 0.7, "purchase": 0.7}}), "human: row view_item sums to 1.4"),
        (rows(PLAIN, PLAIN | {"view_item": {"view_item": 1.0}}), "agent: a session in session_start never ends"),
        (rows(PLAIN | {"view_item": {"view_item": "much"}}), "human: view_item -> view_item = 'much'"),
        (rows({"session_start": {"view_item": 0.5}, "view_item": {}}), "no purchase event"),
    ],
)
def test_a_bad_kernel_file_is_refused(tmp_path: Path, data, told: str) -> None:
    path = tmp_path / "kernels.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    with pytest.raises(ConfigError) as caught:
        with_sessions("chain", traffic={"kernels": str(path)})
    assert told in str(caught.value)


@pytest.fixture(scope="module")
def log_file(tmp_path_factory) -> Path:
    """A labelled log of 3,000 simulated sessions."""
    human, agent = kernels.default_kernels()
    events = logs.simulate_events({"human": human, "agent": agent}, {"human": 2000, "agent": 1000}, 5, 0)
    path = tmp_path_factory.mktemp("log") / "clicks.csv.gz"
    logs.write_log(path, events, "whoclickedit")
    return path


@pytest.mark.parametrize("source", ["kernels", "log"])
def test_a_labelled_log_makes_the_sessions(log_file: Path, source: str) -> None:
    own = with_sessions(
        "bank", sessions=40, traffic={"log": str(log_file), "bank": {"source": source, "size": 4096}, "smoothing": 0.5}
    )
    rate = np.asarray(own.params.traffic.purchase_rate)
    exact = [kernel.purchase_rate for kernel in kernels.default_kernels()]
    for got, wanted, count in zip(rate, exact, (2000, 1000), strict=True):
        assert abs(got - wanted) < 4 * np.sqrt(wanted * (1 - wanted) * (1 / count + 1 / 4096))
    assert epochs(own, 50).orders.sum() > 0


def test_kinds_of_behaviour_are_mixed(log_file: Path) -> None:
    own = with_sessions("chain", traffic={"log": str(log_file), "kinds": 3})
    shares = np.asarray(own.params.traffic.sessions.kind_shares)
    np.testing.assert_allclose(shares.sum(-1), 1.0, rtol=1e-5)


def funnel_file(path: Path, pages: float, buying: float, count: int = 400, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    views, buys = random.poisson(pages, count), random.random(count) < buying
    path.write_text(FUNNEL + "".join(f"0,1,{v},{str(bool(b)).upper()}\n" for v, b in zip(views, buys, strict=True)))
    return path


def pages_and_purchases(own, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Pages and purchases of people's sessions in the market's bank."""
    from marl_pricing.traffic import bank

    kernel_states = own.params.traffic.sessions.weights
    # Pages are events of discovery and of filtering: weights 1 and 0.5 of the vocabulary.
    pages = ((kernel_states == 1.0) | (kernel_states == 0.5)).astype(np.float32)
    params = own.params.traffic.sessions.replace(weights=pages)
    filled = bank.fill(jax.random.key(3), own.shape.traffic, params, count)
    return np.asarray(filled.weight.sum(-1)[0]), np.asarray(filled.purchases.sum(-1)[0])


def agrees(own, pages: float, buying: float) -> bool:
    seen, bought = pages_and_purchases(own)
    errors = [x.std() / np.sqrt(x.size) for x in (seen, bought)]
    return abs(seen.mean() - pages) <= 4 * errors[0] and abs(bought.mean() - buying) <= 4 * errors[1]


def test_people_take_length_and_conversion_of_a_funnel(tmp_path: Path) -> None:
    path = funnel_file(tmp_path / "funnel.csv", 6.0, 0.1)
    table = np.genfromtxt(path, delimiter=",", skip_header=1, dtype=str)
    pages, buying = table[:, 1:3].astype(float).sum(1).mean(), (table[:, 3] == "TRUE").mean()
    settings = {"human": {"match": str(path)}, "max_events": 200}
    assert agrees(with_sessions("bank", traffic=settings), pages, buying)
    assert not agrees(with_sessions("bank"), pages, buying)


UCI = Path(__file__).parents[3] / "shared" / "data" / "online_shoppers_intention.csv"


@pytest.mark.skipif(not UCI.exists(), reason="the real funnel lies beside the repository where there is one")
def test_people_take_length_and_conversion_of_the_real_shop() -> None:
    own = with_sessions("bank", traffic={"human": {"match": str(UCI)}, "max_events": 600})
    assert agrees(own, 34.586, 0.15474)


def test_sessions_longer_than_the_limit_are_refused(tmp_path: Path) -> None:
    path = funnel_file(tmp_path / "funnel.csv", 30.0, 0.1)
    with pytest.raises(ConfigError, match=r"traffic\.max_events=40: accepted is at least \d+ for sessions as long"):
        with_sessions("bank", traffic={"human": {"match": str(path)}})


@pytest.mark.parametrize(
    ("traffic", "told"),
    [
        ({"process": {"kind": "drift", "low": 0.3, "high": 0.5}}, "traffic.agent_share=0.25: accepted is between"),
        ({"process": {"kind": "burst", "high": 0.2}}, "traffic.process.high=0.2: accepted is above"),
        ({"process": {"low": 0.7, "high": 0.5}}, "traffic.process.low=0.7: accepted is at most"),
        ({"agent_share": -0.1}, "traffic.agent_share=-0.1"),
        ({"agent_share": float("nan")}, "traffic.agent_share"),
        ({"sessions_per_epoch": 0}, "traffic.sessions_per_epoch=0"),
        ({"temperature": 0}, "traffic.temperature=0"),
        ({"comparison": 2}, "traffic.comparison=2"),
        ({"model": "scripted"}, "traffic.model='scripted': accepted is another model with fewer than 3 offers"),
        ({"model": "analytic", "comparison": 0.5}, "traffic.comparison=0.5: accepted is 0"),
        ({"model": "analytic", "markup": {"strength": 0.2}}, "traffic.markup.strength=0.2: accepted is 0"),
        ({"model": "chain", "bank": {"refresh": True}}, "traffic.bank.refresh=True: accepted is false"),
        ({"bank": {"slots": 0}}, "traffic.bank.slots=0"),
        ({"max_events": 0}, "traffic.max_events=0"),
        ({"kernels": "a.yaml", "log": "b.csv"}, "traffic.kernels='a.yaml': accepted is null where traffic.log"),
        ({"script": {"weights": [1.0]}}, "traffic.script.weights=[1.0]: accepted is a list of at least 3"),
        ({"human": {"match": "nowhere.csv"}}, "traffic.human.match: nowhere.csv"),
    ],
)
def test_what_traffic_cannot_be_is_refused(traffic: dict, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_sessions("bank", traffic=traffic)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_agents_need_a_class() -> None:
    for traffic, told in (
        ({"agent_share": 0.0, "comparison": 0.5}, r"traffic\.comparison=0\.5"),
        ({"agent_share": 0.0, "process": {"kind": "drift"}}, r"traffic\.process\.kind='drift'"),
    ):
        with pytest.raises(ConfigError, match=told):
            with_sessions("bank", agent=None, traffic=traffic)
    people = with_sessions("bank", agent=None, agent_share=0.0)
    assert people.shape.demand.num_classes == 1
    assert epochs(people, 20).orders.shape == (20, 1, 1, 2)
    assert epochs(people, 20, shares=[0.0, 0.5]).orders.shape == (20, 2, 1, 2)

"""Events (a, i, t, μ, δ): times of sessions, what detectors make of them, and what sessions say of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from marl_pricing.config import ConfigError
from marl_pricing.traffic import detection, kernels, logs, timing
from marl_pricing.traffic.cohorts import declaration_rates, heuristic, score_sessions
from marl_pricing.traffic.events import DWELL, GAPS
from tests.markets import make, within
from tests.traffic.visitors import conditions, epochs, with_sessions

LAWS = jnp.asarray([GAPS["human"], GAPS["agent"]])
SHOP = dict(zip(("human", "agent"), kernels.storefront_kernels(), strict=True))


def timed(detector: str = "timed", **traffic):
    own = {"detector": detector, "kernels": "storefront", "max_events": 80, "bank": {"size": 16_384}}
    return {"model": "bank", "sessions": 40, "agent_share": 0.4, "traffic": own | traffic}


@pytest.fixture(scope="module")
def log_file(tmp_path_factory) -> Path:
    events = logs.simulate_events(SHOP, {"human": 1500, "agent": 1500}, 3, seed=4)
    return logs.write_log(tmp_path_factory.mktemp("log") / "log.jsonl", events)


@pytest.mark.slow
def test_events_have_times() -> None:
    """Durations and dwell of drawn sessions: gamma sums, by class; without a purchase a session is shorter."""
    rows = with_sessions(**timed()).params.traffic.sessions.bank
    clock, bought = rows.times, np.asarray(rows.purchases.sum(-1))
    for y, actor in enumerate(("human", "agent")):
        length = np.asarray(clock.length[y])
        whole = SHOP[actor].mean_length
        assert within(length.mean(), whole, length.std() / 128)
        for seconds, count, (shape, scale) in (
            (clock.duration, np.maximum(length - 1, 0), GAPS[actor]),
            (clock.refused_duration, np.maximum(length - bought[y] - 1, 0), GAPS[actor]),
        ):
            off = np.asarray(seconds[y]) - count * shape * scale
            assert within(off.mean(), 0.0, off.std() / 128)
            spread = off[count > 0] ** 2 / (count[count > 0] * shape * scale**2)
            assert within(spread.mean(), 1.0, spread.std() / len(spread) ** 0.5)
        hovers = [SHOP[actor].states.index(f"hover_{what}") for what in ("title", "paragraph", "link")]
        expected = SHOP[actor].visits[hovers].sum() * np.prod(DWELL[actor])
        assert within(clock.dwell[y].mean(), expected, clock.dwell[y].std() / 128)
    assert (clock.refused_duration <= clock.duration).all()
    assert with_sessions("bank").params.traffic.sessions.bank.times is None


@pytest.mark.slow
def test_times_are_estimated_from_a_log(log_file: Path) -> None:
    events = logs.read_log(log_file).events
    own = with_sessions("bank", traffic={"log": str(log_file), "detector": "timed", "times": {"source": "log"}})
    laws = own.params.traffic.sessions.times
    for y, actor in enumerate(("human", "agent")):
        for found, known in ((laws.gaps[y], GAPS[actor]), (laws.dwell[y], DWELL[actor])):
            np.testing.assert_allclose(found, known, rtol=0.12)
        values = timing.gaps_of(events, actor)
        shape, _, scale = stats.gamma.fit(values[values > 0], floc=0)
        np.testing.assert_allclose(timing.fit_gamma(values), (shape, scale), rtol=1e-3)
    features = logs.session_features(events)
    for actor in ("human", "agent"):
        times = logs.times_of(events, actor)
        kept = features[features["actor"] == actor]
        assert [len(seconds) for seconds, _ in times] == kept["events"].tolist()
        last = [seconds[-1] if len(seconds) else 0.0 for seconds, _ in times]
        np.testing.assert_allclose(last, kept["duration_seconds"], atol=1e-6)
    with pytest.raises(timing.TimingError, match="1 times above 0: accepted are at least two"):
        timing.fit_gamma(np.array([0.0, 3.0, np.nan]))


def test_a_timing_ratio_is_that_of_every_gap() -> None:
    """Of equal shapes the sum is sufficient: its ratio is the product of the gaps' own density ratios."""
    gaps = np.random.default_rng(0).gamma(2.0, 1.3, (50, 7))
    each = stats.gamma(2.0, scale=0.6).logpdf(gaps) - stats.gamma(2.0, scale=3.0).logpdf(gaps)
    ratio = detection.timing_ratio(jnp.full(50, 7.0), jnp.asarray(gaps.sum(1), jnp.float32), LAWS)
    np.testing.assert_allclose(ratio, each.sum(1), rtol=1e-3, atol=1e-3)
    nothing = detection.timing_ratio(jnp.array([0.0, -1.0, 2.0]), jnp.array([0.0, 0.0, 0.0]), LAWS)
    assert (nothing == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("source", ["kernels", "log"])
def test_velocity_tells_agents_from_people(log_file: Path, source: str) -> None:
    areas = {}
    for detector in ("kernels", "timed"):
        traffic = {"log": str(log_file), "detector": detector, "times": {"source": "log"}}
        own = with_sessions("bank", traffic=traffic | {"bank": {"size": 2048, "source": source}})
        rows = own.params.traffic.sessions.bank
        areas[detector] = [detection.area(*np.asarray(part)) for part in (rows.log_ratio, rows.gap, rows.refused_gap)]
    assert max(areas["kernels"]) < 0.85 and min(areas["timed"]) > 0.93


@pytest.mark.slow
@pytest.mark.parametrize("model", ["bank", "chain"])
def test_the_rule_flags_sessions_of_every_model(model: str) -> None:
    """The market's scores are the prototype's rule on the sessions' features, and tell the share of agents."""
    quick = {"times": {"agent_gap": [2.0, 0.6], "human_gap": [2.0, 4.0]}}
    own = with_sessions(**timed("rule", **quick) | {"model": model})
    rows = with_sessions(**timed("rule", **quick)).params.traffic.sessions.bank
    tables = []
    for taken in (1.0, 0.0):
        bought = np.asarray(rows.purchases.sum(-1))
        events = np.asarray(rows.times.length) - (1 - taken) * bought
        seconds = np.asarray(rows.times.duration if taken else rows.times.refused_duration)
        table = pd.DataFrame(
            {
                "events": events.ravel(),
                "velocity": (events / (seconds + 1e-6)).ravel(),
                "conversion": (taken * bought / (np.asarray(rows.views) + 1e-6)).ravel(),
            }
        )
        tables.append(heuristic(table).to_numpy().reshape(events.shape).mean(1))
    means = own.params.traffic.sessions.mean_scores, own.params.traffic.sessions.refused_scores
    np.testing.assert_allclose(means, tables, rtol=1e-4)
    assert tables[0][1] > 5 * tables[0][0]
    got = epochs(own, 1500, found=conditions(own, [1.7, 1.8]))
    people, agents = got.class_scores[0, 0]
    assert set(np.unique(got.scores)) == {0.0, 1.0}
    mean = got.mean_score[:, 0]
    assert within(mean.mean(), 0.6 * people + 0.4 * agents, mean.std() / 1500**0.5 + 0.003)


# ---- identity

RATES = {"declared": 0.3, "verified": 0.2, "people_declared": 0.05}


def test_prior_odds_by_declaration_are_calibrated_for_those_too_who_say_nothing() -> None:
    """Of the sessions that say one thing, as many are agents' as the posterior says; silence is evidence too."""
    random, alpha, number = np.random.default_rng(1), 0.4, 40_000
    rates = np.array([[0.95, 0.05, 0.0], [0.5, 0.3, 0.2]])
    odds = detection.declaration_odds(rates)
    np.testing.assert_allclose(odds[:2], np.log([0.5 / 0.95, 0.3 / 0.05]), rtol=1e-12)
    agent = random.random(number) < alpha
    said = np.where(agent, random.choice(3, number, p=rates[1]), random.choice(3, number, p=rates[0]))
    # A score of behaviour besides: normal, a standard deviation apart, so that its log ratio is x − ½.
    ratio = random.normal(agent, 1.0) - 0.5
    told = detection.posterior(ratio, alpha, odds[said])
    blind = detection.posterior(ratio, alpha)
    for what in range(3):
        own = said == what
        assert told[own].mean() == pytest.approx(agent[own].mean(), abs=0.01)
    silent = said == 0
    assert blind[silent].mean() - agent[silent].mean() > 0.05  # who does not ask takes the silent for agents too often
    assert (told[said == 2] > 0.999).all()
    with pytest.raises(ValueError, match="accepted are two rows of shares"):
        detection.declaration_odds(np.array([[0.5, 0.6], [0.5, 0.5]]))


@pytest.mark.slow
def test_declarations_move_suspicion_and_leave_the_share_unbiased() -> None:
    own, plain = (with_sessions("bank", sessions=40, agent_share=0.4, traffic=t) for t in ({"identity": RATES}, {}))
    found = conditions(own, [1.5, 1.7])
    got, same = (epochs(each, 3000, found=found) for each in (own, plain))
    for name in ("orders", "events", "visits"):
        np.testing.assert_array_equal(getattr(got, name), getattr(same, name))
    people, agents = got.class_scores[0, 0]
    estimate = (got.mean_score[:, 0] - people) / (agents - people)
    assert within(estimate.mean(), 0.4, estimate.std() / 3000**0.5)
    blind = (same.mean_score[:, 0] - same.class_scores[0, 0, 0]) / np.diff(same.class_scores[0, 0])
    assert estimate.std() < 0.6 * blind.std()  # what is said tells more than how it was browsed
    together = epochs(own, 20, shares=[0.1, 0.7], found=found)
    for place, share in enumerate((0.1, 0.7)):
        np.testing.assert_allclose(together.scores[:, place], epochs(own, 20, [share], found).scores[:, 0], rtol=1e-5)


def test_logs_keep_identity_filters_and_texts(tmp_path: Path) -> None:
    words = {"session": ["a", "a", "b", "c"], "actor": ["agent", "agent", "human", "agent"]}
    words |= {"event": ["filter_price", "hover_title", "search", "search"], "dwell_ms": [np.nan, 800.0, np.nan, np.nan]}
    words |= {"declared": [None, "verified", "none", None], "filters": [json.dumps({"max": 20}), None, None, None]}
    words |= {"element_text": [None, "Käse, reif", None, None]}
    words |= {"time": [pd.Timestamp(f"2026-01-05T10:00:0{second}Z") for second in range(4)]}
    events = logs.tidy(pd.DataFrame(words))
    for schema, name in (("p4p", "log.jsonl"), ("whoclickedit", "log.csv")):
        read = logs.read_log(logs.write_log(tmp_path / name, events, schema)).events
        for column in ("declared", "filters", "element_text", "dwell_ms"):
            pd.testing.assert_series_equal(read[column], events[column])
    features = logs.session_features(events)
    assert features["declared"].fillna("?").tolist() == ["verified", "none", "?"]
    rates = declaration_rates(features["declared"], features["actor"], strength=0.3)
    np.testing.assert_allclose(rates, [[1.1 / 1.3, 0.1 / 1.3, 0.1 / 1.3], [1.1 / 2.3, 0.1 / 2.3, 1.1 / 2.3]])
    human, agent = kernels.align(kernels.default_kernels())
    session = kernels.encode(["view_item"], human.states)
    table = score_sessions([session] * 2, human, agent, 0.5, said=(["none", "verified"], rates))
    odds = np.exp(table["log_ratio"]) * (rates[1] / rates[0])[[0, 2]]
    np.testing.assert_allclose(table["posterior"], odds / (1.0 + odds), rtol=1e-9)
    line = {"sessionId": "a", "ts": "2026-01-05T10:00:00Z", "eventName": "search", "agentIdentity": "perhaps"}
    rows = [json.dumps(line), *[json.dumps(line | {"agentIdentity": "Signed"})] * 30]
    (tmp_path / "odd.jsonl").write_text("\n".join(rows))
    log = logs.read_log(tmp_path / "odd.jsonl")
    assert log.reasons["declaration"] == 1 and set(log.events["declared"]) == {"verified"}


@pytest.mark.parametrize(
    ("traffic", "told"),
    [
        ({"model": "scripted", "detector": "rule"}, r"traffic.detector='rule': accepted is 'kernels' with"),
        ({"model": "bank", "times": {"source": "log"}}, r"traffic.times.source='log': accepted is 'stated' without"),
        ({"model": "bank", "times": {"human_gap": [1.0]}}, r"traffic.times.human_gap"),
        ({"identity": {"declared": 0.2}}, r"traffic.identity: accepted are shares of 0 with traffic.model=analytic"),
        ({"model": "bank", "detector": "rule", "identity": {"declared": 0.2}}, r"traffic.identity: .*detector=rule"),
        ({"model": "bank", "identity": {"declared": 0.7, "verified": 0.7}}, r"traffic.identity.declared=0.7: accepted"),
    ],
)
def test_times_and_identities_that_cannot_be_are_refused(traffic: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make(traffic)

"""Pricers that share the sessions: who meets which, what is counted of whom, and how far it can be told apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl_pricing.config.errors import ConfigError
from marl_pricing.serving.experiments import (
    LEAST_BUYERS,
    LEAST_UNITS,
    Sums,
    Tallies,
    Tally,
    arm_of,
    half_width,
    tallies_from,
    uplift,
)  # fmt: skip
from marl_pricing.serving.pipeline import replay
from marl_pricing.serving.settings import ServeSettings, check_together
from tests.serving.asking import shop
from tests.serving.test_pipeline import Tape

ARMS = (("static", 0.5), ("surge", 0.5))
EXPERIMENT: dict[str, Any] = {
    "experiment": "first", "arms": dict(ARMS), "max_change": 1.0, "max_change_day": 1.0, "surge_high": 4.0,
}  # fmt: skip


def _in(arm: str, number: int = 0) -> str:
    """The name of a session in an arm."""
    return [name for name in map(str, range(1000)) if arm_of(name, "first", ARMS) == arm][number]


def test_sessions_are_split_by_their_names_and_anew_by_another_experiments() -> None:
    names = [f"session {number}" for number in range(20_000)]
    arms = (("a", 0.2), ("b", 0.3), ("c", 0.5))
    one = np.array([arm_of(name, "one", arms) for name in names])
    two = np.array([arm_of(name, "two", arms) for name in names])
    assert [arm_of(name, "one", arms) for name in names] == list(one)
    for name, share in arms:
        assert np.mean(one == name) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 20_000))
        # What the other experiment says tells nothing of this one.
        assert np.mean(two[one == "a"] == name) == pytest.approx(share, abs=4 * 0.5 / math.sqrt(4_000))


def test_a_ratios_mean_and_variance_are_those_of_the_units_themselves() -> None:
    generator = np.random.default_rng(1)
    tallies = Tallies()
    tallies.begin(ARMS)
    brought: dict[str, list[float]] = {}
    for _ in range(3000):  # participants come again and again, in any order
        unit = f"u{generator.integers(400)}"
        money = float(generator.exponential(30.0) * (generator.random() < 0.2))
        brought.setdefault(unit, []).append(money)
        tallies.count("surge", unit, int(money > 0), money, money / 2)
    sums, counts = (np.array([f(own) for own in brought.values()]) for f in (sum, len))
    mean = sums.sum() / counts.sum()
    variance = np.mean(((sums - mean * counts) / counts.mean()) ** 2)
    found = tallies.arms["surge"]
    assert (found.units, found.sessions, found.buyers) == (len(sums), 3000, np.sum(sums > 0))
    assert found.mean("revenue") == pytest.approx((mean, variance), rel=1e-9)
    assert found.mean("profit") == pytest.approx((mean / 2, variance / 4), rel=1e-9)
    assert tallies_from(tallies.to_plain()).to_plain() == tallies.to_plain()
    alone = Tallies()
    alone.begin(ARMS)
    for own in brought.values():
        for money in own:
            alone.count("static", None, 0, money, 0.0)
    flat = np.concatenate(list(brought.values()))
    assert alone.arms["static"].mean("revenue") == pytest.approx((flat.mean(), flat.var()), rel=1e-9)


def _looks(generator: np.random.Generator, factor: float, units: int, every: int) -> list[tuple[Tally, Tally]]:
    """Both arms at each look; a unit in twelve buys, for log-normal money, the challenger's for `factor` as much."""
    money = generator.lognormal(4.0, 1.0, units) * (generator.random(units) < 0.08)
    arm = generator.random(units) < 0.5
    money = np.where(arm, money * factor, money)
    looks = []
    for end in range(every, units + 1, every):
        both = []
        for own in (False, True):
            seen = money[:end][arm[:end] == own]
            n = len(seen)
            both.append(Tally(n, n, n, int((seen > 0).sum()), 0, Sums(seen.sum(), (seen**2).sum(), seen.sum())))
        looks.append((both[0], both[1]))
    return looks


@pytest.mark.slow
def test_who_looks_all_the_time_is_deceived_in_at_most_five_of_a_hundred() -> None:
    generator = np.random.default_rng(2)
    deceived = naive = 0
    for _ in range(500):
        looks = _looks(generator, 1.0, 10_000, 100)
        found = [uplift(*both, "revenue") for both in looks]
        deceived += any(own.low is not None and not own.low <= 0.0 <= own.high for own in found)  # type: ignore[operator]
        fixed = [(own, both) for own, both in zip(found, looks, strict=True) if own.low is not None]
        naive += any(
            abs(own.value) > 1.96 * math.sqrt(sum(t.mean("revenue").variance / t.units for t in both))
            for own, both in fixed
        )
    print(f"\nfalse alarms of 500 with 100 looks each: {deceived}, of fixed intervals {naive}")
    assert deceived <= 25
    assert naive > 100  # looking is what makes it hard


def test_an_uplift_that_is_there_is_found_and_held() -> None:
    generator = np.random.default_rng(3)
    truth = 0.08 * math.exp(4.5) * 0.6
    found = [uplift(*both, "revenue") for both in _looks(generator, 1.6, 40_000, 1000)]
    assert found[0].low is None or found[0].low < 0  # little is known at first
    assert found[-1].low > 0  # type: ignore[operator]
    assert all(own.low <= truth <= own.high for own in found if own.low is not None)  # type: ignore[operator]


def test_no_interval_is_told_of_few() -> None:
    sums = Sums(100.0, 1000.0, 100.0)
    many, few, poor = (
        Tally(n, n, n, b, 0, sums) for n, b in ((200, 40), (LEAST_UNITS - 1, 40), (200, LEAST_BUYERS - 1))
    )
    assert uplift(many, few, "revenue").low is None and uplift(poor, many, "revenue").high is None
    assert uplift(many, many, "revenue").low is not None
    assert half_width(4000, 1.0) > 1.96 / math.sqrt(4000)  # the price of looking


def test_each_session_meets_its_arms_prices_and_counts_for_it(tmp_path: Path) -> None:
    calm, busy = _in("static"), _in("surge")
    with shop(tmp_path, pricer="static", **EXPERIMENT) as own:
        own.event("add_item_to_cart", 1, calm, product="hotel-twin")  # busy enough for 4
        own.until(301)
        base = own.service.catalogue["hotel-twin"].base_price
        told = {name: own.get(f"/api/hotel/price/hotel-twin?sessionId={name}").json for name in (calm, busy)}
        assert (told[calm]["price"], told[calm]["model_version"]) == (base, "static")
        assert (told[busy]["price"], told[busy]["model_version"]) == (round(base * 1.2, 2), "surge")
        # A participant's sessions go together, whatever their names.
        of_busy = own.get(f"/api/hotel/price/hotel-twin?sessionId={_in('static', 1)}&experimentId={busy}").json
        assert of_busy["model_version"] == "surge"
        assert own.get("/api/hotel/price/hotel-twin").json["model_version"] == "static"
        own.event("purchase_complete", 302, calm, product="hotel-twin")
        own.event("purchase_complete", 303, busy, product="hotel-twin")
        own.until(2 * 3600)
        assert own.service._reader.quotes_of(busy)[0]["arm"] == "surge"
        vector = own.service.book.vector
        assert vector is not None
        for arm, price in (("static", base), ("surge", base * 1.2)):
            row = vector["tallies"][arm]
            assert row["orders"] == 1 and row["revenue"] == pytest.approx(price, abs=0.01)
        assert vector["tallies"]["surge"]["uplift"]["revenue"]["low"] is None
        records = own.service._reader.read(1, 10_000)
        assert replay(records) == own.service._reader.vectors()


def test_what_a_page_showed_is_what_was_paid() -> None:
    tape = Tape(pricer="static")
    tape.event("view_item_page", 1, "a")
    tape.add("price-logs", "a", 2, {"productId": "a", "price": 150.0, "sessionId": "s", "storeMode": "hotel"})
    tape.event("purchase_complete", 3, "a")
    tape.event("search", 4 * 3600, session="clock")
    told = tape.vectors()[-1]["tallies"]
    assert (told["static"]["revenue"], told["static"]["profit"]) == (150.0, 110.0)


def test_another_experiment_counts_from_nothing_and_prices_go_on() -> None:
    tape = Tape(pricer="surge", surge_high=4.0)
    tape.event("purchase_complete", 1, "a")
    tape.event("search", 2 * 3600, session="clock")
    tape.settings(2 * 3600 + 1, pricer="surge", **EXPERIMENT | {"max_change": 0.05})
    tape.event("search", 2 * 3600 + 300, session="clock")
    before, after = tape.vectors()[-2:]
    assert before["tallies"]["surge"]["orders"] == 1 and after["tallies"]["surge"]["orders"] == 0
    # The new arm begins where prices were, and may move by a twentieth.
    assert after["arms"]["static"]["prices"]["a"] == pytest.approx(before["prices"]["a"] * 1.05, abs=0.01)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"arms": {"static": 0.5, "surge": 0.5}}, "experiment: has to be given"),
        ({"experiment": "x"}, "two pricers at least"),
        ({"experiment": "x", "arms": {"static": 0.5, "surge": 0.4}}, "add up to 1"),
        ({"experiment": "x", "arms": {"static": 0.5, "best": 0.5}}, "names of pricers"),
        ({"experiment": "x", "arms": {"static": 0.5, "elasticity": 0.5}}, "one of the arms"),
        ({"experiment": "x", "arms": {"surge": 0.5, "policy": 0.5}}, "policy: has to be given"),
    ],
)
def test_experiments_that_cannot_be_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_together(ServeSettings(**given), set())

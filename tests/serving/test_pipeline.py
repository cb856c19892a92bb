"""From events to vectors: sums by hand, time, and the same again from the log."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from marl_pricing.serving.log import CONTROL, INTERACTIONS, PRICES, Record
from marl_pricing.serving.pipeline import SETTINGS, SWITCHES, TICK, Pipeline, pipeline_from, replay
from marl_pricing.serving.schemas import EVENTS
from marl_pricing.serving.service import pricing_of
from marl_pricing.serving.settings import ServeSettings
from tests.serving.asking import T0, interaction, shop, stamp

_COLUMNS = ("id", "mode", "name", "base_price", "cost", "floor", "cap", "stock", "attributes")
PRODUCTS = [
    dict(zip(_COLUMNS, row, strict=True))
    for row in (
        ("a", "hotel", "A", 100.0, 40.0, 50.0, 200.0, None, {}),
        ("b", "hotel", "B", 80.0, 30.0, 75.0, 90.0, 3.0, {}),
    )
]


class Tape:
    """Records written by hand."""

    def __init__(self, **settings: Any) -> None:
        self.records: list[Record] = []
        self.settings(**settings)

    def settings(self, seconds: float = 0.0, judge: Any = None, **settings: Any) -> None:
        own = ServeSettings(**{"clock": "events", "lateness": 0.0, "max_change": 1.0, "max_change_day": 1.0} | settings)
        body = {"pricing": pricing_of(own).to_plain(), "catalogue": PRODUCTS, "judge": judge}
        self.control(SETTINGS, seconds, body)

    def control(self, key: str, seconds: float, body: dict[str, Any] | None = None) -> None:
        self.add(CONTROL, key, seconds, body or {})

    def add(self, topic: str, key: str, seconds: float, body: dict[str, Any], received: float | None = None) -> None:
        at, came = (T0 + round(1000 * own) for own in (seconds, seconds if received is None else received))
        self.records.append(Record(len(self.records) + 1, topic, key, at, came, json.dumps(body)))

    def event(self, name: str, seconds: float, product: str | None = None, session: str = "s", **metadata: Any) -> None:
        data = interaction(name, seconds, session, product=product, metadata=metadata)
        self.add(INTERACTIONS, session, seconds, data)

    def vectors(self) -> list[dict[str, Any]]:
        return replay(self.records)


def test_a_windows_proxy_is_the_weighted_sum_of_its_events() -> None:
    tape = Tape(surge_high=20.0, surge_low=3.0)
    for moment, name in enumerate(
        ("view_item_page", "learn_more_about_item", "hover_over_title", "add_item_to_cart", "purchase_complete"), 1
    ):
        tape.event(name, moment, "a", dwellTime=1200)
    tape.event("hover_over_link", 8, "a", dwellTime=1199)  # too short to count
    tape.event("filter_for_price", 9, "a")
    tape.event("page_view", 10, "b")
    tape.event("search", 11)  # about no product
    tape.event("view_item_page", 12, "unknown")
    tape.event("search", 300)
    (vector,) = tape.vectors()
    a, b = vector["lines"]["a"], vector["lines"]["b"]
    assert (a["proxy"], b["proxy"]) == (1 + 1 + 2 + 4 + 4 + 0.5, 1.0)
    assert a["proxy_share"] == pytest.approx(100 * 12.5 / 13.5) and b["proxy_share"] == pytest.approx(100 / 13.5)
    assert (a["views"], a["orders"], a["look_to_book"], b["look_to_book"]) == (2, 1, 2.0, None)
    assert (vector["starts"], vector["ends"], vector["events"]) == (T0, T0 + 300_000, 10)
    assert vector["prices"] == {"a": 100.0, "b": 75.0}  # b: discounted to 72, the floor is above
    assert b["wanted"] == 72.0 and b["moved_by"] == ["floor"]


def test_surge_is_the_documents_heuristic_at_its_thresholds() -> None:
    tape = Tape(surge_high=8.0, surge_low=1.0)
    for moment in (1, 2):
        tape.event("add_item_to_cart", moment, "a")
    tape.event("page_view", 3, "b")
    tape.event("page_view", 301, "b")
    tape.event("page_view", 302, "b")
    tape.event("search", 600)
    first, second = tape.vectors()
    assert (first["prices"]["a"], first["lines"]["b"]["wanted"]) == (120.0, 72.0)  # at 8 and at 1 exactly
    assert (second["prices"]["a"], second["prices"]["b"]) == (90.0, 80.0)


def test_a_purchase_that_names_nothing_is_of_the_cart() -> None:
    tape = Tape()
    for moment, (name, product) in enumerate(
        [("add_item_to_cart", "a"), ("add_item_to_cart", "a"), ("add_item_to_cart", "b"), ("remove_item", "b")]
    ):
        tape.event(name, moment, product)
    tape.event("purchase_complete", 9, total=200.0, itemCount=2)
    tape.event("purchase_complete", 10)  # the cart is empty now
    tape.event("search", 300)
    (vector,) = tape.vectors()
    assert [vector["lines"][name]["orders"] for name in ("a", "b")] == [2, 0]


def test_windows_end_by_event_time_and_wait_for_what_is_late() -> None:
    tape = Tape(lateness=30.0)
    tape.event("page_view", 299, "a")
    tape.event("page_view", 329, "b")  # the first window waits still
    tape.event("page_view", 100, "a")  # late, and in time
    assert tape.vectors() == []
    tape.event("page_view", 330, "b")
    tape.event("page_view", 299, "a")  # too late
    tape.event("page_view", 640, "b")
    first, second = tape.vectors()
    assert (first["lines"]["a"]["proxy"], first["lines"]["b"]["proxy"]) == (2.0, 0.0)
    assert (second["lines"]["a"]["proxy"], second["lines"]["b"]["proxy"], second["late"]) == (0.0, 2.0, 1)


def test_a_clients_clock_cannot_move_ours() -> None:
    tape = Tape(clock="wall")
    data = interaction("page_view", 50_000, product="a")
    tape.add(INTERACTIONS, "s", 50_000, data, received=10)
    assert tape.vectors() == []
    tape.control(TICK, 300)
    (vector,) = tape.vectors()
    assert vector["lines"]["a"]["proxy"] == 1.0
    # Settings came at its beginning; a window of which a part was not seen changes no price.
    assert vector["lines"]["a"]["moved_by"] == ["partial_window"] and vector["prices"]["a"] == 100.0


def test_a_long_silence_is_not_gone_through_window_by_window() -> None:
    tape = Tape()
    tape.event("page_view", 0, "a")
    tape.event("page_view", 300 * 100_000, "a")
    vectors = tape.vectors()
    assert len(vectors) == 1 + 288 and vectors[-1]["ends"] == T0 + 300_000 * 100_000
    assert vectors[0]["lines"]["a"]["proxy"] == 1.0


def test_changes_are_bounded_by_the_last_price_and_the_day() -> None:
    tape = Tape(pricer="surge", surge_high=1.0, surge_low=0.0, max_change=0.05, max_change_day=0.12)
    for window in range(300):
        tape.event("page_view", 300 * window, "a")
    tape.event("search", 300 * 300)
    prices = [vector["prices"]["a"] for vector in tape.vectors()]
    assert prices[:4] == [105.0, 110.25, 115.76, 117.6]  # a day ago there was 105 at the earliest
    for before, after in pairwise(prices):
        assert abs(after - before) <= 0.05 * before + 0.01
    day = 288
    for number in range(day, len(prices)):
        assert abs(prices[number] - prices[number - day]) <= 0.12 * prices[number - day] + 0.01
    assert max(prices) == prices[-1] == 120.0


def test_frozen_products_shadow_mode_and_the_kill_switch() -> None:
    tape = Tape(surge_high=1.0, surge_low=0.0)

    def window(number: int) -> None:
        for product in ("a", "b"):
            tape.event("page_view", 300 * number + 1, product)

    window(0)
    tape.event("search", 300)
    tape.control(SWITCHES, 300, {"frozen": ["a"], "reason": "promised"})
    tape.event("search", 600)  # nobody looks: base x 0.9, but for the frozen one
    tape.control(SWITCHES, 600, {"frozen": [], "shadow": True})
    window(2)
    tape.event("search", 900)
    tape.control(SWITCHES, 900, {"kill": True})
    window(3)
    tape.event("search", 1200)
    surge, frozen, shadow, killed = tape.vectors()
    assert surge["prices"]["a"] == 120.0
    assert frozen["prices"] == {"a": 120.0, "b": 75.0} and frozen["lines"]["a"]["moved_by"] == ["frozen"]
    assert shadow["shadow"] and shadow["prices"] == {"a": 100.0, "b": 80.0}
    assert shadow["lines"]["a"]["guarded"] == 120.0
    assert killed["kill"] and killed["prices"] == {"a": 100.0, "b": 80.0}
    assert killed["lines"]["a"]["moved_by"] == ["kill"]


def test_the_elasticity_pricer_waits_until_it_knows_and_then_takes_lerners_price() -> None:
    tape = Tape(pricer="elasticity")
    tape.event("search", 0)
    for window in range(60):
        for price, views, orders in ((100.0, 90, 9), (125.0, 90, 5)):
            session = f"{window}-{price}"
            seconds = 300 * (2 * window + (price > 100)) + 1
            tape.add(PRICES, "a", seconds, {"productId": "a", "price": price})
            for number in range(views):
                tape.event("view_item_page", seconds, "a", f"{session}-{number}")
            for number in range(orders):
                tape.event("purchase_complete", seconds, "a", f"{session}-{number}")
    tape.event("search", 300 * 121)
    vectors = tape.vectors()
    assert vectors[0]["lines"]["a"]["wanted"] == 100.0
    line = vectors[-1]["lines"]["a"]
    value = line["elasticity"]
    assert line["elasticity_estimated"] and -2.7 < value < -1.9  # log(5/9)/log(1.25) = -2.63, drawn to the prior
    assert line["wanted"] == pytest.approx(40.0 * value / (1 + value))
    assert vectors[-1]["lines"]["b"]["wanted"] == 80.0


def hectic(seed: int) -> Iterator[Record]:
    """A log of everything at once."""
    drawn = random.Random(seed)
    judge = {
        "states": ["session_start", "add_item", "page_view", "view_item", "session_end"],
        "ratios": [[0.0, *(drawn.gauss(0, 1) for _ in range(4))] for _ in range(5)], "prior": 0.2,
    }  # fmt: skip
    tape = Tape(lateness=20.0, surge_high=40.0, surge_low=10.0, max_change=0.07, ending=0.99, judge=judge)
    for number in range(3000):
        seconds = number * 2.0 + drawn.uniform(-60, 20)
        tape.event(
            drawn.choice(EVENTS), max(seconds, 0), drawn.choice(["a", "b", None, "c"]), f"s{drawn.randrange(60)}"
        )
        if number % 7 == 0:
            tape.add(PRICES, "a", seconds, {"productId": "a", "price": drawn.choice([99.99, 104.99, 777.0])})
        if number == 900:
            tape.control(SWITCHES, seconds, {"shadow": True})
        if number == 1500:
            tape.control(SWITCHES, seconds, {"shadow": False, "frozen": ["b"]})
        if number == 2000:
            tape.settings(seconds, judge, lateness=5.0, window=120.0, pricer="elasticity")
    return iter(tape.records)


def test_the_same_log_makes_the_same_vectors_wherever_it_was_interrupted() -> None:
    records = list(hectic(1))
    whole = replay(records)
    assert len(whole) > 20 and any(vector["agents"] for vector in whole)
    drawn = random.Random(2)
    own, made = Pipeline(), []
    for record in records:
        if drawn.random() < 0.02:  # written down and read again, as a restart does
            own = pipeline_from(json.loads(json.dumps(own.to_plain())))
        made += own.take(record)
    assert json.dumps(made) == json.dumps(whole)
    with pytest.raises(ValueError, match=r"^offset=1: "):
        own.take(records[0])


def test_a_live_run_a_restart_and_a_replay_say_the_same(tmp_path: Path) -> None:
    drawn = random.Random(3)
    settings = {"window": 60.0, "surge_high": 20.0, "surge_low": 5.0}
    seconds = 0.0
    for _ in range(3):
        with shop(tmp_path, **settings) as own:
            for _ in range(150):
                seconds += drawn.uniform(0, 3)
                name = drawn.choice(EVENTS)
                own.event(name, seconds, f"s{drawn.randrange(9)}", product=drawn.choice(["hotel-twin", "hotel-suite"]))
            own.service.settle()
            log = own.service._reader
            assert json.dumps(replay(log.read(1, 10_000))) == json.dumps(log.vectors())
            assert len(log.vectors()) == seconds // 60
            assert own.service.book.vector == log.last_vector()


def test_prices_go_on_when_the_pipeline_breaks_and_it_recovers_alone(tmp_path: Path, monkeypatch) -> None:
    from marl_pricing.serving import runner

    monkeypatch.setattr(runner, "_AGAIN", 0.01)
    with shop(tmp_path, surge_high=4.0) as own:
        own.event("add_item_to_cart", 1, product="hotel-twin")
        own.until(300)
        assert own.get("/api/hotel/price/hotel-twin").json["price"] == 148.8
        broken = own.service.runner.pipeline.__class__.take
        monkeypatch.setattr(Pipeline, "take", lambda *_: 1 / 0)
        assert own.event("add_item_to_cart", 301, product="hotel-twin").status == 200
        until = 500
        while own.service.book.fault is None and until:
            own.event("search", 302 + until / 1000)
            until -= 1
        told = own.get("/api/hotel/price/hotel-twin").json
        assert (told["price"], told["stale"]) == (148.8, True)
        assert own.get("/health").json["status"] == "degraded"
        monkeypatch.setattr(Pipeline, "take", broken)
        own.until(900)
        told = own.get("/api/hotel/price/hotel-twin").json
        assert not told["stale"] and told["vector_version"] == 3
        assert json.dumps(replay(own.service._reader.read(1, 10_000))) == json.dumps(own.service._reader.vectors())


def test_stamps_are_of_the_windows_beginning() -> None:
    assert T0 % 300_000 == 0 and stamp(0).endswith("Z")

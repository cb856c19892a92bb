"""How often somebody may ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from marl_pricing.serving import limits
from marl_pricing.serving.limits import Buckets
from tests.serving.asking import shop

_KEY = "k" * 20


def test_a_bucket_lets_its_rate_through_and_no_more() -> None:
    now = 0.0
    buckets = Buckets(5.0, lambda: now)
    taken = []
    for step in range(1000):  # asked 100 times a second, for ten
        now = step / 100
        taken.append(buckets.take("a") is None)
    assert sum(taken) == pytest.approx(5.0 * 10 + 10, abs=1) and all(taken[:10]) and not taken[11]
    assert buckets.take("b") is None  # others are not charged
    wait = buckets.take("a")
    assert wait is not None
    now += wait + 1e-9
    assert buckets.take("a") is None


def test_names_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_NAMES", 3)
    buckets = Buckets(1.0, lambda: 0.0)
    for name in "abcd":
        buckets.take(name)
    assert list(buckets._known) == ["b", "c", "d"]


def test_who_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(_KEY)
    with shop(tmp_path / "shop", rate_limit=1.5, price_key_file=str(key)) as own:
        told = [own.get("/models", authorization=f"Bearer {_KEY}").status for _ in range(4)]
        assert told == [200, 200, 200, 429]
        again = own.get("/models")  # without a key the address is charged all the same
        assert again.status == 429 and again.headers["retry-after"] == "1" and again.json["field"] == "rate_limit"
        assert own.get("/health").status == 200
        assert own.event("search").status == 200  # of another API


def test_there_is_no_limit_unless_one_is_set(tmp_path: Path) -> None:
    with shop(tmp_path) as own:
        assert all(own.get("/models").status == 200 for _ in range(50))

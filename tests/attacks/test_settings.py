"""Settings that nobody should type are refused in a line each; what is accepted reads back the same."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.attacks import kills, settings
from tests.attacks.outcome import carry_out, carry_out_all, faults


def test_the_schema_is_covered() -> None:
    assert len(settings.places()) > 150
    assert {("market", "demand", "cross_slope"), ("market", "inventory", "order_levels"), ("learner", "gamma")} <= set(
        settings.places()
    )


def test_some_of_many_settings(tmp_path: Path) -> None:
    tried = [own for own in settings.attempts(tmp_path, 1, 0.02) if own.kind == "settings read"]
    found = [(own.told, *carry_out(own)) for own in tried]
    assert [one for one in found if one[1] not in ("refused", "accepted")] == []
    assert {one[1] for one in found} == {"refused", "accepted"}


@pytest.mark.slow
def test_many_settings(tmp_path: Path) -> None:
    seed = int(time.time()) // 86_400  # others every day; a fault tells what was tried
    found = list(carry_out_all(settings.attempts(tmp_path, seed, 1.0), settings.first))
    assert len(found) >= 5000
    assert faults(found) == []


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    found = list(carry_out_all(kills.attempts(tmp_path, 0, 1.0)))
    assert sum(own.attempt.kind.startswith("killed by") for own in found) == 20
    assert faults(found) == []

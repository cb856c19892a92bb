"""Settings that nobody should type are refused in a line each; what is accepted reads back the same."""

from __future__ import annotations

from pathlib import Path

from tests.attacks import settings
from tests.attacks.outcome import carry_out


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

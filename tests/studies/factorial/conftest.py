"""A trainer that trains nothing, for what is said of studies."""

from __future__ import annotations

from pathlib import Path

import pytest

from marl_pricing.studies.factorial import carry_out, here
from tests.studies.factorial.helpers import FakeTrainer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeTrainer]:
    monkeypatch.setattr(here, "Trainer", FakeTrainer)
    monkeypatch.setattr(FakeTrainer, "asked", [])
    monkeypatch.setattr(carry_out, "write_report", lambda *_: Path("page"))
    return FakeTrainer

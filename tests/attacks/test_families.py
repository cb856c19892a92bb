"""A share of families of attacks, drawn by one seed: all are refused in a line, or change nothing.

`python -m tests.attacks` carries out the whole of every family, by any seed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks import kills
from tests.attacks.families import FAMILIES
from tests.attacks.outcome import carry_out_all, faults

SEED = 1
SHARES = {
    "settings": 0.02, "kills": 0.2, "run_folders": 0.01, "policy_files": 0.02, "settings_files": 0.05, "sales": 0.06,
    "logs": 0.06,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trained runs lie that several families attack."""
    return tmp_path_factory.mktemp("attacks")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES)
def test_a_share_of_a_family_is_stood(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "KILLS", 1)
    place = folder / name
    place.mkdir()
    family = FAMILIES[name]
    found = list(carry_out_all(family.attempts(place, SEED, SHARES[name]), family.first))
    assert len(found) >= 3
    assert faults(found) == []

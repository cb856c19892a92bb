"""Folders of older versions: their settings are read, those that people type are not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from marl_pricing.config import ConfigError, from_yaml, read_settings
from marl_pricing.config.study import STUDY, open_study
from tests.doors.compose import settings


def older(*overrides: str, weight: float = 0.5) -> dict[str, Any]:
    """Settings as a version wrote them that had a weight of the critic's loss, and held no orders."""
    data = settings(*overrides)
    data["learner"] |= {"value_clip": 0.2, "value_coefficient": weight}
    del data["traffic"]["hold_orders"]
    return {name: value for name, value in data.items() if name not in ("resume", "study")} | (
        {"study": data["study"]} if data.get("study") else {}
    )


def test_an_older_runs_file_is_read_as_it_was_trained() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = from_yaml(yaml.safe_dump(older()), "config.yaml")
    assert own.learner.value_clip == own.learner.clipped_value == 0.2
    assert own.traffic.hold_orders == "none"
    with pytest.warns(UserWarning, match=r"^config.yaml: learner.value_coefficient=1.0 is no setting any more; .* 0.5"):
        other = from_yaml(yaml.safe_dump(older(weight=1.0)), "config.yaml")
    assert other == own


def test_an_older_studys_file_is_read_with_the_runs_in_it(tmp_path: Path) -> None:
    data = older("experiment=robustness_study")
    data["study"]["runs"][0]["change"] = {"learner": {"value_coefficient": 2.0, "gamma": 0.5}}
    (tmp_path / STUDY).write_text(yaml.safe_dump(data))
    with pytest.warns(UserWarning, match=r"study.yaml: learner.value_coefficient=2.0"):
        plan = open_study(tmp_path)
    assert plan.settings[0].learner.gamma == 0.5
    assert plan.settings[0].traffic.hold_orders == "none"


def test_robust_runs_of_an_older_study_stay_as_they_were_trained(tmp_path: Path) -> None:
    """Before `mode` and `adversary` were told apart, every robust run but algorithm_1's feared draw by draw."""
    data = older("experiment=robustness_study")
    plain = data["robust"] | {"mode": "per_seller"}
    del plain["adversary"]
    data["robust"] = plain
    changes = [
        {"robust": {"set": "interval", "radius": 0.2}},
        {"robust": plain | {"set": "interval", "radius": 0.2, "mode": "nature"}},
        {"robust": {"set": "interval", "radius": 0.2, "mode": "algorithm_1"}},
    ]
    for run, change in zip(data["study"]["runs"], changes, strict=False):
        run["change"] = change
    (tmp_path / STUDY).write_text(yaml.safe_dump(data))
    found = [own.robust for own in open_study(tmp_path).settings[:3]]
    assert [own.mode for own in found] == ["per_draw", "per_draw", "algorithm_1"]
    assert [own.adversary for own in found] == ["per_seller", "nature", "per_seller"]


@pytest.mark.parametrize("value", [0.5, 1.0])
def test_what_is_typed_is_not_translated(value: float) -> None:
    data = {name: own for name, own in settings().items() if name not in ("resume", "study")}
    data["learner"] |= {"value_coefficient": value}
    with pytest.raises(ConfigError, match=rf"^learner.value_coefficient={value}: there is no such setting$"):
        read_settings(data)

"""What docs/import.md says is so: its code runs, its mappings are mappings, its settings are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from marl_pricing.calibration.mapping import Mapping
from marl_pricing.config.errors import validate
from marl_pricing.traffic.logs.schemas import from_mapping

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "import.md").read_text("utf-8")


def blocks(language: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_code_runs(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = blocks("python")
    exec(compile(code, "import.md", "exec"), {})
    assert "comma between columns" in capsys.readouterr().out


def test_the_mappings_are_mappings() -> None:
    sales, log = blocks("yaml")
    assert validate(Mapping, yaml.safe_load(sales)).absent == "zero"
    own = from_mapping(yaml.safe_load(log))
    assert own.events == {"Kauf": "purchase", "heartbeat": None} and own.joined == {"session"}
    (short,) = [
        block for block in blocks("yaml", (ROOT / "docs" / "traffic.md").read_text("utf-8")) if "session:" in block
    ]
    assert from_mapping(yaml.safe_load(short)).columns["item"] == ("sku",)


def test_every_setting_of_a_mapping_is_told() -> None:
    assert [name for name in Mapping.model_fields if f"`{name}`" not in PAGE and f"\n{name}:" not in PAGE] == []

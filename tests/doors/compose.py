"""The configuration as train.py composes it, without a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from marl_pricing import config

CONF = Path(__file__).parents[2] / "conf"


def settings(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        data = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    assert isinstance(data, dict)
    data.pop("resume")
    if data["study"] is None:
        data.pop("study")
    return data  # type: ignore[return-value]


def composed(*overrides: str) -> config.Experiment:
    return config.build(config.read_settings(settings(*overrides)))

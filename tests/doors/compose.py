"""The configuration as train.py composes it, without a process of its own."""

from __future__ import annotations

from typing import Any

from marl_pricing import config
from marl_pricing.config.composing import compose_settings


def settings(*overrides: str) -> dict[str, Any]:
    data = compose_settings(overrides)
    data.pop("resume")
    if data["study"] is None:
        data.pop("study")
    return data


def composed(*overrides: str) -> config.Experiment:
    return config.build(config.read_settings(settings(*overrides)))

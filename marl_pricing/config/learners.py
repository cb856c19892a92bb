"""The group `learner` of an experiment that was written for another learner than the one that is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from marl_pricing.learning.learners import AnySettings, settings_class


def for_its_learner(data: Mapping[str, Any], typed: Iterable[str]) -> dict[str, Any]:
    """Settings without what an experiment tells another learner: `learner=a2c` has no use for MAPPO's epochs.

    What nobody knows stays, and is refused where the settings are read; so is what was typed.

    Args:
        data: plain settings of an experiment, composed.  typed: what was asked for, `learner.gamma=0.9`.
    """
    learner = data.get("learner")
    if not isinstance(learner, Mapping):
        return dict(data)
    own = settings_class(str(learner.get("algorithm"))).model_fields
    others = {name for kind in get_args(AnySettings) for name in kind.model_fields} - set(own)
    asked = {given.partition("=")[0].lstrip("+~") for given in typed}
    kept = {name: value for name, value in learner.items() if name not in others or f"learner.{name}" in asked}
    return {**data, "learner": kept}

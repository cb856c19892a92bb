"""What learners of action values are told beside what every learner is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from marl_pricing.learning.settings import CommonSettings, NetworkSettings, Share

Epsilon = Annotated[float, Field(ge=0, lt=1)]


class ExplorationSettings(CommonSettings, frozen=True):
    """ε-greedy play: ε falls from its start to its end over a share of the scheduled updates, linearly.

    Policies that are played as they are, sampled, take the last ε.
    """

    epsilon_start: Share = 1.0
    epsilon_end: Epsilon = 0.01
    exploration: Annotated[float, Field(gt=0, le=1)] = 0.5


class ValueNetworkSettings(NetworkSettings, ExplorationSettings, frozen=True):
    """Of a learner whose action values are a network's."""

    value_normalisation: Literal["none", "running"] = "running"
    # A choice of probability π counts min(1, β / π) in the loss (Kaisers and Tuyls 2010); null: every choice alike.
    frequency_bound: Annotated[float, Field(gt=0, le=1)] | None = None

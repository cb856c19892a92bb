"""Robust settings, as people write them, and the ambiguity that they mean."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from marl_pricing.config.errors import ConfigError, Settings, refuse
from marl_pricing.config.market import Market
from marl_pricing.robust import Ambiguity

Share = Annotated[float, Field(ge=0, le=1)]


class Robust(Settings):
    """The ambiguity set of the critic; `none`, or a radius of 0, is the plain critic.

    `interval` tries `num_candidates` shares of agents within `radius` of the nominal one; the other sets reweight
    worlds whose shares lie on a grid from `low` to `high`, all equally likely nominally.
    """

    set: Literal["none", "interval", "contamination", "total_variation", "kl", "chi2", "wasserstein"] = "none"
    radius: Annotated[float, Field(ge=0)] = 0.0
    num_candidates: Annotated[int, Field(ge=1, le=64)] = 5
    mode: Literal["per_seller", "nature", "algorithm_1", "fixed_world"] = "per_seller"
    low: Share = 0.0
    high: Share = 0.6
    anneal_updates: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fits(self) -> Robust:
        if self.set == "none":
            if self.radius > 0:
                raise ConfigError(f"robust.radius={self.radius!r}: accepted is 0 with robust.set=none")
            return self
        if not np.isfinite(self.radius):
            raise refuse("robust.radius", self.radius, "a finite number of at least 0")
        if self.set in ("interval", "contamination", "total_variation") and self.radius > 1:
            raise ConfigError(f"robust.radius={self.radius!r}: accepted is at most 1 with robust.set={self.set}")
        if self.num_candidates < 2 and self.radius > 0:
            raise refuse("robust.num_candidates", self.num_candidates, "at least 2 with a radius above 0")
        if self.mode == "algorithm_1" and self.set != "interval":
            raise refuse("robust.mode", self.mode, f"another mode with robust.set={self.set}: it picks one candidate")
        if self.set != "interval" and self.low >= self.high:
            raise refuse("robust.low", self.low, f"below robust.high={self.high!r}")
        return self


def build_ambiguity(own: Robust, market: Market) -> Ambiguity | None:
    """The ambiguity that the settings mean; None for the plain learner.

    Raises:
        ConfigError: for a market in which the share of agents means nothing.
    """
    if own.set == "none" or own.radius == 0.0:
        return None
    if market.shape.demand.num_classes < 2:
        raise refuse("robust.set", own.set, "'none' in a market without agents (market.agent=null)")
    count = own.num_candidates
    relative = own.set == "interval"
    shares = np.linspace(-own.radius, own.radius, count) if relative else np.linspace(own.low, own.high, count)
    return Ambiguity(
        set=own.set,
        mode=own.mode,
        radius=own.radius,
        shares=tuple(float(share) for share in shares),
        relative=relative,
        weights=(1.0 / count,) * count,
        anneal_updates=own.anneal_updates,
    )

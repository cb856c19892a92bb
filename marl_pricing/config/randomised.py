"""Worlds inside a run: laws of what differs between episodes, as people write them, and what they mean."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, field_validator, model_validator

from marl_pricing.config.errors import Settings, refuse
from marl_pricing.config.market import Market
from marl_pricing.config.market_settings import Calibration
from marl_pricing.config.robust import Reach, Robust, WorldFactor, named_factors, reach_of_factors
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.config.worlds import check_factors, combined
from marl_pricing.learning.worlds import Laws, Moves, Range, Start, Values, world_params
from marl_pricing.market import MarketParams, vary

_MOST = 64
_OVER = 0.5  # share of the scheduled updates over which something moves, as ε does


class Law(Settings):
    """Any of `values`, each with the same chance; or any number from `low` to `high`, evenly. Shares, in [0, 1].

    Or no draw but a way: from `start` to what the market has, over the share `over` of the scheduled updates.
    """

    values: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1)] | None = None
    low: Annotated[float, Field(ge=0, le=1)] | None = None
    high: Annotated[float, Field(ge=0, le=1)] | None = None
    start: Annotated[float, Field(ge=0, le=1)] | None = None
    over: Annotated[float, Field(gt=0, le=1)] | None = None  # null: a half

    @model_validator(mode="after")
    def _one(self) -> Self:
        ends = (self.low, self.high)
        ways = (self.values is not None, ends != (None, None), self.start is not None)
        if sum(ways) != 1 or (ways[1] and None in ends):
            accepted = "laws with values, or with both low and high, or with start"
            raise refuse("worlds", self.model_dump(exclude_none=True), accepted)
        if self.over is not None and self.start is None:
            raise refuse("worlds.over", self.over, "null without start: only what moves takes its time")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise refuse("worlds.low", self.low, f"at most high={self.high!r}")
        return self

    @property
    def point(self) -> float | None:
        """The only number that it has; None for several."""
        if self.values is not None:
            return self.values[0] if len(set(self.values)) == 1 else None
        return self.low if self.low == self.high else None  # None too of what moves

    def meaning(self) -> Range | Values:
        """The law as numbers."""
        if self.values is not None:
            return Values(jnp.asarray(self.values, jnp.float32))
        return Range(jnp.float32(self.low), jnp.float32(self.high))

    def way(self) -> Start:
        """The way as numbers."""
        assert self.start is not None
        return Start(jnp.float32(self.start), jnp.float32(_OVER if self.over is None else self.over))


class Varied(WorldFactor):
    """One way in which worlds differ, with its values; see `WorldFactor`."""

    group: ClassVar[str] = "worlds.factors"

    @model_validator(mode="after")
    def _law(self) -> Self:
        if self.factor == "agent_share":
            raise refuse("worlds.factors", "agent_share", "other factors; worlds.agent_share is its law")
        return self


class Worlds(Settings):
    """What every episode of every environment draws for itself in training, and what moves with the updates.

    `agent_share` and `omega` are laws of α, and of the ω of all sellers, or where they start; null: as the market has
    them. `factors` are
    those of `robust.worlds`, every combination of their values a world, all with the same chance. `draws` are as many
    worlds as `calibration` draws from the estimates' errors.
    """

    agent_share: Law | None = None
    omega: Law | None = None
    factors: list[Varied] = []  # noqa: RUF012
    draws: Annotated[int, Field(ge=2, le=_MOST)] = 16

    @field_validator("factors", mode="before")
    @classmethod
    def _named(cls, given: object) -> object:
        return [] if given == [] else named_factors("worlds.factors", given)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [own.factor for own in self.factors]
        if len(set(names)) < len(names):
            raise refuse("worlds.factors", names, "a list of different factors")
        count = int(np.prod([len(own.values) if own.values else self.draws for own in self.factors]))
        if count > _MOST:
            raise refuse("worlds.factors", names, f"at most {_MOST} combinations of values, not {count}")
        return self

    @property
    def any(self) -> bool:
        """Whether anything differs or moves."""
        return bool(self.factors) or self.agent_share is not None or self.omega is not None

    @property
    def moves(self) -> bool:
        """Whether anything moves with the updates."""
        return any(own is not None and own.start is not None for own in (self.agent_share, self.omega))


def reach_of_worlds(own: Worlds) -> Reach:
    """What the market has to have room for, so that the worlds fit into it."""
    return reach_of_factors(own.factors)


def build_worlds(own: Worlds, built: Market, told: Calibration | None, visitors: Traffic) -> MarketParams:
    """The market's numbers as a learner meets them: `WorldParams` where anything is drawn or moves.

    What has one value only is no draw: it is put in the market's own place, so that the program is the market's.

    Raises:
        ConfigError: for worlds that mean nothing in this market.
    """
    shape, params, laws, moves = built.shape, built.params, Laws(), Moves()
    if own.agent_share is not None:
        if shape.demand.num_classes < 2:
            raise refuse("worlds.agent_share", own.agent_share.model_dump(exclude_none=True), "null without agents")
        if shape.traffic.process != "static":
            raise refuse("traffic.process.kind", shape.traffic.process, "'static' with worlds.agent_share")
        if own.agent_share.start is not None:
            moves = moves.replace(agent_share=own.agent_share.way())
        elif (share := own.agent_share.point) is None:
            laws = laws.replace(agent_share=own.agent_share.meaning())
        else:
            params = params.replace(traffic=params.traffic.replace(agent_share=jnp.float32(share)))
    if own.omega is not None:
        if own.omega.start is not None:
            if shape.num_sellers == 1:
                accepted = "null with one seller, whose reward is its own at any omega"
                raise refuse("worlds.omega", own.omega.model_dump(exclude_none=True), accepted)
            moves = moves.replace(omega=own.omega.way())
        elif (omega := own.omega.point) is None:
            laws = laws.replace(omega=own.omega.meaning())
        else:
            reward = params.reward.replace(omega=jnp.full_like(params.reward.omega, omega))
            params = params.replace(reward=reward)
    if own.factors:
        check_factors("worlds.factors", {factor.factor for factor in own.factors}, shape, visitors)
        # Estimates are drawn as for a set that reweights worlds.
        sampled = Robust(set="kl", radius=0.1, num_candidates=own.draws)
        worlds = combined(own.factors, sampled, built, told, visitors)
        if len(worlds.variants) == 1:
            params = vary(params, worlds.variants[0])
        else:
            laws = laws.replace(
                variants=jax.tree.map(lambda *leaves: jnp.stack(leaves), *worlds.variants),
                coordinates=_scaled(np.asarray(worlds.others, np.float32)),
            )
    return world_params(params, laws, moves) if jax.tree.leaves((laws, moves)) else params


def _scaled(places: np.ndarray) -> jax.Array:
    """Coordinates [G, C] about 0, with a spread of 1."""
    spread = places.std(0)
    return jnp.asarray((places - places.mean(0)) / np.where(spread > 0.0, spread, 1.0), jnp.float32)

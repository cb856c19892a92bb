"""Robust settings, as people write them, and the ambiguity that they mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator, model_validator

from marl_pricing.config.errors import ConfigError, Settings, refuse

Share = Annotated[float, Field(ge=0, le=1)]
Factor = Literal[
    "agent_share", "demand_scale", "lead_time", "kernels", "calibration", "supplier_cost", "supplier_capacity"
]
FACTORS: tuple[Factor, ...] = get_args(Factor)
# What an interval stretches with its radius; the other factors' values stand as they are given.
_STRETCHED = ("agent_share", "calibration")
# What moves no order of shoppers.
BEHIND_THE_COUNTER = ("lead_time", "supplier_cost", "supplier_capacity")
_MOST = 64


class WorldFactor(Settings):
    """One way in which candidate worlds differ.

    `values` of agent_share are shares; of demand_scale factors on demand; of lead_time epochs that orders come later;
    of kernels shares of an agent's events that are drawn as a person's; of supplier_cost and supplier_capacity factors
    on what supplying costs and on the units that suppliers take on, in markets with contracts. calibration draws its
    own.
    """

    group: ClassVar[str] = "robust.worlds"

    factor: Factor
    values: Annotated[list[float], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> WorldFactor:
        given, name = self.values, f"{self.group}.{self.factor}"
        if self.factor in ("agent_share", "calibration"):
            if self.factor == "calibration" and given is not None:
                raise refuse(name, given, "no values: worlds are drawn from the estimates' errors")
            if given is not None and not [value for value in given if 0 <= value <= 1]:
                raise refuse(name, given, "shares of which some lie in [0, 1]")
            return self
        if given is None:
            raise refuse(name, given, "a list of values")
        fits = {
            "demand_scale": (lambda value: value > 0, "factors above 0"),
            "lead_time": (lambda value: value >= 0 and value == int(value), "whole numbers of epochs, 0 or more"),
            "kernels": (lambda value: 0 <= value <= 1, "shares in [0, 1]"),
            "supplier_cost": (lambda value: value > 0, "factors above 0"),
            "supplier_capacity": (lambda value: value > 0, "factors above 0"),
        }
        fit, accepted = fits[self.factor]
        if not all(map(fit, given)) or len(set(given)) < len(given):
            raise refuse(name, given, f"different {accepted}")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """Those of `values` that are shares."""
        return tuple(value for value in self.values or () if 0 <= value <= 1)


class Robust(Settings):
    """The ambiguity set of the critic; `none`, or a radius of 0, is the plain critic.

    `interval` tries `num_candidates` shares of agents within `radius` of the nominal one; the other sets reweight
    worlds whose shares lie on a grid from `low` to `high`, all equally likely nominally. `worlds` says what differs
    between worlds: factors, each with its values, and every combination is a world. `metric` is the ground metric of
    `wasserstein`: how far the worlds' numbers are apart (`worlds`), how far their demand was (`demand`), or a matrix.
    `mode` says what is known when a law is chosen (state and action; also the draw; only the draw's rewards),
    `adversary` who chooses it.
    `sellers` fear, by number or name; the others of them learn from what they are paid.
    `accept` takes the worst of those worlds whose law of demand lies within `radius` of the nominal market's in the
    Wasserstein distance of `order`, by `samples` drawn epochs (`config.acceptance`); null: sliced above three offers.
    """

    set: Literal["none", "interval", "contamination", "total_variation", "kl", "chi2", "wasserstein", "accept"] = "none"
    radius: Annotated[float, Field(ge=0)] = 0.0
    num_candidates: Annotated[int, Field(ge=1, le=_MOST)] = 5
    mode: Literal["expected", "per_draw", "algorithm_1"] = "expected"
    adversary: Literal["per_seller", "nature", "fixed_world"] = "per_seller"
    sellers: Literal["all"] | Annotated[list[int | str], Field(min_length=1)] = "all"
    worlds: list[WorldFactor] = [WorldFactor(factor="agent_share")]  # noqa: RUF012
    low: Share = 0.0
    high: Share = 0.6
    metric: Literal["worlds", "demand"] | list[list[Annotated[float, Field(ge=0)]]] = "worlds"
    order: Literal[1, 2] = 1
    distance: Literal["exact", "sliced"] | None = None
    samples: Annotated[int, Field(ge=16, le=4096)] = 512
    anneal_updates: Annotated[int, Field(ge=0)] = 0

    @field_validator("worlds", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """A factor may stand for itself: `worlds=calibration`, `worlds=[agent_share, …]`."""
        return named_factors("robust.worlds", given)

    @model_validator(mode="after")
    def _fits(self) -> Robust:
        if self.set == "none":
            if self.radius > 0:
                raise ConfigError(f"robust.radius={self.radius!r}: accepted is 0 with robust.set=none")
            return self
        factors = [world.factor for world in self.worlds]
        if len(set(factors)) < len(factors):
            raise refuse("robust.worlds", factors, "a list of different factors")
        stretched = [factor for factor in factors if factor in _STRETCHED]
        most = 1.0
        if self.set == "interval":
            if self.radius > 0 and not stretched:
                raise refuse(
                    "robust.set", "interval", f"another set with robust.worlds={factors}: no factor has a radius"
                )
            if self.anneal_updates and len(stretched) < len(factors):
                raise refuse("robust.anneal_updates", self.anneal_updates, f"0 with robust.worlds={factors}")
            # Standard errors of estimates have no upper end.
            most = 1.0 if "agent_share" in factors else 10.0
        if self.set in ("interval", "contamination", "total_variation") and self.radius > most:
            raise ConfigError(f"robust.radius={self.radius!r}: accepted is at most {most:g} with robust.set={self.set}")
        if self.radius > 0 and self.num_candidates < 2 and any(
            world.factor in _STRETCHED and world.values is None for world in self.worlds
        ):  # fmt: skip
            raise refuse("robust.num_candidates", self.num_candidates, "at least 2 with a radius above 0")
        if self.set == "accept" and self.radius > 0:
            if factors[0] in BEHIND_THE_COUNTER or len(factors) > 1:
                raise refuse("robust.worlds", factors, "one factor that moves demand with robust.set=accept")
            if self.anneal_updates:
                raise refuse("robust.anneal_updates", self.anneal_updates, "0 with robust.set=accept")
        if self.mode == "algorithm_1" and self.set not in ("interval", "accept"):
            raise refuse("robust.mode", self.mode, f"another mode with robust.set={self.set}: it picks one candidate")
        if self.mode == "algorithm_1" and self.adversary == "fixed_world":
            raise refuse("robust.adversary", self.adversary, "another one with robust.mode=algorithm_1")
        nature = self.adversary != "per_seller" or self.mode == "algorithm_1"
        if self.sellers != "all" and nature:
            told = "adversary" if self.adversary != "per_seller" else "mode"
            accepted = f"all with robust.{told}={getattr(self, told)}, which is against all of them"
            raise refuse("robust.sellers", self.sellers, accepted)
        if self.set != "interval" and self.low >= self.high:
            raise refuse("robust.low", self.low, f"below robust.high={self.high!r}")
        count = self.num_worlds
        if count > _MOST:
            raise refuse("robust.worlds", factors, f"at most {_MOST} combinations of values, not {count}")
        if count < 2 and self.radius > 0:
            raise refuse("robust.worlds", factors, "values that make at least 2 worlds")
        self._check_metric(count)
        return self

    @property
    def num_worlds(self) -> int:
        """K, combinations of all factors' values."""
        count = 1
        for world in self.worlds:
            own = world.shares if world.factor == "agent_share" else world.values
            count *= len(own) if world.values is not None and own is not None else self.num_candidates
        return count

    def _check_metric(self, count: int) -> None:
        if self.metric != "worlds" and self.set != "wasserstein":
            raise refuse("robust.metric", self.metric, f"'worlds' with robust.set={self.set}")
        if self.metric == "demand" and self.adversary == "fixed_world":
            raise refuse("robust.metric", "demand", "'worlds' or a matrix with robust.adversary=fixed_world")
        if isinstance(self.metric, list):
            own = self.metric
            if len(own) != count or any(len(row) != count for row in own):
                shape = f"{len(own)} rows of {sorted({len(row) for row in own})}"
                raise ConfigError(f"robust.metric of {shape}: accepted is a matrix of {count} rows of {count}")
            for i, row in enumerate(own):
                for j, value in enumerate(row):
                    if value != own[j][i] or (value == 0) != (i == j):
                        raise ConfigError(
                            f"robust.metric[{i}][{j}]={value!r}: accepted are distances, 0 from a world to itself only "
                            "and as far there as back"
                        )


class Reach(Settings):
    """How far candidate worlds go beyond what the market needs for itself."""

    demand: float = 1.0
    delay: int = 0


def named_factors(field: str, given: Any) -> Any:
    """A list of factors, in which one may stand for itself by its name."""
    listed = [given] if isinstance(given, (str, dict)) else given
    if not isinstance(listed, (list, tuple)):
        return given
    if not listed:
        raise refuse(field, [], f"at least one of {', '.join(FACTORS)}")
    for factor in listed:
        if isinstance(factor, str) and factor not in FACTORS:
            raise refuse(field, factor, f"{', '.join(FACTORS)}, each with its values where it needs them")
    return [{"factor": factor} if isinstance(factor, str) else factor for factor in listed]


def reach_of_factors(factors: Iterable[WorldFactor]) -> Reach:
    """What the market has to have room for, so that worlds of these factors fit into it."""
    values = {world.factor: world.values or [] for world in factors}
    return Reach(
        demand=max([1.0, *values.get("demand_scale", [])]), delay=int(max([0.0, *values.get("lead_time", [])]))
    )


def reach_of(own: Robust) -> Reach:
    """What the market has to have room for, so that the candidate worlds fit into it."""
    if own.set == "none" or own.radius == 0.0:
        return Reach()
    return reach_of_factors(own.worlds)

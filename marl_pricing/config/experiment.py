"""A whole experiment: market, traffic, robust set, learner, run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import Field, model_validator

from marl_pricing.config.calibrated import resolve
from marl_pricing.config.errors import ConfigError, Settings, parse_yaml, refuse, validate
from marl_pricing.config.market import Market, MarketSettings, Traffic, build_market
from marl_pricing.config.opponents import Opponents, Table, seating_of
from marl_pricing.config.randomised import Worlds, build_worlds, reach_of_worlds
from marl_pricing.config.retired import translate
from marl_pricing.config.robust import Robust, reach_of
from marl_pricing.config.worlds import build_ambiguity
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.learners import NO_CRITIC, AnySettings, critical, make_learner
from marl_pricing.learning.worlds import game_in
from marl_pricing.market import MarketParams


class Run(Settings):
    """Where a run goes and what it reports.

    `folder: null` makes one under `runs/`, named after the experiment and the time. `distributed` starts
    `jax.distributed` first: the same command in every process of a TPU slice or cluster trains one learner.
    `evaluate_every: null` evaluates twenty times, 0 never. `until: converged` ends at the first evaluation at which
    the run has converged, with the learner's number of updates as a maximum.
    """

    folder: str | None = None
    until: Literal["updates", "converged"] = "updates"
    evaluate_every: Annotated[int, Field(ge=0)] | None = None
    report_every: Annotated[int, Field(ge=1)] = 3
    checkpoint_every: Annotated[int, Field(ge=1)] = 50
    tensorboard: bool = True
    distributed: bool = False

    @model_validator(mode="after")
    def _judged(self) -> Run:
        if self.until == "converged" and self.evaluate_every == 0:
            raise refuse("run.evaluate_every", 0, "at least 1, or null, with run.until=converged")
        return self


class ExperimentSettings(Settings):
    """All that a configuration file says.

    `init_from` is the folder of a run whose networks this one starts from, with fresh optimisers.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    market: MarketSettings
    traffic: Traffic
    robust: Robust = Robust()
    learner: Annotated[AnySettings, Field(discriminator="algorithm")]
    run: Run = Run()
    init_from: str | None = None
    opponents: Opponents = Opponents()
    worlds: Worlds = Worlds()


class Experiment(NamedTuple):
    """What the settings mean: ready to train.

    Attributes:
        table: opponents that hold seats; None where all sellers learn together.
        randomised: the market with the laws of its worlds; None where all episodes are in the market as it is.
    """

    settings: ExperimentSettings
    market: Market
    learner: Learner
    table: Table | None = None
    randomised: MarketParams | None = None

    @property
    def params(self) -> MarketParams:
        """The market's numbers as the learner meets them, with who holds seats in it and what its worlds are."""
        if self.table is not None:
            return self.table.params
        return self.market.params if self.randomised is None else self.randomised


def lengthen(settings: ExperimentSettings, num_updates: int) -> ExperimentSettings:
    """The same run with more updates. Schedules end where they ended: what is added goes on at their last values.

    Raises:
        ConfigError: for no more updates than it has.
    """
    own = settings.learner
    if not isinstance(num_updates, int) or num_updates <= own.num_updates:
        accepted = f"more than {own.num_updates}, the updates that the run has: it can only be lengthened"
        raise refuse("learner.num_updates", num_updates, accepted)
    more = {"num_updates": num_updates, "schedule_updates": own.scheduled_updates}
    return settings.model_copy(update={"learner": own.model_copy(update=more)})


def read_settings(data: Mapping[str, Any]) -> ExperimentSettings:
    """Plain data to typed settings.

    Raises:
        ConfigError: naming each field that is wrong, its value and what is accepted.
    """
    market = data.get("market")
    if isinstance(market, Mapping):
        data = {**data, "market": resolve(market)}
    return validate(ExperimentSettings, data)


def build(settings: ExperimentSettings, *, opponents: bool = False) -> Experiment:
    """The market and the learner that the settings mean.

    Args:
        opponents: whether the caller seats them (`studies.loading.build_run`); otherwise they are refused.

    Raises:
        ConfigError: for combinations that cannot be.
    """
    _check_worlds(settings)
    _check_opponents(settings, opponents)
    reach = reach_of_worlds(settings.worlds) if settings.worlds.any else reach_of(settings.robust)
    built = build_market(settings.market, settings.traffic, reach)
    if not built.shape.discrete_prices and not critical(settings.learner):
        values = f"learner.algorithm={settings.learner.algorithm}, which values each of a few prices"
        raise refuse("market.prices.map", settings.market.prices.map, f"levels or scale with {values}")
    if settings.run.distributed and settings.learner.algorithm == "torch_mappo":
        raise refuse("run.distributed", True, "false with learner.algorithm=torch_mappo, which trains in one process")
    if settings.robust.set != "none" and not critical(settings.learner):
        accepted = NO_CRITIC.format(settings.learner.algorithm)
        raise refuse("robust.set", settings.robust.set, accepted)
    built, ambiguity = build_ambiguity(settings.robust, built, settings.market.calibration, settings.traffic)
    try:
        if settings.worlds.any:
            randomised = build_worlds(settings.worlds, built, settings.market.calibration, settings.traffic)
            learner = make_learner(settings.learner, built.shape, randomised, game=game_in(randomised))
            return Experiment(settings, built, learner, randomised=randomised)
        return Experiment(settings, built, make_learner(settings.learner, *built, ambiguity))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_opponents(settings: ExperimentSettings, seated: bool) -> None:
    calibration = settings.market.calibration
    names = calibration.sellers if calibration else ()
    held, selves = seating_of(settings.opponents, settings.market.num_sellers, names)
    if not held and not selves:
        return
    seats = settings.opponents.seats
    told = ", ".join(seats) if isinstance(seats, Mapping) else seats
    if not seated:
        raise refuse("opponents.seats", told, "null here: all sellers learn")
    if settings.robust.set != "none":
        raise refuse("robust.set", settings.robust.set, "none with opponents, who play in one world only")


def _check_worlds(settings: ExperimentSettings) -> None:
    own = settings.worlds
    if not own.any:
        return
    if settings.robust.set != "none":
        raise refuse("robust.set", settings.robust.set, "none with worlds that are drawn or move (worlds)")
    if settings.opponents.seats:
        raise refuse("opponents.seats", settings.opponents.seats, "null with worlds that are drawn or move (worlds)")


def to_yaml(settings: ExperimentSettings) -> str:
    """The settings as a file that `from_yaml` reads back to the same object."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def from_yaml(text: str, source: str) -> ExperimentSettings:
    """Read settings back.

    Args:
        source: named in messages.

    Raises:
        ConfigError: for a file that is no YAML or no experiment.
    """
    data = parse_yaml(text, source)
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: holds no settings")
    try:
        return read_settings(translate(data, source))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None

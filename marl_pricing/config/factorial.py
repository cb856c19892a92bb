"""The settings of a factorial study: its factors, and how every combination of them is trained and played."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from marl_pricing.config.errors import ConfigError, Settings, did_you_mean, refuse
from marl_pricing.learning.learners import settings_class
from marl_pricing.learning.settings import CommonSettings

Algorithm = Literal["ppo", "a2c", "dqn", "pqn", "qtable"]
# What the study calls them, and the house.
LEARNER_OF = {"ppo": "ippo", "a2c": "a2c", "dqn": "dqn", "pqn": "pqn", "qtable": "qtable"}
# What the study decides for all its learners.
_DECIDED = ("algorithm", "seed", "num_seeds", "num_updates", "devices", "sharing", "critic")
Share = Annotated[float, Field(ge=0, le=1)]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"study.factorial.factors.action_levels={value}: accepted are odd numbers: the middle one "
                         "leaves prices as they are")  # fmt: skip
    return value


Levels = Annotated[int, Field(ge=3, le=101), AfterValidator(_odd)]


class Factors(Settings):
    """Values of each factor; a cell is a combination of one of each."""

    algorithm: Annotated[list[Algorithm], Field(min_length=1)]
    alpha: Annotated[list[Share], Field(min_length=1)]  # share of agents
    epsilon_alpha: Annotated[list[Share], Field(min_length=1)]  # radius of the interval around it
    lambda_coi: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)]  # weight of the COI leak
    action_levels: Annotated[list[Levels], Field(min_length=1)]  # factors that prices may be moved by

    @model_validator(mode="after")
    def _different(self) -> Factors:
        for name in type(self).model_fields:
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise refuse(f"study.factorial.factors.{name}", values, "a list of different values")
        return self


class Play(Settings):
    """How the trained policies are judged: greedy, on shoppers that none has met."""

    episodes: Annotated[int, Field(ge=2, le=10_000)] = 16  # of each run in each world
    shift: Share = 0.3  # the other worlds: so much fewer agents, and so much more
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1_000_003  # of the shoppers; the same come to every run


class Ux(Settings):
    """The UX index 1 − η (v + ½ v⁺) − w f, cut to [0, 1], epoch by epoch.

    v is the mean relative movement of prices, v⁺ its upward part, f the share of the information budget that is spent:
    the COI leak a session over `information_budget`. The methodology names the parts and gives no numbers.
    """

    eta: Annotated[float, Field(ge=0)] = 1.0
    information_weight: Annotated[float, Field(ge=0)] = 0.1
    information_budget: Annotated[float, Field(gt=0)] = 0.05  # money a session


class Factorial(Settings):
    """A factorial study on one platform's market."""

    factors: Factors
    seeds: Annotated[int, Field(ge=1, le=1000)] = 5
    first_seed: Annotated[int, Field(ge=0, lt=2**30)] = 0
    steps: Annotated[int, Field(ge=1)] = 100_000  # market epochs of a run's training
    candidates: Annotated[int, Field(ge=2, le=64)] = 5  # K of the inner minimum, where ε > 0
    smallest_factor: Annotated[float, Field(gt=0, lt=1)] = 0.9
    largest_factor: Annotated[float, Field(gt=1)] = 1.1
    learners: dict[Algorithm, dict[str, Any]] = {}  # noqa: RUF012
    play: Play = Play()
    ux: Ux = Ux()
    runs_per_group: Annotated[int, Field(ge=1, le=100_000)] = 40  # written together
    side_by_side: Annotated[int, Field(ge=1, le=100_000)] = 10  # of a group's runs, computed in one batch
    memory: Annotated[float, Field(gt=0)] = 10.0  # GiB that a group may take; batches get narrower until they do

    @model_validator(mode="after")
    def _sound(self) -> Factorial:
        for name in self.factors.algorithm:
            self.learner(name)
        return self

    def learner(self, algorithm: str) -> CommonSettings:
        """The learner's settings in this study.

        Raises:
            ConfigError: naming the setting.
        """
        place = f"study.factorial.learners.{algorithm}"
        own = dict(self.learners.get(algorithm, {}))  # type: ignore[call-overload]
        kind = settings_class(LEARNER_OF[algorithm])
        for name in own:
            if name in _DECIDED:
                raise ConfigError(
                    f"{place}.{name}: the study decides it; accepted are other settings of {kind.__name__}"
                )
            if name not in kind.model_fields:
                near = did_you_mean(name, kind.model_fields)
                raise ConfigError(f"{place}.{name}={own[name]!r}: there is no such setting{near}")
        fixed: dict[str, Any] = {"algorithm": LEARNER_OF[algorithm], "devices": 1}
        if algorithm == "ppo":
            fixed["critic"] = "local"
        try:
            read = kind(**own, **fixed)
            parts, rest = divmod(self.steps, read.steps_per_update)
            if rest or not parts:
                raise ConfigError(
                    f"study.factorial.steps={self.steps}: accepted is a multiple of {read.steps_per_update}, which an "
                    f"update of {algorithm} takes ({place}.num_envs × num_steps)"
                )
            return kind(**own, **fixed, num_updates=parts)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{place}{'.' if field else ''}{field}={first['input']!r:.80}: {first['msg']}") from None

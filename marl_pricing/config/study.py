"""Studies: one experiment, changed run by run, and evaluated together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import Field, model_validator

from marl_pricing.config.errors import ConfigError, Settings, at_most, parse_yaml, refuse, validate
from marl_pricing.config.experiment import ExperimentSettings, read_settings
from marl_pricing.config.factorial import Factorial
from marl_pricing.config.promotion import Promotion
from marl_pricing.config.retired import translate
from marl_pricing.config.trials import Trials
from marl_pricing.learning.run_files import PROVENANCE, read_provenance, read_settings_file

STUDY = "study.yaml"
SETTINGS = "settings"  # of provenance.json: those that a study began with
_SWEPT = ("market", "traffic", "robust", "learner")


class StudyRun(Settings):
    """One run of a study.

    `change` is settings that differ from the experiment's, group by group; `against` is the run it is compared with.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    change: dict[str, Any] = {}  # noqa: RUF012
    against: str | None = None


class Dimension(Settings):
    """A setting and the values that it goes through, such as market.reward.omega; `label` is its name in figures."""

    field: str
    values: Annotated[list[int | float | str], Field(min_length=1)]
    label: str | None = None

    @property
    def short(self) -> str:
        """The last part of the field."""
        return self.field.rpartition(".")[2]

    @property
    def name(self) -> str:
        """What people call it."""
        return self.label or self.short.replace("_", " ")

    def change(self, value: int | float | str) -> dict[str, Any]:
        """The settings that differ where the field has this value."""
        *groups, last = self.field.split(".")
        return reduce(lambda inner, part: {part: inner}, reversed(groups), {last: value})


class Sweep(Dimension):
    """A dimension on the x axis of a study's figures, and a second one, a line each, or none."""

    values: Annotated[list[int | float], Field(min_length=1)]  # type: ignore[assignment]
    over: Dimension | None = None

    @model_validator(mode="after")
    def _sound(self) -> Sweep:
        for place, own in (("study.sweep", self), ("study.sweep.over", self.over)):
            if own is None:
                continue
            group, *rest = own.field.split(".")
            if group not in _SWEPT or not rest or not all(rest):
                accepted = f"a setting of {', '.join(_SWEPT)}, as market.reward.omega"
                raise refuse(f"{place}.field", own.field, accepted)
            if len(set(own.values)) < len(own.values):
                raise refuse(f"{place}.values", own.values, "a list of different values")
        if self.over is not None and self.over.field == self.field:
            raise refuse("study.sweep.over.field", self.over.field, "another setting than study.sweep.field")
        return self

    @property
    def points(self) -> list[Point]:
        """Every combination of values, those of `over` one after the other."""
        seconds: Sequence[int | float | str | None] = [None] if self.over is None else self.over.values
        return [Point(x, over) for over in seconds for x in self.values]

    def run(self, point: Point) -> StudyRun:
        """The run at a point, named after its values."""
        own = StudyRun(name=f"{self.short}_{point.x}", change=self.change(point.x))
        if self.over is None or point.over is None:
            return own
        name = f"{self.over.short}_{point.over}_{own.name}"
        return StudyRun(name=name, change=_merged(self.over.change(point.over), own.change))


class Point(NamedTuple):
    """Where a run of a sweep stands: its value on the x axis, and that of the second dimension (None without)."""

    x: int | float
    over: int | float | str | None


class Study(Settings):
    """What a study trains, and how it is evaluated: runs one by one, in other worlds; a sweep, along its axis; all
    combinations of a few factors, by analysis of variance; or one fair policy for the customers of a log, beside rules.
    """

    evaluation: Literal["robustness", "sweep", "factorial", "fair_promotion"] = "robustness"
    runs: list[StudyRun] = []  # noqa: RUF012
    sweep: Sweep | None = None
    factorial: Factorial | None = None
    promotion: Promotion | None = None
    checkpoint: Literal["latest", "best"] = "latest"
    episodes: Annotated[int, Field(ge=1), at_most(100_000, "episodes are played one batch after another")] = 64
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1_000_003
    trials: Trials = Trials()

    @model_validator(mode="after")
    def _complete(self) -> Study:
        kind = f"with study.evaluation={self.evaluation}"
        own = {"factorial": "factorial", "fair_promotion": "promotion"}.get(self.evaluation)
        for name in ("factorial", "promotion"):
            if name != own and getattr(self, name) is not None:
                raise refuse(f"study.{name}", "...", f"nothing {kind}")
        if own is not None:
            if getattr(self, own) is None:
                what = {"factorial": "factors and their values", "promotion": "a group of settings"}[own]
                raise refuse(f"study.{own}", None, f"{what} {kind}")
            for name in ("runs", "sweep", "trials", "checkpoint", "episodes", "seed"):
                if name in self.model_fields_set:
                    raise refuse(f"study.{name}", getattr(self, name), f"nothing {kind}")
            return self
        if self.evaluation == "sweep":
            if self.sweep is None:
                raise refuse("study.sweep", None, f"a field and its values {kind}")
            for name in ("runs", "trials"):
                if name in self.model_fields_set:
                    raise refuse(f"study.{name}", getattr(self, name), f"nothing {kind}")
        else:
            if not self.runs:
                raise refuse("study.runs", [], f"a list of at least 1 {kind}")
            if self.sweep is not None:
                raise refuse("study.sweep", self.sweep.field, f"nothing {kind}")
        return self

    @model_validator(mode="after")
    def _named(self) -> Study:
        names = [run.name for run in self.runs]
        if len(set(names)) < len(names):
            raise refuse("study.runs", names, "different names")
        for number, run in enumerate(self.runs):
            if run.against is not None and run.against not in names[:number]:
                before = ", ".join(names[:number]) or "nothing: it is the first"
                raise refuse(f"study.runs[{number}].against", run.against, f"a run before it ({before})")
        return self


class Plan(NamedTuple):
    """A study with the settings of each of its runs, all of them checked.

    Attributes:
        data: the settings that it was made from, as a file holds them.
    """

    study: Study
    runs: list[StudyRun]
    settings: list[ExperimentSettings]
    data: dict[str, Any]

    @property
    def base(self) -> dict[str, Any]:
        """The settings that it was made from, without the study."""
        return without_study(self.data)


def without_study(data: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's settings without the group `study`."""
    return {name: value for name, value in data.items() if name != "study"}


def _merged(base: Any, change: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(change, Mapping):
        return change
    return {**base, **{name: _merged(base.get(name), value) for name, value in change.items()}}


def named(run: StudyRun, error: ConfigError) -> ConfigError:
    """The same error, saying which run of a study it is of."""
    return ConfigError("\n".join(f"study run {run.name}: {line}" for line in str(error).splitlines()))


def plan_study(data: Mapping[str, Any]) -> Plan:
    """A study and the settings of each of its runs, all of them checked.

    Args:
        data: settings of an experiment, with a group `study`.

    Raises:
        ConfigError: as `read_settings`, naming the run.
    """
    study = validate(Study, data["study"], "study")
    base = without_study(data)
    if base.get("run", {}).get("distributed"):
        raise ConfigError("run.distributed=True: accepted is false in a study")
    if study.factorial is not None:
        _check_alone(base)
        return Plan(study, [], [], dict(data))
    if study.promotion is not None:
        read_settings(base)  # a name and a folder; what else is typed is refused where that can be told
        return Plan(study, [], [], dict(data))
    runs = list(study.runs) if study.sweep is None else [study.sweep.run(point) for point in study.sweep.points]
    found = []
    for run in runs:
        changed = _merged(base, run.change)
        try:
            own = read_settings({**changed, "name": run.name})
        except ConfigError as error:
            raise named(run, error) from None
        found.append(own)
    return Plan(study, runs, found, dict(data))


def _check_alone(base: Mapping[str, Any]) -> None:
    """Refuse what a factorial study's base says of robustness, opponents and starts: its factors say it, or nothing."""
    own = read_settings(base)
    why = "with study.evaluation=factorial"
    if own.robust.set != "none":
        raise refuse("robust.set", own.robust.set, f"none {why}: factors.epsilon_alpha is the radius")
    if own.init_from is not None:
        raise refuse("init_from", own.init_from, f"null {why}")
    if own.opponents.seats:
        raise refuse("opponents.seats", own.opponents.seats, f"null {why}: there is one platform")
    if own.worlds.any:
        raise refuse("worlds", "...", f"no law of worlds {why}")


def plan_to_yaml(plan: Plan) -> str:
    """The settings of a study as a file."""
    return yaml.safe_dump(plan.data, sort_keys=False, allow_unicode=True)


def is_study(folder: Path) -> bool:
    """Whether a folder holds a study."""
    return (folder / STUDY).is_file()


def open_study(folder: Path) -> Plan:
    """The plan of the study that a folder holds.

    Raises:
        ConfigError, RunError: for a file that is no study's, or was changed since it was written.
    """
    path = folder / STUDY
    _refuse_edited(folder)
    data = parse_yaml(read_settings_file(folder, STUDY), str(path))
    if not isinstance(data, dict) or not isinstance(data.get("study"), dict):
        raise ConfigError(f"{path}: is no study; accepted is the file that train.py left there")
    return plan_study(translate(data, str(path)))


def _refuse_edited(folder: Path) -> None:
    """Refuse a study whose file is not what it began with, saying what differs, where provenance.json tells that."""
    began = read_provenance(folder).get(SETTINGS) if (folder / PROVENANCE).is_file() else None
    if began is None:
        return
    try:
        now = parse_yaml((folder / STUDY).read_bytes(), str(folder / STUDY))
    except OSError as error:
        raise ConfigError(f"{folder / STUDY}: {error.strerror}") from None
    differ = list(differences(began, now))
    if differ:
        raise ConfigError(
            "\n".join(
                f"{folder / STUDY}: {field} is {after!r:.80} and was {before!r:.80} when the study began; accepted is "
                "what it was, or a new study"
                for field, before, after in differ[:10]
            )
        )


def differences(before: Any, after: Any, field: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, value before, value after) of what differs between two trees of settings."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            place = f"{field}.{name}" if field else str(name)
            yield from differences(before.get(name, "nothing"), after.get(name, "nothing"), place)
    elif before != after:
        yield field, before, after

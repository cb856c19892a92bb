"""Studies: one experiment, changed run by run, and evaluated together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from marl_pricing.config.errors import ConfigError, Settings, refuse, validate
from marl_pricing.config.experiment import ExperimentSettings, read_settings
from marl_pricing.config.trials import Trials


class StudyRun(Settings):
    """One run of a study.

    `change` is settings that differ from the experiment's, group by group; `against` is the run it is compared with.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    change: dict[str, Any] = {}  # noqa: RUF012
    against: str | None = None


class Study(Settings):
    """What a study trains, and how it is evaluated."""

    runs: Annotated[list[StudyRun], Field(min_length=1)]
    evaluation: Literal["robustness"] = "robustness"
    checkpoint: Literal["latest", "best"] = "latest"
    episodes: Annotated[int, Field(ge=1)] = 64
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1_000_003
    trials: Trials = Trials()

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


def _merged(base: Any, change: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(change, Mapping):
        return change
    return {**base, **{name: _merged(base.get(name), value) for name, value in change.items()}}


def read_study(data: Mapping[str, Any]) -> tuple[Study, list[ExperimentSettings]]:
    """A study and the settings of each of its runs, all of them checked.

    Args:
        data: settings of an experiment, with a group `study`.

    Raises:
        ConfigError: as `read_settings`, naming the run.
    """
    study = validate(Study, data["study"], "study")
    base = {name: value for name, value in data.items() if name != "study"}
    if base.get("run", {}).get("distributed"):
        raise ConfigError("run.distributed=True: accepted is false in a study, whose runs come one after the other")
    found = []
    for run in study.runs:
        changed = _merged(base, run.change)
        try:
            own = read_settings({**changed, "name": run.name})
        except ConfigError as error:
            raise ConfigError("\n".join(f"study run {run.name}: {line}" for line in str(error).splitlines())) from None
        found.append(own)
    return study, found


def study_to_yaml(data: Mapping[str, Any]) -> str:
    """The resolved settings of a study as a file."""
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True)


def study_from_yaml(text: str, source: str) -> dict[str, Any]:
    """What `study_to_yaml` wrote.

    Raises:
        ConfigError: for a file that is no study's.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        data = None
    if not isinstance(data, dict) or not isinstance(data.get("study"), dict):
        raise ConfigError(f"{source}: is no study; accepted is the file that train.py left there")
    return data

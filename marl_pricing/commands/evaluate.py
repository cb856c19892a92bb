"""`marl-pricing evaluate`, `python evaluate.py`: tables, figures, one HTML report. `--help` says what can be set."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from marl_pricing.config.errors import ConfigError, Settings, at_most, refuse, setting_names, validate
from marl_pricing.config.idle import refuse_typed
from marl_pricing.config.study import is_study
from marl_pricing.config.trials import Trials
from marl_pricing.doors import command_line, quoted, run_hydra, say_errors
from marl_pricing.learning.devices import start_cpu_devices
from marl_pricing.learning.flags import compile_quickly
from marl_pricing.learning.program_cache import keep_programs
from marl_pricing.presentation import pulse
from marl_pricing.shipped import shipped


class EvaluationSettings(Settings):
    run: Annotated[list[str], Field(min_length=1)]
    checkpoint: Literal["latest", "best"]
    episodes: Annotated[int, Field(ge=1), at_most(100_000, "episodes are played one batch after another")]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    rules: list[str]
    guests: bool
    behaviour: bool
    best_response: Annotated[int, Field(ge=0), at_most(1_000_000, "each is an update of a training")] | Literal["auto"]
    measures: list[str]
    beside: list[str]
    out: str | None
    evaluation: Literal["report", "robustness"]
    trials: Trials


_OF_REPORTS = ("rules", "guests", "behaviour", "best_response", "measures", "beside")


def _evaluate_study(folder: Path) -> Path:
    """Evaluate a trained study again, as its own settings say."""
    from marl_pricing.config.study import open_study
    from marl_pricing.studies.study import evaluate_study

    given = [own for own in HydraConfig.get().overrides.task if not own.startswith("run=")]
    if given:
        raise ConfigError(f"run={str(folder)!r}: accepted is nothing beside a study, not {given[0]!r}")
    plan = open_study(folder)
    if plan.study.factorial is not None:
        from marl_pricing.studies.factorial.carry_out import evaluate_factorial

        return evaluate_factorial(plan, folder)
    if plan.study.promotion is not None:
        from marl_pricing.commands.fair_promotion import evaluate_promotion

        return evaluate_promotion(plan, folder)
    return evaluate_study(plan, folder)


def _evaluate(config: DictConfig) -> None:
    data = OmegaConf.to_container(config, resolve=True)
    if not data["run"]:  # type: ignore[index,call-overload]
        raise ConfigError("run=[]: accepted is at least one run folder, as run=PATH")
    settings = validate(EvaluationSettings, data)  # type: ignore[arg-type]
    places = [Path(folder).resolve() for folder in settings.run]
    twice = next((run for run, place in zip(settings.run, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise refuse("run", twice, "every run folder once")

    study = next((run for run in settings.run if is_study(Path(run))), None)
    if study is not None:
        if len(settings.run) > 1:
            raise refuse("run", study, "one study, or run folders")
        print(f"report: {_evaluate_study(Path(study))}")
        return
    other = ("trials",) if settings.evaluation == "report" else _OF_REPORTS
    given = HydraConfig.get().overrides.task
    refuse_typed(given, dict.fromkeys(other, f"evaluation={settings.evaluation}"))
    if settings.evaluation == "robustness":
        print(f"report: {_try(settings)}")
        return

    from marl_pricing.policies import RULES
    from marl_pricing.studies.loading import load_runs
    from marl_pricing.studies.reporting import report_runs

    for rule in settings.rules:
        if rule not in RULES:
            raise refuse("rules", rule, ", ".join(RULES))
    report = report_runs(
        load_runs([Path(folder) for folder in settings.run], settings.checkpoint),
        Path(settings.out) if settings.out else Path(settings.run[0]) / "evaluation",
        episodes=settings.episodes,
        seed=settings.seed,
        rules=settings.rules,
        guests=settings.guests,
        behaviour=settings.behaviour,
        best_response=settings.best_response,
        measures=settings.measures,
        command=command_line(),
        beside=[Path(folder) for folder in settings.beside],
    )
    print(f"report: {report}")


def _try(settings: EvaluationSettings) -> Path:
    """Try the runs in worlds that they were not trained for."""
    from marl_pricing.studies.study import evaluate_robustness

    return evaluate_robustness(
        [Path(folder) for folder in settings.run],
        settings.checkpoint,
        settings.trials,
        Path(settings.out) if settings.out else Path(settings.run[0]) / "robustness",
        episodes=settings.episodes,
        seed=settings.seed,
        command=command_line(),
    )


def _gather_runs(arguments: list[str]) -> list[str]:
    """`run=A run=B` becomes the one list that Hydra knows."""
    folders = [own.removeprefix("run=") for own in arguments if own.startswith("run=")]
    rest = [own for own in arguments if not own.startswith("run=")]
    if len(folders) == 1 and folders[0].startswith("["):
        return arguments
    return [*rest, f"run=[{','.join(map(quoted, folders))}]"] if folders else rest


@hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="evaluate")
def main(config: DictConfig) -> None:
    """Evaluate as configured."""
    with say_errors():
        pulse.doing("loading the runs")
        compile_quickly()
        keep_programs()
        start_cpu_devices()  # best responses are trained on them
        _evaluate(config)


def start() -> None:
    """The door: settings come from the command line."""
    sys.argv[1:] = _gather_runs(sys.argv[1:])
    run_hydra(main, partial(setting_names, EvaluationSettings))

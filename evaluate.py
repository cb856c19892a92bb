"""Evaluate run folders: tables, figures, one HTML report. `python evaluate.py --help` says what can be set."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import hydra
from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from marl_pricing.config.errors import ConfigError, Settings, refuse, validate
from marl_pricing.config.idle import refuse_typed
from marl_pricing.config.study import is_study
from marl_pricing.config.trials import Trials
from marl_pricing.doors import run_hydra, say_errors
from marl_pricing.learning.devices import start_cpu_devices
from marl_pricing.learning.flags import compile_quickly


class EvaluationSettings(Settings):
    run: Annotated[list[str], Field(min_length=1)]
    checkpoint: Literal["latest", "best"]
    episodes: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    rules: list[str]
    guests: bool
    behaviour: bool
    best_response: Annotated[int, Field(ge=0)] | Literal["auto"]
    measures: list[str]
    out: str | None
    evaluation: Literal["report", "robustness"]
    trials: Trials


_OF_REPORTS = ("rules", "guests", "behaviour", "best_response", "measures")


def _load(folders: list[str], which: str, best_response: int | Literal["auto"]) -> list:
    """Runs as the evaluation takes them: market, learned policies of every seed, provenance."""
    import pandas as pd

    from marl_pricing.evaluation.behaviour.responders import plan_responders
    from marl_pricing.evaluation.runs import RunToEvaluate
    from marl_pricing.learning.runs import EVALUATION, METRICS
    from marl_pricing.studies.loading import load_runs

    loaded = load_runs([Path(folder) for folder in folders], which)
    plans = [
        plan_responders(best_response, *run.experiment.market, run.settings.learner, run.learners) for run in loaded
    ]
    return [
        RunToEvaluate(
            name=run.name,
            shape=run.experiment.market.shape,
            params=run.experiment.market.params,
            policies={"greedy": run.policies(greedy=True), "sampled": run.policies(greedy=False)},
            discount=run.settings.learner.gamma,
            responder=plan.settings,
            unanswered=plan.reason,
            networks=run.networks,
            training=pd.read_csv(run.folder / METRICS),
            held_out=pd.read_csv(run.folder / EVALUATION) if (run.folder / EVALUATION).exists() else None,
            config_text=run.config_text,
            versions=run.provenance["versions"] | {"revision": run.provenance["revision"], "update": run.update},
            command=run.provenance["command"],
            sellers=run.settings.market.calibration.sellers if run.settings.market.calibration else (),
            ambiguity=run.experiment.learner.ambiguity,
            held=run.held,
            selves=run.experiment.table.selves if run.experiment.table else (),
        )
        for run, plan in zip(loaded, plans, strict=True)
    ]


def _evaluate_study(folder: Path) -> Path:
    """Evaluate a trained study again, as its own settings say."""
    from marl_pricing.config.study import open_study
    from marl_pricing.studies.study import evaluate_study

    given = [own for own in hydra.core.hydra_config.HydraConfig.get().overrides.task if not own.startswith("run=")]
    if given:
        raise ConfigError(f"run={str(folder)!r}: accepted is nothing beside a study, not {given[0]!r}")
    return evaluate_study(open_study(folder), folder)


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
    given = hydra.core.hydra_config.HydraConfig.get().overrides.task
    refuse_typed(given, dict.fromkeys(other, f"evaluation={settings.evaluation}"))
    if settings.evaluation == "robustness":
        print(f"report: {_try(settings)}")
        return

    from marl_pricing.evaluation.evaluate import evaluate
    from marl_pricing.policies import RULES

    for rule in settings.rules:
        if rule not in RULES:
            raise refuse("rules", rule, ", ".join(RULES))
    loaded = _load(settings.run, settings.checkpoint, settings.best_response)
    out = Path(settings.out) if settings.out else Path(settings.run[0]) / "evaluation"
    try:
        report = evaluate(
            loaded,
            out,
            episodes=settings.episodes,
            seed=settings.seed,
            rules=tuple(settings.rules),
            guests=settings.guests,
            behaviour=settings.behaviour,
            measures=tuple(settings.measures),
            progress=True,
            command=shlex.join(["python", *sys.argv]),
        )
    except ValueError as error:  # what only the played market tells, such as a measure that it cannot have
        raise ConfigError(str(error)) from None
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
        command=shlex.join(["python", *sys.argv]),
    )


def _gather_runs(arguments: list[str]) -> list[str]:
    """`run=A run=B` becomes the one list that Hydra knows."""
    folders = [own.removeprefix("run=") for own in arguments if own.startswith("run=")]
    rest = [own for own in arguments if not own.startswith("run=")]
    if len(folders) == 1 and folders[0].startswith("["):
        return arguments
    quoted = ",".join('"' + own.replace("\\", "\\\\").replace('"', '\\"') + '"' for own in folders)
    return [*rest, f"run=[{quoted}]"] if folders else rest


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> None:
    """Evaluate as configured."""
    with say_errors():
        compile_quickly()
        start_cpu_devices()  # best responses are trained on them
        _evaluate(config)


if __name__ == "__main__":
    sys.argv[1:] = _gather_runs(sys.argv[1:])
    run_hydra(main)

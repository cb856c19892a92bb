"""Evaluate run folders: tables, figures, one HTML report. `python evaluate.py --help` says what can be set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import hydra
from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from marl_pricing.config.errors import ConfigError, Settings, refuse, validate
from marl_pricing.doors import run_hydra, say_errors


class EvaluationSettings(Settings):
    run: Annotated[list[str], Field(min_length=1)]
    checkpoint: Literal["latest", "best"]
    episodes: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    rules: list[str]
    guests: bool
    out: str | None


def _load(folder: Path, which: str, names: list[str]):
    """A run as the evaluation takes it: market, learned policies of every seed, provenance."""
    import jax

    from marl_pricing import config
    from marl_pricing.evaluation.evaluate import RunToEvaluate
    from marl_pricing.learning import runs
    from marl_pricing.learning.parallel import Program
    from marl_pricing.learning.policy import learned_policy

    text = runs.read_config(folder)
    settings = config.from_yaml(text, str(folder / runs.CONFIG))
    # The devices of the training machine need not be here.
    here = settings.model_copy(update={"learner": settings.learner.model_copy(update={"devices": "auto"})})
    experiment = config.build(here)
    program = Program(experiment.learner)
    with runs.Checkpoints(folder) as checkpoints:
        update = checkpoints.find(which)
        state = checkpoints.load(update, program.abstract_state(program.stack(experiment.market.params)))
    actors = jax.device_get(state.learnable.actor)
    provenance = runs.read_provenance(folder)
    name = settings.name
    if name in names:
        name = f"{name} ({folder.name})"
    if name in names:
        raise refuse("run", str(folder), "every run folder once")

    def policies(greedy: bool):
        count = settings.learner.num_seeds
        own = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], actors) for seed in range(count)]
        return [learned_policy(experiment.learner, parameters, greedy=greedy) for parameters in own]

    return RunToEvaluate(
        name=name,
        shape=experiment.market.shape,
        params=experiment.market.params,
        policies={"greedy": policies(True), "sampled": policies(False)},
        config_text=text,
        versions=provenance["versions"] | {"revision": provenance["revision"], "update": str(update)},
        command=provenance["command"],
    )


def _evaluate(config: DictConfig) -> None:
    data = OmegaConf.to_container(config, resolve=True)
    if not data["run"]:  # type: ignore[index,call-overload]
        raise ConfigError("run=[]: accepted is at least one run folder, as run=PATH")
    settings = validate(EvaluationSettings, data)  # type: ignore[arg-type]

    from marl_pricing.evaluation.evaluate import evaluate
    from marl_pricing.policies import RULES

    for rule in settings.rules:
        if rule not in RULES:
            raise refuse("rules", rule, ", ".join(RULES))
    loaded: list = []
    for folder in settings.run:
        loaded.append(_load(Path(folder), settings.checkpoint, [run.name for run in loaded]))
    out = Path(settings.out) if settings.out else Path(settings.run[0]) / "evaluation"
    report = evaluate(
        loaded,
        out,
        episodes=settings.episodes,
        seed=settings.seed,
        rules=tuple(settings.rules),
        guests=settings.guests,
        progress=True,
    )
    print(f"report: {report}")


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
        _evaluate(config)


if __name__ == "__main__":
    sys.argv[1:] = _gather_runs(sys.argv[1:])
    run_hydra(main)

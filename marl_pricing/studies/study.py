"""A study: its runs one after the other, then their evaluation; it goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_pricing.config import ConfigError, ExperimentSettings
from marl_pricing.config.study import Study, read_study, study_from_yaml, study_to_yaml
from marl_pricing.config.trials import Trials, trial_worlds
from marl_pricing.evaluation import robustness_report
from marl_pricing.evaluation.robustness import Tried
from marl_pricing.learning import runs
from marl_pricing.studies.single import is_complete, load_run, train_run

STUDY = "study.yaml"


def is_study(folder: Path) -> bool:
    """Whether a folder holds a study."""
    return (folder / STUDY).is_file()


def start_study(data: Mapping[str, Any], folder: Path, provenance: Mapping[str, Any]) -> bool:
    """Check all of a study's settings, make its folder, and carry it out; see `continue_study`.

    Raises:
        ConfigError: before anything is written.
        RunError: for a folder that is in use.
    """
    read_study(data)
    if folder.exists() and any(folder.iterdir()):
        raise runs.RunError(f"{folder}: is not empty; continue a study with resume={folder}")
    folder.mkdir(parents=True, exist_ok=True)
    runs.replace_file(folder / runs.PROVENANCE, json.dumps(dict(provenance), indent=2) + "\n")
    runs.replace_file(folder / STUDY, study_to_yaml(data))
    return continue_study(folder)


def continue_study(folder: Path) -> bool:
    """Train what is not trained yet, then evaluate.

    Returns:
        Whether it came to its end; False where it was interrupted.
    """
    study, settings = read_study(study_from_yaml((folder / STUDY).read_text("utf-8"), str(folder / STUDY)))
    provenance = runs.read_provenance(folder)
    for number, (run, own) in enumerate(zip(study.runs, settings, strict=True), 1):
        place = folder / run.name
        begun = runs.is_run(place)
        if begun and is_complete(place, own):
            print(f"run {number} of {len(settings)}: {run.name} is trained", flush=True)
            continue
        print(f"run {number} of {len(settings)}", flush=True)
        if not train_run(own, place, None if begun else provenance):
            return False
    evaluate_study(folder, study)
    return True


def evaluate_study(folder: Path, study: Study) -> None:
    """Try every run of a trained study in its worlds; tables, figures and a page in `evaluation`."""
    against = {run.name: run.against for run in study.runs}
    report = evaluate_robustness(
        [folder / run.name for run in study.runs],
        study.checkpoint,
        study.trials,
        folder / "evaluation",
        episodes=study.episodes,
        seed=study.seed,
        against=against,
    )
    print(f"report: {report}")


def _default_against(tried: Sequence[ExperimentSettings], names: Sequence[str]) -> dict[str, str | None]:
    """A robust run is compared with the first plain run whose market is the same."""
    found: dict[str, str | None] = {}
    for own, name in zip(tried, names, strict=True):
        plain = [
            other_name
            for other, other_name in zip(tried, names, strict=True)
            if other.robust.set == "none" and (other.market, other.traffic) == (own.market, own.traffic)
        ]
        found[name] = plain[0] if plain and plain[0] != name else None
    return found


def evaluate_robustness(
    folders: Sequence[Path],
    checkpoint: str,
    trials: Trials,
    out: Path,
    *,
    episodes: int,
    seed: int,
    against: Mapping[str, str | None] | None = None,
    command: str = "",
) -> Path:
    """Try runs in the worlds that they were not trained for, and write what came of it.

    Args:
        against: by run, which other it is compared with; None finds the plain run of the same market.

    Returns:
        The path of the page.

    Raises:
        ConfigError, RunError: for folders that cannot be used, or two runs of one name.
    """
    loaded = [load_run(folder, checkpoint) for folder in folders]
    names: list[str] = []
    for run in loaded:
        name = run.settings.name if run.settings.name not in names else f"{run.settings.name} ({run.folder.name})"
        if name in names:
            raise ConfigError(f"run={str(run.folder)!r}: accepted is every run folder once")
        names.append(name)
    against = against or _default_against([run.settings for run in loaded], names)
    tried = [
        Tried(
            name=name,
            policies=run.policies(greedy=True),
            worlds=trial_worlds(run.settings, run.experiment.market, trials),
            against=against[name],
            config_text=run.config_text,
            command=str(run.provenance.get("command", "")),
        )
        for name, run in zip(names, loaded, strict=True)
    ]
    return robustness_report.robustness(tried, out, episodes=episodes, seed=seed, command=command)

"""A study: its runs, then their evaluation; it goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_pricing.config import ConfigError, Experiment, ExperimentSettings
from marl_pricing.config.sizes import check_evaluation, check_training
from marl_pricing.config.study import Plan, named, plan_to_yaml
from marl_pricing.config.trials import Trials, trial_worlds
from marl_pricing.evaluation import robustness, sweep
from marl_pricing.learning import runs
from marl_pricing.presentation import words
from marl_pricing.studies.loading import LoadedRun, build_run, load_runs
from marl_pricing.studies.single import has_ended, standing
from marl_pricing.studies.study_folder import new_folder
from marl_pricing.studies.together import train_together


def start_study(plan: Plan, folder: Path, provenance: Mapping[str, Any]) -> bool:
    """Make a study's folder and carry it out; see `continue_study`.

    Raises:
        ConfigError: before anything is written.
        RunError: for a folder that is in use.
    """
    experiments = _build(plan, folder)
    with new_folder(plan, folder, provenance, f"*/{runs.METRICS}"):
        return _carry_out(plan, experiments, folder)


def continue_study(plan: Plan, folder: Path) -> bool:
    """Train what is not trained yet, then evaluate.

    Returns:
        Whether it came to its end; False where it was interrupted.
    """
    return _carry_out(plan, _build(plan, folder), folder)


def _build(plan: Plan, folder: Path) -> list[Experiment]:
    """The markets and learners of all runs, with the opponents that their folders keep."""
    found = []
    for run, own in zip(plan.runs, plan.settings, strict=True):
        try:
            check_training(own)
            found.append(build_run(own, folder / run.name))
        except ConfigError as error:
            raise named(run, error) from None
    return found


def _carry_out(plan: Plan, experiments: Sequence[Experiment], folder: Path) -> bool:
    folders = [folder / run.name for run in plan.runs]
    with runs.only_writer(folder):
        if not train_together(experiments, folders, runs.read_provenance(folder)):
            return False
    print(f"report: {evaluate_study(plan, folder)}", flush=True)
    return True


def evaluate_study(plan: Plan, folder: Path) -> Path:
    """Evaluate every run of a trained study; tables, figures and a page in `evaluation`.

    Returns:
        The path of the page.

    Raises:
        RunError: for a run that is not trained.
    """
    study, out = plan.study, folder / "evaluation"
    folders = [folder / run.name for run in plan.runs]
    for place, own in zip(folders, plan.settings, strict=True):
        if not has_ended(place, own, standing(place)):
            raise runs.RunError(f"{place}: is not trained to its end; go on with: python train.py resume={folder}")
    loaded = load_runs(folders, study.checkpoint)
    command = str(runs.read_provenance(folder).get("command", ""))
    with words.using(words.common([run.words for run in loaded])):
        return _evaluate_loaded(plan, loaded, out, command)


def _evaluate_loaded(plan: Plan, loaded: Sequence[LoadedRun], out: Path, command: str) -> Path:
    study = plan.study
    if study.sweep is None:
        against = {run.name: run.against for run in plan.runs}
        return _try(loaded, study.trials, against, out, episodes=study.episodes, seed=study.seed, command=command)
    swept = [
        sweep.SweptRun(
            name=run.name,
            x=float(point.x),
            over=point.over,
            shape=run.experiment.market.shape,
            params=run.experiment.market.params,
            policies=run.policies(greedy=True),
            held=run.held,
        )
        for run, point in zip(loaded, study.sweep.points, strict=True)
    ]
    axes = sweep.Axes(
        title=plan.data["name"],
        x=study.sweep.name,
        over=study.sweep.over.name if study.sweep.over else "",
        omega=study.sweep.field == "market.reward.omega",
    )
    return sweep.evaluate_sweep(
        swept, axes, out, episodes=study.episodes, seed=study.seed, config_text=plan_to_yaml(plan), command=command
    )


def _default_against(loaded: Sequence[LoadedRun]) -> dict[str, str | None]:
    """A robust run is compared with the first plain run whose market is the same."""

    def market(own: ExperimentSettings) -> tuple:
        return own.market, own.traffic

    found: dict[str, str | None] = {}
    for run in loaded:
        alike = [other for other in loaded if market(other.settings) == market(run.settings)]
        plain = [other.name for other in alike if other.settings.robust.set == "none"]
        found[run.name] = plain[0] if plain and plain[0] != run.name else None
    return found


def evaluate_robustness(
    folders: Sequence[Path], checkpoint: str, trials: Trials, out: Path, *, episodes: int, seed: int, command: str
) -> Path:
    """Try runs in the worlds that they were not trained for, each against the plain run of the same market.

    Returns:
        The path of the page.

    Raises:
        ConfigError, RunError: for folders that cannot be used, or one folder twice.
    """
    loaded = load_runs(folders, checkpoint)
    for run in loaded:
        check_evaluation(run.settings.market, episodes)
    with words.using(words.common([run.words for run in loaded])):
        return _try(loaded, trials, _default_against(loaded), out, episodes=episodes, seed=seed, command=command)


def _asked(run: LoadedRun) -> tuple[int, ...] | None:
    """Whose profit a run is judged by: of those who learned, or who fear, where only some do; None for all."""
    ambiguity = run.experiment.learner.ambiguity
    if ambiguity is not None and ambiguity.sellers is not None:
        return ambiguity.sellers
    return tuple(run.learners) if run.held else None


def _try(
    loaded: Sequence[LoadedRun],
    trials: Trials,
    against: Mapping[str, str | None],
    out: Path,
    *,
    episodes: int,
    seed: int,
    command: str,
) -> Path:
    tried = [
        robustness.Tried(
            name=run.name,
            policies=run.policies(greedy=True),
            worlds=trial_worlds(run.settings, run.experiment.market, trials),
            against=against[run.name],
            sellers=_asked(run),
            held=run.held,
            config_text=run.config_text,
            command=str(run.provenance.get("command", "")),
        )
        for run in loaded
    ]
    return robustness.evaluate_robustness(tried, out, episodes=episodes, seed=seed, command=command)

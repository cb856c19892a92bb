"""Runs in their folders → one report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from marl_pricing.config.errors import ConfigError
from marl_pricing.config.sizes import check_evaluation
from marl_pricing.evaluation.behaviour.responders import plan_responders
from marl_pricing.evaluation.evaluate import evaluate
from marl_pricing.evaluation.runs import RunToEvaluate
from marl_pricing.learning.learners import critical
from marl_pricing.learning.run_files import EVALUATION, METRICS, as_csv, read_table
from marl_pricing.presentation.words import common, using
from marl_pricing.studies.loading import LoadedRun


def table_of(folder: Path, name: str) -> pd.DataFrame | None:
    """A table of a run folder; None where it has no rows."""
    rows = read_table(folder, name)
    return pd.read_csv(io.StringIO(as_csv(rows))) if rows else None


def to_evaluate(loaded: Sequence[LoadedRun], best_response: int | Literal["auto"]) -> list[RunToEvaluate]:
    """Runs as the evaluation takes them: market, learned policies of every seed, provenance.

    Args:
        best_response: updates of training one to each seller; 0 for none; auto: in small markets.
    """
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
            networks=run.networks if critical(run.settings.learner) else None,
            training=table_of(run.folder, METRICS),
            held_out=table_of(run.folder, EVALUATION),
            config_text=run.config_text,
            versions=run.provenance["versions"] | {"revision": run.provenance["revision"], "update": run.update},
            command=run.provenance["command"],
            sellers=run.settings.market.calibration.sellers if run.settings.market.calibration else (),
            ambiguity=run.experiment.learner.ambiguity,
            held=run.held,
            folder=str(run.folder),
            selves=run.experiment.table.selves if run.experiment.table else (),
            digests=run.digests,
        )
        for run, plan in zip(loaded, plans, strict=True)
    ]


def report_runs(
    loaded: Sequence[LoadedRun],
    out: Path,
    *,
    episodes: int,
    seed: int,
    rules: Sequence[str],
    guests: bool,
    behaviour: bool,
    best_response: int | Literal["auto"],
    measures: Sequence[str],
    command: str,
    progress: bool = True,
    beside: Sequence[Path] = (),
) -> Path:
    """Play runs beside rules and leave the report, in the words of their market; see `evaluation.evaluate.evaluate`.

    Returns:
        The path of report.html.

    Raises:
        ConfigError: for what only the played market tells, such as a measure that it cannot have.
    """
    for run in loaded:
        check_evaluation(run.settings.market, episodes)
    taken = to_evaluate(loaded, best_response)
    try:
        with using(common([run.words for run in loaded])):
            return evaluate(
                taken, out, episodes=episodes, seed=seed, rules=tuple(rules), guests=guests, behaviour=behaviour,
                measures=tuple(measures), progress=progress, command=command, beside=tuple(beside),
            )  # fmt: skip
    except ValueError as error:
        raise ConfigError(str(error)) from None

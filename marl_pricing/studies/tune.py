"""`python -m marl_pricing.studies.tune out=FOLDER experiment=NAME`: search for the learner's settings, by Optuna."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import math
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, model_validator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from marl_pricing.config import ConfigError, ExperimentSettings, build, read_settings
from marl_pricing.config.command_line import read_command_line
from marl_pricing.config.composing import compose_settings
from marl_pricing.config.errors import Settings, refuse, validate
from marl_pricing.doors import say_errors
from marl_pricing.learning.held_out import has_one_objective
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.output import run_command
from marl_pricing.presentation.progress import Progress
from marl_pricing.studies.tune_trials import Score, Trials, changed

JOURNAL, TABLE = "trials.log", "trials.csv"
_GROUPS = ("market", "traffic", "robust", "learner")


class Dimension(Settings):
    """Where a setting is looked for: between two numbers (on a logarithmic scale, if wanted), or among choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: list[int | float | str | bool] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Dimension:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or len(set(self.choices)) < 2:
                raise refuse("space.choices", self.choices, "at least 2 different values, without low, high or log")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise refuse("space.low, high", (self.low, self.high), "two numbers, low below high, or choices")
        elif self.log and self.low <= 0:
            raise refuse("space.low", self.low, "a number above 0 with log")
        return self

    @property
    def ends(self) -> list[Any]:
        """Values that have to be good settings if all in between are to be."""
        return list(self.choices) if self.choices is not None else [self.low, self.high]


# All of these are numbers of one program: its trials compile once.
SPACE: dict[str, Any] = {
    "learner.learning_rate": {"low": 5e-4, "high": 1e-2, "log": True},
    "learner.gamma": {"choices": [0.8, 0.9, 0.95, 0.99]},
    "learner.entropy_start": {"low": 1e-3, "high": 0.1, "log": True},
}


class TuneSettings(Settings):
    """Settings of a search; the descriptions are what `--help` prints."""

    out: str = Field(description="folder of the search; one that holds a search goes on with it")
    experiment: str = Field("competitive", description="of conf/experiment")
    trials: Annotated[int, Field(ge=1)] = Field(20, description="in all, those of an earlier call included")
    updates: Annotated[int, Field(ge=1)] | None = Field(None, description="of a trial; null: the experiment's")
    seeds: Annotated[int, Field(ge=1)] = Field(1, description="training seeds of a trial")
    episodes: Annotated[int, Field(ge=2)] = Field(16, description="of a seed's held-out play")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of Optuna's draws")
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="Optuna's: tree-structured Parzen estimator, or chance"
    )
    space: dict[str, Dimension] = Field(
        SPACE, description="what is searched, by setting of the learner", validate_default=True
    )


def help_text() -> str:
    """What `--help` prints."""
    lines = [
        (f"{name}={ {'out': 'FOLDER', 'space': '…'}.get(name, field.default) }", field.description or "")
        for name, field in TuneSettings.model_fields.items()
    ]
    width = max(len(setting) for setting, _ in lines) + 2
    searched = [
        f"  space.{name}: {', '.join(f'{key}: {value}' for key, value in own.items())}" for name, own in SPACE.items()
    ]
    return "\n".join(
        (
            "Search for the learner's settings that serve an experiment best, by Optuna's ask and tell.",
            "",
            "usage: python -m marl_pricing.studies.tune out=FOLDER [field=value …] [setting of train.py=value …]",
            "       python -m marl_pricing.studies.tune settings=FILE.yaml [field=value …]     a file of settings",
            "",
            "Settings:",
            *(f"  {setting:<{width}}{told}" for setting, told in lines),
            "",
            "Searched, unless a space is given (space.learner.num_steps.choices=[32,64], say, in place of these):",
            *searched,
            "",
            "Maximised: where all sellers want the same, the smaller of the greedy and the sampled return on held-out",
            "shoppers; elsewhere minus the gain of the best constant price in a seller's seat (share of what the seat",
            "earns) and minus the distance of sampled from greedy play. Trials are kept in trials.log and trials.csv.",
        )
    )


def _compose(experiment: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The settings that train.py would train with."""
    data = compose_settings([f"experiment={experiment}", *overrides])
    return {name: value for name, value in data.items() if name not in ("resume", "study")}


def _flat(space: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """{learner: {gamma: {low: …}}} as learner.gamma: {low: …}, as deep as it goes."""
    for name, value in space.items():
        inner = isinstance(value, dict) and value and all(isinstance(own, dict) for own in value.values())
        yield from _flat(value, f"{prefix}{name}.") if inner else [(f"{prefix}{name}", value)]


def read(arguments: Sequence[str]) -> tuple[TuneSettings, dict[str, Any], list[str]]:
    """(settings of the search, the experiment as plain data, what the command line changes in it).

    Raises:
        ConfigError: naming each field that is wrong, its value and what is accepted; also for an end of the space that
            is no good setting.
    """
    ours: list[str] = []
    theirs: list[str] = []
    for argument in arguments:
        name = argument.partition("=")[0].lstrip("+~")
        (theirs if name.partition(".")[0].partition("/")[0] in _GROUPS else ours).append(argument)
    given = read_command_line(ours, {}, texts=("out", "experiment"))
    if isinstance(given.get("space"), dict):
        given["space"] = dict(_flat(given["space"]))
    own = validate(TuneSettings, given)
    data = _compose(own.experiment, theirs)
    learner = data["learner"]
    if learner["algorithm"] != "mappo":
        raise refuse("learner.algorithm", learner["algorithm"], "mappo for a search")
    learner["num_seeds"] = own.seeds
    if own.updates is not None:
        learner["num_updates"] = own.updates
    for name, dimension in own.space.items():
        group, _, field = name.partition(".")
        if group != "learner" or field not in learner or field in ("algorithm", "num_seeds", "num_updates", "seed"):
            raise refuse("space", name, "a setting of learner, but for algorithm, seed, num_seeds and num_updates")
        for value in dimension.ends:
            read_settings(changed(data, {name: value}))
    return own, data, theirs


def _study(own: TuneSettings, folder: Path) -> Any:
    """Optuna's study in the folder, which is made if need be.

    Raises:
        ConfigError: where Optuna is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'marl-pricing[tune]'") from None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
            study_name="tune",
            direction="maximize",
            load_if_exists=True,
        )
        before = len(study.trials)
    except OSError:
        raise
    except Exception as error:  # a broken file may fail anywhere within
        raise ConfigError(f"{folder / JOURNAL}: no search can be read from it ({type(error).__name__})") from None
    # A search that goes on must not draw again what it drew before.
    study.sampler = samplers[own.sampler](seed=own.seed + before)
    return study


def _distributions(own: TuneSettings) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        name: CategoricalDistribution(tuple(given.choices))
        if given.choices is not None
        else FloatDistribution(given.low, given.high, log=given.log)  # type: ignore[arg-type]
        for name, given in own.space.items()
    }


def _same_search(study: Any, told: str, folder: Path) -> None:
    """A folder's trials are of one experiment, budget and space: others cannot be compared with them."""
    before = study.user_attrs.get("search")
    if before is None:
        study.set_user_attr("search", told)
    elif before != told:
        raise ConfigError(
            f"out={str(folder)!r}: holds another search; accepted is the same experiment, budget and space"
        )


def search(own: TuneSettings, data: dict[str, Any], theirs: Sequence[str]) -> pd.DataFrame:
    """Ask, train, tell, until there are as many trials as wanted.

    Returns:
        One row a trial, best first; see `table`.

    Raises:
        ConfigError: for a folder that holds another search, or without Optuna.
    """
    folder = Path(own.out)
    study, distributions = _study(own, folder), _distributions(own)
    import optuna

    told = repr((own.experiment, sorted(theirs), data["learner"], own.episodes, own.space))
    _same_search(study, told, folder)
    start: ExperimentSettings = read_settings(data)
    trials = Trials(own.episodes, start.learner.seed + 1_000_003)
    finished = sum(own.state.is_finished() for own in study.trials)
    columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[best]}"))
    with Progress(
        *columns, TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(), console=Console(stderr=True)
    ) as bar:
        task = bar.add_task("", total=own.trials, completed=finished, best="")
        while finished < own.trials:
            if not study.trials:  # the experiment's own numbers are the first to be beaten
                study.enqueue_trial(_as_shipped(data, own.space))
            trial = study.ask(distributions)
            begin = time.perf_counter()
            try:
                score = trials.run(build(read_settings(changed(data, trial.params))))
            except (KeyboardInterrupt, SystemExit):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                raise
            for name, value in (asdict(score) | {"seconds": time.perf_counter() - begin}).items():
                trial.set_user_attr(name, value)
            if math.isfinite(score.value):
                study.tell(trial, score.value)
            else:  # it diverged; Optuna learns to stay away
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            finished += 1
            write_atomically(folder / TABLE, table(study).to_csv(index=False))
            best = f"best {study.best_value:.4g}" if any(t.value is not None for t in study.trials) else ""
            bar.update(task, completed=finished, best=best)
    _draw(study, own.space, folder)
    return table(study)


def _as_shipped(data: dict[str, Any], space: dict[str, Dimension]) -> dict[str, Any]:
    """The experiment's own values, where they lie in the space."""
    found = {}
    for name, own in space.items():
        value = data["learner"][name.removeprefix("learner.")]
        inside = value in own.choices if own.choices is not None else own.low <= value <= own.high
        if inside:
            found[name] = value
    return found


def table(study: Any) -> pd.DataFrame:
    """One row a finished trial, best first: its number, what it was asked, what it came to (`tune_trials.Score`)."""
    names = [name for name in Score.__dataclass_fields__ if name != "value"]
    rows = [
        {"trial": own.number, "score": own.value if own.value is not None else float("nan")}
        | own.params
        | {name: own.user_attrs.get(name) for name in (*names, "seconds")}
        for own in study.trials
        if own.state.is_finished() and "seconds" in own.user_attrs
    ]
    frame = pd.DataFrame(rows)
    return frame.sort_values("score", ascending=False, ignore_index=True) if len(frame) else frame


def _draw(study: Any, space: dict[str, Dimension], folder: Path) -> None:
    from marl_pricing.studies import tune_figures

    tune_figures.write(study, table(study), {name: given.log for name, given in space.items()}, folder)


def command_of(own: TuneSettings, theirs: Sequence[str], best: dict[str, Any]) -> str:
    """The command line that trains with what won."""
    budget = [] if own.updates is None else [f"learner.num_updates={own.updates}"]
    numbers = [f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in best.items()]
    return shlex.join(["python", "train.py", f"experiment={own.experiment}", *theirs, *budget, *numbers])


def main(arguments: Sequence[str] | None = None) -> int:
    """Search; print the best trials and the winner's command; exit status 2 and a line where it cannot be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(help_text())
        return 0
    with say_errors():
        own, data, theirs = read(given)
        shown = search(own, data, theirs)
    shared = has_one_objective(build(read_settings(data)).market.params)
    kind = "smaller of greedy and sampled return" if shared else "minus regret"
    good = shown.dropna(subset=["score"])
    print(good.head(10).to_string(index=False, float_format="{:.4g}".format))
    print(f"score: {kind}; all trials: {Path(own.out) / TABLE}")
    if len(good):
        best = {name: good.iloc[0][name] for name in own.space}
        print("the best:", command_of(own, theirs, best))
    return 0


if __name__ == "__main__":
    run_command(main)

"""One run: trained into a folder."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from marl_pricing import config
from marl_pricing.config import ConfigError, Experiment, ExperimentSettings
from marl_pricing.config.calibrated import words_of
from marl_pricing.config.opponents import seating_of
from marl_pricing.config.sizes import check_training
from marl_pricing.learning import runs
from marl_pricing.learning.convergence import Verdict, curves_of, judge
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.mappo import Mappo
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.run_files import CONFIG_DIGEST, as_csv, read_table, text_digest
from marl_pricing.learning.state import Networks
from marl_pricing.learning.training import Member, Schedule, train
from marl_pricing.presentation import pulse
from marl_pricing.presentation.words import say, using
from marl_pricing.studies.loading import LoadedRun, build_run, load_run
from marl_pricing.studies.opponents import say_seats
from marl_pricing.studies.starting import check_start, spread


def train_run(
    settings: ExperimentSettings, folder: Path, provenance: Mapping[str, Any] | None, *, share: bool = False
) -> bool:
    """Train as the settings say.

    Args:
        folder: of the run; made here.
        provenance: for a new run; None goes on with the run that the folder holds.
        share: make the folder visible to all processes before any of them uses it.

    Returns:
        Whether the training came to its end; False where it was interrupted and saved.

    Raises:
        ConfigError, RunError: for settings or folders that cannot be used.
    """
    check_training(settings)
    experiment = build_run(settings, folder if provenance is None else None)
    source = start_of(experiment) if provenance is not None else None
    program = program_of(experiment.learner)
    first = jax.process_index() == 0
    if provenance is not None and first:
        create_run(folder, experiment, told_start(provenance, source))
    if share:
        multihost_utils.sync_global_devices("run folder")
    own = settings.learner
    if first:
        pulse.doing("compiling")
        print(
            f"{settings.name}: {settings.market.num_sellers} sellers, {own.num_seeds} seed(s), {own.num_envs} "
            f"environments on {program.mesh.size} device(s); {folder}",
            flush=True,
        )
        for line in say_seats(experiment.table) if experiment.table else ():
            print(line, flush=True)
    lock = runs.only_writer(folder) if first else nullcontext()
    with lock, _no_empty_folder(folder, made=provenance is not None and first):
        _, complete = train(
            program,
            [member_of(folder, experiment)],
            schedule_of(settings),
            resume=provenance is None,
            tensorboard=settings.run.tensorboard,
        )
    if first and complete:
        say_verdict(folder)
    return complete


def create_run(folder: Path, experiment: Experiment, provenance: Mapping[str, Any]) -> None:
    """Make a run's folder, with its opponents as they are now; see `runs.create`."""
    table = experiment.table
    if table is not None:
        provenance = {**provenance, "opponents": list(table.provenance)}
    runs.create(folder, config.to_yaml(experiment.settings), provenance, table.files if table else None)


@contextmanager
def _no_empty_folder(folder: Path, *, made: bool) -> Iterator[None]:
    """Where the training fails before its first row, the folder that was made for it goes."""
    try:
        yield
    except BaseException:  # Ctrl-C while it compiles is one
        if made and not (folder / runs.METRICS).exists():
            shutil.rmtree(folder)
        raise


def score_of(folder: Path) -> float:
    """What a sweeper goes by, the higher the better: r' of the last update, mean over sellers that learn and seeds.

    Greedy play on held-out shoppers, money an epoch, where the run was evaluated there; else training play, money an
    episode.

    Raises:
        RunError: for a run without an update.
    """
    written = read_table(folder, runs.METRICS)
    if not written:
        raise runs.RunError(f"{folder / runs.METRICS}: holds no update yet")
    import pandas as pd  # half a second, and none of it before a training's first line

    table = pd.read_csv(io.StringIO(as_csv(written)))
    last = table[table["update"] == table["update"].max()]
    rows = read_table(folder, runs.EVALUATION)
    if rows and int(rows[-1]["update"]) == last["update"].iloc[0]:
        return float(curves_of(rows).greedy[-1].mean())
    shaped = last.filter(regex=r"^return_shaped/")
    return float(shaped.drop(columns=[f"return_shaped/seller_{seller}" for seller in _held(folder)]).to_numpy().mean())


def _held(folder: Path) -> list[int]:
    """Seats of a run that opponents hold."""
    if not runs.is_run(folder):
        return []
    own = config.from_yaml(runs.read_config(folder), str(folder / runs.CONFIG))
    names = own.market.calibration.sellers if own.market.calibration else ()
    return [seat for _, seats in seating_of(own.opponents, own.market.num_sellers, names).held for seat in seats]


def say_verdict(folder: Path, name: str = "") -> None:
    """Print whether a run that has ended converged; nothing where it was not evaluated."""
    verdict = verdict_of(folder, standing(folder))
    if verdict is not None:
        market = config.from_yaml(runs.read_config(folder), str(folder / runs.CONFIG)).market
        with using(words_of(market.calibration)):
            print(f"{name}{': ' if name else ''}{say(str(verdict))}", flush=True)


def schedule_of(settings: ExperimentSettings) -> Schedule:
    """When a run reports, saves, is evaluated and ends."""
    run, learner = settings.run, settings.learner
    # A run that was lengthened is evaluated as often as before.
    every = -(-learner.scheduled_updates // 20) if run.evaluate_every is None else run.evaluate_every
    return Schedule(run.report_every, run.checkpoint_every, every, run.until == "converged")


def standing(folder: Path) -> int:
    """The update that a run folder stands at; 0 where there is none."""
    if not runs.is_run(folder):
        return 0
    with runs.Checkpoints(folder) as checkpoints:
        return max(checkpoints.updates, default=0)


def verdict_of(folder: Path, update: int) -> Verdict | None:
    """Whether a run had converged at an update; None where it was not evaluated there."""
    rows = read_table(folder, runs.EVALUATION, update)
    return judge(curves_of(rows)) if rows and int(rows[-1]["update"]) == update else None


def has_ended(folder: Path, settings: ExperimentSettings, update: int) -> bool:
    """Whether the training of a run that stands at an update has come to its end."""
    if update == settings.learner.num_updates:
        return True
    verdict = verdict_of(folder, update) if settings.run.until == "converged" else None
    return verdict is not None and bool(verdict.converged)


def lengthen_run(folder: Path, num_updates: int, record: Mapping[str, Any]) -> ExperimentSettings:
    """Give a run more updates, and write down that it was; see `config.lengthen`.

    Args:
        record: command, time and versions, for provenance.json.

    Returns:
        The settings from now on; what was trained stays as it is.

    Raises:
        ConfigError, RunError: for folders that cannot be used, or no more updates than there are.
    """
    text = runs.read_config(folder)
    with runs.only_writer(folder):
        return _lengthen(folder, config.from_yaml(text, str(folder / runs.CONFIG)), num_updates, record)


def _lengthen(
    folder: Path, settings: ExperimentSettings, num_updates: int, record: Mapping[str, Any]
) -> ExperimentSettings:
    longer = config.lengthen(settings, num_updates)
    config.build(longer, opponents=True)
    provenance = runs.read_provenance(folder)
    text = config.to_yaml(longer)
    own = {"from": settings.learner.num_updates, "to": num_updates, "at": standing(folder), **record}
    own[CONFIG_DIGEST] = text_digest(text)
    # A kill between the two files leaves a record too much, which the next try replaces.
    before = [told for told in provenance.get("lengthened", []) if told["from"] < own["from"]]
    runs.replace_file(
        folder / runs.PROVENANCE, json.dumps(provenance | {"lengthened": [*before, own]}, indent=2) + "\n"
    )
    runs.replace_file(folder / runs.CONFIG, text)
    return longer


_SOURCE = "init_from"


def start_of(experiment: Experiment) -> LoadedRun | None:
    """The run that an experiment starts from; None where it starts with new networks.

    Raises:
        ConfigError, RunError: for a folder that cannot be used, or whose networks do not fit.
    """
    folder = experiment.settings.init_from
    if folder is None:
        return None
    source = load_run(Path(folder), "latest")
    check_start(folder, source.experiment, experiment)
    return source


def told_start(provenance: Mapping[str, Any], source: LoadedRun | None) -> dict[str, Any]:
    """Provenance with what a run starts from, where it starts from another."""
    return dict(provenance) if source is None else {**provenance, _SOURCE: source.told}


def _refuse_another(folder: Path, source: LoadedRun) -> None:
    """Refuse networks that are not those with which the run in `folder` began, as far as it wrote these down."""
    told, now = runs.read_provenance(folder).get(_SOURCE, {}), source.told
    if any(told.get(name, now[name]) != now[name] for name in ("update", "digest")):
        raise runs.RunError(
            f"{folder}: has no checkpoint yet, and {source.folder}, which it starts from, is not what it was when this "
            f"run began (update {told['update']} then, {now['update']} now); accepted is a new run"
        )


def member_of(folder: Path, experiment: Experiment) -> Member:
    """A run as a training takes it; what it starts from is read when it does, and has to be what its folder tells."""

    def start() -> Networks:
        source = start_of(experiment)
        assert source is not None
        _refuse_another(folder, source)
        return spread(source.networks, experiment.settings.learner.num_seeds)

    own = experiment.settings
    words = words_of(own.market.calibration)
    return Member(folder, experiment.params, None if own.init_from is None else start, words)


def program_of(learner: Learner, num_runs: int = 1) -> Program:
    """The program of a learner, in JAX or in torch.

    Raises:
        ConfigError: for more devices than there are, or torch where it is not installed.
    """
    try:
        if learner.settings.algorithm != "torch_mappo":
            return Program(learner, num_runs)
        from marl_pricing.learning.torch_mappo.program import TorchProgram

        assert isinstance(learner, Mappo)
        return TorchProgram(learner, num_runs)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ConfigError(f"learner.algorithm='torch_mappo': {error}") from None

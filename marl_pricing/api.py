"""The door for Python, as wide as the command line: `marl_pricing.train(…)`, `marl_pricing.load(…)`, `settings(…)`.

Nothing here needs a terminal: it works in a notebook, in a thread (signals are then left alone), in a worker process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

    from marl_pricing.config import ExperimentSettings
    from marl_pricing.environments import PricingEnv
    from marl_pricing.market import Policy
    from marl_pricing.studies.loading import LoadedRun
    from marl_pricing.studies.players import Players

Checkpoint = Literal["latest", "best"]


def settings(
    experiment: str = "competitive",
    changes: Mapping[str, Any] | None = None,
    *,
    groups: Mapping[str, str] | None = None,
    config_dir: Path | str | None = None,
) -> ExperimentSettings:
    """Settings of an experiment with changes laid over them, checked.

    Args:
        experiment: a file in `conf/experiment`, or in the `experiment` folder of `config_dir`.
        changes: values by dotted name, e.g. {"market.num_sellers": 5, "learner.gamma": 0.9}.
        groups: files by group, e.g. {"market/inventory": "chosen", "robust": "interval"}.
        config_dir: a folder of the caller's laid out like `conf/`.

    Raises:
        ConfigError: naming each setting that cannot be had, its value and what is accepted; for a study, which is
            several runs.
    """
    from marl_pricing.config import ConfigError, read_settings
    from marl_pricing.config.composing import compose_settings
    from marl_pricing.config.idle import refuse_idle

    chosen = {**(groups or {}), "experiment": experiment}
    data = compose_settings([f"{name}={value}" for name, value in chosen.items()], changes, config_dir)
    if data.pop("study") is not None:
        raise ConfigError(f"experiment={experiment!r}: is a study, several runs; accepted is the experiment of one run")
    if data.pop("resume") is not None:
        raise ConfigError("resume: accepted is nothing; marl_pricing.resume(folder) goes on with a run")
    own = read_settings(data)
    refuse_idle(own, [f"{name}={value}" for name, value in (changes or {}).items()])
    return own


def train(
    experiment: str | ExperimentSettings = "competitive",
    changes: Mapping[str, Any] | None = None,
    *,
    groups: Mapping[str, str] | None = None,
    folder: Path | str | None = None,
    config_dir: Path | str | None = None,
) -> Run:
    """Train sellers and leave a run folder, as `train.py` does.

    Args:
        experiment, changes, groups, config_dir: see `settings`; or finished settings alone.
        folder: of the run, which must not be there yet; None: `run.folder`, or runs/NAME/DATE_TIME.

    Returns:
        The run. Where Ctrl-C ended it early it is saved, and `complete` is False.

    Raises:
        ConfigError, RunError: for settings or folders that cannot be used.
    """
    from marl_pricing.config import ConfigError, ExperimentSettings

    if isinstance(experiment, ExperimentSettings):
        if changes or groups or config_dir is not None:
            raise ConfigError("changes: accepted is nothing beside finished settings; marl_pricing.settings lays them")
        own = experiment
    else:
        own = settings(experiment, changes, groups=groups, config_dir=config_dir)
    if own.run.distributed:
        raise ConfigError(
            "run.distributed=True: accepted is False from Python; train.py starts one of several processes"
        )
    _start(own)

    from marl_pricing.doors import revision
    from marl_pricing.learning import runs
    from marl_pricing.studies.single import train_run

    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")[:-3]
    place = Path(folder or own.run.folder or Path("runs") / own.name / stamp)
    told = {"command": "marl_pricing.train", "started": stamp, "versions": runs.versions(), "revision": revision()}
    return Run(place, train_run(own, place, told))


def resume(folder: Path | str) -> Run:
    """Go on with an interrupted run, to the same numbers as one that never was.

    Raises:
        ConfigError, RunError: for a folder that cannot be used.
    """
    from marl_pricing import config
    from marl_pricing.learning import runs

    place = Path(folder)
    own = config.from_yaml(runs.read_config(place), str(place / runs.CONFIG))
    _start(own)

    from marl_pricing.studies.single import train_run

    return Run(place, train_run(own, place, None))


def load(folder: Path | str) -> Run:
    """A run that was trained.

    Raises:
        ConfigError, RunError: for a folder that is none, or that cannot be read.
    """
    from marl_pricing import config
    from marl_pricing.learning import runs
    from marl_pricing.studies.single import has_ended, standing

    place = Path(folder)
    own = config.from_yaml(runs.read_config(place), str(place / runs.CONFIG))
    return Run(place, has_ended(place, own, standing(place)))


def _start(own: ExperimentSettings) -> None:
    import jax.numpy as jnp

    from marl_pricing.config.errors import refuse
    from marl_pricing.forks import refuse_forked
    from marl_pricing.learning.devices import start_cpu_devices
    from marl_pricing.learning.program_cache import keep_programs

    refuse_forked()
    if jnp.result_type(float).itemsize == 8:
        accepted = "False, because learners compute in 32 bits: jax.config.update('jax_enable_x64', False)"
        raise refuse("jax_enable_x64", True, accepted)
    keep_programs()
    start_cpu_devices(own.learner.devices)


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        complete: whether the training came to its end.
    """

    folder: Path
    complete: bool

    @cached_property
    def settings(self) -> ExperimentSettings:
        """What it was trained with."""
        return self._loaded("latest").settings

    @property
    def metrics(self) -> pd.DataFrame:
        """Figures of training, a row an update and seed; columns as in docs/learning.md."""
        return self._table("METRICS")

    @property
    def evaluations(self) -> pd.DataFrame:
        """Greedy and sampled play on held-out shoppers, a row an evaluation, seed, seller and policy.

        Raises:
            FileNotFoundError: for a run that was trained without evaluations (`run.evaluate_every=0`).
            RunError: for a table that is broken, or not what it was when it was written.
        """
        return self._table("EVALUATION")

    def _table(self, name: str) -> pd.DataFrame:
        from marl_pricing.learning import runs
        from marl_pricing.studies.reporting import table_of

        table = table_of(self.folder, getattr(runs, name))
        if table is None:
            raise FileNotFoundError(f"{self.folder / getattr(runs, name)}: there is no such table, or it has no rows")
        return table

    def _loaded(self, checkpoint: Checkpoint) -> LoadedRun:
        from marl_pricing.studies.loading import load_run

        return load_run(self.folder, checkpoint)

    def policies(self, *, greedy: bool = True, checkpoint: Checkpoint = "latest") -> list[Policy]:
        """One policy a training seed, for the jitted market: pure functions, see `marl_pricing.market.Policy`."""
        return self._loaded(checkpoint).policies(greedy=greedy)

    def players(self, seed: int = 0, *, greedy: bool = True, checkpoint: Checkpoint = "latest") -> Players:
        """The sellers of one training seed at the table of a PettingZoo environment, see `Players.act`.

        Raises:
            ConfigError: for a seed that the run has not, or seats that others hold.
        """
        from marl_pricing.studies.players import Players

        return Players(self._loaded(checkpoint), seed, greedy=greedy)

    def env(self, *, render_mode: str | None = None) -> PricingEnv:
        """The market that it was trained in, as a PettingZoo parallel environment."""
        from marl_pricing.environments import parallel_env

        market = self._loaded("latest").experiment.market
        return parallel_env(market.shape, market.params, render_mode)

    def evaluate(
        self,
        *others: Run,
        out: Path | str | None = None,
        checkpoint: Checkpoint = "latest",
        episodes: int = 64,
        seed: int = 1_000_003,
        rules: Sequence[str] | None = None,
        guests: bool = True,
        behaviour: bool = True,
        best_response: int | Literal["auto"] = "auto",
        measures: Sequence[str] = (),
        beside: Sequence[Path | str] = (),
        progress: bool = True,
    ) -> Path:
        """One report on this run and others, as `evaluate.py` makes it; conf/evaluate.yaml explains the arguments.

        Args:
            rules: names in `marl_pricing.policies.RULES`; None: those of conf/evaluate.yaml.
            beside: folders of evaluations that were kept, to be compared with.

        Returns:
            The path of report.html; tables and figures lie beside it.

        Raises:
            ConfigError, RunError: for what cannot be evaluated.
        """
        from marl_pricing.config.composing import shipped_rules
        from marl_pricing.config.errors import refuse
        from marl_pricing.policies import RULES
        from marl_pricing.studies.loading import load_runs
        from marl_pricing.studies.reporting import report_runs

        wanted = tuple(shipped_rules() if rules is None else rules)
        for rule in wanted:
            if rule not in RULES:
                raise refuse("rules", rule, ", ".join(RULES))
        return report_runs(
            load_runs([self.folder, *(other.folder for other in others)], checkpoint),
            self.folder / "evaluation" if out is None else Path(out),
            episodes=episodes,
            seed=seed,
            rules=wanted,
            guests=guests,
            behaviour=behaviour,
            best_response=best_response,
            measures=measures,
            beside=[Path(own) for own in beside],
            command="Run.evaluate",
            progress=progress,
        )

"""`marl-pricing train`, `python train.py`: read conf, run, leave a run folder. `--help` says what can be set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from marl_pricing.doors import command_line, how_to, revision, run_hydra, say_errors, swept_values
from marl_pricing.learning.program_cache import keep_programs
from marl_pricing.presentation import pulse
from marl_pricing.shipped import shipped

if TYPE_CHECKING:
    from marl_pricing.config import ConfigError
    from marl_pricing.config.launcher import Launcher


def _start_devices(*wanted: int | str) -> None:
    """On a CPU, one device a core, or as many as any job of a multirun asks for: environments are split over them."""
    from marl_pricing.learning.devices import start_cpu_devices

    start_cpu_devices(*wanted, *(own for own in swept_values("learner.devices") if isinstance(own, int) and own > 0))


_LENGTH = "learner.num_updates="


def _refuse_beside(resume: str, accepted: str, allowed: tuple[str, ...]) -> bool:
    """Refuse settings given beside resume; whether a length was given."""
    given = [own for own in HydraConfig.get().overrides.task if not own.startswith("resume=")]
    others = [own for own in given if not own.startswith(allowed)]
    if others:
        from marl_pricing.config import ConfigError

        raise ConfigError(f"resume={resume!r}: accepted is {accepted} beside it, not {others[0]!r}")
    return bool(given)


def _run(config: DictConfig) -> float | None:
    pulse.doing("reading the settings, building the market")
    import jax

    from marl_pricing import config as settings_of
    from marl_pricing.config.idle import refuse_idle
    from marl_pricing.config.launcher import read_launcher
    from marl_pricing.config.learners import for_its_learner
    from marl_pricing.config.study import is_study
    from marl_pricing.learning import runs

    data = OmegaConf.to_container(config, resolve=True)
    assert isinstance(data, dict)
    data = for_its_learner(data, HydraConfig.get().overrides.task)  # type: ignore[arg-type]
    resume = data.pop("resume")
    launcher = read_launcher(data.pop("launcher"))
    longer = False
    if resume is not None:
        if is_study(Path(resume)):
            _refuse_beside(resume, "nothing, or settings of launcher,", ("launcher=", "launcher."))
        else:
            longer = _refuse_beside(resume, "nothing, or learner.num_updates,", (_LENGTH,))
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")[:-3]
    provenance = {"command": command_line(), "started": stamp, "versions": runs.versions()}
    if data["study"] is not None or (resume is not None and is_study(Path(resume))):
        _study(data, resume, provenance, launcher)
        return None
    if launcher.kind != "local" or launcher.store is not None:
        raise _one_process(launcher, "a single run")
    data.pop("study")
    if resume is None:
        settings = settings_of.read_settings(data)
        refuse_idle(settings, HydraConfig.get().overrides.task)
        folder = Path(settings.run.folder or Path("runs") / settings.name / stamp)
    else:
        folder = Path(resume)
        settings = settings_of.from_yaml(runs.read_config(folder), str(folder / runs.CONFIG))
    if longer:  # refused before anything starts; done once devices are there
        settings_of.lengthen(settings, data["learner"]["num_updates"])
    keep_programs(traces=True)
    _start_devices(settings.learner.devices)
    distributed = settings.run.distributed
    if distributed and resume is None and settings.run.folder is None:
        raise settings_of.ConfigError(
            "run.folder=None: accepted is a folder on a shared disk with run.distributed=true"
        )
    if distributed:
        from marl_pricing.learning.processes import join_processes

        try:
            join_processes()
        except ValueError as error:
            raise settings_of.ConfigError(str(error)) from None

    from marl_pricing.studies.single import lengthen_run, score_of, train_run

    if longer:
        settings = lengthen_run(folder, data["learner"]["num_updates"], provenance | {"revision": revision()})
    new = None if resume is not None else provenance | {"revision": revision()}
    complete = train_run(settings, folder, new, share=distributed)
    if jax.process_index() == 0:
        print(
            f"trained: {folder}\nlook at it: {how_to('evaluate', run=folder)}"
            if complete
            else f"stopped and saved; go on with: {how_to('train', resume=folder)}",
            flush=True,
        )
    if not complete:
        raise SystemExit(0)  # also out of a multirun
    return score_of(folder)


def _one_process(launcher: Launcher, what: str) -> ConfigError:
    """What to say of a launcher that takes groups, where there are none."""
    from marl_pricing.config.errors import refuse

    name, value = ("launcher", launcher.kind) if launcher.kind != "local" else ("launcher.store", launcher.store)
    accepted = "local" if name == "launcher" else "null"
    return refuse(name, value, f"{accepted} with {what}; studies with study.evaluation=factorial are of groups")


def _study(data: dict[str, Any], resume: str | None, provenance: dict[str, Any], launcher: Launcher) -> None:
    """Train and evaluate a study, or go on with one. Its runs have no score in common."""
    from marl_pricing.config.study import open_study, plan_study

    plan = plan_study(data) if resume is None else open_study(Path(resume))
    keep_programs()
    _start_devices(*(own.learner.devices for own in plan.settings))

    folder = Path(resume or data["run"]["folder"] or Path("runs") / data["name"] / provenance["started"])
    provenance = provenance | {"revision": revision()}
    if plan.study.factorial is not None:
        from marl_pricing.studies.factorial.carry_out import continue_factorial, start_factorial

        _refuse_decided()
        start: Callable = partial(start_factorial, launcher=launcher)
        go_on: Callable = partial(continue_factorial, launcher=launcher)
    elif launcher.kind != "local" or launcher.store is not None:
        raise _one_process(launcher, f"study.evaluation={plan.study.evaluation}")
    elif plan.study.promotion is not None:
        from marl_pricing.commands.fair_promotion import continue_promotion, refuse_other_markets, start_promotion

        if resume is None:
            refuse_other_markets(HydraConfig.get().overrides.task, plan.study.promotion)
        start, go_on = start_promotion, continue_promotion
    else:
        from marl_pricing.studies.study import continue_study, start_study

        start, go_on = start_study, continue_study
    complete = go_on(plan, folder) if resume is not None else start(plan, folder, provenance)
    if not complete:
        print(f"stopped and saved; go on with: {how_to('train', resume=folder)}", flush=True)
        raise SystemExit(0)


# What a factorial study says elsewhere, or not at all.
_DECIDED = {
    "learner": "study.factorial.learners",
    "robust": "study.factorial.factors.epsilon_alpha",
    "traffic.agent_share": "study.factorial.factors.alpha",
    "market.reward.coi_leakage": "study.factorial.factors.lambda_coi",
    "market.prices.factors": "study.factorial.factors.action_levels",
    "run.until": "study.factorial.steps",
    "run.evaluate_every": "study.factorial.play",
}


def _refuse_decided() -> None:
    """Refuse settings that were typed and that a factorial study decides."""
    from marl_pricing.config import ConfigError

    for given in HydraConfig.get().overrides.task:
        name = given.partition("=")[0].lstrip("+~")
        for decided, instead in _DECIDED.items():
            if name == decided or name.startswith(f"{decided}."):
                raise ConfigError(f"{given}: accepted is {instead} with study.evaluation=factorial, which decides it")


@hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")
def main(config: DictConfig) -> float | None:
    """Train as configured; returns the run's score, which Hydra hands to its sweeper (see `score_of`)."""
    with say_errors():
        score = _run(config)
    return score


def start() -> None:
    """The door: settings come from the command line."""
    run_hydra(main, _names)


def _names() -> set[str]:
    from marl_pricing.config import ExperimentSettings
    from marl_pricing.config.errors import setting_names
    from marl_pricing.config.launcher import Launcher

    return (
        setting_names(ExperimentSettings) | setting_names(Launcher, "launcher") | {"resume", "experiment", "launcher"}
    )

"""Train sellers: read conf, run, leave a run folder. `python train.py --help` says what can be set."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from marl_pricing.doors import revision, run_hydra, say_errors


def _start_devices(wanted: Any) -> None:
    """On a CPU, one device a core (or as many as asked for): environments are split over them."""
    import jax

    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", wanted if isinstance(wanted, int) and wanted > 0 else os.cpu_count())


def _given(overrides: list[str]) -> list[str]:
    return [own for own in overrides if not own.startswith("resume=")]


def _run(config: DictConfig) -> int:
    import jax

    from marl_pricing import config as settings_of
    from marl_pricing.learning import runs

    data = OmegaConf.to_container(config, resolve=True)
    assert isinstance(data, dict)
    resume = data.pop("resume")
    if resume is None:
        settings = settings_of.read_settings(data)  # type: ignore[arg-type]
    else:
        others = _given(list(hydra.core.hydra_config.HydraConfig.get().overrides.task))
        if others:
            raise settings_of.ConfigError(f"resume={resume!r}: accepted is nothing beside it, not {others[0]!r}")
        folder = Path(resume)
        settings = settings_of.from_yaml(runs.read_config(folder), str(folder / runs.CONFIG))
    _start_devices(settings.learner.devices)
    distributed = settings.run.distributed
    if distributed and resume is None and settings.run.folder is None:
        raise settings_of.ConfigError(
            "run.folder=None: accepted is a folder on a shared disk with run.distributed=true"
        )
    if distributed and not jax.distributed.is_initialized():
        jax.distributed.initialize()
    experiment = settings_of.build(settings)

    from jax.experimental import multihost_utils

    from marl_pricing.learning.parallel import Program
    from marl_pricing.learning.training import Schedule, train

    try:
        program = Program(experiment.learner)
    except ValueError as error:  # more devices than there are
        raise settings_of.ConfigError(str(error)) from None
    if resume is None:
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")[:-3]
        folder = Path(settings.run.folder or Path("runs") / settings.name / stamp)
        provenance = {"command": shlex.join(["python", *sys.argv]), "started": stamp, "versions": runs.versions()}
        if jax.process_index() == 0:
            runs.create(folder, settings_of.to_yaml(settings), provenance | {"revision": revision()})
    if distributed:
        multihost_utils.sync_global_devices("run folder")
    own = settings.learner
    say = print if jax.process_index() == 0 else (lambda *_, **__: None)
    say(
        f"{settings.name}: {settings.market.num_sellers} sellers, {own.num_seeds} seed(s), {own.num_envs} environments "
        f"on {program.mesh.size} device(s); {folder}",
        flush=True,
    )
    _, complete = train(
        program,
        experiment.market.params,
        folder,
        Schedule(settings.run.report_every, settings.run.checkpoint_every),
        resume=resume is not None,
        tensorboard=settings.run.tensorboard,
    )
    if complete:
        say(f"trained: {folder}\nlook at it: python evaluate.py run={folder}")
    else:
        say(f"stopped and saved; go on with: python train.py resume={folder}")
        raise SystemExit(0)  # also out of a multirun
    return 0


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Train as configured."""
    with say_errors():
        _run(config)


if __name__ == "__main__":
    run_hydra(main)

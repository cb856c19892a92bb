"""Settings as Hydra puts them together from `conf/`, without a command line."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from marl_pricing.config.errors import ConfigError, no_such_file
from marl_pricing.shipped import shipped

# Hydra has one state a process.
_ONE_AT_A_TIME = threading.Lock()


def compose_settings(
    overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None, config_dir: Path | str | None = None
) -> dict[str, Any]:
    """What `train.py` would train with.

    Args:
        overrides: as they are typed, `experiment=grocery`, `learner.gamma=0.9`.
        changes: values by dotted name, over all that; names are checked where the settings are read.
        config_dir: a folder of the caller's laid out like `conf/`; its files are found beside the shipped ones.

    Raises:
        ConfigError: for what cannot be composed.
    """
    more = [] if config_dir is None else [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(f"config_dir={str(config_dir)!r}: accepted is a folder")
    with _ONE_AT_A_TIME:
        before = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(shipped("conf")), version_base="1.3"):
                composed = compose("config", [*more, *overrides])
            OmegaConf.set_struct(composed, False)
            for name, value in (changes or {}).items():
                OmegaConf.update(composed, name, value, merge=not isinstance(value, Mapping), force_add=True)
            data = OmegaConf.to_container(composed, resolve=True)
        except MissingConfigException as error:
            raise ConfigError(no_such_file(error.missing_cfg_file or "", error.options or [])) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(" ".join(str(error).split())) from None
        finally:
            GlobalHydra.instance().hydra = before
    assert isinstance(data, dict)
    return {str(name): value for name, value in data.items()}


def shipped_rules() -> list[str]:
    """The rule policies that `evaluate.py` compares with."""
    own = OmegaConf.load(shipped("conf") / "evaluate.yaml")
    return [str(name) for name in OmegaConf.select(own, "rules")]

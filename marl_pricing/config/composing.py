"""Settings as Hydra puts them together from `conf/`, without a command line."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from marl_pricing.config.errors import ConfigError, did_you_mean, no_such_file, setting_names
from marl_pricing.shipped import shipped

# Groups of one of several kinds, and the setting that says which.
TAGS = {"demand": "model", "prices": "map", "inventory": "rule"}
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
                OmegaConf.update(composed, name, value, merge=_is_laid_over(composed, name, value), force_add=True)
            data = OmegaConf.to_container(composed, resolve=True)
        except MissingConfigException as error:
            raise ConfigError(no_such_file(error.missing_cfg_file or "", error.options or [])) from None
        except (HydraException, OmegaConfBaseException) as error:
            unknown = re.search(r"Could not override '([^']+)'", str(error))
            if unknown:
                raise ConfigError(no_such_setting(unknown[1], overrides)) from None
            raise ConfigError(" ".join(str(error).split())) from None
        finally:
            GlobalHydra.instance().hydra = before
    assert isinstance(data, dict)
    typed = [*overrides, *(f"{name}={value}" for name, value in (changes or {}).items())]
    whole = {str(name): value for name, value in data.items()}
    launcher = whole.pop("launcher", {})
    if launcher.get("kind") != "local":  # who composes settings like this computes here
        raise ConfigError(f"launcher={launcher.get('kind')}: accepted is local here; train.py carries out studies")
    learner = whole.get("learner")
    if not isinstance(learner, Mapping) or learner.get("algorithm") == "mappo":  # as experiments are written
        return whole
    # Imported here: it takes seconds, which commands that only look at settings need not wait.
    from marl_pricing.config.learners import for_its_learner

    return for_its_learner(whole, typed)


def _is_laid_over(composed: DictConfig, name: str, value: Any) -> bool:
    """Whether a value is laid over what is there: a group only over one of its kind."""
    if not isinstance(value, Mapping):
        return True
    tag = TAGS.get(name.rpartition(".")[2])
    return tag is not None and value.get(tag) == OmegaConf.select(composed, f"{name}.{tag}")


def no_such_setting(typed: str, overrides: Sequence[str]) -> str:
    """A line for a setting that there is not, as it was typed."""
    from marl_pricing.config.experiment import ExperimentSettings

    given = next((own for own in overrides if own.lstrip("+~").startswith(typed)), typed)
    names = setting_names(ExperimentSettings) | {"experiment"}
    return f"{given}: there is no such setting{did_you_mean(typed, names)}"


def shipped_rules() -> list[str]:
    """The rule policies that `evaluate.py` compares with."""
    own = OmegaConf.load(shipped("conf") / "evaluate.yaml")
    return [str(name) for name in OmegaConf.select(own, "rules")]

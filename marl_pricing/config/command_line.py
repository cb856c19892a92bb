"""Settings of a command: `field=value …`, over those of a file, `settings=FILE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from marl_pricing.config.errors import ConfigError


def read_command_line(
    arguments: Sequence[str], base: Mapping[str, Any] | None = None, texts: Sequence[str] = ()
) -> dict[str, Any]:
    """What a command line sets, for `errors.validate`.

    Args:
        arguments: field=value, where a field may be a.b and a value is YAML; settings=FILE names a YAML file.
        base: what holds where neither says otherwise.
        texts: fields that are texts, taken as they are typed (a folder may be called 007); null is none.

    Raises:
        ConfigError: naming the argument or the file, and what is accepted.
    """
    typed: dict[str, str | None] = {}
    others = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            raise ConfigError(f"{argument}: accepted are settings as field=value; --help lists them")
        if name in texts:
            typed[name] = None if value == "null" else value
        else:
            others.append(argument)
    merged, path = OmegaConf.create(dict(base or {})), ""
    try:
        given = OmegaConf.from_dotlist(others)
        if "settings" in given:
            path = str(given.pop("settings"))
            own = OmegaConf.load(path)
            if not OmegaConf.is_dict(own):
                raise ConfigError(f"settings={path!r}: accepted are lines `field: value`")
            # As a file's own lines, so that what it says of a group takes the place of the base's.
            merged.update(own)
        data = OmegaConf.to_container(OmegaConf.merge(merged, given), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split())) from None
    except (OSError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not YAML"
        raise ConfigError(f"settings={path!r}: cannot be read, {reason}") from None
    assert isinstance(data, dict)
    read = {str(name): value for name, value in data.items()}
    return read | {name: str(read[name]) for name in texts if read.get(name) is not None} | typed

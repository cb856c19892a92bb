"""Settings of a command: `field=value …`, over those of a file, `settings=FILE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel

from marl_pricing.config.errors import ConfigError, parse_yaml, read_bytes
from marl_pricing.intake import plain
from marl_pricing.intake.plain import YAML_FAULTS
from marl_pricing.shipped import found


def settings_help(model: type[BaseModel], shown: Mapping[str, str], groups: Sequence[str] = ()) -> str:
    """A line a setting: its name, what it is by default, what it means.

    Args:
        shown: what stands for the value of settings that have to be given.
        groups: settings that are groups of others, of which each has a line.
    """
    lines = []
    for name, field in model.model_fields.items():
        if name in groups:
            for inner, own in type(field.default).model_fields.items():
                value = "null" if own.default is None else str(own.default).replace(" ", "")
                lines.append((f"{name}.{inner}={value}", own.description or ""))
            continue
        value = shown.get(name, field.default)
        text = "null" if value is None else str(value).replace("'", "").replace(" ", "")
        lines.append((f"{name}={text}", field.description or ""))
    width = max(len(setting) for setting, _ in lines) + 2
    return "\n".join(f"  {setting:<{width}}{told}" for setting, told in lines)


def names_as_texts(data: dict[str, Any], texts: Sequence[str], lists: Sequence[str]) -> dict[str, Any]:
    """The same with numbers that name something, a product or a category, as texts; `lists` hold such names."""
    named: dict[str, Any] = {name: str(data[name]) for name in texts if data.get(name) is not None}
    named |= {name: [str(value) for value in data[name]] for name in lists if isinstance(data.get(name), list)}
    return data | named


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
            told = parse_yaml(read_bytes(found(path), f"settings={path!r}", plain.MOST_YAML), f"settings={path!r}")
            if not isinstance(told, dict):
                raise ConfigError(f"settings={path!r}: accepted are lines `field: value`")
            own = OmegaConf.create(told)
            # As a file's own lines, so that what it says of a group takes the place of the base's.
            merged.update(own)
        data = OmegaConf.to_container(OmegaConf.merge(merged, given), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split())) from None
    except ConfigError:
        raise
    except YAML_FAULTS as error:
        raise ConfigError(f"{' '.join(others)[:200]}: is not YAML ({type(error).__name__})") from None
    assert isinstance(data, dict)
    read = {str(name): value for name, value in data.items()}
    read |= {name: str(read[name]) for name in texts if read.get(name) is not None} | typed
    # Only what is about the examples: a path would make one slash of an address's two.
    return {name: str(found(value)) if str(value).startswith("examples") else value for name, value in read.items()}

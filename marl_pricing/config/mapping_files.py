"""Mappings: the YAML file in which somebody says what the columns of an own file are called."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from marl_pricing.config.errors import ConfigError, Settings, validate
from marl_pricing.intake import IntakeError, plain

Names = TypeVar("Names", bound=Settings)


def read_mapping_file(path: Path | str | None, kind: type[Names]) -> Names:
    """The mapping of a YAML file of lines `our name: column of the file`; None: what holds where nobody says.

    Raises:
        ConfigError: naming the file, and the field that is wrong.
    """
    if path is None:
        return kind()
    try:
        data = plain.read_yaml(path)
    except IntakeError as error:
        raise ConfigError(f"mapping={str(path)!r}: {str(error).removeprefix(str(path)).lstrip(', :')}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"mapping={str(path)!r}: accepted are lines `our name: column of the file`")
    try:
        return validate(kind, data)
    except ConfigError as error:
        raise ConfigError(f"mapping={str(path)!r}: {error}") from None

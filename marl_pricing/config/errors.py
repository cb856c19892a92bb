"""What was refused, in one line: field, value, what is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """A setting that cannot be had. The message names the field, its value and what is accepted, a line a fault."""


class Settings(BaseModel):
    """Base of every settings class: unknown keys, NaN and silent conversions are refused; objects are frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def refuse(field: str, value: Any, accepted: str) -> ConfigError:
    """The error for one field, to be raised by the caller."""
    return ConfigError(f"{field}={value!r}: accepted is {accepted}")


def parse_yaml(text: str | bytes, source: str) -> Any:
    """What a YAML text holds.

    Args:
        source: named in messages.

    Raises:
        ConfigError: with the line from which on it is no YAML.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        raise ConfigError(f"{source}{f', line {where.line + 1}' if where else ''}: is not YAML") from None


_TAGGED = ("demand", "prices", "inventory")  # groups of one of several kinds, told apart by a tag

_ACCEPTED = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "finite_number": "a finite number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "literal_error": "{expected}",
    "string_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "a list of at least {min_length}",
    "model_type": "a group of settings",
    "model_attributes_type": "a group of settings",
    "dict_type": "a group of settings",
    "string_pattern_mismatch": "a text like {pattern}",
}

# A value of the wrong kind; a field that may be a number or a list fails once for each.
_KINDS = ("int_from_float", "int_type", "float_type", "bool_type", "literal_error", "string_type", "list_type")


def _place(prefix: str, error: Mapping[str, Any], names: set[str]) -> str:
    # The branch of a union stands in the location too: the tag after a tagged group, a type after a field.
    place = list(error["loc"])
    places = [part for before, part in zip([None, *place], place, strict=False) if before not in _TAGGED]
    parts = [part for part in places if isinstance(part, int) or part in names]
    if error["type"] == "missing":
        parts = [*[part for part in parts if part != place[-1]], place[-1]]
    field = prefix
    for part in parts:
        field += f"[{part}]" if isinstance(part, int) else ("." if field else "") + part
    return field


def _accepted(error: Mapping[str, Any]) -> str:
    known = _ACCEPTED.get(error["type"])
    return error["msg"] if known is None else known.format(**error.get("ctx", {}))


def _sentence(field: str, errors: list[Mapping[str, Any]]) -> str:
    """One line for all that is wrong with one field."""
    # What is wrong with a number says more than that it is no list.
    error = next((own for own in errors if own["type"] not in _KINDS), errors[0])
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "extra_forbidden":
        return f"{field}={value!r}: there is no such setting"
    if kind == "missing":
        return f"{field}: has to be given"
    if kind.startswith("union_tag"):
        field += "." + context["discriminator"].strip("'")
    if kind == "union_tag_not_found":
        return f"{field}: has to be given"
    if kind == "union_tag_invalid":
        return f"{field}={context['tag']!r}: accepted is {context['expected_tags']}"
    if kind == "value_error":
        # A check over several fields names them itself; its input is the whole group.
        return str(context["error"])
    told = [_accepted(own) for own in errors] if kind in _KINDS else [_accepted(error)]
    return f"{field}={value!r}: accepted is {' or '.join(dict.fromkeys(told))}"


def _names(data: Any) -> set[str]:
    if isinstance(data, Mapping):
        return {str(name) for name in data} | {name for value in data.values() for name in _names(value)}
    if isinstance(data, (list, tuple)):
        return {name for value in data for name in _names(value)}
    return set()


def validate(model: type[Model], data: Mapping[str, Any], prefix: str = "") -> Model:
    """Turn plain data into a typed, frozen object.

    Args:
        prefix: the path of `data` in the whole configuration, for messages.

    Raises:
        ConfigError: naming each field that is wrong, its value and what is accepted.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        names = _names(data) | set(model.model_fields)
        by_field: dict[str, list[Mapping[str, Any]]] = {}
        for item in error.errors():
            by_field.setdefault(_place(prefix, item, names), []).append(item)
        # What is wrong inside a list says more than that the list is no number.
        told = [
            _sentence(field, items)
            for field, items in by_field.items()
            if not any(other.startswith(f"{field}[") for other in by_field)
        ]
        raise ConfigError("\n".join(told)) from None

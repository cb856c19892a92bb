"""What was refused, in one line: field, value, what is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from marl_pricing.intake import IntakeError, plain

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """A setting that cannot be had. The message names the field, its value and what is accepted, a line a fault."""


class Settings(BaseModel):
    """Base of every settings class: unknown keys, NaN and silent conversions are refused; objects are frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def refuse(field: str, value: Any, accepted: str) -> ConfigError:
    """The error for one field, to be raised by the caller."""
    return ConfigError(f"{field}={value!r}: accepted is {accepted}")


def at_most(largest: int, why: str) -> AfterValidator:
    """For `Annotated[int, …]`: refuses larger numbers, with the reason."""

    def check(value: int) -> int:
        if value > largest:
            raise PydanticCustomError(
                "too_large", "a number of at most {largest}: {why}", {"largest": largest, "why": why}
            )
        return value

    return AfterValidator(check)


def parse_yaml(text: str | bytes, source: str) -> Any:
    """What a YAML text holds.

    Args:
        source: named in messages.

    Raises:
        ConfigError: with the line from which on it is no YAML; for trees too large or too deep.
    """
    try:
        return plain.parse_yaml(text, source)
    except IntakeError as error:
        raise ConfigError(str(error)) from None


def read_bytes(path: str | Path, field: str, most: int = plain.MOST_BYTES) -> bytes:
    """What the file holds that a field names.

    Raises:
        ConfigError: for one that is not there or cannot be read.
    """
    try:
        return plain.read_bytes(path, most)
    except IntakeError as error:
        raise ConfigError(f"{field}: {str(error).removeprefix(f'{path}: ')}") from None


_TAGGED = ("demand", "prices", "inventory")  # groups of one of several kinds, told apart by a tag
# Learners are so too, where there are several; the tag stands behind the group then.
_ALGORITHMS = ("mappo", "torch_mappo", "a2c", "dqn", "pqn", "qtable")

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
    places = [
        part
        for before, part in zip([None, *place], place, strict=False)
        if before not in _TAGGED and not (before == "learner" and part in _ALGORITHMS)
    ]
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


def setting_names(model: Any, prefix: str = "") -> set[str]:
    """Dotted names of all settings of a model, and of the groups and unions of groups in it."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {name for part in get_args(model) for name in setting_names(part, prefix)}
    found: set[str] = set()
    for name, field in model.model_fields.items():
        place = f"{prefix}.{name}" if prefix else name
        found |= {place} | setting_names(field.annotation, place)
    return found


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean learner.gamma?` where a name is nearly one of those there are; else nothing."""
    near = get_close_matches(name, sorted(set(names) - {name}), 1, 0.8)
    return f"; did you mean {near[0]}?" if near else ""


# Learners that people ask for by name and that are not there, with what is nearest (docs/learning.md, "Not there").
_NEAREST = {
    "happo": "HAPPO's steps of one seller after the other are not there; nearest is learner=mappo "
    "learner.sharing=per_seller, whose sellers step together",
    "qmix": "QMIX's mixing of a team's values is not there; nearest is learner=dqn market.reward.omega=0, independent "
    "sellers with one reward",
}


def _not_there(name: str, names: Iterable[str]) -> str:
    """What stands in for a learner that is not there, else what was meant: `; did you mean mappo?`."""
    nearest = _NEAREST.get(name.lower())
    return did_you_mean(name, names) if nearest is None else f"; {nearest}"


def no_such_file(path: str, there: Iterable[str]) -> str:
    """A line for `experiment=grocry`, whose file (`experiment/grocry`) is not among those that are there."""
    group, _, name = path.rpartition("/")
    names = list(there)
    meant = _not_there(name, names) if group == "learner" else did_you_mean(name, names)
    return f"{group}={name}: accepted is {', '.join(names) or 'nothing'}{meant}"


def _sentence(field: str, errors: list[Mapping[str, Any]], names: Callable[[], set[str]]) -> str:
    """One line for all that is wrong with one field."""
    # What is wrong with a number says more than that it is no list.
    error = next((own for own in errors if own["type"] not in _KINDS), errors[0])
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "extra_forbidden":
        return f"{field}={value!r}: there is no such setting{did_you_mean(field, names() - {field})}"
    if kind == "missing":
        return f"{field}: has to be given"
    if kind.startswith("union_tag"):
        field += "." + context["discriminator"].strip("'")
    if kind == "union_tag_not_found":
        return f"{field}: has to be given"
    if kind == "union_tag_invalid":
        there = [tag.strip("'") for tag in context["expected_tags"].split(", ")]
        meant = _not_there(context["tag"], there) if field == "learner.algorithm" else ""
        return f"{field}={context['tag']!r}: accepted is {context['expected_tags']}{meant}"
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


_LARGEST, _SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
_MOST = 2**31 - 1


def unheld_numbers(data: Any, field: str = "") -> list[str]:
    """A line for each number that 32 bits cannot hold, which markets and learners compute in, and for texts that no
    file can be called.

    Args:
        data: plain data, validated.  field: its path.
    """
    if isinstance(data, Mapping):
        parts = ((f"{field}.{name}" if field else str(name), own) for name, own in data.items())
        return [line for name, own in parts for line in unheld_numbers(own, name)]
    if isinstance(data, (list, tuple)):
        return [line for number, own in enumerate(data) for line in unheld_numbers(own, f"{field}[{number}]")]
    if isinstance(data, str) and "\0" in data:
        return [str(refuse(field, data, "a text without NUL bytes"))]
    if isinstance(data, bool) or not isinstance(data, (int, float)):
        return []
    if isinstance(data, int):
        held = -_MOST <= data <= _MOST
        accepted = f"a whole number of at most {_MOST}, which 32 bits hold"
    else:
        held = data == 0 or _SMALLEST <= abs(data) <= _LARGEST
        accepted = f"0, or a number between {_SMALLEST:.2g} and {_LARGEST:.2g}, which 32 bits hold"
    return [] if held else [str(refuse(field, data, accepted))]


_MOST_TOLD = 10


def _some(lines: list[str]) -> str:
    """The first faults, and how many more there are: a list of thousands may be wrong in each."""
    more = len(lines) - _MOST_TOLD
    return "\n".join(lines if more <= 1 else [*lines[:_MOST_TOLD], f"and {more} more like these"])


def validate(model: type[Model], data: Mapping[str, Any], prefix: str = "") -> Model:
    """Turn plain data into a typed, frozen object.

    Args:
        prefix: the path of `data` in the whole configuration, for messages.

    Raises:
        ConfigError: naming each field that is wrong, its value and what is accepted.
    """
    try:
        read = model.model_validate(data)
    except ValidationError as error:
        names = _names(data) | set(model.model_fields)
        by_field: dict[str, list[Mapping[str, Any]]] = {}
        for item in error.errors():
            by_field.setdefault(_place(prefix, item, names), []).append(item)
        # What is wrong inside a list says more than that the list is no number.
        told = [
            _sentence(field, items, partial(setting_names, model, prefix))
            for field, items in by_field.items()
            if not any(other.startswith(f"{field}[") for other in by_field)
        ]
        raise ConfigError(_some(told)) from None
    if told := unheld_numbers(read.model_dump(), prefix):
        raise ConfigError(_some(told))
    return read

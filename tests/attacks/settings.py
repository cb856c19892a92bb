"""Settings of all kinds put into every place of a configuration, as the schema has them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import Any, get_args

from pydantic import BaseModel

from tests.attacks.outcome import Attempt

NUMBER = 6000  # attempts of a whole attack; every third also builds the market
_BUILT = 3
_BASES: dict[str, tuple[str, ...]] = {
    "default": (),
    "analytic": ("traffic=analytic", "market.agent=null"),
    "formal": ("experiment=formal",),
    "platform": ("experiment=platform",),
    "lost_sales": ("experiment=lost_sales",),
    "price_and_order": ("experiment=price_and_order",),
    "phantom": ("experiment=phantom_defence",),
    "robust": ("robust=wasserstein",),
    "torch": ("learner=torch_mappo",),
}
_BUILDABLE = ("analytic", "lost_sales", "price_and_order")  # no bank of sessions, which takes seconds

WHOLE = (0, 1, 2, 3, 7, -1, 10**9, 2**31 - 1, 2**31, 2**63, 2**65, -(2**65))
REAL = (0.0, -0.0, 0.5, 1.0, 1.5, -1.0, 1e-320, 1e-60, 1e30, 1e39, 1e308, math.inf, -math.inf, math.nan)
TEXT = ("", " ", "none", "null", "1", "ü…", "a\0b", "../..", "$\\frac{a}{b}$", "{x", "x" * 5000, "\udcc3", "=1+1")
OTHER: tuple[Any, ...] = (
    None, True, False, [], {}, [0.5], [1.0, 2.0, 3.0], [2**65], [math.nan, 1.0], [[]], [None], {"model": "logit"},
    {"low": 1.0, "high": 0.5}, {"": 1}, {"x": {"y": []}}, ["a"], [1.0] * 2000,
)  # fmt: skip


@lru_cache
def bases() -> dict[str, dict[str, Any]]:
    """Configurations that are right, as train.py composes them."""
    from tests.doors.compose import settings

    return {name: settings(*own) for name, own in _BASES.items()}


def first() -> None:
    """What a process imports before its first attempt."""
    import marl_pricing.studies.single  # noqa: F401

    bases()


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    """The settings classes that a field may hold."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from _models(part)


def fields(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all settings below a class, groups too; of a group of several kinds those of each."""
    for name, own in model.model_fields.items():
        yield (*path, name)
        for inner in _models(own.annotation):
            yield from fields(inner, (*path, name))


@lru_cache
def places() -> list[tuple[str, ...]]:
    """All paths of the schema, each once."""
    from marl_pricing.config import ExperimentSettings

    return list(dict.fromkeys(fields(ExperimentSettings)))


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        inner = data.get(name)
        data[name] = data = inner if isinstance(inner, dict) else {}
    data[path[-1]] = value


def changed(base: str, changes: tuple[tuple[tuple[str, ...], Any], ...]) -> dict[str, Any]:
    """A base with other values in some places."""
    data = copy.deepcopy(bases()[base])
    for path, value in changes:
        _put(data, path, value)
    return data


def read(base: str, changes: tuple[tuple[tuple[str, ...], Any], ...], build: bool) -> bool:
    """Do what a training does with its settings before it begins; whether what was accepted reads back the same."""
    from marl_pricing import config
    from marl_pricing.config.sizes import check_training
    from marl_pricing.doors import say_errors

    with say_errors():
        settings = config.read_settings(changed(base, changes))
        check_training(settings)
        if build:
            config.build(settings, opponents=True)
        return config.from_yaml(config.to_yaml(settings), "config.yaml") == settings
    raise AssertionError("say_errors lets nothing through")


def _words() -> list[str]:
    """What literals of the schema may be: right somewhere, and wrong elsewhere."""
    from marl_pricing.config import ExperimentSettings

    found: list[str] = []

    def look(kind: Any) -> None:
        found.extend(own for own in get_args(kind) if isinstance(own, str))
        for part in get_args(kind):
            look(part)
        for model in (kind,) if isinstance(kind, type) and issubclass(kind, BaseModel) else ():
            for own in model.model_fields.values():
                look(own.annotation)

    look(ExperimentSettings)
    return sorted(set(found))


def _near(random: Random, base: str, path: tuple[str, ...], words: list[str]) -> Any:
    """A value like the one that is there: numbers moved, words of the schema, lists by one longer."""
    value: Any = bases()[base]
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice((value + 1, value * 2, value // 2, 1, 2, 4, 8, 16))
    if isinstance(value, float):
        return value * random.choice((0.5, 0.99, 1.01, 2.0, 10.0)) + random.choice((0.0, 0.0, 0.1))
    if isinstance(value, list):
        return [*value, *value[:1]]
    return random.choice((random.choice(words), random.randrange(1, 9), random.uniform(0.0, 2.0)))


def attempts(folder: Path, seed: int, share: float) -> Iterator[Attempt]:
    """One to three places with other values, hostile ones or like those that are there, in one of the bases."""
    random = Random(seed)
    values, words = [*WHOLE, *REAL, *TEXT, *OTHER], _words()
    for number in range(round(NUMBER * share)):
        build = number % _BUILT == 0
        base = random.choice(_BUILDABLE if build else tuple(_BASES))
        several = 1 if random.random() < 0.6 else random.choice((2, 3))
        where = [random.choice(places()) for _ in range(several)]
        near = random.random() < 0.6
        changes = tuple((own, _near(random, base, own, words) if near else random.choice(values)) for own in where)
        told = f"{base}: " + ", ".join(f"{'.'.join(path)}={value!r:.60}" for path, value in changes)
        call = partial(read, base, changes, build)
        yield Attempt("settings built" if build else "settings read", told, call, right=True, lines=12)

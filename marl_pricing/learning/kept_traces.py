"""Traced programs that are kept between starts: a second start does not trace and lower its training again.

JAX keeps what it compiled, and finds it by the lowered program; to have that, a start traces Python for seconds. Here
the lowered program itself is kept (`jax.export`: StableHLO in a flatbuffer, nothing is unpickled), by everything that
decides it: the package's source, versions, JAX's settings and devices, the learner, shapes and shardings of what it is
given. A learner that cannot be written down (a class that is not this package's, a closure) has no key: it is traced.

Files lie among JAX's, in its form, so that its bound on the folder's size is for all of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pydantic
from jax import export

from marl_pricing.learning import program_cache

_PACKAGE = "marl_pricing"
_TOP = Path(__file__).parents[1]
_VERSIONS = ("jax", "jaxlib", "flax", "optax", "numpy")
_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
_DIGEST = 32
_LOCK_SECONDS = 10


class UnknownError(TypeError):
    """Something of which nobody knows how to write down what it does to a program."""


def lowered(
    name: str,
    decides: Sequence[Any],
    function: Callable[..., Any],
    arguments: Sequence[Any],
    shardings: Any,
    *,
    donated: int = 0,
    options: dict[str, int] | None = None,
) -> jax.stages.Lowered | None:
    """A program on flat arrays, as it was kept, or traced now and kept.

    It takes the leaves of `arguments` and gives what `function` does.

    Args:
        name: of its files.
        decides: what the program depends on beside its arguments' shapes and this package.
        function: (*arguments) → lists and dictionaries of arrays; called only where it is traced.
        arguments: arrays, or their shapes, types and shardings, in trees.
        shardings: of what it gives.
        donated: how many leaves, the first ones, it may write over.
        options: the compiler's.

    Returns:
        None where traces are not kept in this process, or this one cannot be.
    """
    leaves, tree = jax.tree.flatten(tuple(arguments))
    kept = exported(name, decides, tree, lambda *own: function(*jax.tree.unflatten(tree, own)), leaves)
    if kept is None:
        return None

    def program(*own: jax.Array) -> Any:
        return kept.call(*own)

    program.__name__ = name
    given = tuple(range(donated))
    return jax.jit(program, donate_argnums=given, out_shardings=shardings, compiler_options=options).lower(*leaves)


def exported(
    name: str, decides: Sequence[Any], tree: Any, function: Callable[..., Any], leaves: Sequence[Any]
) -> export.Exported | None:
    """The same, not lowered yet.

    Args:
        tree: how the function builds its arguments from `leaves`.
        function: (leaves …) → lists and dictionaries of arrays.
    """
    folder = program_cache.traces_folder()
    if folder is None or jax.process_count() > 1:
        return None
    try:
        source = source_digest()
        own = f"{name}-{key(source, decides, tree, leaves)}"
    except (UnknownError, OSError):
        return None
    try:
        found = _read(folder, own)
        if found is not None:
            kept = export.deserialize(bytearray(found))
            if [(own.shape, own.dtype) for own in kept.in_avals] == [(own.shape, own.dtype) for own in leaves]:
                return kept
    except Exception:  # whatever is wrong with a file that anybody may have cut or changed: it is made anew
        pass
    try:
        data = bytes(export.export(jax.jit(function))(*leaves).serialize())
    except Exception:  # what cannot be exported (a kernel without a stable form) can be run; other faults come up there
        return None
    with suppress(OSError, UnknownError):  # where nothing can be written, nothing is kept
        if source_digest() == source:  # else somebody edits it, and what was traced may be of either
            _write(folder, own, data)
    # What is used is what a later start will read, so that both compile the same program.
    return export.deserialize(bytearray(data))


def source_digest() -> str:
    """Of the package's source as it lies on the disk.

    Raises:
        UnknownError: where a file is younger than this process, which may have read what stood there before.
    """
    total = hashlib.sha256()
    for path in sorted(_TOP.rglob("*.py")):
        if path.stat().st_mtime > program_cache.BEGUN:
            raise UnknownError(str(path))
        total.update(f"{path.relative_to(_TOP)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def key(source: str, decides: Sequence[Any], tree: Any, leaves: Sequence[Any]) -> str:
    """What a trace is found by: everything that decides it, in 40 digits. See `exported`.

    Args:
        source: digest of the package.

    Raises:
        UnknownError: where something of it cannot be written down.
    """
    structure = str(tree)
    if " at 0x" in structure:  # a function, or an object that does not say what it is
        raise UnknownError(structure)
    told = {
        "tree": structure,
        "source": source,
        "versions": [platform.python_version(), *map(_version, _VERSIONS)],
        "flags": [os.environ.get(name) for name in _FLAGS],
        "config": {name: repr(own) for name, own in jax.config.values.items() if "compilation_cache" not in name},
        "devices": [repr((own.platform, own.device_kind, own.id)) for own in jax.devices()],
        "decides": list(decides),
        "leaves": [_leaf(leaf) for leaf in leaves],
    }
    return hashlib.sha256(written(told).encode()).hexdigest()[:40]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _leaf(leaf: Any) -> str:
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        raise UnknownError(type(leaf).__name__)
    sharding = getattr(leaf, "sharding", None)
    where = None if sharding is None else (repr(sharding), [own.id for own in _ordered(sharding)])
    return repr((leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False), where))


def _ordered(sharding: Any) -> list[Any]:
    return sorted(sharding.device_set, key=lambda own: own.id)


def written(thing: Any) -> str:
    """A text that two things share only where they do the same to a program.

    Raises:
        UnknownError: for what is not one of numbers, texts, arrays, collections, and this package's dataclasses, enums,
            modules and functions that close over nothing.
    """
    if (type(thing) is np.ndarray or isinstance(thing, np.generic)) and not thing.dtype.hasobject:
        return f"array[{thing.dtype.str},{thing.shape},{hashlib.sha256(thing.tobytes()).hexdigest()}]"
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
        return f"{type(thing).__name__}:{thing!r}" if _plain(thing) else _enum(thing)
    if isinstance(thing, Enum):
        return _enum(thing)
    if isinstance(thing, tuple | list) and type(thing) in (tuple, list):
        return f"{type(thing).__name__}[{','.join(map(written, thing))}]"
    if type(thing) is dict:
        return f"dict[{','.join(f'{written(name)}={written(own)}' for name, own in thing.items())}]"
    if type(thing) is frozenset:
        return f"set[{','.join(sorted(map(written, thing)))}]"
    if isinstance(thing, types.ModuleType) and _ours(thing.__name__):
        return f"module:{thing.__name__}"
    named = isinstance(thing, types.FunctionType) and thing.__closure__ is None and "<" not in thing.__qualname__
    if named and _ours(thing.__module__):
        return f"function:{thing.__module__}.{thing.__qualname__}"
    kind = type(thing)
    if _ours(kind.__module__) and "<" not in kind.__qualname__:
        names = None
        if dataclasses.is_dataclass(kind):
            names = [field.name for field in dataclasses.fields(thing)]
        elif isinstance(thing, pydantic.BaseModel) and not kind.__private_attributes__ and not thing.model_extra:
            names = list(kind.model_fields)
        if names is not None:
            own = ",".join(f"{name}={written(getattr(thing, name))}" for name in names)
            return f"{kind.__module__}.{kind.__qualname__}({own})"
    raise UnknownError(f"{kind.__module__}.{kind.__qualname__}")


def _plain(thing: Any) -> bool:
    return type(thing) in (type(None), bool, int, float, complex, str, bytes)


def _enum(thing: Any) -> str:
    kind = type(thing)
    if isinstance(thing, Enum) and _ours(kind.__module__):
        return f"{kind.__module__}.{kind.__qualname__}.{thing.name}"
    raise UnknownError(f"{kind.__module__}.{kind.__qualname__}")


def _ours(module: str) -> bool:
    return module == _PACKAGE or module.startswith(f"{_PACKAGE}.")


def _read(folder: Path, name: str) -> bytes | None:
    """What is kept; None where there is nothing, or it is not whole."""
    with program_cache.only_user(folder, _LOCK_SECONDS):
        path = folder / f"{name}{program_cache.PROGRAM}"
        if not path.exists():
            return None
        data = path.read_bytes()
        if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            return None
        program_cache.stamp(path)
        return data[_DIGEST:]


def _write(folder: Path, name: str, data: bytes) -> None:
    if 0 <= jax.config.values["jax_compilation_cache_max_size"] < len(data):
        return
    with program_cache.only_user(folder, _LOCK_SECONDS):
        path = folder / f"{name}{program_cache.PROGRAM}"
        new = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            new.write_bytes(hashlib.sha256(data).digest() + data)
            program_cache.stamp(path)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)

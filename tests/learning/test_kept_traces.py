"""Traced programs that are kept between starts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.compiler import LEVEL
from marl_pricing.learning import kept_traces, parallel, program_cache
from marl_pricing.learning.kept_traces import UnknownError, exported, written
from marl_pricing.learning.learners import LEARNERS, make_learner, settings_class
from marl_pricing.learning.networks import NetworkSpec
from marl_pricing.learning.parallel import Program
from tests.learning.helpers import learner_of
from tests.markets import make

ONES = np.ones(3, np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where traces are kept in a test."""
    monkeypatch.setattr(program_cache, "_TRACES", [tmp_path])
    return tmp_path


@pytest.fixture
def set_jax() -> Iterator[Callable[[str, Any], None]]:
    """Change one of JAX's settings for a test."""
    before: dict[str, Any] = {}

    def change(name: str, value: Any) -> None:
        before[name] = jax.config.values[name]
        jax.config.update(name, value)

    yield change
    for name, value in before.items():
        jax.config.update(name, value)


class Traced:
    """A function of two arrays that notes how often it is traced."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, x: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        self.times += 1
        return {"sum": x + jnp.sin(y)}

    def use(self, *decides: Any, x: Any = ONES, name: str = "small") -> Any:
        """The program of `exported`, called; None where there is none."""
        leaves, tree = jax.tree.flatten((x, np.float32(2)))
        kept = exported(name, decides, tree, lambda *own: self(*own), leaves)
        return None if kept is None else np.asarray(kept.call(*leaves)["sum"])


@pytest.fixture
def traced() -> Traced:
    return Traced()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("small-*-cache"))


def test_a_second_start_traces_nothing(folder: Path, traced: Traced) -> None:
    first = traced.use(1)
    np.testing.assert_allclose(first, 1 + np.sin([2, 2, 2]), rtol=1e-6)
    (kept,) = files(folder)
    used = kept.with_name(kept.name.removesuffix("-cache") + "-atime")  # JAX's form, by which it bounds the folder
    assert traced.times == 1 and used.stat().st_size == 8
    used.write_bytes((0).to_bytes(8, "little"))
    np.testing.assert_array_equal(traced.use(1), first)
    assert traced.times == 1 and files(folder) == [kept]
    assert int.from_bytes(used.read_bytes(), "little") > 0


def other_setting(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"decides": (2,)}


def other_length(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"x": np.ones(4, np.float32)}


def other_type(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"x": np.ones(3, np.int32)}


def other_sharding(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"x": jnp.ones(3)}


def other_source(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(kept_traces, "source_digest", lambda: "of another checkout")
    return {}


def other_version(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    own = kept_traces.version
    monkeypatch.setattr(kept_traces, "version", lambda name: "0.1" if name == "optax" else own(name))
    return {}


def other_flags(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_enable_fast_math=false")
    return {}


@pytest.mark.parametrize(
    "other",
    [other_setting, other_length, other_type, other_sharding, other_source, other_version, other_flags],
)
def test_what_decides_a_trace_is_in_its_key(
    other: Callable[[pytest.MonkeyPatch], dict[str, Any]],
    folder: Path,
    traced: Traced,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traced.use(1)
    changes = other(monkeypatch)
    traced.use(*changes.pop("decides", (1,)), **changes)
    assert traced.times == 2 and len(files(folder)) == 2


def test_settings_of_jax_are_in_its_key(folder: Path, traced: Traced, set_jax: Callable[[str, Any], None]) -> None:
    traced.use(1)
    set_jax("jax_default_matmul_precision", "highest")
    traced.use(1)
    assert traced.times == 2 and len(files(folder)) == 2


def test_a_source_file_that_is_younger_than_the_process_keeps_nothing(
    folder: Path, traced: Traced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "package"
    top.mkdir()
    monkeypatch.setattr(kept_traces, "_TOP", top)
    own = top / "some.py"
    own.write_text("x = 1")
    os.utime(own, (program_cache.BEGUN - 10, program_cache.BEGUN - 10))
    before = kept_traces.source_digest()
    assert before == kept_traces.source_digest()
    own.write_text("x = 2")
    assert traced.use(1) is None and not files(folder)  # this process may have read what stood there before
    os.utime(own, (program_cache.BEGUN - 5, program_cache.BEGUN - 5))
    assert kept_traces.source_digest() != before
    own.rename(top / "other.py")
    assert len({before, kept_traces.source_digest(), "x"}) == 3


@pytest.mark.parametrize("fault", ["cut", "changed", "empty", "of another version", "of another program"])
def test_a_file_that_is_not_whole_is_made_anew(fault: str, folder: Path, traced: Traced) -> None:
    first = traced.use(1)
    (kept,) = files(folder)
    whole = kept.read_bytes()
    if fault == "of another program":
        traced.use(1, x=np.ones(7, np.float32))
        (other,) = set(files(folder)) - {kept}
        kept.write_bytes(other.read_bytes())
        other.unlink()
    elif fault == "of another version":  # what JAX cannot read, with a sum that is right
        kept.unlink()
        kept_traces._write(folder, kept.name.removesuffix("-cache"), b"\x07" + whole[33:])
    else:
        kept.write_bytes({"cut": whole[:-9], "changed": whole[:-1] + bytes([whole[-1] ^ 1]), "empty": b""}[fault])
    before = traced.times
    np.testing.assert_array_equal(traced.use(1), first)
    assert traced.times == before + 1
    np.testing.assert_array_equal(traced.use(1), first)
    assert traced.times == before + 1 and files(folder) == [kept]


def test_nothing_is_unpickled(folder: Path, traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    traced.use(1)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("unpickled")

    monkeypatch.setattr("pickle.loads", refuse)
    monkeypatch.setattr("pickle.load", refuse)
    monkeypatch.setattr("pickle.Unpickler", refuse)
    traced.use(1)
    assert traced.times == 1


def test_where_nothing_can_be_written_it_runs_all_the_same(
    folder: Path, traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_traces, "_write", full)
    assert traced.use(1) is not None and traced.use(1) is not None
    assert traced.times == 2 and not files(folder)


def test_what_is_larger_than_the_folder_may_be_is_not_kept(
    folder: Path, traced: Traced, set_jax: Callable[[str, Any], None]
) -> None:
    set_jax("jax_compilation_cache_max_size", 100)
    assert traced.use(1) is not None and not files(folder)


def test_traces_are_kept_only_where_it_was_asked_for(
    tmp_path: Path, traced: Traced, set_jax: Callable[[str, Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert traced.use(1) is None
    monkeypatch.setattr(program_cache, "_TRACES", [tmp_path])
    set_jax("jax_enable_compilation_cache", False)
    assert traced.use(1) is None and traced.times == 0


def test_starts_at_once_share_a_trace(folder: Path) -> None:
    own = [Traced() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: each.use(1), own))
    assert all(np.array_equal(each, found[0]) for each in found)
    late = Traced()
    np.testing.assert_array_equal(late.use(1), found[0])
    assert late.times == 0 and len(files(folder)) == 1
    assert not [path for path in folder.iterdir() if path.name.startswith(".small")]


def test_a_start_that_was_killed_while_it_wrote_a_trace_is_swept_away(folder: Path, traced: Traced) -> None:
    traced.use(1)
    (kept,) = files(folder)
    half = folder / f".{kept.name}-123"
    half.write_bytes(b"half")
    program_cache._sweep(folder)
    assert not half.exists() and kept.exists()
    kept.with_name(kept.name.removesuffix("-cache") + "-atime").unlink()
    program_cache._sweep(folder)
    assert not kept.exists()


def test_what_cannot_be_exported_has_no_kept_trace(folder: Path) -> None:
    def called(x: jax.Array) -> jax.Array:
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((3,), np.float32), x)

    leaves, tree = jax.tree.flatten((np.ones(3, np.float32),))
    assert exported("small", (), tree, called, leaves) is None and not files(folder)


class Colour(Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Foreign:
    x: int = 1


def closed(x: int) -> Callable[[], int]:
    return lambda: x


def different() -> Iterator[Any]:
    """Things of which no two do the same to a program."""
    yield from (
        None,
        True,
        1,
        1.0,
        0.0,
        -0.0,
        "1",
        b"1",
        1j,
        (1,),
        [1],
        (1, (2,)),
        ((1, 2),),
        ("a,str:'b'",),
        ("a", "b"),
    )
    yield from ({"a": 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, frozenset({1}), frozenset({1, 2}))
    yield from (np.float32(1), np.float64(1), np.zeros(2), np.zeros((1, 2)), np.zeros(2, np.float32), np.ones(2))
    yield from (market, kept_traces, market.reset)
    spec = NetworkSpec("gru", 3, 4, 2, 1.0, 2, stacked=False, central=False)
    yield from (spec, dataclasses.replace(spec, in_size=4), dataclasses.replace(spec, cell="lstm"))


def test_different_things_are_written_differently() -> None:
    things = list(different())
    assert len({written(own) for own in things}) == len(things)
    assert [written(own) for own in different()] == [written(own) for own in things]
    assert written(frozenset({"b", "a"})) == written(frozenset({"a", "b"}))


@pytest.mark.parametrize(
    "thing",
    [
        closed(1), lambda: 1, partial(int, "1"), object(), Colour.RED, Foreign(), np.array([object()]), {1}, np,
        type("Number", (int,), {})(1), type("Numbers", (tuple,), {})((1,)), (1, [object()]), {"a": object()}, Foreign,
    ],
    ids=lambda own: type(own).__name__,
)  # fmt: skip
def test_what_nobody_can_write_down_has_no_key(thing: Any, folder: Path, traced: Traced) -> None:
    with pytest.raises(UnknownError):
        written(thing)
    assert traced.use(thing) is None and traced.times == 0


ITS_OWN: dict[str, dict[str, Any]] = {"ippo": {"critic": "local"}, "qtable": {"bins": 3}}


@pytest.mark.parametrize("algorithm", LEARNERS)
def test_learners_have_keys_that_their_settings_change(algorithm: str) -> None:
    duopoly = make()
    own = settings_class(algorithm)(algorithm=algorithm, num_envs=4, **ITS_OWN.get(algorithm, {}))
    texts = {written(make_learner(own, *duopoly))}
    for changes in ({"num_steps": 5}, {"gamma": 0.5}, {"num_updates": 7}, {"schedule": "constant"}, {"devices": 1}):
        texts.add(written(make_learner(own.model_copy(update=changes), *duopoly)))
    texts.add(written(make_learner(own, *make(episode_length=13))))
    assert len(texts) == 7


def test_the_first_state_has_a_kept_trace_where_the_compiler_is_given_options(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "compiler_options", lambda: {LEVEL: 0})
    duopoly = make()
    program = Program(learner_of(duopoly))
    program.init(program.stack(duopoly[1]))
    assert [path.name.partition("-")[0] for path in folder.glob("*-cache")] == ["init"]


@pytest.mark.slow
def test_trainings_of_kept_traces_are_the_same_to_the_last_bit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duopoly = make()
    times = []
    block = parallel.train_block
    monkeypatch.setattr(parallel, "train_block", lambda *own: times.append(1) or block(*own))

    def trained(seed: int) -> Any:
        program = Program(learner_of(duopoly, seed=seed, num_seeds=2))
        params = program.stack(duopoly[1])
        state = program.init(params)
        first = jax.device_get(state)
        step = program.compiled(state, params, 3)
        found = [step(step(state, params)[0], params, 2)]
        return jax.tree.leaves((first, jax.device_get(found)))

    monkeypatch.setattr(program_cache, "_TRACES", [])
    plain = trained(5)
    monkeypatch.setattr(program_cache, "_TRACES", [folder])
    before = len(times)
    other = trained(0)
    assert len(times) > before
    before = len(times)
    kept = trained(5)  # seeds are numbers that the program is given
    assert len(times) == before
    assert {path.name.partition("-")[0] for path in folder.glob("*-cache")} == {"train", "init"}
    for left, right in zip(plain, kept, strict=True):
        np.testing.assert_array_equal(left, right)
    assert any((left != right).any() for left, right in zip(plain, other, strict=True))

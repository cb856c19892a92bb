"""Compiled programs that are kept between starts, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from marl_pricing.commands import train
from marl_pricing.config import ConfigError
from marl_pricing.learning import program_cache

_START = """
import sys
from marl_pricing.learning.program_cache import keep_programs
keep_programs(traces=True)
import jax, jax.numpy as jnp
from marl_pricing.learning import kept_traces
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name.rpartition("/")[2]))
def program(x):
    return jnp.sin(x) @ jnp.cos(x.T)
print(float(jax.jit(program)(jnp.arange(12.0).reshape(3, 4)).sum()))
print(hits.count("cache_hits"), hits.count("cache_misses"))
traced = []
def noted(x):
    traced.append(x)
    return program(x)
kept = kept_traces.exported("small", (), jax.tree.structure(1), noted, [jax.ShapeDtypeStruct((3, 4), "float32")])
print("no trace" if kept is None else "traced" if traced else "found")
"""


class Started(NamedTuple):
    """What a fresh process found; the programs that it took and compiled; whether it traced; its standard error."""

    value: str
    taken: int
    compiled: int
    trace: str
    said: str


def started(home: Path, **variables: str) -> Started:
    """A fresh process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", _START],
        env=kept | {"XDG_CACHE_HOME": str(home)} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    value, counts, trace = done.stdout.splitlines()
    return Started(value, *map(int, counts.split()), trace, done.stderr)


def test_a_second_start_compiles_nothing(tmp_path: Path) -> None:
    first, taken, compiled, trace, said = started(tmp_path)
    assert taken == 0 and compiled > 0 and trace == "traced" and said == ""
    kept = list(tmp_path.rglob("jit_program-*-cache"))
    assert len(kept) == 1 and kept[0].is_relative_to(tmp_path / "marl_pricing" / "programs")
    assert started(tmp_path) == (first, compiled, 0, "found", "")
    # JAX's own variables stand.
    off = started(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false")
    assert off.taken == 0 and off.trace == "no trace"
    elsewhere = tmp_path / "elsewhere"
    other = started(tmp_path, JAX_COMPILATION_CACHE_DIR=str(elsewhere))
    assert other.compiled == compiled and other.trace == "no trace"
    assert list(elsewhere.glob("jit_program-*-cache"))


def test_a_start_that_was_killed_while_it_wrote_is_swept_away(tmp_path: Path) -> None:
    first, _, compiled, *_ = started(tmp_path)
    (kept,) = tmp_path.rglob("jit_program-*-cache")
    stamp = kept.with_name(kept.name.removesuffix("-cache") + "-atime")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:100])
    stamp.unlink()
    assert started(tmp_path) == (first, compiled - 1, 1, "found", "")
    assert len(kept.read_bytes()) == pytest.approx(len(whole), rel=0.1)
    stamp.write_bytes(b"")
    assert started(tmp_path).value == first and stamp.stat().st_size == 8


@pytest.mark.slow
def test_the_folder_does_not_grow_without_bound(tmp_path: Path) -> None:
    started(tmp_path)
    (kept,) = tmp_path.rglob("jit_program-*-cache")
    before = sum(own.stat().st_size for own in tmp_path.rglob("*-cache"))
    other = kept.with_name("jit_other-0-cache")
    other.write_bytes(b"0" * before)
    other.with_name("jit_other-0-atime").write_bytes((0).to_bytes(8, "little"))  # used long ago
    kept.unlink()
    kept.with_name(kept.name.removesuffix("-cache") + "-atime").unlink()
    started(tmp_path, JAX_COMPILATION_CACHE_MAX_SIZE=str(before))
    assert kept.exists() and not other.exists()


@pytest.mark.slow
def test_starts_at_once_share_a_folder(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", _START],
            env=kept | {"XDG_CACHE_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    told = [own.communicate() for own in both]
    assert [own.returncode for own in both] == [0, 0, 0]
    assert len({out.splitlines()[0] for out, _ in told}) == 1 and {err for _, err in told} == {""}
    assert {out.splitlines()[2] for out, _ in told} <= {"traced", "found"}
    assert len(list(tmp_path.rglob("small-*-cache"))) == 1


def test_where_nothing_can_be_kept_it_is_said(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    value, taken, _, trace, said = started(blocked)
    assert (
        taken == 0
        and trace == "no trace"
        and said.startswith("note: programs are compiled anew at every start: ")
        and said.count("\n") == 1
    )
    assert value == started(tmp_path).value


def test_training_keeps_traces_too(refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(**told: bool) -> None:
        raise ConfigError(str(told))

    monkeypatch.setattr(train, "keep_programs", keep)
    assert refusal("train.py") == "error: {'traces': True}"


def test_processors_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = set()
    for flags in ("sse avx", "sse avx avx512f"):
        told = tmp_path / "cpuinfo"
        told.write_text(f"processor\t: 0\nmodel name\t: some\nflags\t\t: {flags}\ncpu MHz\t\t: 1\n")
        monkeypatch.setattr(program_cache, "_CPU_INFO", told)
        names.add(program_cache.user_folder().name)
        told.write_text(told.read_text().replace("MHz\t\t: 1", "MHz\t\t: 2"))
        names.add(program_cache.user_folder().name)
    assert len(names) == 2

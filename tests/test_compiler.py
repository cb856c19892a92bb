"""Options of the compiler for programs that run once."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import pytest

from marl_pricing import compiler
from marl_pricing.compiler import EMITTERS, LEVEL, for_one_run
from marl_pricing.traffic import bank
from tests.traffic.visitors import with_sessions


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """What this compiler knows is asked once a process."""
    compiler._has_choice.cache_clear()
    yield
    compiler._has_choice.cache_clear()


def test_it_does_without_the_emitters_that_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLA_FLAGS")
    assert for_one_run(0) == {LEVEL: 0, EMITTERS: False}
    assert for_one_run(1)[LEVEL] == 1


@pytest.mark.parametrize("said", ["true", "false"])
def test_what_the_flags_say_of_emitters_stands(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", f"--{EMITTERS}={said}")
    assert for_one_run(0) == {LEVEL: 0}


def test_a_compiler_that_has_no_such_option_is_not_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(compiler, "EMITTERS", "xla_cpu_no_such_option")
    assert for_one_run(0) == {LEVEL: 0}


def test_an_accelerator_is_not_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert for_one_run(0) == {LEVEL: 0}


def test_a_bank_has_the_same_sessions_either_way() -> None:
    shape, params = with_sessions(agent_share=0.4)
    own = params.traffic.sessions.replace(bank=None)
    drawn = jax.jit(bank._fill, static_argnames=("shape", "size")).lower(jax.random.key(3), shape.traffic, own, 500)
    both = [
        drawn.compile(compiler_options={LEVEL: 0, EMITTERS: emitters})(jax.random.key(3), own)
        for emitters in (True, False)
    ]
    for newer, older in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_array_equal(newer, older)

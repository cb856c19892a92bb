"""Flags of the compiler are set only where it knows them."""

from __future__ import annotations

import os

import pytest

from marl_pricing.learning import flags


@pytest.fixture(autouse=True)
def no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")


def test_known_flags_are_set(capsys: pytest.CaptureFixture[str]) -> None:
    flags.compile_quickly()
    assert os.environ["XLA_FLAGS"] == flags.QUICK
    assert capsys.readouterr().err == ""


def test_flags_that_this_compiler_does_not_know_are_left_out_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    flags.compile_quickly("--xla_backend_optimization_level=1 --xla_no_such_flag=true")
    assert "XLA_FLAGS" not in os.environ
    assert capsys.readouterr().err.startswith("note: this jaxlib does not take --xla_backend_optimization_lev")


@pytest.mark.parametrize("given", ["", "--xla_force_host_platform_device_count=2"])
def test_flags_that_are_set_stand(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("XLA_FLAGS", given)
    monkeypatch.setattr(flags, "_known", lambda flags: pytest.fail("was tried"))
    flags.compile_quickly()
    assert os.environ["XLA_FLAGS"] == given


def test_where_there_may_be_an_accelerator_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setattr(flags.metadata, "entry_points", lambda group: ["cuda"])
    monkeypatch.setattr(flags, "_known", lambda flags: pytest.fail("was tried"))
    flags.compile_quickly()
    assert "XLA_FLAGS" not in os.environ

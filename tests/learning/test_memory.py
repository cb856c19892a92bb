"""The memory that there is, and programs that do not fit into it."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from marl_pricing import machine
from marl_pricing.learning import memory
from marl_pricing.learning.memory import refuse_large
from marl_pricing.learning.runs import RunError
from marl_pricing.machine import machine_memory, say_bytes

GIB = 2.0**30
MACHINE = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def group(folder: Path, name: str, text: str) -> tuple[Path, Path]:
    """A control group `a/b` with a limit, and the file that names it."""
    (folder / "groups" / "a" / "b").mkdir(parents=True)
    (folder / "groups" / "a" / name).write_text(text)
    own = folder / "own"
    own.write_text("0::/a/b\n")
    return folder / "groups", own


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("memory.max", "1073741824\n", GIB),
        ("memory.max", "max\n", MACHINE),
        ("memory.max", "nonsense\n", MACHINE),
        ("memory.limit_in_bytes", "1073741824\n", GIB),
        ("memory.limit_in_bytes", str(2**63 - 4096), MACHINE),
    ],
)
def test_a_container_may_have_less_than_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, found: float
) -> None:
    monkeypatch.setattr(machine.resource, "getrlimit", lambda kind: (machine.resource.RLIM_INFINITY,) * 2)
    assert machine_memory(*group(tmp_path, name, text)) == found


def test_a_limit_of_the_shell_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine.resource, "getrlimit", lambda kind: (int(GIB), int(GIB)))
    assert machine_memory(tmp_path, tmp_path / "none") == GIB


def test_a_program_that_does_not_fit_is_refused_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = jax.jit(lambda x: jnp.outer(x, x).sort()).lower(jnp.zeros(4096)).compile()
    refuse_large(compiled, "sorting")  # 64 MiB
    monkeypatch.setattr(memory, "device_memory", lambda: 50e6)
    with pytest.raises(RunError, match=r"^sorting takes [\d.]+ MB of memory, and there are 50 MB here: accepted are"):
        refuse_large(compiled, "sorting")
    assert memory.program_memory(compiled) >= 4096 * 4096 * 4


@pytest.mark.parametrize(
    ("size", "said"), [(12, "12 B"), (23_500_000_000, "23.5 GB"), (4.2e17, "420 PB"), (1e30, "1.0e+09 ZB")]
)
def test_sizes_in_words(size: float, said: str) -> None:
    assert say_bytes(size) == said

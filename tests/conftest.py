"""What all tests share: a compiler in a hurry, one cache of compiled programs, and long files first."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile

import pytest

from tests.contexts import share_contexts

_CACHE = "JAX_COMPILATION_CACHE_DIR"
# Tests run hundreds of programs once each: machine code that is made fast counts more than machine code that is fast.
_QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
# Two workers end together if the longest files begin first; the rest follows as it was collected.
_LONGEST = (
    "test_installed.py", "docs/test_blocks.py", "attacks/test_families.py", "learning/test_learners.py",
    "learning/test_expected_values.py", "calibration/test_levels.py", "learning/torch_mappo/test_training.py",
    "learning/test_known_answers.py", "doors/test_train.py",
    "export/test_export.py", "learning/test_stock_bars.py",
    "policies/test_tabular_q.py", "studies/test_omega_sweep.py", "evaluation/behaviour/test_best_response.py",
    "calibration/test_known_answers.py",
    "learning/test_update.py", "learning/test_bookkeeping.py", "learning/test_replay.py", "learning/test_robust.py",
    "learning/test_worlds.py", "studies/test_study.py",
)  # fmt: skip
_MOST_MAPPED = 25_000
_made: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Tests compile the same small programs again and again, many of them in processes of their own."""
    if hasattr(config, "workerinput"):  # has it from the process that started it
        return
    os.environ.setdefault("MARL_PRICING_PROGRESS", "off")  # what is asked is what a command says, not when
    os.environ["XLA_FLAGS"] = f"{_QUICK} {os.environ.get('XLA_FLAGS', '')}"
    if _CACHE not in os.environ:
        _made.append(tempfile.mkdtemp(prefix="marl_pricing_programs_"))
        os.environ[_CACHE] = _made[0]
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


@pytest.fixture
def optimised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings that last are compiled as users' are: what a hurry saves is lost many times over."""
    from marl_pricing.learning import parallel
    from tests.learning.helpers import OPTIMISED

    monkeypatch.setattr(parallel, "compiler_options", lambda: OPTIMISED)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported by now stays: the collector does not walk it again and again, nor as often what tests make."""
    if session.config.getoption("markexpr") != "slow":  # long tests lower few programs, as users do
        share_contexts()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Between files, let programs go before they are too many: where no memory can be mapped any more, XLA crashes."""
    if (nextitem is None or nextitem.path != item.path) and "jax" in sys.modules and _mapped() > _MOST_MAPPED:
        sys.modules["jax"].clear_caches()
        gc.collect()


def _mapped() -> int:
    """Mappings of this process, some ten a compiled program; Linux allows 65,530. 0 where nothing says."""
    try:
        with open("/proc/self/maps", "rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    for folder in _made:
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first."""

    def place(item: pytest.Item) -> int:
        name = item.path.as_posix()
        return next((number for number, own in enumerate(_LONGEST) if name.endswith(own)), len(_LONGEST))

    items.sort(key=place)

"""A forked process in which JAX would wait for ever says so at once; one that JAX can run in plays."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import pytest

import marl_pricing
from marl_pricing.forks import ForkedError
from tests.environments.kinds import env_of
from tests.processes import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
SECONDS = 60  # a machine that does other things too; what hangs never comes


def told_by_a_fork(call: Callable[[], Any]) -> str:
    """What a forked process is told that makes a call; fails where it hangs or is told nothing."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()

    def child() -> None:
        try:
            call()
        except ForkedError as error:
            there.send(str(error))
        else:
            there.send("it ran")

    process = context.Process(target=child)
    process.start()
    try:
        assert here.poll(SECONDS), "it hangs"
        return here.recv()
    finally:
        process.kill()
        process.join()


def prototype() -> gymnasium.Env:
    env = marl_pricing.phantom_prototype_env()
    env.reset(seed=0)
    return env


@pytest.mark.parametrize("name", ["make", "reset", "step", "unpickle", "gymnasium", "one seller", "train"])
def test_a_fork_is_found_out_in_the_child(name: str) -> None:
    env, one = env_of("discrete"), prototype()
    env.reset(seed=0)
    kept = pickle.dumps(env)
    calls: dict[str, Callable[[], Any]] = {
        "make": marl_pricing.parallel_env,
        "reset": env.reset,
        "step": lambda: env.step(dict.fromkeys(env.agents, 0)),
        "unpickle": lambda: pickle.loads(kept),
        "gymnasium": lambda: gymnasium.make("MarlPricing/PhantomDefence-v0"),
        "one seller": lambda: one.step(one.action_space.sample()),
        "train": lambda: marl_pricing.train(changes={"learner.num_updates": 1}),
    }
    told = told_by_a_fork(calls[name])
    assert "forked from one in which JAX ran" in told and "multiprocessing.set_start_method('spawn')" in told
    assert "\n" not in told
    env.step(dict.fromkeys(env.agents, 0))  # the parent goes on


def test_a_fork_from_a_process_in_which_jax_has_not_run_plays() -> None:
    code = (
        "import os, jax, marl_pricing\n"
        "if os.fork() == 0:\n"
        "    env = marl_pricing.parallel_env()\n"
        "    env.reset(seed=0)\n"
        "    env.step(dict.fromkeys(env.agents, 0))\n"
        "    os._exit(0)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS * 3)
    assert done.returncode == 0, done.stderr

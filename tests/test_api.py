"""The door for Python: what is laid over what, what is refused, and a run from training to a table's actions."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import marl_pricing
from marl_pricing.config import ConfigError, default_market, read_settings
from marl_pricing.learning.runs import RunError
from tests.doors.compose import settings
from tests.processes import ROOT


def test_changes_are_laid_over_an_experiment_as_on_the_command_line() -> None:
    own = marl_pricing.settings(
        "cooperative", {"market.num_sellers": 5, "learner.gamma": 0.9}, groups={"market/inventory": "chosen"}
    )
    typed = settings("experiment=cooperative", "market.num_sellers=5", "learner.gamma=0.9", "market/inventory=chosen")
    assert own == read_settings(typed)
    assert own.market.reward.omega == 0 and own.market.inventory.rule == "chosen"


def test_environments_take_an_experiment_and_changes() -> None:
    assert marl_pricing.parallel_env("platform", num_sellers=4).possible_agents[-1] == "seller_3"
    env = marl_pricing.parallel_env({"num_sellers": 5, "reward": {"omega": 0.5}})
    default = default_market()
    assert env.shape.num_sellers == 5 and env.shape.episode_length == default.shape.episode_length
    assert np.asarray(env.params.reward.omega).tolist() == [0.5] * 5
    assert np.asarray(env.params.reward.unit_cost).max() == np.asarray(default.params.reward.unit_cost).max()
    # A group that says another kind takes the other's place; one of the same kind is laid over it.
    chosen = {"rule": "chosen", "order_levels": [0, 4, 8], "initial_stock": 9, "lead_time": 2}
    assert marl_pricing.parallel_env(num_sellers=2, inventory=chosen).shape.chooses_orders
    more = marl_pricing.parallel_env(num_sellers=2, inventory={"rule": "threshold", "order_quantity": 7})
    assert np.unique(more.params.inventory.order_quantity).tolist() == [7]
    assert more.params.inventory.initial_stock.tolist() == default.params.inventory.initial_stock[:2].tolist()
    busy = marl_pricing.parallel_env(traffic={"sessions_per_epoch": 30}, num_sellers=2)
    assert busy.shape.traffic.sessions == 30


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: marl_pricing.parallel_env("platfrm"), "experiment=platfrm: accepted is competitive, contamination"),
        (
            lambda: marl_pricing.parallel_env(num_selers=4),
            "market.num_selers=4: there is no such setting; did you mean market.num_sellers?",
        ),
        (lambda: marl_pricing.settings(changes={"learner.gamma": 2}), "learner.gamma=2: accepted is"),
        (lambda: marl_pricing.settings(changes={"learner.zeta": 2}), "learner.zeta=2: there is no such setting"),
        (lambda: marl_pricing.settings("omega_sweep"), "experiment='omega_sweep': is a study"),
        (lambda: marl_pricing.settings(config_dir="/nowhere"), "config_dir='/nowhere': accepted is a folder"),
        (
            lambda: marl_pricing.settings(changes={"learner.learning_rate_end": 1e-5, "learner.schedule": "constant"}),
            "learner.learning_rate_end",
        ),
        (lambda: marl_pricing.train(marl_pricing.settings(), {"learner.gamma": 0.5}), "changes: accepted is nothing"),
        (lambda: marl_pricing.parallel_env(default_market(), num_sellers=2), "num_sellers: accepted only beside"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        call()
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run folder"):
        marl_pricing.load(tmp_path)


def test_own_experiments_lie_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nname: mine\nmarket:\n  num_sellers: 7\n")
    own = marl_pricing.settings("mine", config_dir=tmp_path)
    assert own.name == "mine" and own.market.num_sellers == 7


@pytest.mark.parametrize("first", ["marl_pricing", "gymnasium"])
def test_gymnasium_knows_the_environments_once_the_package_is_imported(first: str) -> None:
    second = {"marl_pricing": "gymnasium", "gymnasium": "marl_pricing"}[first]
    code = f"import {first}, {second}; print(gymnasium.spec('MarlPricing/PhantomDefence-v0').id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "MarlPricing/PhantomDefence-v0"


@pytest.mark.slow
def test_a_thread_trains_loads_plays_and_reports(tmp_path: Path) -> None:
    changes = {
        "market.num_sellers": 2, "market.episode_length": 8, "learner.num_updates": 2, "learner.num_envs": 4,
        "learner.num_steps": 8, "learner.hidden_size": 8,
    }  # fmt: skip
    found: list[marl_pricing.Run] = []

    def work() -> None:
        groups = {"market/inventory": "chosen"}
        found.append(marl_pricing.train("cooperative", changes, groups=groups, folder=tmp_path / "run"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0].complete and len(found[0].metrics) == 2
    run = marl_pricing.load(tmp_path / "run")
    assert run.complete and run.settings == found[0].settings
    assert set(run.evaluations["policy"]) == {"greedy", "sampled"}

    # At the table they do what the jitted market's policies do.
    env, players = run.env(), run.players()
    rewards = []
    for _ in range(2):
        seen, infos = env.reset(seed=3)
        players.reset()
        total = 0.0
        while env.agents:
            seen, reward, _, _, infos = env.step(players.act(seen, infos))
            total += sum(reward.values())
        rewards.append(total)
    assert rewards[0] == rewards[1]
    with pytest.raises(ValueError, match="infos: accepted are those of reset"):
        players.act(env.reset(seed=3)[0])
    with pytest.raises(ValueError, match=r"observations\['seller_9'\]"):
        players.act({"seller_9": np.zeros(3)}, {})
    with pytest.raises(ConfigError, match="seed=1: accepted is 0 to 0"):
        run.players(1)
    page = run.evaluate(episodes=2, rules=["random"], guests=False, behaviour=False, best_response=0, progress=False)
    assert page == tmp_path / "run" / "evaluation" / "report.html" and page.exists()

"""The torch learner on PettingZoo environments: our own market, and one that knows nothing of us."""

from __future__ import annotations

import runpy
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv
from scipy import stats

from marl_pricing.environments import PricingEnv
from marl_pricing.equilibrium import static
from marl_pricing.learning import price_laws
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.torch_mappo.copies import Copies, read_spaces
from marl_pricing.learning.torch_mappo.env_policy import EnvPolicy, load_env_policy
from marl_pricing.learning.torch_mappo.environments import train_on_env
from marl_pricing.learning.torch_mappo.price_laws import LAWS
from marl_pricing.learning.torch_mappo.scale import RunningScale
from tests.markets import one_shot
from tests.processes import ROOT

SMALL: dict[str, Any] = {
    "algorithm": "torch_mappo", "num_envs": 8, "num_steps": 16, "num_epochs": 4, "num_minibatches": 2,
    "hidden_size": 16, "learning_rate": 0.01, "learning_rate_end": 0.0, "entropy_start": 0.02, "entropy_end": 0.0,
}  # fmt: skip


class Stalls(ParallelEnv):
    """Two stalls; each is told a coin's side in the first epoch of four only, and asked for it in every epoch.

    A second choice among three prices pays 0, 0.5, 1, and the dearest is forbidden to `left`. `right` goes home after
    three epochs.
    """

    metadata = {"name": "stalls"}  # noqa: RUF012
    possible_agents = ["left", "right"]  # noqa: RUF012

    def __init__(self, action_space: spaces.Space | None = None) -> None:
        self._seen = spaces.Box(-1.0, 1.0, (2, 1), np.float64)
        self._acts = action_space or spaces.MultiDiscrete([2, 3], start=[5, 1])
        self._random = np.random.default_rng(0)

    def observation_space(self, agent: str) -> spaces.Space:
        return self._seen

    def action_space(self, agent: str) -> spaces.Space:
        return self._acts

    def _look(self) -> tuple[dict, dict]:
        shown = self._time == 0
        seen = {agent: np.array([[shown], [self._coins[agent] * shown]], float) for agent in self.agents}
        allowed = (np.ones(2, np.int8), np.array([1, 1, 0], np.int8))
        return seen, {agent: {"action_mask": allowed} if agent == "left" else {} for agent in self.agents}

    def reset(self, seed: int | None = None, options: Any = None):
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self.agents, self._time = list(self.possible_agents), 0
        self._coins = {agent: int(self._random.choice([-1, 1])) for agent in self.agents}
        return self._look()

    def _pay(self, agent: str, action: Any) -> float:
        assert agent != "left" or action[1] != 3  # forbidden
        return float(2 * (action[0] - 5) - 1 == self._coins[agent]) + 0.5 * float(action[1] - 1)

    def step(self, actions: dict[str, Any]):
        acted, self._time = self.agents, self._time + 1
        assert all(action in self._acts for action in actions.values())
        rewards = {agent: self._pay(agent, action) for agent, action in actions.items()}
        ended = {agent: agent == "right" and self._time == 3 for agent in acted}
        cut = dict.fromkeys(acted, self._time == 4)
        self.agents = acted
        seen, infos = self._look()
        self.agents = [] if self._time == 4 else [agent for agent in acted if not ended[agent]]
        return seen, rewards, ended, cut, infos


def episode_return(env: ParallelEnv, policy: EnvPolicy, seed: int) -> dict[str, float]:
    total = dict.fromkeys(env.possible_agents, 0.0)
    seen, infos = env.reset(seed=seed)
    memory = policy.start()
    while env.agents:
        actions, memory = policy.act({agent: seen[agent] for agent in env.agents}, memory, infos)
        seen, rewards, _, _, infos = env.step(actions)
        for agent, reward in rewards.items():
            total[agent] += reward
    return total


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["shared", "per_seller"])
def test_a_market_of_somebody_elses_is_learnt_to_its_optimum(sharing: str) -> None:
    """The coin has to be remembered, the mask obeyed, the early leaver let go: 4 · 1 + 4 · 0.5 and 3 · 1 + 3 · 1."""
    settings = LearnerSettings(**(SMALL | {"num_updates": 60, "gamma": 0.5, "sharing": sharing}))
    got = train_on_env(Stalls, settings, quiet=True)
    assert len(got.history) == 60
    assert got.history[-1]["return"] > got.history[0]["return"] + 1.0
    for seed in range(20):
        assert episode_return(Stalls(), got.policy, seed) == {"left": 6.0, "right": 6.0}


@pytest.mark.slow
def test_our_own_market_is_learnt_through_its_environment() -> None:
    own = one_shot(episode_length=8)
    settings = LearnerSettings(**(SMALL | {"num_updates": 25, "gamma": 0.0}))
    got = train_on_env(lambda: PricingEnv(*own), settings, quiet=True)
    env = PricingEnv(*own)
    seen, infos = env.reset(seed=0)
    memory, played = got.policy.start(), set()
    while env.agents:
        actions, memory = got.policy.act(seen, memory, infos)
        played.add(tuple(actions[agent] for agent in env.possible_agents))
        seen, _, _, _, infos = env.step(actions)
    assert played <= {tuple(row) for row in static.grid_equilibria(*own).tolist()}


class Scales(Stalls):
    """Both turn two knobs between 0 and 5, and −3 and −1; the nearer to 4 and to −2 ± the coin / 2, the better."""

    def __init__(self) -> None:
        super().__init__(spaces.Box(np.array([[0.0], [-3.0]]), np.array([[5.0], [-1.0]]), dtype=np.float64))

    def _look(self) -> tuple[dict, dict]:
        return super()._look()[0], {}

    def best(self, agent: str) -> np.ndarray:
        return np.array([[4.0], [-2.0 + 0.5 * self._coins[agent]]])

    def _pay(self, agent: str, action: Any) -> float:
        return -float(((action - self.best(agent)) ** 2).sum())


@pytest.mark.slow
def test_actions_in_a_box_are_learnt_and_kept(tmp_path: Path) -> None:
    """The second knob hangs on a coin that is seen in the first epoch only."""
    settings = LearnerSettings(
        **(SMALL | {"num_updates": 120, "gamma": 0.0, "price_law": "gaussian", "num_minibatches": 1})
    )
    got = train_on_env(Scales, settings, quiet=True)
    again = load_env_policy(got.policy.save(tmp_path / "scales.pt"))
    assert again.law == "gaussian"
    for seed in range(5):
        env = Scales()
        seen, _ = env.reset(seed=seed)
        memory, old = again.start(), got.policy.start()
        while env.agents:
            shown = {agent: seen[agent] for agent in env.agents}
            actions, memory = again.act(shown, memory)
            before, old = got.policy.act(shown, old)
            for agent, action in actions.items():
                np.testing.assert_array_equal(action, before[agent])
                assert np.abs(action - env.best(agent)).max() < 0.25, (seed, agent, action)
            seen, *_ = env.step(actions)


@pytest.mark.parametrize("law", LAWS)
def test_torchs_draws_follow_the_twins_law(law: str) -> None:
    outputs = torch.tensor([[-3.0, -0.5], [0.0, 0.0], [1.0, 4.0]])
    own, twin = LAWS[law].of(outputs.repeat(4000, 1, 1)), price_laws.LAWS[law].of(jnp.asarray(outputs.numpy()))
    draws = torch.sigmoid(own.sample(torch.Generator().manual_seed(0))).double().numpy()
    theirs = jax.vmap(twin.sample)(jax.random.split(jax.random.key(1), 4000))
    for number in range(3):
        found = stats.ks_2samp(draws[:, number], jax.nn.sigmoid(theirs[:, number]))
        assert found.pvalue > 1e-5, outputs[number]


def test_an_action_in_a_box_stays_in_it_and_has_its_form() -> None:
    box = spaces.Box(*np.array([[[0.1], [-7.0]], [[0.3], [1e6]]], np.float32))
    own = read_spaces(Stalls(box))
    assert own.continuous and own.parts == 2 and own.head_sizes == (2,)
    for place, share in ((-1e4, 0.0), (0.0, 0.5), (2.0, 1 / (1 + np.exp(-2.0))), (1e4, 1.0)):
        action = own.action(np.full(2, place, np.float32))
        assert action in box
        np.testing.assert_allclose(action, box.low + (box.high.astype(float) - box.low) * share, rtol=1e-6)


@pytest.mark.slow
def test_the_example_of_another_market_ends_next_to_the_nash_price(capsys: pytest.CaptureFixture) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "other_market.py"))
    step = example["PRICES"][1] - example["PRICES"][0]
    for price in example["main"](num_updates=40).values():
        assert abs(price - example["NASH"]) < step
    assert "(Nash 1.4729)" in capsys.readouterr().out


def test_a_training_keeps_a_journal_and_its_policy_a_file(tmp_path: Path) -> None:
    settings = LearnerSettings(**(SMALL | {"num_updates": 3}))
    got = train_on_env(Stalls, settings, folder=tmp_path / "run", quiet=True)
    assert got.complete
    table = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert table.to_dict("records") == got.history
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    with pytest.raises(ValueError, match=r"folder='.*run': holds a training already; accepted is a new or empty fo"):
        train_on_env(Stalls, settings, folder=tmp_path / "run", quiet=True)
    again = load_env_policy(got.policy.save(tmp_path / "stalls.pt"))
    assert got.policy.scale is not None and again.scale is not None
    for one, other in zip(got.policy.scale, again.scale, strict=True):
        np.testing.assert_array_equal(one, other)
    for seed in range(5):
        assert episode_return(Stalls(), again, seed) == episode_return(Stalls(), got.policy, seed)
    (tmp_path / "broken.pt").write_bytes((tmp_path / "stalls.pt").read_bytes()[:500])
    for name, message in (("broken.pt", "is no policy of train_on_env"), ("nowhere.pt", "there is no such file")):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            load_env_policy(tmp_path / name)


def test_a_running_scale_is_that_of_all_rows_whatever_blocks_they_come_in() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal([1e5, 0.0, 3.0], [1e3, 1e-3, 0.0], (60, 3))
    scale = RunningScale(3)
    np.testing.assert_array_equal(scale.now().shown(rows[:2]), np.clip(rows[:2], -10, 10).astype(np.float32))
    for block in np.split(rows, [1, 1, 20]):
        scale.take(block)
    now = scale.now()
    np.testing.assert_allclose(now.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(now.spread, np.sqrt(rows.var(0) + 1e-8), rtol=1e-9)
    shown = now.shown(rows)
    assert shown.dtype == np.float32
    np.testing.assert_allclose(shown[:, :2].std(0), 1.0, rtol=1e-2)
    np.testing.assert_array_equal(shown[:, 2], 0.0)
    assert (now.shown(rows + 1e6)[:, 0] == 10.0).all()


class Till(Stalls):
    """The same stalls, told in units that are of no use: the coin in thousandths, beside takings in ten thousands."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = spaces.Box(-np.inf, np.inf, (2, 1), np.float64)

    def _look(self) -> tuple[dict, dict]:
        seen, infos = super()._look()
        return {agent: own * [[5_000.0], [0.001]] + [[20_000.0], [0.0]] for agent, own in seen.items()}, infos


@pytest.mark.slow
def test_badly_scaled_observations_are_learnt_from_on_a_running_scale_only() -> None:
    settings = LearnerSettings(**(SMALL | {"num_updates": 40, "gamma": 0.5}))
    played = {}
    for normalise in (True, False):
        got = train_on_env(Till, settings, normalise=normalise, quiet=True)
        assert (got.policy.scale is not None) == normalise
        played[normalise] = [sum(episode_return(Till(), got.policy, seed).values()) for seed in range(40)]
    assert np.mean(played[True]) > 11.5  # of 12
    assert np.mean(played[False]) < 10.5  # the coin is guessed: 8.5, with a standard error of 0.4


def test_ctrl_c_finishes_the_update_and_hands_over_what_was_learnt() -> None:
    class Tiring(Stalls):
        def step(self, actions: dict[str, Any]):
            steps.append(1)
            if len(steps) == SMALL["num_envs"] * (SMALL["num_steps"] + 3):  # in the second update
                signal.raise_signal(signal.SIGINT)
            return super().step(actions)

    steps: list[int] = []
    got = train_on_env(Tiring, LearnerSettings(**(SMALL | {"num_updates": 9})), quiet=True)
    assert (len(got.history), got.complete) == (2, False)
    assert set(episode_return(Stalls(), got.policy, 0)) == {"left", "right"}


def test_copies_keep_apart_what_the_players_see() -> None:
    copies = Copies(Stalls, 2, seed=3)
    assert (copies.spaces.local_size, copies.spaces.state_size, copies.spaces.own_state) == (2, 4, False)
    for time in range(4):
        assert (copies.first == (time == 0)).all()
        assert copies.acting[:, 1].all() == (time < 3)
        np.testing.assert_array_equal(copies.state, copies.local.reshape(2, 4))
        np.testing.assert_array_equal(copies.masks[1][:, :, 0], [[[True, True, False], [True] * 3]] * 2)
        step = copies.step(np.zeros((2, 2, 2), int))
        assert step.terminated[:, 1].all() == (time == 2)
        assert (step.over == (time == 3)).all()
    assert (step.done == [[True, False]] * 2).all()  # right was gone by then
    assert copies.local[:, :, 0].all()  # the next episode


@pytest.mark.parametrize(
    ("env", "settings", "message"),
    [
        (lambda: Stalls(spaces.Text(3)), {}, r"action_space\('left'\)=Text.*: accepted is Discrete, MultiDiscrete"),
        (lambda: Stalls(spaces.Box(0, 9, (2,), np.int32)), {}, r"action_space.*=Box.*: accepted is Discrete, Multi"),
        (lambda: Stalls(spaces.Box(0, np.inf, (2,))), {}, r"action_space.*=Box.*: accepted is a Box with finite"),
        (lambda: Stalls(spaces.Box(0, 1, (2,))), {}, r"infos\['left'\]\['action_mask'\]: accepted is none beside"),
        (Stalls, {"num_seeds": 2}, "learner.num_seeds=2: accepted is 1 in train_on_env"),
        (Stalls, {"algorithm": "mappo"}, "learner.algorithm='mappo': accepted is 'torch_mappo' in train_on_env"),
    ],
)
def test_what_cannot_be_learnt_is_refused(env: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_on_env(env, LearnerSettings(**(SMALL | settings)), quiet=True)


def test_agents_that_differ_are_refused() -> None:
    class Uneven(Stalls):
        def observation_space(self, agent: str) -> spaces.Space:
            return self._seen if agent == "left" else spaces.Box(-1.0, 1.0, (3,))

    with pytest.raises(ValueError, match=r"observation_space\('right'\)=Box.*: accepted is that of 'left', Box"):
        train_on_env(Uneven, LearnerSettings(**SMALL), quiet=True)

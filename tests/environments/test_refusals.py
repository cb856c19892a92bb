"""What the environment refuses: one line that names the field, its value and what is accepted; nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import marl_pricing
from marl_pricing.environments import PricingEnv
from tests.environments.kinds import KINDS, assert_same, bankrupt_env, env_of
from tests.markets import make

BAD_ACTIONS: dict[str, tuple[str, Any, str]] = {
    "out of range": ("discrete", 8, r"^actions\['seller_1'\]=8: accepted is a whole number from 0 to 7$"),
    "negative": ("discrete", -1, r"^actions\['seller_1'\]=-1: accepted is a whole number from 0 to 7$"),
    "fraction": ("discrete", 1.5, r"^actions\['seller_1'\]=1.5: accepted is a whole number"),
    "truth": ("discrete", True, r"^actions\['seller_1'\]=True: accepted is a whole number"),
    "nothing": ("discrete", None, r"^actions\['seller_1'\]=None: accepted is a whole number"),
    "nan where discrete": ("discrete", float("nan"), r"^actions\['seller_1'\]=nan: accepted is a whole number"),
    "ragged where discrete": ("discrete", [[1], [1, 2]], r"^actions\['seller_1'\]=\[\[1\], \[1, 2\]\]: accepted is"),
    "shape": ("several products", [1], r"^actions\['seller_1'\]=\[1\]: accepted is an array of shape \(2,\)$"),
    "ragged": ("several products", [[1], [1, 2]], r"^actions\['seller_1'\]=.*: accepted is an array of shape \(2,\)$"),
    "fractions": ("several products", [0.0, 1.0], r"^actions\['seller_1'\]=.*: accepted is whole numbers$"),
    "one head out of range": ("own orders", [0, 3], r"accepted is whole numbers from 0 to below \[8, 3\]$"),
    "nan": ("continuous", [float("nan")], r"^actions\['seller_1'\]=\[nan\]: accepted is finite numbers$"),
    "infinite": ("continuous", [float("inf")], r"^actions\['seller_1'\]=\[inf\]: accepted is finite numbers$"),
    "complex": ("continuous", [0.1 + 0.2j], r"^actions\['seller_1'\]=.*: accepted is finite numbers$"),
    "too far": ("continuous", [0.5], r"^actions\['seller_1'\]=\[0.5\]: accepted is numbers between -0.3 and 0.3$"),
    "too far down": ("continuous", [-0.31], r"accepted is numbers between -0.3 and 0.3$"),
    "too dear": ("any price", [2.3], r"^actions\['seller_1'\]=\[2.3\]: accepted is numbers between 0 and 2$"),
    "text": ("continuous", "up", r"^actions\['seller_1'\]='up': accepted is an array of shape \(1,\)$"),
    "scalar": ("continuous", 0.1, r"^actions\['seller_1'\]=0.1: accepted is an array of shape \(1,\)$"),
}


def middle(env: PricingEnv) -> dict[str, Any]:
    """An action of every agent that any space has, and an array where it takes one."""
    return {agent: np.zeros(env.action_space(agent).shape, env.action_space(agent).dtype) for agent in env.agents}


def assert_refused_without_a_trace(kind: str, call: Callable[[PricingEnv], Any], message: str) -> None:
    env, untouched = env_of(kind), env_of(kind)
    for own in (env, untouched):
        own.reset(seed=0)
        own.step(middle(own))
    with pytest.raises(ValueError, match=message) as caught:
        call(env)
    assert "\n" not in str(caught.value)
    assert env.agents == untouched.agents
    np.testing.assert_array_equal(env.state(), untouched.state())
    for _ in range(3):
        assert_same(env.step(middle(env)), untouched.step(middle(untouched)))
    assert_same(env.reset(), untouched.reset())  # the seeds go on as if nothing had been
    assert_same(env.step(middle(env)), untouched.step(middle(untouched)))


@pytest.mark.parametrize("case", BAD_ACTIONS)
def test_bad_action_is_named_and_changes_nothing(case: str) -> None:
    kind, action, message = BAD_ACTIONS[case]
    assert_refused_without_a_trace(kind, lambda env: env.step(middle(env) | {"seller_1": action}), message)


BAD_CALLS: dict[str, tuple[Callable[[PricingEnv], Any], str]] = {
    "missing action": (lambda env: env.step({"seller_0": 0}), r"^actions: there is none of 'seller_1'; accepted is"),
    "unknown agent": (
        lambda env: env.step({"seller_0": 0, "seller_1": 0, "seller_9": 0}),
        r"^actions\['seller_9'\]: accepted are actions of seller_0, seller_1$",
    ),
    "no dict": (lambda env: env.step([0, 0]), r"^actions=\[0, 0\]: accepted is a dict"),
    "nothing": (lambda env: env.step(None), r"^actions=None: accepted is a dict"),
    "negative seed": (lambda env: env.reset(seed=-1), r"^seed=-1: accepted is None or a whole number of at least 0$"),
    "fractional seed": (lambda env: env.reset(seed=1.0), r"^seed=1.0: accepted is None or a whole number"),
    "text as seed": (lambda env: env.reset(seed="one"), r"^seed='one': accepted is None or a whole number"),
    "truth as seed": (lambda env: env.reset(seed=True), r"^seed=True: accepted is None or a whole number"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_call_is_named_and_changes_nothing(case: str) -> None:
    call, message = BAD_CALLS[case]
    assert_refused_without_a_trace("discrete", call, message)


def test_bankrupt_sellers_action_is_refused() -> None:
    env = bankrupt_env()
    env.reset(seed=0)
    while "seller_1" in env.agents:
        env.step(dict.fromkeys(env.agents, 0))
    with pytest.raises(ValueError, match=r"^actions\['seller_1'\]: accepted are actions of seller_0$"):
        env.step({"seller_0": 0, "seller_1": 0})


def test_calls_out_of_order_are_named() -> None:
    env = env_of("discrete", render_mode="ansi")
    for call in (lambda: env.step({}), env.state, env.render):
        with pytest.raises(ValueError, match="has not been reset; call reset"):
            call()
    env.reset(seed=0)
    while env.agents:
        env.step(middle(env))
    last = env.state()
    with pytest.raises(ValueError, match="the episode is over; call reset"):
        env.step({})
    np.testing.assert_array_equal(env.state(), last)


def test_whole_numbers_of_any_kind_are_an_action() -> None:
    answers = []
    for action in (3, np.int64(3), np.array(3, np.uint8)):
        env = env_of("discrete")
        env.reset(seed=0)
        answers.append(env.step(dict.fromkeys(env.agents, action)))
    assert_same(answers[0], answers[1])
    assert_same(answers[0], answers[2])


def test_long_actions_are_shown_in_one_short_line() -> None:
    env = marl_pricing.parallel_env(make(num_products=40))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"\.\.\.: accepted is whole numbers") as caught:
        env.step({"seller_0": np.zeros(40, int), "seller_1": np.full(40, 9)})
    assert "\n" not in str(caught.value)


def test_bad_action_in_turns_is_refused_at_its_turn_and_can_be_corrected() -> None:
    env, untouched = (marl_pricing.aec_env(make(**KINDS["discrete"])) for _ in range(2))
    for own in (env, untouched):
        own.reset(seed=0)
    with pytest.raises(ValueError, match=r"^actions\['seller_0'\]=8: accepted is a whole number from 0 to 7$"):
        env.step(8)
    assert env.agent_selection == "seller_0"
    for own in (env, untouched):
        own.step(3)
        own.step(4)
    assert_same(env.last(), untouched.last())
    assert env.infos["seller_1"]["prices"].tolist() == [pytest.approx(1.9)]


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"^render_mode='human': accepted is None, 'ansi', 'rgb_array'$"):
        env_of("discrete", render_mode="human")
    for cycles in (0, 2.0, True):
        with pytest.raises(ValueError, match=rf"^max_cycles={cycles}: accepted is None or a whole number"):
            env_of("discrete", max_cycles=cycles)
    with pytest.raises(ValueError, match=r"^experiment=duopoly: accepted is .*competitive, .*logit_duopoly"):
        marl_pricing.parallel_env("duopoly")
    accepted = r"None, an experiment's name, a dict of settings or a config.Market"
    for own in (3, make().shape):
        with pytest.raises(ValueError, match=rf"^market=.*: accepted is {accepted}$"):
            marl_pricing.parallel_env(own)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^traffic: accepted only with market settings"):
        marl_pricing.aec_env(make(), traffic={})

"""What `marl-pricing describe` says is what the market does: ranges hold in random play, values are what is posted."""

from __future__ import annotations

import json
import math

import gymnasium
import numpy as np
import pytest

import marl_pricing
from marl_pricing.commands.describe import main
from marl_pricing.environments import PricingEnv
from marl_pricing.environments.description import Description, describe_env, describe_market
from tests.environments.kinds import env_of
from tests.markets import make
from tests.processes import ROOT

ROUNDING = 1e-5
EXPERIMENTS = (
    "competitive", "formal", "grocery", "logit_duopoly", "lost_sales", "patient_shoppers", "phantom_defence",
    "platform", "price_and_order", "procurement",
)  # fmt: skip


def assert_within(own: Description, seen: np.ndarray) -> None:
    """Observations [..., O] lie between what is told."""
    low, high = np.array([one.shown for one in own.inputs]).T
    for number, one in enumerate(own.inputs):
        values = seen[..., number]
        assert values.min() >= low[number] - ROUNDING and values.max() <= high[number] + ROUNDING, one


def played(env: PricingEnv, episodes: int) -> np.ndarray:
    """Observations [T, S, O] of sellers at random, every second episode always the same, which piles up stock."""
    seen = []
    for episode in range(episodes):
        observations, _ = env.reset(seed=episode)
        for agent in env.agents:
            env.action_space(agent).seed(episode)
        first = {agent: env.action_space(agent).sample() for agent in env.agents}
        while env.agents:
            seen.append(list(observations.values()))
            again = episode % 2
            actions = {a: first[a] if again else env.action_space(a).sample() for a in env.agents}
            observations, *_ = env.step(actions)
    return np.array(seen)


@pytest.mark.parametrize("kind", ["several products", "own orders", "different sellers"])
def test_ranges_hold_in_random_play(kind: str) -> None:
    env = env_of(kind)
    own = describe_market(env.shape, env.params)
    assert [one.name for one in own.inputs] == env.observation_names
    assert_within(own, played(env, 4))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_ranges_hold_in_every_experiment(experiment: str) -> None:
    env = marl_pricing.parallel_env(experiment)
    own = describe_market(env.shape, env.params)
    assert_within(own, played(env, 6))


def test_choices_are_the_prices_and_orders_that_follow() -> None:
    env = env_of("several products, own orders")
    own = describe_market(env.shape, env.params)
    assert [choice.name for choice in own.choices] == [
        "price of product 0", "price of product 1", "order of product 0", "order of product 1",
    ]  # fmt: skip
    env.reset(seed=0)
    _, _, _, _, infos = env.step({"seller_0": [1, 5, 2, 0], "seller_1": [7, 0, 0, 1]})
    for seller, levels in enumerate(([1, 5, 2, 0], [7, 0, 0, 1])):
        told = [choice.values[seller][level] for choice, level in zip(own.choices, levels, strict=True)]
        info = infos[f"seller_{seller}"]
        np.testing.assert_allclose([*info["prices"], *info["ordered"]], told, rtol=1e-6)


def test_any_price_is_a_number_between_the_sellers_ends() -> None:
    env = env_of("any price")
    own = describe_market(env.shape, env.params)
    assert own.choices == (
        ("price", "a number between the seller's lowest and highest", "money", ((0.0, 2.5), (0.0, 2.0))),
    )
    alike = describe_market(*make(prices={"map": "range", "low": 1.1, "high": 2.5}))
    assert (alike.choices[0].form, alike.space) == ("a number from 1.1 to 2.5", "Box(1.1, 2.5, (1,), float32)")
    env.reset(seed=0)
    _, _, _, _, infos = env.step({"seller_0": [2.4321], "seller_1": np.array([1.3], np.float32)})
    np.testing.assert_allclose([infos[agent]["prices"][0] for agent in infos], [2.4321, 1.3], rtol=1e-6)


def test_terms_of_the_reward_are_those_that_are_not_zero() -> None:
    env = env_of("different sellers")
    own = describe_market(env.shape, env.params)
    terms = {term.name: term.values for term in own.terms}
    assert terms["- unit cost"] == (1.0, 1.3, 1.8) and terms["- holding cost"] == (0.0, 0.1, 0.2)
    assert own.shaping == (1.0, 0.5, 0.0) and "- order cost" not in terms
    assert describe_env(marl_pricing.phantom_defence_env()).terms[-1].values == (0.2,)


@pytest.mark.parametrize("name", ["phantom_defence", "phantom_prototype"])
def test_ranges_of_the_gymnasium_environments_are_their_spaces(name: str) -> None:
    env = getattr(marl_pricing, f"{name}_env")()
    own = describe_env(env)
    flat = gymnasium.spaces.utils.flatten_space(env.observation_space)
    if name == "phantom_prototype":  # Gymnasium flattens a Dict by name: demand, then price
        half = len(own.inputs) // 2
        own = own._replace(inputs=own.inputs[half:] + own.inputs[:half])
    assert [one.shown for one in own.inputs] == list(zip(flat.low.tolist(), flat.high.tolist(), strict=True))
    seen, _ = env.reset(seed=0)
    for _ in range(10):
        assert_within(own, gymnasium.spaces.utils.flatten(env.observation_space, seen))
        seen, *_ = env.step(env.action_space.sample())


def test_the_command_says_it_in_the_markets_words_and_as_json(capsys, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["experiment=grocery", "market.episode_length=26"]) == 0
    text = capsys.readouterr().out
    assert "2 sellers, 1 product each, 26 weeks an episode" in text and "money" not in text
    assert "National: 0.825482, 0.851278, 0.877074 … 1.41879, 1.44459" in text
    assert main(["env=phantom_defence", "json=true"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["observation"][10]["raw"] == [[pytest.approx(1.1), pytest.approx(2.5)]]
    assert told["actions"][0]["values"] == [[0.9, 0.97, 1.0, 1.03, 1.1]]
    assert main(["experiment=competitive", "json=true"]) == 0
    told = json.loads(capsys.readouterr().out)
    demand = next(one for one in told["observation"] if one["name"].startswith("units ordered"))
    assert demand["shown"] == [0, None] and not math.isinf(demand["raw"][0][0])


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["env=phantom"], "env='phantom': accepted is phantom_defence, phantom_prototype"),
        (["env=phantom_defence", "learner.gamma=1"], "learner.gamma=1: accepted is env=NAME alone"),
        (["experiment=omega_sweep"], "study: is several runs; accepted is the experiment of one run"),
        (["experiment=grocry"], "did you mean grocery?"),
        (["market.num_selers=2"], "did you mean market.num_sellers?"),
    ],
)
def test_what_cannot_be_described_is_refused(typed: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(typed)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and message in told and len(told.splitlines()) == 1

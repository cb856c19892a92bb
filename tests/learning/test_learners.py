"""Learners beside MAPPO: what they learn from, what they are told, and what they come to."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.config import ConfigError
from marl_pricing.equilibrium import static
from marl_pricing.evaluation.stock_gap import StockRun, stock_gap
from marl_pricing.learning import parallel
from marl_pricing.learning.a2c.losses import policy_gradient_loss
from marl_pricing.learning.action_values.heads import EpsilonGreedy, best_value, split_values, value_of
from marl_pricing.learning.action_values.learner import epsilon
from marl_pricing.learning.action_values.step import action_value_loss
from marl_pricing.learning.action_values.targets import Batch, Transitions, targets, weights
from marl_pricing.learning.advantage import generalised_advantage, one_step_target
from marl_pricing.learning.dqn import DqnSettings
from marl_pricing.learning.learner import init
from marl_pricing.learning.learners import make_learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.pqn import PqnSettings
from marl_pricing.learning.qtable.table import TableSpec
from marl_pricing.learning.runs import METRICS
from marl_pricing.learning.state import Learnable
from marl_pricing.learning.training import Member, Schedule, train
from marl_pricing.robust import Ambiguity
from marl_pricing.studies.loading import load_run
from tests.doors.compose import composed
from tests.learning.helpers import QUICK, market_of, trained_whole_and_in_parts
from tests.learning.test_known_answers import assert_equilibria, trained
from tests.learning.test_stock_bars import trained as policies_of
from tests.learning.torch_mappo.twins import random_actor
from tests.learning.toy import Toy, ToySettings

VALUES = ("pqn", "qtable", "dqn")
NEW = ("a2c", *VALUES)
SMALL = [
    "learner.num_envs=4", "learner.num_steps=8", "learner.num_updates=4", "learner.devices=1",
    "market.features=[stock]", "run.report_every=2", "run.evaluate_every=2",
    "run.checkpoint_every=2", "run.tensorboard=false",
]  # fmt: skip


def test_the_policy_gradients_loss_is_the_sum_over_live_steps() -> None:
    log_prob, advantage = jnp.array([-1.0, -2.0, -jnp.inf]), jnp.array([0.5, -1.5, 3.0])
    found = policy_gradient_loss(log_prob, advantage, jnp.array([1.0, 1.0, 0.0]))
    assert float(found) == pytest.approx(0.5 - 3.0)


SHAPE = market_of("own orders, two products").shape
MASK = jnp.ones((2, 2, 3), bool).at[0, 1, 1:].set(False)


def test_epsilon_greedy_play_is_the_best_choice_or_any_that_is_allowed() -> None:
    outputs = jax.random.normal(jax.random.key(0), (2, 2 * (SHAPE.prices.num_levels + 3)))
    values = split_values(SHAPE, outputs, MASK)
    for chosen in (0.0, 0.3):
        heads = EpsilonGreedy(chosen)(SHAPE, outputs, MASK)
        for head, value in zip(heads, values, strict=True):
            chance = np.exp(np.asarray(head))
            np.testing.assert_allclose(chance.sum(-1), 1.0, rtol=1e-5)
            np.testing.assert_array_equal(chance.argmax(-1), np.asarray(value).argmax(-1))
        order = np.exp(np.asarray(heads[1]))
        assert (order[~np.asarray(MASK)] == 0).all()
        np.testing.assert_allclose(order[0, 0].min(), chosen / 3, atol=1e-6)
    best = [value.argmax(-1) for value in values]
    np.testing.assert_allclose(value_of(values, best), best_value(values), rtol=1e-6)


def test_epsilon_falls_linearly_over_its_share_of_the_updates_and_stays() -> None:
    own = PqnSettings(num_updates=100, epsilon_start=1.0, epsilon_end=0.2, exploration=0.5)
    found = [float(epsilon(own, jnp.int32(update))) for update in (0, 25, 50, 99)]
    assert found == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_rare_choices_count_as_much_as_frequent_ones_up_to_the_bound() -> None:
    chance = np.array([[[0.9, 0.002], [0.0005, 0.9]], [[0.1, 0.9], [0.9, 0.4]]], np.float32)  # [T, E, S]
    live = np.array([[[1, 1], [1, 1]], [[1, 0], [1, 1]]], bool)
    shape, params = composed("experiment=logit_duopoly").market
    nothing = jnp.zeros((2, 2, 2))
    own = Transitions(
        nothing[..., None], None, nothing[..., None], None, live[..., 0], [], nothing, live, live, jnp.asarray(live),
        jnp.zeros((2, 2, 1)), jnp.log(chance),
    )  # fmt: skip
    for bound in (0.001, 0.5):
        learner = make_learner(PqnSettings(frequency_bound=bound, devices=1), shape, params)
        plain = [[[min(1.0, bound / p) for p in row] for row in step] for step in chance.tolist()]
        expected = np.where(live, plain, 0.0)
        expected *= live.sum() / expected.sum()
        np.testing.assert_allclose(weights(learner, own, lambda x: x), expected, rtol=1e-5)
    alike = make_learner(PqnSettings(devices=1), shape, params)
    np.testing.assert_array_equal(weights(alike, own, lambda x: x), live)


def test_lambda_returns_are_their_plain_transcription() -> None:
    """Values by state: episodes that end, that are cut off, and that go on."""
    rng = np.random.default_rng(0)
    values, reward = rng.normal(size=5).astype(np.float32), rng.normal(size=6).astype(np.float32)
    seen, following = rng.integers(0, 5, 6), rng.integers(0, 5, 6)
    terminated, done = np.array([0, 1, 0, 0, 0, 0], bool), np.array([0, 1, 0, 1, 0, 0], bool)
    said, then = values[seen], values[following]
    later, expected = None, np.zeros(6)
    for t in reversed(range(6)):
        bootstrap = 0.0 if terminated[t] else then[t]
        mixed = bootstrap if done[t] or later is None else 0.35 * bootstrap + 0.65 * (later + then[t] - said[t + 1])
        later = expected[t] = reward[t] + 0.9 * mixed
    one_step = one_step_target(reward, then, terminated, 0.9)
    np.testing.assert_allclose(generalised_advantage(one_step, said, done, 0.9, 0.65)[1], expected, rtol=1e-5)


@pytest.mark.parametrize("trace", [0.0, 0.65])
def test_targets_and_the_loss_of_action_values_are_a_plain_loop_over_what_the_network_says(trace: float) -> None:
    """Two heads, forbidden orders; episodes that end, that are cut off and that go on; values in units of their own."""
    own = market_of("own orders, two products")
    learner = make_learner(PqnSettings(num_envs=4, num_minibatches=1, hidden_size=4, cell="none", gamma=0.9), *own)
    rng, steps, envs = np.random.default_rng(1), 7, 3
    size = (steps, envs, own.shape.num_sellers)
    width, levels = learner.actor.in_size - own.shape.num_sellers, own.shape.prices.num_levels
    masks = rng.random((2, *size, 2, 3)) < 0.6
    masks[..., 0] = True
    local, following = rng.normal(size=(2, *size, width)).astype(np.float32)
    indices = [rng.integers(0, levels, (*size, 2)), np.where(rng.random((*size, 2)) < 0.5, 0, masks[0].argmax(-1))]
    terminated = rng.random(size) < 0.2
    done, live = terminated | (rng.random(size) < 0.2), rng.random(size) < 0.9
    reward = rng.normal(size=size).astype(np.float32)
    played = Transitions(
        local, masks[0], following, masks[1], np.zeros(size[:2], bool), indices, reward, terminated, done, live,
        np.zeros((envs, size[2], learner.actor.memory), np.float32),
    )  # fmt: skip
    parameters = random_actor(learner, 0.5, 2)
    statistics = learner.first_statistics().replace(
        mean=jnp.array([3.0]), square=jnp.array([13.0]), weight=jnp.ones(())
    )
    played = jax.tree.map(jnp.asarray, played)
    said, value = targets(learner, parameters, statistics, played, trace)
    found = []
    for seen, mask in ((local, masks[0]), (following, masks[1])):
        out, _ = learner.actor.sequence(parameters, jnp.asarray(seen), played.memory, played.first)
        by_product = np.asarray(out, np.float64).reshape(*size, 2, levels + 3)
        price, order = by_product[..., :levels], np.where(mask, by_product[..., levels:], -np.inf)
        found.append((price, order))
    best, then = (3.0 + 2.0 * (price.max(-1) + order.max(-1)).sum(-1) for price, order in found)
    expected, later = np.zeros(size), None
    for t in reversed(range(steps)):
        follows = np.where(terminated[t], 0.0, then[t])
        # what follows in the segment, corrected by how far this network's two views of one state lie apart
        carried = 0.0 if later is None else np.where(done[t], 0.0, 0.9 * trace * (later - best[t + 1]))
        later = expected[t] = reward[t] + 0.9 * follows + carried
    np.testing.assert_allclose(value, best, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(said, expected, rtol=1e-5, atol=1e-5)
    price, order = found[0]
    chosen = [
        np.take_along_axis(head, index[..., None], -1)[..., 0]
        for head, index in zip((price, order), indices, strict=True)
    ]
    error = sum(chosen).sum(-1) - (expected - 3.0) / 2.0
    batch = Batch(played, (said - 3.0) / 2.0, played.live.astype(jnp.float32), played.live.astype(jnp.float32))
    loss, _ = action_value_loss(learner, parameters, batch)
    assert float(loss) == pytest.approx(0.5 * (error**2 * live).sum(), rel=1e-5)


def test_the_network_that_plays_goes_part_of_the_way_to_the_one_that_learns() -> None:
    own, index, begun = market_of("stock"), jnp.arange(2), []

    def learned(**told) -> list[Learnable]:
        """Before the first update and after each of the first two."""
        settings = DqnSettings(
            num_envs=2, num_steps=4, num_minibatches=1, gradient_steps_per_update=2, hidden_size=4, cell="none",
            epsilon_end=0.5, devices=1, **told,
        )  # fmt: skip
        learner = make_learner(settings, *own)
        if not begun:  # all begin alike
            begun.append(jax.jit(lambda: init(learner, jnp.int32(3), own.params, index), compiler_options=QUICK)())
        states = [*begun]
        update = jax.jit(lambda state: learner.update(state, own.params, index)[0], compiler_options=QUICK)
        for _ in range(2):
            states.append(update(states[-1]))
        return [jax.tree.map(np.asarray, state.learnable) for state in states]

    plain, whole, part = learned(), learned(averaging=1.0), learned(averaging=0.25, target_every=2)
    # All of the way at once: that is who learns.
    jax.tree.map(np.testing.assert_array_equal, whole, plain)
    # A quarter of the way, every second update: in the first one all learn the same, and the average stays.
    start, first, second = part
    jax.tree.map(np.testing.assert_array_equal, first.critic, plain[1].actor)
    jax.tree.map(np.testing.assert_array_equal, first.actor, start.actor)
    by_hand = jax.tree.map(lambda a, b: 0.75 * a + 0.25 * b, start.actor, second.critic)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), second.actor, by_hand)
    for before, after in ((start.critic, first.critic), (first.critic, second.critic)):  # it goes on from where it was
        assert 0 < max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)) < 0.05


def test_a_tables_rows_are_the_grid_of_what_is_observed() -> None:
    table = TableSpec(2, 5, 3, 2, stacked=True)
    grid = jnp.stack(jnp.meshgrid(jnp.linspace(-1, 1, 5), jnp.linspace(-1, 1, 5)), -1).reshape(-1, 2)
    assert sorted(np.asarray(table.state_of(grid)).tolist()) == list(range(25))
    assert int(table.state_of(jnp.array([9.0, -9.0]))) == int(table.state_of(jnp.array([1.0, -1.0])))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["learner=a2c", "+learner.num_epochs=2"], "learner.num_epochs=2: there is no such setting"),
        (["learner=a2c", "learner.num_envs=6", "learner.devices=4"], "learner.num_envs=6: accepted is a multiple of"),
        (["learner=pqn", "robust=interval"], "robust.set='interval': accepted is none with learner.algorithm=pqn"),
        (["learner=qtable"], "learner.bins=21: a table over 10 observed entries"),
        (["learner=dqn", "learner.epsilon_end=1.0"], "learner.epsilon_end=1.0: accepted is a number below 1"),
        (["learner.algorithm=ppo"], "learner.algorithm='ppo': accepted is 'mappo', 'torch_mappo', 'ippo', 'a2c'"),
        (
            ["learner.algorithm=qmix"],
            "learner.algorithm='qmix': accepted is 'mappo', 'torch_mappo', 'ippo', 'a2c', 'dqn', 'pqn', 'qtable'; "
            "QMIX's mixing of a team's values is not there; nearest is learner=dqn market.reward.omega=0",
        ),
        (
            ["learner=happo"],
            "learner=happo: accepted is a2c, dqn, ippo, mappo, pqn, qtable, torch_mappo; HAPPO's steps of one "
            "seller after the other are not there; nearest is learner=mappo learner.sharing=per_seller",
        ),
        (["learner=ippo", "learner.critic=central"], "learner.critic='central': accepted is 'local' with"),
        (["learner=ippo", "+learner.compile=true"], "learner.compile=True: accepted is false with"),
        (["learner=pqn", "learner.frequency_bound=0"], "learner.frequency_bound=0: accepted is"),
    ],
)  # fmt: skip
def test_what_a_learner_cannot_be_told_is_refused_in_a_line(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        composed(*overrides)
    assert str(error.value).startswith(told) and "\n" not in str(error.value)


@pytest.mark.parametrize("algorithm", ["a2c", "ippo", *VALUES])
def test_a_robust_set_is_for_learners_with_a_critic(algorithm: str) -> None:
    fear = Ambiguity("kl", "expected", 0.3, (0.0, 0.5), False, (0.5, 0.5))
    own = composed(f"learner={algorithm}", "market.features=[stock]")
    if algorithm in VALUES:
        with pytest.raises(ValueError, match=f"robust.set: accepted is none with learner.algorithm={algorithm}"):
            make_learner(own.settings.learner, *own.market, fear)
    else:
        assert make_learner(own.settings.learner, *own.market, fear).ambiguity is fear


def test_ippo_is_mappo_whose_critics_see_what_their_sellers_see() -> None:
    named, told = composed("learner=ippo"), composed("learner.critic=local")
    assert not named.learner.central and named.learner.critic_spec == told.learner.critic_spec
    assert type(named.learner) is type(told.learner)
    assert {**named.settings.learner.model_dump(), "algorithm": "mappo"} == told.settings.learner.model_dump()


def test_what_an_experiment_tells_mappo_alone_does_not_reach_another_learner() -> None:
    own = composed("experiment=logit_duopoly", "learner=a2c").settings.learner
    assert own.algorithm == "a2c" and own.gamma == 0.0 and not hasattr(own, "num_epochs")


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", NEW)
def test_a_run_is_trained_kept_resumed_and_played(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)
    hidden = [] if algorithm == "qtable" else ["learner.hidden_size=8"]
    settings = composed(f"learner={algorithm}", *SMALL, *hidden).settings
    whole = trained_whole_and_in_parts(settings, tmp_path)
    run = load_run(whole, "latest")
    assert [policy.name for policy in run.policies(greedy=True)] == ["learned (greedy)"]


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_a2c_comes_to_the_equilibria_of_the_one_shot_game_in_5_of_5_seeds() -> None:
    experiment = composed(
        "experiment=logit_duopoly", "learner=a2c", "learner.num_updates=300", "learner.num_seeds=10"
    )  # fmt: skip
    assert_equilibria(experiment, (1.0, 0.0), trained(Program, experiment, (1.0, 0.0), 5))


TABLE = [
    "learner=qtable", "market.features=[time]", "learner.bins=1", "learner.num_envs=256", "learner.num_updates=200",
    "learner.num_epochs=1", "learner.learning_rate=0.5", "learner.learning_rate_end=0.02", "learner.epsilon_start=0.6",
    "learner.epsilon_end=0.1", "learner.exploration=0.7",
]  # fmt: skip


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_tables_come_within_a_grid_step_of_the_one_shot_games_prices_in_5_of_5_seeds() -> None:
    experiment = composed("experiment=logit_duopoly", *TABLE, "learner.num_seeds=10")
    shape, params = experiment.market
    grid = np.asarray(params.prices.levels[0], np.float64)
    played = trained(Program, experiment, (1.0, 0.0), 5)
    for omega, prices in zip((1.0, 0.0), played, strict=True):
        own = params.replace(reward=params.reward.replace(omega=jnp.full((2,), omega)))
        exact = static.omega_equilibrium(shape, own).prices
        assert np.abs(grid[prices] - exact).max() < grid[1] - grid[0], (omega, prices[:, -1])


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
@pytest.mark.parametrize(
    "own", [["pqn"], ["dqn", "learner.num_updates=800", "learner.exploration=0.4"]], ids=lambda own: own[0]
)
def test_networks_of_values_come_to_the_one_shot_games_prices(own: list[str]) -> None:
    """Three seeds each within two grid steps, where the plain loss ends at four to six above Nash; most within one, and
    of `dqn`, which averages, five of the six.

    Of the joint profit the next price loses 0.1 or 0.2 %. `python -m benchmarks.known_answers values` counts more.
    """
    experiment = composed("experiment=logit_duopoly_values", f"learner={own[0]}", *own[1:], "learner.num_seeds=6")
    shape, params = experiment.market
    grid = np.asarray(params.prices.levels[0], np.float64)
    played, near = trained(Program, experiment, (1.0, 0.0), 3), 0
    for omega, prices in zip((1.0, 0.0), played, strict=True):
        at = params.replace(reward=params.reward.replace(omega=jnp.full((2,), omega)))
        off = np.abs(grid[prices] - static.omega_equilibrium(shape, at).prices).max((1, 2)) / (grid[1] - grid[0])
        assert (off < 2).all() and (omega == 0.0 or np.median(off) < 1), (omega, off, prices[:, -1])
        near += int((off < 1).sum())
    assert own[0] != "dqn" or near >= 5, near


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["learner=pqn", "learner.frequency_bound=null", "learner.num_updates=300"],
        ["learner=dqn", "learner.frequency_bound=null", "learner.num_updates=200"],
        ["learner=qtable", "learner.learning_rate=0.3", "learner.learning_rate_end=0.02", "learner.epsilon_end=0.05",
         "learner.num_epochs=8", "learner.num_updates=300"],
        ["learner=a2c", "learner.num_steps=16", "learner.num_updates=400", "learner.learning_rate=0.005",
         "learner.entropy_start=0.05"],
    ],
    ids=lambda own: own[0],
)  # fmt: skip
def test_learners_earn_95_per_cent_of_the_best_price_and_order(overrides: list[str]) -> None:
    experiment = composed("experiment=price_and_order", "learner.num_seeds=2", *overrides)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), experiment.market.params)
    run = StockRun("both", *experiment.market, policies_of(experiment, stacked), 0.95)
    found = stock_gap([run], episodes=256, epochs=0, stocks=[0, 5, 10], seed=7)
    assert (found["ratio"] >= 0.95).all() and (found["ratio"] <= 1.0 + 4 * found["error"]).all(), found


@pytest.mark.slow
def test_a_learner_of_a_strangers_is_a_folder_and_runs_in_the_house(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The toy is trained by the loop of all, evaluated, and learns: it prices where profits are."""
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)
    shape, params = composed("experiment=logit_duopoly", "market.reward.omega=0").market
    own = ToySettings(
        num_envs=16, num_steps=16, num_updates=80, hidden_size=8, gamma=0.0, learning_rate=0.01, learning_rate_end=0.0,
        cell="none", devices=1,
    )  # fmt: skip
    schedule = Schedule(report_every=20, checkpoint_every=80, evaluate_every=40)
    train(Program(Toy.make(own, shape, params)), [Member(tmp_path, params)], schedule, quiet=True, tensorboard=False)
    rows = (tmp_path / METRICS).read_text().splitlines()
    name = rows[0].split(",").index("return_raw/seller_0")
    first, last = (float(rows[at].split(",")[name]) for at in (1, -1))
    assert last > 1.15 * first
    assert (tmp_path / "evaluation.csv").read_text().count("\n") == 1 + 2 * 2 * 2

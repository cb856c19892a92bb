"""Numbers of the market that move with the updates: their values, a run that goes on, and what is learned."""

from __future__ import annotations

import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import config, market
from marl_pricing.equilibrium import static
from marl_pricing.learning import parallel
from marl_pricing.learning.learners import make_learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.qtable import QTableSettings
from marl_pricing.learning.run_files import METRICS
from marl_pricing.learning.worlds import Moves, Start, game_in, moved, moving, world_params
from tests.doors.compose import composed
from tests.learning.helpers import QUICK, trained_whole_and_in_parts
from tests.learning.test_known_answers import trained
from tests.learning.test_learners import TABLE
from tests.markets import make

BASE = ["market.num_sellers=2", "learner.num_envs=4"]


def own_market(share: float, omega: list[float]):
    return make(
        {"agent_share": share}, agent={"scale": 0.1}, episode_length=4, observe_alpha=True, observe_omega=True,
        features=["time", "omega"], reward={"unit_cost": 1.0, "omega": omega},
    )  # fmt: skip


def start(value: float, over: float) -> Start:
    return Start(jnp.float32(value), jnp.float32(over))


def test_a_number_goes_in_even_steps_to_what_the_market_has_and_stays() -> None:
    params = own_market(0.1, [0.0, 0.5]).params
    own = world_params(params, laws=config.randomised.Laws(), moves=Moves(start(0.5, 0.4), start(1.0, 0.5)))
    by_hand = {
        0: (0.5, [1.0, 1.0]),
        1: (0.4, [0.75, 0.875]),
        2: (0.3, [0.5, 0.75]),
        3: (0.2, [0.25, 0.625]),
        4: (0.1, [0.0, 0.5]),
        9: (0.1, [0.0, 0.5]),
    }
    for update, (share, omega) in by_hand.items():
        # ω over a half of 8 updates, α over two fifths of 10
        np.testing.assert_allclose(moved(own, jnp.int32(update), 8).reward.omega, omega, rtol=1e-6)
        np.testing.assert_allclose(moved(own, jnp.int32(update), 10).traffic.agent_share, share, rtol=1e-6)
    ended = moved(own, jnp.int32(4), 8)
    for there, here in zip(jax.tree.leaves(ended), jax.tree.leaves(own), strict=True):
        np.testing.assert_array_equal(there, here)
    assert set(moving(own)) == {"agent_share", "omega"} and moving(params) == {}
    assert moved(params, jnp.int32(0), 8) is params and game_in(own) is market


def test_from_a_number_to_itself_is_the_constant_bit_for_bit_and_elsewhere_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two trainings in one program, of which one starts where the market is; what they learn and what they tell."""
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)
    shape, params = own_market(0.25, [0.3, 0.3])
    settings = QTableSettings(num_envs=4, num_steps=6, num_updates=3, num_seeds=2, bins=2, devices=1)
    same, other = (
        world_params(params, config.randomised.Laws(), Moves(start(share, 1.0), start(omega, 1.0)))
        for share, omega in ((0.25, 0.3), (0.9, 1.0))
    )

    def train(*markets):
        program = Program(make_learner(settings, shape, markets[0], game=game_in(markets[0])))
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *markets)
        return program.train(program.init(stacked), stacked, 3)

    (plain, told), (world, heard) = train(params, params), train(same, other)
    for one, two in zip(jax.tree.leaves(plain.learnable), jax.tree.leaves(world.learnable), strict=True):
        np.testing.assert_array_equal(one[0], two[0])
    for name, value in told.items():
        np.testing.assert_array_equal(value[0], heard[name][0], err_msg=name)
    # The other one has the same seed as its twin, and meets other numbers.
    np.testing.assert_allclose(heard["omega"][1, :, 0], [1.0, 1.0 - 0.7 / 3, 1.0 - 1.4 / 3], rtol=1e-6)
    assert (heard["return_shaped"][1] != told["return_shaped"][1]).all()


@pytest.mark.slow
def test_a_run_with_moving_numbers_goes_on_to_the_same_and_tells_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)
    settings = composed(
        *BASE, "learner=qtable", "market.features=[time]", "learner.bins=2", "learner.num_seeds=2",
        "learner.num_steps=8", "learner.num_updates=4", "learner.devices=1", "run.report_every=2",
        "run.evaluate_every=0", "run.checkpoint_every=2", "run.tensorboard=false", "market.reward.omega=0.25",
        "worlds.omega={start: 1}", "traffic.agent_share=0.1", "worlds.agent_share={start: 0.5, over: 1}",
    ).settings  # fmt: skip
    whole = trained_whole_and_in_parts(settings, tmp_path)
    rows = list(csv.DictReader((whole / METRICS).read_text().splitlines()))
    for seed in ("0", "1"):
        own = [row for row in rows if row["seed"] == seed]
        assert [float(row["omega/seller_1"]) for row in own] == pytest.approx([1.0, 0.625, 0.25, 0.25])
        assert [float(row["agent_share"]) for row in own] == pytest.approx([0.5, 0.4, 0.3, 0.2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["worlds.omega={start: 1, low: 0}"], "laws with values, or with both low and high, or with start"),
        (["worlds.omega={start: 1.5}"], "worlds.omega.start=1.5: accepted is a number of at most 1"),
        (["worlds.omega={start: 1, over: 0}"], "worlds.omega.over=0: accepted is a number above 0"),
        (["worlds.omega={values: [0, 1], over: 0.5}"], "worlds.over=0.5: accepted is null without start"),
        (
            ["worlds.omega={strat: 1}"],
            "worlds.omega.strat=1: there is no such setting; did you mean worlds.omega.start?",
        ),
        (["worlds.omega={start: 1}", "market.num_sellers=1"], "accepted is null with one seller"),
        (["worlds.agent_share={start: 0.1}", "market.agent=null", "traffic.agent_share=0"], "null without agents"),
        (
            ["worlds.agent_share={start: 0.1}", "traffic.process.kind=drift"],
            "traffic.process.kind='drift': accepted is 'static' with worlds.agent_share",
        ),
        (
            ["worlds.omega={start: 1}", "robust=kl", "robust.radius=0.1"],
            "robust.set='kl': accepted is none with worlds",
        ),
        (["worlds.omega={start: 1}", "opponents.seats={1: myopic}"], "accepted is null with worlds that are drawn or"),
    ],
)
def test_what_cannot_move_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        composed(*BASE, *arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a2c", "dqn"])
def test_learners_with_networks_learn_where_numbers_move(name: str) -> None:
    """Traced only: an update keeps the form of its state, and tells what moved. Tables are trained above."""
    own = composed(
        f"learner={name}", "experiment=logit_duopoly", "market.features=[own_price]", "worlds.omega={start: 1}",
        "learner.num_envs=4", "learner.num_steps=4",
    )  # fmt: skip
    index = jnp.arange(4)
    state = jax.eval_shape(lambda: parallel.init(own.learner, jnp.int32(0), own.params, index))
    after, measures = jax.eval_shape(lambda s: own.learner.update(s, own.params, index, lambda x: x), state)
    assert jax.tree.structure(after) == jax.tree.structure(state) and measures["omega"].shape == (2,)


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_sellers_that_begin_selfish_end_at_the_joint_price_once_their_omega_has_come_to_0() -> None:
    """From ω = 1 to 0 over half of the updates, five of five seeds: from level 1.2 of the grid, Nash, to 12.8."""
    experiment = composed("experiment=logit_duopoly", *TABLE, "learner.num_seeds=5", "worlds.omega={start: 1}")
    shape, params = experiment.market
    grid = np.asarray(params.prices.levels[0], np.float64)
    exact = static.joint_profit(shape, params).prices
    off = np.abs(grid[trained(Program, experiment, (0.0,), 5)] - exact)
    assert off.max() < grid[1] - grid[0], off.max((0, 2, 3))

"""Opponents in seats: rules, frozen runs, past selves, from the settings to the evaluation."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from marl_pricing import config
from marl_pricing.config import ConfigError
from marl_pricing.config.opponents import Opponents, seating_of
from marl_pricing.equilibrium import static
from marl_pricing.evaluation.play import play
from marl_pricing.learning import parallel, runs
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.runs import Checkpoints, RunError
from marl_pricing.learning.state import SelfPlayState, TrainState
from marl_pricing.market import MarketParams
from marl_pricing.policies import constant_joint, seat
from marl_pricing.studies import loading, single
from tests.doors.compose import settings
from tests.learning.helpers import QUICK

DUOPOLY = ["experiment=logit_duopoly", "learner.devices=1", "run.tensorboard=false"]
TINY = [
    *DUOPOLY, "market.episode_length=4", "learner.num_envs=4", "learner.num_steps=6", "learner.num_epochs=1",
    "learner.hidden_size=8", "learner.num_updates=3", "run.checkpoint_every=2", "run.report_every=2",
    "run.evaluate_every=1",
]  # fmt: skip
THREE = [*TINY, "market.num_sellers=3"]
CONSTANT = ["learner.schedule=constant", "learner.entropy_start=0.01", "learner.entropy_end=0.01"]
PROVENANCE = {"command": "python train.py", "versions": {}, "revision": "test"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "compiler_options", lambda: QUICK)


def of(*overrides: str) -> config.ExperimentSettings:
    return config.read_settings(settings(*overrides))


def trained(folder: Path, *overrides: str) -> loading.LoadedRun:
    assert single.train_run(of(*overrides), folder, PROVENANCE)
    return loading.load_run(folder, "latest")


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / runs.EVALUATION).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> loading.LoadedRun:
    """A run of two seeds that differ, with cells and widths of its own."""
    folder = tmp_path_factory.mktemp("frozen") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "compiler_options", lambda: QUICK)
        fast = ["learner.learning_rate=0.05", "learner.cell=lstm", "learner.hidden_size=4", "learner.num_seeds=2"]
        return trained(folder, *TINY, *fast)


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_against_a_rival_at_a_constant_price_five_of_five_learners_find_the_exact_best_response(tmp_path: Path) -> None:
    """The rival stands at the joint-profit price: the best response undercuts it by several levels."""
    run = trained(tmp_path / "run", *DUOPOLY, "learner.num_seeds=5", "opponents.seats={1: constant_joint}")
    shape, params = run.experiment.market
    grid = np.asarray(params.prices.levels, np.float64)
    rival = play(jax.random.key(0), shape, params, constant_joint(shape, params), 1).price[0, 0, 1]
    level = int(np.abs(grid[1] - rival).argmin())
    payoffs = static.grid_payoffs(shape, params)[:, level, 0]
    best = grid[0, payoffs.argmax()]
    assert best < rival - 2 * (grid[0, 1] - grid[0, 0])
    for policy in run.policies(greedy=True):
        price = play(jax.random.key(1), shape, params, policy, 1).price[0]
        np.testing.assert_allclose(price[:, 0], best, atol=1e-6)
        np.testing.assert_allclose(price[:, 1], rival, atol=1e-6)
    verdict = single.verdict_of(run.folder, run.updates[0])
    assert verdict is not None and verdict.converged
    assert str(verdict).endswith("(against opponents that are frozen: seller 1 does not learn)")


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_sellers_that_meet_their_past_selves_end_at_the_grid_equilibrium(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", *DUOPOLY, "learner.num_seeds=5", "learner.num_updates=200", "opponents.seats=self")
    shape, params = run.experiment.market
    grid = np.asarray(params.prices.levels, np.float64)
    equilibria = {tuple(row) for row in static.grid_equilibria(shape, params).tolist()}
    for policy in run.policies(greedy=True):
        price = play(jax.random.key(1), shape, params, policy, 1).price[0]
        chosen = {tuple(int(np.abs(grid[i] - own).argmin()) for i, own in enumerate(row)) for row in price}
        assert chosen <= equilibria


@pytest.mark.slow
def test_a_frozen_run_plays_in_training_as_it_does_in_evaluation(frozen: loading.LoadedRun, tmp_path: Path) -> None:
    """Nothing is drawn in this market: held-out play while training, and play afterwards, are the same numbers."""
    given = f"opponents.seats={{1: {{run: {frozen.folder}, seed: 1}}}}"
    run = trained(tmp_path / "run", *TINY, given)
    shape, params = run.experiment.market
    assert run.held == {1: f"{frozen.folder} (update 3, seed 1, greedy)"} and run.learners == [0]
    host, other = run.policies(greedy=True)[0], frozen.policies(greedy=True)[1]
    itself = learned_policy(run.experiment.learner, jax.tree.map(lambda leaf: leaf[0], run.networks.actor), greedy=True)
    here = play(jax.random.key(0), shape, params, host, 2)
    there = play(jax.random.key(0), shape, params, seat(itself, other, 1, 2), 2)
    np.testing.assert_array_equal(here.price, there.price)
    last = {row["seller"]: row for row in rows_of(run.folder) if row["update"] == "3" and row["policy"] == "greedy"}
    for seller in (0, 1):
        assert float(last[str(seller)]["price"]) == pytest.approx(here.price[..., seller].mean(), rel=1e-6)
        assert float(last[str(seller)]["profit"]) == pytest.approx(here.reward_raw[..., seller].mean(), rel=1e-5)
    assert last["1"]["entropy"] == "" == last["1"]["deviation_gain"] and float(last["0"]["entropy"]) > 0
    told = json.loads((run.folder / runs.PROVENANCE).read_text())["opponents"]
    assert [(own["run"], own["update"], own["seeds"]) for own in told] == [(str(frozen.folder), 3, [1])]


@pytest.mark.slow
def test_a_league_with_past_selves_goes_on_bit_for_bit_even_where_its_opponents_are_gone(
    frozen: loading.LoadedRun, tmp_path: Path
) -> None:
    """The pool is part of the state; the run folder keeps the frozen run."""
    gone = tmp_path / "gone"
    shutil.copytree(frozen.folder, gone)
    given = [
        *TINY, *CONSTANT, f"opponents.seats={{1: [{gone}, myopic, fitted_stock_price]}}", "learner.num_seeds=2",
        "opponents.play=sampled",
    ]  # fmt: skip
    past = [
        *THREE, *CONSTANT, "opponents.seats={1: self, 2: self}", "opponents.refresh=2", "opponents.pool=2",
        "run.evaluate_every=0",
    ]  # fmt: skip
    for name, own in (("league", given), ("past", past)):
        whole, parts = tmp_path / name / "whole", tmp_path / name / "parts"
        assert single.train_run(of(*own, "learner.num_updates=7"), whole, PROVENANCE)
        assert single.train_run(of(*own, "learner.num_updates=3"), parts, PROVENANCE)
        if name == "league":
            shutil.rmtree(gone)
        assert single.train_run(single.lengthen_run(parts, 7, {}), parts, None)
        for file in (runs.METRICS, runs.EVALUATION) if name == "league" else (runs.METRICS,):
            assert (whole / file).read_bytes() == (parts / file).read_bytes()
        digests = []
        for folder in (whole, parts):
            with Checkpoints(folder) as kept:
                digests.append(kept._digests(7)["digest"])
        assert digests[0] == digests[1]
    lost = tmp_path / "league" / "parts" / runs.OPPONENTS / "0.npz"
    lost.write_bytes(lost.read_bytes()[:100])
    with pytest.raises(RunError, match=r"opponents/0\.npz: .*; it is what the run keeps of its opponents"):
        loading.load_run(tmp_path / "league" / "parts", "latest")


def test_without_opponents_learner_market_and_state_are_what_they_were() -> None:
    own = of(*TINY)
    plain, built = config.build(own), loading.build_run(own, None)
    assert built.learner == plain.learner and built.table is None
    assert type(built.params) is MarketParams and built.learner.game is plain.learner.game
    program = Program(built.learner)
    state = program.abstract_state(program.stack(built.params))
    assert type(state) is TrainState
    past = loading.build_run(of(*TINY, "opponents.seats=self"), None)
    program = Program(past.learner)
    assert type(program.abstract_state(program.stack(past.params))) is SelfPlayState
    with pytest.raises(ConfigError, match=r"opponents.seats='self': accepted is null here: all sellers learn"):
        config.build(of(*TINY, "opponents.seats=self"))


def test_settings_are_read_back_as_they_were() -> None:
    own = of(*THREE, "opponents.seats={0: {run: runs/x, seed: 3}, 2: [myopic, runs/y]}", "opponents.play=sampled")
    assert config.from_yaml(config.to_yaml(own), "config.yaml") == own
    old = config.to_yaml(of(*TINY)).partition("\nopponents:")[0]
    assert config.from_yaml(old, "config.yaml") == of(*TINY)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["opponents.seats={3: myopic}"], "opponents.seats='3': accepted is a seat from 0 to 2"),
        (["opponents.seats={-1: myopic}"], "opponents.seats='-1': accepted is a seat from 0 to 2"),
        (["opponents.seats={North: myopic}"], "opponents.seats='North': accepted is a seat from 0 to 2"),
        (["opponents.seats={0: myopic, 1: random, 2: random}"], "opponents.seats='0, 1, 2': accepted is at least"),
        (["opponents.seats={0: myopic, 1: random, 2: self}"], "accepted is self where another seat learns too"),
        (["opponents.seats={1: myopick}"], "opponents.seats='myopick': accepted is self, a rule (constant_nash,"),
        (["opponents.seats={1: 7}"], "opponents.seats.1=7: accepted is self, a rule (constant_nash,"),
        (["opponents.seats={1: [myopic, self]}"], "accepted is a list of rules and run folders; self stands alone"),
        (["opponents.seats={1: []}"], "opponents.seats.1=[]: accepted is a list of at least 1"),
        (["opponents.seats={1: {run: x, sed: 1}}"], "opponents.seats.1.sed=1: there is no such setting"),
        (["opponents.seats=myopic"], "opponents.seats='myopic': accepted is null, self, or a rule, a run folder"),
        (["opponents.seats={1: observed}"], "opponents.seats='observed': cannot be played in this market (market."),
        (["opponents.seats={1: /nowhere/run}"], "the folder of a run; there is no such folder"),
        (["opponents.seats=self", "market.num_sellers=1"], "accepted is null in a market of one seller"),
        (["opponents.seats=self", "opponents.pool=0"], "opponents.pool=0: accepted is a number of at least 1"),
        (["opponents.seats=self", "opponents.refresh=0"], "opponents.refresh=0: accepted is a number of at least 1"),
        (["opponents.seats=self", "opponents.newest=1.5"], "opponents.newest=1.5: accepted is a number of at most 1"),
        (["opponents.seats={1: random}", "market=default", "robust=kl"], "robust.set='kl': accepted is none with"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(given: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as told:
        loading.build_run(of(*THREE, *given), None)
    assert message in str(told.value) and "\n" not in str(told.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["market.num_sellers=3"], "the same market.num_sellers, which is 2 there and 3 here"),
        (["market.features=[own_price,time]"], "the same market.features, which is"),
        (["market.prices.num_price_levels=9"], "the same market.prices.num_price_levels, which is 15 there and 9 here"),
        (["market.reward.unit_cost=1.2"], "a run of the same prices (market.prices): a level is another price there"),
    ],
)
def test_a_run_that_cannot_play_here_is_refused(frozen: loading.LoadedRun, given: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as told:
        loading.build_run(of(*TINY, f"opponents.seats={{1: {frozen.folder}}}", *given), None)
    assert str(told.value).startswith(f"opponents.seats={str(frozen.folder)!r}: accepted is ")
    assert message in str(told.value)


@pytest.mark.slow
def test_a_seed_that_a_run_does_not_have_and_a_seat_that_never_learned_there_are_refused(
    frozen: loading.LoadedRun, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"opponents.seats.seed=2: accepted is all, or 0 to 1: the seeds of "):
        loading.build_run(of(*TINY, f"opponents.seats={{1: {{run: {frozen.folder}, seed: 2}}}}"), None)
    exploiter = trained(tmp_path / "run", *TINY, "opponents.seats={1: myopic}", "run.evaluate_every=0")
    last = pd.read_csv(exploiter.folder / runs.METRICS).iloc[-1]
    assert single.score_of(exploiter.folder) == pytest.approx(last["return_shaped/seller_0"])  # the learner's alone
    with pytest.raises(ConfigError, match=r"a run in which seller 1 learned; it was held by myopic there"):
        loading.build_run(of(*TINY, f"opponents.seats={{1: {exploiter.folder}}}"), None)
    met = loading.build_run(of(*TINY, f"opponents.seats={{0: {exploiter.folder}}}"), None)
    assert met.table is not None and list(met.table.told) == [0]


def test_a_sellers_name_is_its_seat() -> None:
    with pytest.raises(ConfigError, match=r"opponents.seats='South': accepted is a seat from 0 to 2$"):
        loading.build_run(of(*THREE, "opponents.seats={South: myopic}"), None)
    own = Opponents(seats={"South": "myopic", "0": "random"})
    held, selves = seating_of(own, 3, ["North", "East", "South"])
    assert held == [(("random",), (0,)), (("myopic",), (2,))] and selves == ()
    with pytest.raises(ConfigError, match="accepted is every seat once; it is seat 2, which is given already"):
        seating_of(Opponents(seats={"South": "myopic", "2": "random"}), 3, ["North", "East", "South"])

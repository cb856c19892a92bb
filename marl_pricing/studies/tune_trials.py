"""What a trial of a search is: a training with its own numbers, in a program that trials share, and what it scores.

Rate, discount and entropy bonus are numbers of the program, not part of it: trials that differ in these only compile
once. A setting that changes the program (environments, steps, minibatches, width) compiles for each of its values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.config import Experiment
from marl_pricing.evaluation.play import Record, play_seeds, seeds_of
from marl_pricing.learning.held_out import has_one_objective
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.parallel import Program, train_block
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.state import TrainState
from marl_pricing.market import MarketParams, MarketShape, Policy
from marl_pricing.policies import seat
from marl_pricing.policies.constant import constant

Array = jax.Array

TRACED = (
    "learning_rate", "learning_rate_end", "entropy_start", "entropy_end", "gamma", "gae_lambda", "clip_ratio",
    "max_grad_norm", "adam_epsilon",
)  # fmt: skip
DEVIATIONS = 9  # constant prices that are tried in a learned seller's seat


class NumberedProgram(Program):
    """A program whose learner's numbers come with the market's parameters, as (parameters, numbers by name)."""

    def _local_init(self, seeds: Array, given: Any, *more: Any) -> TrainState:
        return super()._local_init(seeds, given[0], *more)

    def _local_train(self, block: int, state: TrainState, given: Any, count: Array):
        index = self._env_index()

        def one(own: tuple[TrainState, MarketParams, dict[str, Array]]):
            state, params, numbers = own
            # What the losses are told are tracers in the settings' place: the program is that of all their values.
            learner = replace(self.learner, settings=self.learner.settings.model_copy(update=numbers))
            return train_block(learner, state, params, index, count, block)

        return jax.lax.map(one, (state, *given))


def _same_program(learner: Learner) -> Learner:
    """The learner with every traced number at one value: equal for trials that share a program."""
    fixed = {name: 0.5 for name in TRACED}
    return replace(learner, settings=learner.settings.model_copy(update=fixed))


@dataclass(frozen=True)
class Score:
    """What a trial came to; means over its seeds, money per seller and episode.

    Attributes:
        value: what is maximised, see `Trials`.
        greedy, sampled: shaped return of greedy and of sampled play on held-out shoppers.
        gap: greedy over sampled, less 1; NaN where sampled play earns nothing.
        deviation: gain of the best constant price in a seat, as a share of what the seat earns; NaN with one objective.
        entropy: nats, mean over a training's last updates.  explained_variance: of the critic there.
        compiled: whether the trial had to be compiled.
    """

    value: float
    greedy: float
    sampled: float
    gap: float
    deviation: float
    entropy: float
    explained_variance: float
    compiled: bool


def _kept(record: Record, params: MarketParams) -> tuple[Array, Array]:
    """Shaped return and raw profit of each seller [S], mean over episodes, money an episode."""
    return tuple((own * record.live).sum(1).mean(0) for own in (record.reward_shaped, record.reward_raw))  # type: ignore[return-value]


class Trials:
    """Trains trials and scores them.

    With one objective the score is the smaller of the greedy and the sampled shaped return: a policy that is good only
    where it does not try, or only where it does, is not done. Selfish sellers' returns fall as they learn to compete,
    so there it is minus the regret: the gain of the best constant price in a learned seller's seat, as a share of what
    the seller earns, averaged over seats, plus the distance of sampled from greedy play.

    Args:
        episodes: of every seed, held out.  seed: of their shoppers.
    """

    def __init__(self, episodes: int, seed: int) -> None:
        self._episodes, self._seed = episodes, seed
        self._programs: dict[Learner, NumberedProgram] = {}

    def run(self, experiment: Experiment) -> Score:
        """Train and score one trial."""
        own, (_, params) = experiment.learner.settings, experiment.market
        key = _same_program(experiment.learner)
        compiled = key not in self._programs
        if compiled:
            self._programs[key] = NumberedProgram(key)
        program = self._programs[key]
        numbers = {name: jnp.full((own.num_seeds,), getattr(own, name), jnp.float32) for name in TRACED}
        given: Any = (program.stack(params), numbers)
        state, measures = program.train(program.init(given), given, own.num_updates)
        last = max(1, own.num_updates // 10)
        ends = {name: float(jnp.mean(measures[name][:, -last:])) for name in ("entropy", "explained_variance")}
        return self._score(experiment, state.learnable.actor, compiled, **ends)

    def _score(self, experiment: Experiment, actors: Any, compiled: bool, **ends: float) -> Score:
        shaped, earned = self._play(experiment, self._policies(experiment, actors, greedy=True))
        sampled, _ = self._play(experiment, self._policies(experiment, actors, greedy=False))
        greedy, other = float(shaped.mean()), float(sampled.mean())
        gap = greedy / other - 1.0 if other > 0 else float("nan")
        if has_one_objective(experiment.market.params):
            return Score(min(greedy, other), greedy, other, gap, float("nan"), compiled=compiled, **ends)
        deviation = self._deviation(experiment, actors, earned)
        distance = float(np.abs(shaped - sampled).mean() / max(np.abs(shaped).mean(), 1e-9))
        return Score(-(deviation + distance), greedy, other, gap, deviation, compiled=compiled, **ends)

    def _policies(self, experiment: Experiment, actors: Any, *, greedy: bool) -> list[Policy]:
        count = experiment.learner.settings.num_seeds
        each = [jax.tree.map(lambda leaf, number=number: leaf[number], actors) for number in range(count)]
        return [learned_policy(experiment.learner, own, greedy=greedy) for own in each]

    def _play(self, experiment: Experiment, policies: list[Policy]) -> tuple[np.ndarray, np.ndarray]:
        """(shaped returns, raw profits) [seeds, S]."""
        shape, params = experiment.market
        keys, parameters = seeds_of("trial", policies, self._episodes, self._seed)
        first = policies[0]
        kept = play_seeds(keys, shape, params, first.act, parameters, first.start(), self._episodes, _kept)
        return tuple(np.asarray(own, np.float64) for own in kept)  # type: ignore[return-value]

    def _deviation(self, experiment: Experiment, actors: Any, earned: np.ndarray) -> float:
        """Gain of the best constant in each seat, a share of what the seat earns; mean over seats.

        The best is chosen by its mean over seeds, so that no seed's luck chooses it.
        """
        shape, params = experiment.market
        hosts, gains = self._policies(experiment, actors, greedy=True), []
        guests = constants(shape, params)
        for place in range(shape.num_sellers):
            there = [
                self._play(experiment, [seat(host, guest, place, shape.num_sellers) for host in hosts])[1][:, place]
                for guest in guests
            ]
            best = max(float(own.mean()) for own in there)
            gains.append((best - earned[:, place].mean()) / max(abs(earned[:, place].mean()), 1e-9))
        return float(np.mean(gains))


def constants(shape: MarketShape, params: MarketParams) -> list[Policy]:
    """Constant prices from the lowest to the highest that may be posted; the grid's own where there is one."""
    low, high = np.asarray(params.prices.low, np.float64), np.asarray(params.prices.high, np.float64)
    if shape.prices.map == "levels":
        grid = np.asarray(params.prices.levels, np.float64)
        index = np.unique(np.linspace(0, grid.shape[1] - 1, min(DEVIATIONS, grid.shape[1])).round().astype(int))
        return [constant(shape, params, grid[:, own]) for own in index]
    return [constant(shape, params, low + share * (high - low)) for share in np.linspace(0.0, 1.0, DEVIATIONS)]


def changed(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The experiment's settings as plain data with the learner's `values` in their places."""
    learner = dict(settings["learner"]) | {name.removeprefix("learner."): value for name, value in values.items()}
    return dict(settings) | {"learner": learner}

"""Evaluations of a training: when they are due, what is written of them, whether the runs have converged, the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from marl_pricing.equilibrium import static
from marl_pricing.equilibrium.static import NoEquilibriumError
from marl_pricing.learning import convergence, held_out
from marl_pricing.learning.convergence import Verdict
from marl_pricing.learning.held_out import HeldOut
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.seats import learners_of
from marl_pricing.learning.state import TrainState, networks_of
from marl_pricing.market import MarketParams, MarketShape

Row = dict[str, Any]
Best = dict[str, Any]

MEASURES = {
    "profit": "money per epoch of the whole episode, raw reward",
    "shaped": "money per epoch, r' at the seller's omega: what it learns from",
    "price": "money; mean over products",
    "fill_rate": "units sold over units demanded",
    "entropy": "nats, of the policy in the epochs played; empty where a frozen policy holds the seat",
    "profit_gain": "(profit - Nash) / (joint - Nash), one-shot benchmarks of the seller; empty where there are none or "
    "they lie closer than 2 %",
    "price_gap": "(price - p) / p, p the seller's one-shot equilibrium price at the market's omega; empty where there "
    "is none",
    "worst_world": "money per epoch, r' in the seller's worst candidate world; robust learners, greedy play only",
    "deviation_gain": "money per epoch of r' that the best constant price brings more, all others as they are; below 0 "
    "where none is better; greedy play only, empty where it was not measured",
    "deviation_error": "money per epoch, standard error of deviation_gain over the episodes",
}


@dataclass(frozen=True)
class Yardstick:
    """One-shot benchmarks of one market, [S] each; None where there are none.

    Attributes:
        nash, joint: profits, money per epoch.  price: of the equilibrium at the market's omega, mean over products.
    """

    nash: np.ndarray | None
    joint: np.ndarray | None
    price: np.ndarray | None

    def figures(self, profit: np.ndarray, price: np.ndarray) -> dict[str, np.ndarray]:
        """`profit_gain` and `price_gap` [R, S] of what was measured [R, S]; NaN where there are none."""
        gain, gap = np.full_like(profit, np.nan), np.full_like(price, np.nan)
        if self.nash is not None and self.joint is not None:
            apart = self.joint - self.nash
            wide = apart >= static.SMALLEST_GAP * np.abs(self.nash)
            gain = np.where(wide & (apart > 0), (profit - self.nash) / np.where(apart != 0, apart, 1.0), np.nan)
        if self.price is not None:
            gap = price / self.price - 1.0
        return {"profit_gain": gain, "price_gap": gap}


def yardstick_of(shape: MarketShape, params: MarketParams) -> Yardstick:
    """The static benchmarks of a market; as everywhere they ignore stock and whatever else moves."""

    def found(solve: Callable[[MarketShape, MarketParams], static.Equilibrium]) -> static.Equilibrium | None:
        try:
            return solve(shape, params)
        except NoEquilibriumError:
            return None

    nash, joint, own = (found(solve) for solve in (static.nash, static.joint_profit, static.omega_equilibrium))
    return Yardstick(
        None if nash is None else nash.profits,
        None if joint is None else joint.profits,
        None if own is None else own.prices.reshape(shape.num_sellers, -1).mean(-1),
    )


class Evaluations:
    """The evaluations of the runs of one program. What is not needed at once is compiled in other threads.

    Args:
        stacked: parameters of all seeds of all runs; `markets`: of each run.
        every: updates between evaluations.
        history: rows of evaluation.csv of each run so far.
        best: what `Evaluations.best` gave for each run so far; None where nothing was kept.
        pool: of threads.
    """

    def __init__(
        self,
        program: Program,
        stacked: MarketParams,
        markets: Sequence[MarketParams],
        every: int,
        history: Sequence[list[Any]],
        best: Sequence[Best | None],
        pool: Executor,
    ) -> None:
        own, shape = program.learner.settings, program.learner.shape
        self._program, self._stacked, self._every, self._pool = program, stacked, every, pool
        self._history: list[list[Any]] = [list(rows) for rows in history]
        self._keeps = [held_out.has_one_objective(market) for market in markets]
        self._learners = [learners_of(market) for market in markets]
        self._best = list(best)
        self._num_updates = own.num_updates
        self._held_out = HeldOut(program)
        self._actors = program.abstract_state(stacked).learnable.actor
        self._markets = markets
        self._play: Future | None = None
        self._yardsticks: list[Future] = []
        played, trained = held_out.deviation_epochs(shape), own.steps_per_update
        self._deviates_always = played <= held_out.DEVIATION_SHARE * every * trained
        self._deviates_last = played <= held_out.LAST_DEVIATION_SHARE * own.num_updates * trained
        self._deviate: Future | None = None

    def prepare(self) -> None:
        """Begin what the first evaluation needs, in other threads; once, from whichever call comes first.

        It takes as many cores and as much of the interpreter as the training program does: who begins both at once
        waits longer for the first line.
        """
        if self._play is None:
            self._play = self._pool.submit(self._held_out.compile_play, self._actors, self._stacked)
            shape = self._program.learner.shape
            self._yardsticks = [self._pool.submit(yardstick_of, shape, market) for market in self._markets]

    def next_after(self, update: int) -> int:
        """The next update at which an evaluation is due."""
        return min(update - update % self._every + self._every, self._num_updates)

    def due(self, update: int) -> bool:
        """Whether an evaluation is due after an update."""
        return update % self._every == 0 or update == self._num_updates

    def _deviations(self, actors: Any) -> dict[str, np.ndarray]:
        if self._deviate is None:
            self._deviate = self._pool.submit(self._held_out.compile_deviations, self._actors, self._stacked)
        return jax.device_get(self._deviate.result()(actors, self._stacked))

    def evaluate(self, update: int, state: TrainState, *, until_converged: bool) -> list[list[Row]]:
        """Play the policies of a state.

        Args:
            until_converged: whether a run may end here: then deviations that are too dear for every time are played
                where all else says that it has converged.

        Returns:
            New rows of evaluation.csv, run by run.
        """
        self.prepare()
        assert self._play is not None
        actors = state.learnable.actor
        sums = jax.device_get(self._play.result()(actors, self._stacked))
        last = update == self._num_updates
        always = self._deviates_always or (last and self._deviates_last)
        deviations = self._deviations(actors) if always else None
        rows = self._rows(update, sums, deviations)
        if deviations is None and until_converged and self._deviates_last:
            judged = [convergence.judge(convergence.curves_of(old + new)) for old, new in self._with(rows)]
            if all(verdict.converged for verdict in judged):
                rows = self._rows(update, sums, self._deviations(actors))
        for number, new in enumerate(rows):
            self._history[number] += new
        self._keep(update, state, sums)
        return rows

    def _with(self, rows: list[list[Row]]) -> list[tuple[list[Any], list[Row]]]:
        return list(zip(self._history, rows, strict=True))

    def _rows(self, update: int, sums: Any, deviations: dict[str, np.ndarray] | None) -> list[list[Row]]:
        part, shape = self._program.part, self._program.learner.shape
        found = []
        for number, yardstick in enumerate(self._yardsticks):
            own = None if deviations is None else part(deviations, number)
            figures = held_out.figures_of(shape, part(sums, number), own, self._learners[number])
            for kind in figures.values():
                kind |= yardstick.result().figures(kind["profit"], kind["price"])
            found.append(_rows_of(update, figures))
        return found

    def _keep(self, update: int, state: TrainState, sums: Any) -> None:
        """Keep the networks of seeds that never played better, where there is one objective."""
        if not any(self._keeps):
            return
        networks = jax.device_get(networks_of(state))
        for number, keeps in enumerate(self._keeps):
            if keeps:
                own = self._program.part(networks, number)
                mine, shape = self._program.part(sums, number), self._program.learner.shape
                score = held_out.scores_of(shape, mine, self._learners[number])
                self._best[number] = better(self._best[number], own, score, update)

    def best(self, run: int) -> Best | None:
        """The best networks of each seed of a run so far: `networks`, `score` and `update`, arrays [seeds, ...]."""
        return self._best[run]

    def verdict(self, run: int) -> Verdict:
        """Whether a run has converged."""
        return convergence.judge(convergence.curves_of(self._history[run]))

    @property
    def converged(self) -> bool:
        """Whether all runs have."""
        return all(self.verdict(run).converged for run in range(len(self._history)))


def abstract_best(state: TrainState) -> Best:
    """Shapes, types and shardings of what is kept of one run, from those of its state [seeds, ...]."""
    seeds = state.seed
    return {
        "networks": networks_of(state),
        "score": jax.ShapeDtypeStruct(seeds.shape, np.float32, sharding=seeds.sharding),
        "update": jax.ShapeDtypeStruct(seeds.shape, np.int32, sharding=seeds.sharding),
    }


def better(best: Best | None, networks: Any, score: np.ndarray, update: int) -> Best:
    """The better of what was kept and what is there now, seed by seed; of equals the earlier.

    Args:
        networks: arrays [R, ...].  score: [R].
    """
    score = np.asarray(score, np.float32)
    now = {"networks": networks, "score": score, "update": np.full(score.shape, update, np.int32)}
    if best is None:
        return now
    wins = score > np.asarray(best["score"])

    def pick(new: Any, old: Any) -> np.ndarray:
        return np.where(wins.reshape(-1, *(1,) * (np.ndim(new) - 1)), new, old)

    return jax.tree.map(pick, now, best)


def _rows_of(update: int, figures: Mapping[str, Mapping[str, np.ndarray]]) -> list[Row]:
    seeds, sellers = figures["greedy"]["profit"].shape
    rows = []
    for seed in range(seeds):
        for seller in range(sellers):
            for policy, own in figures.items():
                row: Row = {"update": update, "seed": seed, "seller": seller, "policy": policy}
                for name in MEASURES:
                    value = own[name][seed, seller] if name in own else np.nan
                    row[name] = "" if np.isnan(value) else repr(float(value))
                rows.append(row)
    return rows

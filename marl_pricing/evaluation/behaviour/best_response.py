"""What the best response to the learned sellers gains, found by reinforcement learning; NashConv.

One seller learns (the house's MAPPO) in one seat while the frozen policies hold the others. What it gains is a lower
bound of the best response's gain: a better response may exist that it did not find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import product
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from marl_pricing import market
from marl_pricing.evaluation.behaviour.responses import mean_interval, units_of
from marl_pricing.evaluation.play import Record, play
from marl_pricing.learning.mappo import make_learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.training import block_length
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Outcome, Policy
from marl_pricing.policies import seat

Array = jax.Array
Objective = Literal["shaped", "raw"]

NASH_CONV = "NashConv"
_REPORT = 5  # updates between two movements of the progress bar
COLUMNS = {
    "run": "text",
    "policy": "text; the learned sellers",
    "objective": "text; shaped: r' at the market's omega, what sellers were trained for; raw: the seller's own money. "
    "Each has a best response of its own",
    "seller": "text; who responds, or NashConv: the sum over sellers of max(0, gain) (Lanctot et al. 2017)",
    "gain": "per epoch of the whole episode; the best responder's reward less the learned seller's, in the same "
    "episodes; a lower bound",
    "low": "lower end of its 95 % bootstrap interval; empty where nothing can be resampled",
    "high": "upper end",
    "discounted": "the same, as the sum over the episode of gamma^t x the difference, at the learner's gamma",
    "learned": "per epoch; what the learned seller earns there",
    "updates": "whole number; budget of the best responder's training",
    "resampled": "text; what the interval resamples: seeds or episodes",
    "count": "how many of them",
}


class SeatParams(MarketParams):
    """A market's numbers, and who plays in it. Two parts more than a market's."""

    host: Any = None  # parameters of the frozen policy
    learns: Array | None = None  # [S] bool, the seat of the learner


class SeatState(MarketState):
    """A market's state, and what the frozen policy remembers."""

    memory: Any = None


@dataclass(frozen=True)
class SeatGame:
    """The market as its one learner finds it: all other seats are the frozen policy's.

    Attributes:
        start, act: of the frozen `market.Policy`.
    """

    start: Callable[[], Any]
    act: Callable[..., tuple[Action, Any]]

    def reset(self, key: Array, shape: MarketShape, params: MarketParams) -> tuple[SeatState, Observation]:
        """A fresh market, in which the frozen policy remembers nothing."""
        state, observation = market.reset(key, shape, params)
        return SeatState(**_parts(state), memory=self.start()), observation

    def step(
        self, key: Array, shape: MarketShape, state: MarketState, action: Action, params: MarketParams
    ) -> tuple[MarketState, Observation, Outcome]:
        """One epoch. Only the learner counts as having acted, so that nothing else enters a loss."""
        assert isinstance(state, SeatState) and isinstance(params, SeatParams) and params.learns is not None
        learns = params.learns
        # 4: the market splits this key in four, and a split key i is that key with i folded in.
        host_key = jax.random.fold_in(key, 4)
        seen = market.observe(shape, params, state)
        theirs, memory = self.act(params.host, host_key, state.memory, seen, state, params)

        def choose(ours: Array, others: Array) -> Array:
            return jnp.where(learns.reshape(-1, *(1,) * (ours.ndim - 1)), ours, others)

        played = jax.tree.map(choose, action, theirs)
        after, observation, outcome = market.step(key, shape, state.replace(memory=memory), played, params)
        return after, observation, outcome.replace(acted=outcome.acted & learns)


def _parts(node: Any) -> dict[str, Any]:
    return {part.name: getattr(node, part.name) for part in fields(node)}


def objectives_of(params: MarketParams) -> tuple[Objective, ...]:
    """What sellers can respond with: r' and their own money, which are one where all are selfish."""
    return ("raw",) if bool((np.asarray(params.reward.omega) == 1.0).all()) else ("shaped", "raw")


def _with_objective(params: MarketParams, objective: Objective) -> MarketParams:
    """r' at ω = 1 is the raw reward."""
    if objective == "shaped":
        return params
    return params.replace(reward=params.reward.replace(omega=jnp.ones_like(params.reward.omega)))


def _rewards(record: Record, seller: int) -> np.ndarray:
    """r' [E, T] of one seller, under the numbers that were played; nothing after it has left."""
    return np.asarray(record.reward_shaped * record.live, np.float64)[..., seller]


def train_responders(
    shape: MarketShape,
    params: MarketParams,
    learned: Sequence[Policy],
    settings: LearnerSettings,
    objectives: Sequence[Objective],
    tell: Callable[[int], None] = lambda updates: None,
) -> dict[tuple[Objective, int, int], Policy]:
    """Train one best responder for each (objective, training seed, seat), all in one program.

    Args:
        settings: of the responders; `num_updates` is the budget. The number of seeds is set here.
        tell: called with the number of updates done since the last call.

    Raises:
        ValueError: for prices that networks cannot set, or policies that do not share one program.
    """
    if not shape.discrete_prices:
        raise ValueError("market.prices.map='adjust': accepted are 'levels' and 'scale', which networks can set")
    host = learned[0]
    if any(own.act is not host.act or own.start is not host.start for own in learned):
        raise ValueError("learned: accepted are policies of one kind, which differ in their parameters only")
    seats = list(product(objectives, range(len(learned)), range(shape.num_sellers)))
    each = [
        SeatParams(
            **_parts(_with_objective(params, objective)),
            host=learned[seed].parameters,
            learns=jnp.arange(shape.num_sellers) == seller,
        )
        for objective, seed, seller in seats
    ]
    own = settings.model_copy(update={"num_seeds": len(seats)})
    learner = make_learner(own, shape, each[0], game=SeatGame(host.start, host.act))
    program = Program(learner)
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *each)
    state = program.init(stacked)
    block = block_length(own.num_updates, _REPORT)
    for _ in range(own.num_updates // block):
        state, _ = program.train(state, stacked, block)
        jax.block_until_ready(state.update)
        tell(block)
    actors = jax.device_get(state.learnable.actor)
    return {
        place: learned_policy(learner, jax.tree.map(lambda leaf, n=number: leaf[n], actors), greedy=True)
        for number, place in enumerate(seats)
    }


def best_responses(
    key: Array,
    shape: MarketShape,
    params: MarketParams,
    learned: Sequence[Policy],
    settings: LearnerSettings,
    episodes: int,
    progress: bool = True,
) -> pd.DataFrame:
    """The gain of each seller's best response to the others, and NashConv. A lower bound, see above.

    The learned seller and its best responder, playing greedily, meet the same shoppers. A gain below 0 says that
    nothing better was found; NashConv counts it as none.

    Args:
        learned: one policy a training seed; seed k plays under `key` with k folded in, as in `guests`.
        settings: of the responders: the run's own, with a budget of updates.
        progress: a progress bar.

    Returns:
        Rows of `COLUMNS` without `run` and `policy`.

    Raises:
        ValueError: as `train_responders`, and for less than one episode.
    """
    if episodes < 1:
        raise ValueError(f"episodes={episodes!r}: accepted is a whole number of at least 1")
    objectives = objectives_of(params)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("updates, ETA"),
        TimeRemainingColumn(), disable=not progress,
    )  # fmt: skip
    with bar:
        task = bar.add_task("training best responses", total=settings.num_updates)
        responders = train_responders(shape, params, learned, settings, objectives, partial(bar.advance, task))
    weights = settings.gamma ** np.arange(shape.episode_length)
    rows: list[dict] = []
    for objective in objectives:
        own = _with_objective(params, objective)
        # [R, S, E] rewards of an episode: mean over its epochs, and discounted.
        gain, discounted, earned = np.zeros((3, len(learned), shape.num_sellers, episodes))
        for seed, host in enumerate(learned):
            own_key = jax.random.fold_in(key, seed)
            base = play(own_key, shape, own, host, episodes)
            for seller in range(shape.num_sellers):
                guest = seat(host, responders[objective, seed, seller], seller, shape.num_sellers)
                before = _rewards(base, seller)
                change = _rewards(play(own_key, shape, own, guest, episodes), seller) - before
                gain[seed, seller], discounted[seed, seller] = change.mean(-1), change @ weights
                earned[seed, seller] = before.mean(-1)
        rows += _rows(objective, settings.num_updates, gain, discounted, earned)
    return pd.DataFrame(rows)


def _rows(objective: str, updates: int, gain: np.ndarray, discounted: np.ndarray, earned: np.ndarray) -> list[dict]:
    """A row a seller, and NashConv; arrays [R, S, E]."""
    found = []
    # A gain is that of a seed's policy: NashConv cuts off losses there, not episode by episode.
    conv, conv_discounted = (np.maximum(x.mean(2), 0.0).sum(1) for x in (gain, discounted))
    for seller in range(gain.shape[1]):
        units, kind = units_of(gain[:, seller])
        mean, low, high = (float(x[0]) for x in mean_interval(units[:, None]))
        found.append(
            (str(seller), mean, low, high, discounted[:, seller].mean(), earned[:, seller].mean(), kind, len(units))
        )
    mean, low, high = (float(x[0]) for x in mean_interval(conv[:, None]))
    everyone = earned.sum(1).mean()
    found.append((NASH_CONV, mean, low, high, conv_discounted.mean(), everyone, "seeds", len(conv)))
    names = ("seller", "gain", "low", "high", "discounted", "learned", "resampled", "count")
    return [{"objective": objective, **dict(zip(names, row, strict=True)), "updates": updates} for row in found]

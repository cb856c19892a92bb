"""All behaviour tests of one run's learned sellers that need no training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import pandas as pd

from marl_pricing.evaluation.behaviour import deviation, reaction, responses
from marl_pricing.evaluation.behaviour.deviation import BEST_REPLY, CUT, RISE, Move
from marl_pricing.evaluation.behaviour.forced import Start, follow
from marl_pricing.evaluation.behaviour.reaction import NotHereError
from marl_pricing.market import MarketParams, MarketShape, Policy
from marl_pricing.policies import RuleError

SHORTEST = 3  # epochs of an episode
STEPS = 6  # calls of `tell` in an examination
_LONG = 5  # epochs of the longer deviation, and of the burst
COLUMNS = {
    "deviations": deviation.COLUMNS,
    "deviation_summary": deviation.SUMMARY_COLUMNS,
    "responses": responses.COLUMNS,
    "reaction_surface": reaction.SURFACE_COLUMNS,
    "stock_response": reaction.STOCK_COLUMNS,
}


@dataclass(frozen=True)
class Findings:
    """What the behaviour tests found; frames lack the columns `run` and `policy`, and have no rows where left out.

    Attributes:
        at: τ, the epoch in which something is done by force.  seeds, episodes: how many.
        deviations, deviation_summary: of `deviation`.
        responses: paths after deviations, stockouts and bursts.
        reaction_surface, stock_response: of `reaction`.
        left_out: tests that this market cannot have, with the reason.
    """

    at: int
    seeds: int
    episodes: int
    deviations: pd.DataFrame
    deviation_summary: pd.DataFrame
    responses: pd.DataFrame
    reaction_surface: pd.DataFrame
    stock_response: pd.DataFrame
    left_out: tuple[str, ...]


def _empty(name: str) -> pd.DataFrame:
    return pd.DataFrame(columns=[column for column in COLUMNS[name] if column not in ("run", "policy")])


def _moves(starts: Sequence[Start], left_out: list[str]) -> list[Move]:
    """A best reply, a cut and a rise; without the first where expected orders are not known."""
    try:
        deviation.check_move(starts[0].shape, BEST_REPLY)
    except RuleError as error:
        left_out.append(str(error))
        return [CUT, RISE]
    return [BEST_REPLY, CUT, RISE]


def examine(
    key: jax.Array,
    shape: MarketShape,
    params: MarketParams,
    learned: Sequence[Policy],
    episodes: int,
    discount: float,
    tell: Callable[[str], None] = lambda text: None,
) -> Findings:
    """Forced deviations, reaction surfaces, responses to stock, to a rival's stockout and to a burst of agents.

    All begin in the middle of the episodes. What a market does not have is left out, with the reason.

    Args:
        learned: one policy a training seed.
        discount: γ of the gain from deviating.
        tell: called `STEPS` times, after each test, also one that is left out.

    Raises:
        ValueError: for episodes of fewer than three epochs, less than one episode, no policy, or a discount outside
            [0, 1].
    """
    if shape.episode_length < SHORTEST:
        raise ValueError(f"market.episode_length={shape.episode_length}: a response needs at least {SHORTEST} epochs")
    at = shape.episode_length // 2
    rest = shape.episode_length - at
    starts = follow(key, shape, params, learned, episodes, at)
    tell("played up to the middle of the episodes")
    left_out: list[str] = []

    def attempt(test: Callable[[], pd.DataFrame], name: str) -> pd.DataFrame:
        try:
            return test()
        except NotHereError as error:
            left_out.append(str(error))
            tell(str(error).partition(":")[0])
            return _empty(name)

    lengths = sorted({1, min(_LONG, rest)})
    rows, summary, paths = deviation.deviations(starts, _moves(starts, left_out), lengths, discount, tell)
    surface = attempt(lambda: reaction.reaction_surface(starts, tell=tell), "reaction_surface")
    stock = attempt(lambda: reaction.stock_response(starts, tell=tell), "stock_response")
    stockouts = attempt(lambda: reaction.stockout_paths(starts, tell=tell), "responses")
    bursts = attempt(lambda: reaction.burst_paths(starts, epochs=min(_LONG, rest), tell=tell), "responses")
    together = [paths, *(own for own in (stockouts, bursts) if len(own))]
    return Findings(
        at=at,
        seeds=len(starts),
        episodes=episodes,
        deviations=rows,
        deviation_summary=summary,
        responses=pd.concat(together, ignore_index=True),
        reaction_surface=surface,
        stock_response=stock,
        left_out=tuple(left_out),
    )

"""The learners by name. A new one is a folder beside this file, and a line here."""

from __future__ import annotations

from marl_pricing import market
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.mappo import Mappo
from marl_pricing.learning.settings import CommonSettings
from marl_pricing.learning.trajectory import Game
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.robust import Ambiguity

LEARNERS: dict[str, type[Learner]] = {
    "mappo": Mappo,
    "torch_mappo": Mappo,  # its segments and targets; `torch_mappo.program` takes the gradient steps
}


def make_learner(
    settings: CommonSettings,
    shape: MarketShape,
    params: MarketParams,
    ambiguity: Ambiguity | None = None,
    game: Game = market,
) -> Learner:
    """The learner that the settings name, its networks sized for a market.

    Args:
        ambiguity: what a robust critic is unsure of; None for the plain one.
        game: what is played.

    Raises:
        ValueError: for what this learner cannot play, in one line.
    """
    return LEARNERS[settings.algorithm].make(settings, shape, params, ambiguity, game)

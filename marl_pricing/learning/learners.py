"""The learners by name. A new one is a folder beside this file, and a line here."""

from __future__ import annotations

from typing import get_args

from marl_pricing import market
from marl_pricing.learning.a2c import A2c, A2cSettings
from marl_pricing.learning.actor_critic.learner import ActorCritic
from marl_pricing.learning.dqn import Dqn, DqnSettings
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.mappo import Mappo
from marl_pricing.learning.pqn import Pqn, PqnSettings
from marl_pricing.learning.qtable import QTable, QTableSettings
from marl_pricing.learning.settings import CommonSettings, LearnerSettings
from marl_pricing.learning.trajectory import Game
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.robust import Ambiguity

LEARNERS: dict[str, type[Learner]] = {
    "mappo": Mappo,
    "torch_mappo": Mappo,  # its segments and targets; `torch_mappo.program` takes the gradient steps
    "ippo": Mappo,  # with local critics
    "a2c": A2c,
    "dqn": Dqn,
    "pqn": Pqn,
    "qtable": QTable,
}
# What a configuration's group `learner` may be, told apart by its algorithm.
AnySettings = LearnerSettings | A2cSettings | DqnSettings | PqnSettings | QTableSettings

NO_CRITIC = "none with learner.algorithm={}, which has no critic to make robust"


def critical(settings: CommonSettings) -> bool:
    """Whether a learner has a critic, which can be made robust."""
    return issubclass(LEARNERS[settings.algorithm], ActorCritic)


def settings_class(algorithm: str) -> type[CommonSettings]:
    """The settings of a learner by its name; MAPPO's where there is no such learner, which then says so."""
    kinds: tuple[type[CommonSettings], ...] = get_args(AnySettings)
    return next(
        (kind for kind in kinds if algorithm in get_args(kind.model_fields["algorithm"].annotation)), LearnerSettings
    )


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
    kind = LEARNERS[settings.algorithm]
    if ambiguity is None:
        return kind.make(settings, shape, params, game=game)
    if not issubclass(kind, ActorCritic):
        raise ValueError(f"robust.set: accepted is {NO_CRITIC.format(settings.algorithm)}")
    return kind.make(settings, shape, params, ambiguity, game)

"""One policy for all customers that is made, not learned: offers by what is left above the goal (`feedback`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marl_pricing.market import MarketShape
from marl_pricing.virtual_market.fair.feedback import Feedback, by_what_is_left
from marl_pricing.virtual_market.fair.game import PromotionGame, PromotionParams, promotion_params
from marl_pricing.virtual_market.fair.offers import Plan, mean_tables
from marl_pricing.virtual_market.fair.playing import Played, play_feedback
from marl_pricing.virtual_market.fair.start import (
    POLICY,
    EpisodeSettings,
    checked_plan,
    checked_starts,
    starts_of,
    with_zero_gmv,
)
from marl_pricing.virtual_market.fair.worlds import LearnedWorlds, learned_worlds
from marl_pricing.virtual_market.levels import OFFERS
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.model import VirtualMarket
from marl_pricing.virtual_market.states import StateForm

PLAN = "plan by what is left"


class PlanSettings(EpisodeSettings):
    """How a plan is made. It asks for the goal itself: what is misjudged is made up for on the way."""


class Tables(NamedTuple):
    """What a day's offer is expected to bring and to cost a customer, money: [41, 7] by offer and weekday."""

    gmv: np.ndarray
    cost: np.ndarray


@dataclass(frozen=True)
class PlanPolicy:
    """A plan, and all that it was made from.

    Attributes:
        tables: of the learned customers.  plan: what to offer, made from them, money a customer.
        starts: [1, 21, C] the customers' states after the log.  weekday: of the day after it.
    """

    settings: PlanSettings
    form: StateForm
    tables: Tables
    plan: Feedback
    starts: np.ndarray
    weekday: int

    title = PLAN
    verdict = None  # nothing was trained
    measured = 0  # seed of what is measured by playing; the plan is made of expectations, of which nothing is drawn

    @property
    def threshold(self) -> float:
        """What is asked for in the learned market: the goal itself."""
        return self.settings.goal

    @property
    def game(self) -> PromotionGame:
        """All customers' game."""
        return PromotionGame(self.settings.days, self.form)

    def in_world(self, world: Any, zero_draws: int = 256) -> tuple[MarketShape, PromotionParams]:
        """The game's two halves in worlds, in which its GMV without coupons is measured."""
        own = self.settings
        shape, params = promotion_params(world, self.starts, [self.weekday], days=own.days, threshold=self.threshold)
        return shape, with_zero_gmv(self.game, shape, params, zero_draws, self.measured)

    def play(self, shape: MarketShape, params: PromotionParams, worlds: np.ndarray, seed: int) -> Played:
        """It in worlds [R]."""
        return play_feedback(self.game, shape, params, self.plan, worlds, seed)

    def where_tables_are_right(self) -> Plan:
        """What is offered where each day brings and costs what the tables say; GMV and cost a customer."""
        offers, gmv, cost = [], 0.0, 0.0
        for day in range(self.settings.days):
            offers.append(self.plan.offer(day, gmv, cost))
            at = offers[-1], (self.weekday + day) % 7
            gmv, cost = gmv + float(self.tables.gmv[at]), cost + float(self.tables.cost[at])
        return Plan(np.array(offers), gmv, cost)

    def save(self, folder: Path | str) -> Path:
        """Write it as one folder, whole or not at all. Raises ModelError for one that holds something else."""
        told = {"kind": "plan", "settings": self.settings.model_dump(), "form": self.form, "weekday": self.weekday}
        arrays = {
            "starts": self.starts.astype(np.float32), "gmv": self.tables.gmv, "cost": self.tables.cost,
            "grid": self.plan.grid, "offers": self.plan.offers.astype(np.uint8),
        }  # fmt: skip
        return POLICY.save(folder, told, arrays)


def plan_from(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> PlanPolicy:
    """The plan of a folder's content. Raises KeyError, TypeError or ValueError where it is none."""
    own = PlanSettings.model_validate(told["settings"])
    starts, tables = checked_starts(arrays["starts"]), Tables(arrays["gmv"], arrays["cost"])
    if any(table.shape != (len(OFFERS), 7) or not np.isfinite(table).all() for table in tables):
        raise ValueError("gmv or cost is no table of 41 offers and 7 weekdays")
    return PlanPolicy(own, told["form"], tables, checked_plan(arrays, own.days, own.goal), starts, told["weekday"])


def feedback_of(worlds: LearnedWorlds, starts: np.ndarray, weekday: int, own: PlanSettings) -> tuple[Tables, Feedback]:
    """The mean of the learned worlds' tables, and the offers by what is left that are made from them.

    Args:
        starts: [1, 21, C] memories before the first day.  weekday: of it.
    """
    tables = Tables(*mean_tables(worlds, starts[0]))
    return tables, by_what_is_left(*tables, weekday, own.days, own.goal, own.reserve)


def make_plan(model: VirtualMarket, log: PromotionLog, own: PlanSettings) -> PlanPolicy:
    """A plan for the customers of a log, from what was learned of them; it begins on the day after the log."""
    starts, weekdays = starts_of(log, model.settings.form, 1)
    tables, plan = feedback_of(learned_worlds(model), starts, int(weekdays[0]), own)
    return PlanPolicy(own, model.settings.form, tables, plan, starts, int(weekdays[0]))

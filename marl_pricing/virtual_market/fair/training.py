"""A fair policy, trained by recurrent MAPPO in worlds that were learned: from a plan or from nothing, and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from marl_pricing.learning.networks import NetworkSpec
from marl_pricing.learning.parallel import Program
from marl_pricing.market import MarketShape
from marl_pricing.virtual_market.fair.feedback import Feedback, with_losses
from marl_pricing.virtual_market.fair.game import (
    PromotionGame,
    PromotionParams,
    doubts_of,
    final_reward,
    promotion_params,
    scales,
)
from marl_pricing.virtual_market.fair.lean import lean_of, odds_of
from marl_pricing.virtual_market.fair.offers import learned_tables, true_tables
from marl_pricing.virtual_market.fair.playing import measure_zero_gmv, play_actor, play_feedback
from marl_pricing.virtual_market.fair.policy import FairPolicy, PolicySettings, Verdict, learner_of
from marl_pricing.virtual_market.fair.start import starts_of
from marl_pricing.virtual_market.fair.worlds import TrueWorld, learned_worlds
from marl_pricing.virtual_market.levels import NUM_LEVELS, OFFERS
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.model import VirtualMarket
from marl_pricing.virtual_market.states import StateForm
from marl_pricing.widths import float32

_ZERO_DRAWS = 32  # episodes without coupons in each world
_TRIALS, _LEAST_TRIALS = 320, 40  # episodes by which the draws of an update's policy are judged, and one of them
_FRESH = 1000  # episodes by which the best that was found is judged beside the plan


def _plan(
    world: Any, starts: np.ndarray, weekday: int, own: PolicySettings, played: np.ndarray
) -> tuple[Feedback, np.ndarray]:
    """A plan from the mean of the tables of the worlds that are played, and what each offer loses beside it."""
    if isinstance(world, TrueWorld):
        gmv, cost = (table.mean(2) for table in true_tables(world))
    else:
        gmv, cost = (table[played].mean(0) / starts.shape[2] for table in learned_tables(world, starts[-1]))
    return with_losses(gmv, cost, weekday, own.days, own.asked, own.reserve)


def train_policy(
    model: VirtualMarket | Any, log: PromotionLog, own: PolicySettings, form: StateForm = "order_days",
    say: Callable[[int, float, float], None] = lambda *_: None,
) -> FairPolicy:  # fmt: skip
    """Learn a fair policy; where training brings no more than the plan that it started from, that plan.

    Args:
        model: learned customers, or the worlds themselves (`worlds.TrueWorld`).
        log: whose customers they are, after whose end the policy begins.
        form: how states move, where the worlds themselves are given; a model has its own.
        say: told of every time that the policy is played: (update, ROI, score), means over its worlds.
    """
    world = learned_worlds(model) if isinstance(model, VirtualMarket) else model
    form = model.settings.form if isinstance(model, VirtualMarket) else form
    starts, weekdays = starts_of(log, form, own.starts)
    odds = np.zeros(world.count)
    odds[: world.count if own.worlds == "ensemble" else 1] = 1.0
    odds /= odds.sum()
    played = np.flatnonzero(odds)
    # By what they spent, so that every n-th is a fair sample; customers whose truth is known have places of their own.
    order = (
        np.argsort(starts[-1, 0] * starts[-1, 2], kind="stable") if isinstance(model, VirtualMarket) else slice(None)
    )
    shape, params = promotion_params(
        world, starts[:, :, order], weekdays, days=own.days, threshold=own.asked, odds=odds,
        doubt=own.doubt if own.worlds == "ensemble" else 0.0,
    )  # fmt: skip
    whole = PromotionGame(own.days, form, moving=own.moving)
    zero = measure_zero_gmv(whole, shape, params, _ZERO_DRAWS, own.seed)
    plan, losses = _plan(world, starts, int(weekdays[-1]), own, played)
    log_odds = odds_of(losses, own.temperature * float(zero[played].mean())) if own.start == "plan" else None
    params = params.replace(
        zero_gmv=float32(zero),
        unit=float32(zero.mean()),
        lean=None if log_odds is None else lean_of(plan, log_odds),
    )

    sampled = replace(whole, customers=own.customers, expected=True) if isinstance(model, VirtualMarket) else whole
    learner = learner_of(own, sampled, shape, params)
    program = Program(learner)
    stacked = program.stack(params)
    state = program.init(stacked)
    trial = _Trial(own, whole, shape, params, learner.actor, played)
    best: _Found | None = None
    history, done = [], 0
    if own.start == "plan":
        # With noughts its offers are the plan's.
        noughts = jax.tree.map(lambda leaf: np.zeros(leaf.shape[1:], leaf.dtype), state.learnable.actor)
        best = trial.best_draw(noughts, 0, 1)
        history.append((0, best.reward))
        say(0, best.roi, best.score)
    while done < own.updates:
        count = min(own.every, own.updates - done)
        state, _ = program.train(state, stacked, count)
        done += count
        parameters = jax.tree.map(lambda leaf: np.asarray(leaf[0]), state.learnable.actor)
        found = trial.best_draw(parameters, done, own.draws)
        history.append((done, found.reward))
        say(done, found.roi, found.score)
        if best is None or found.reward > best.reward:
            best = found
    assert best is not None
    verdict = trial.judge(best, plan)
    if own.start == "plan" and not verdict.better:
        verdict, best = verdict._replace(update=0), best._replace(parameters=noughts, lots=np.zeros_like(best.lots))
    centre, spread = scales(starts, own.days)
    return FairPolicy(
        own, form, best.parameters, centre, spread, starts[-1:], int(weekdays[-1]), best.lots, zero,
        np.array(history, float), None if log_odds is None else plan, log_odds, verdict,
    )  # fmt: skip


def _lots(own: PolicySettings, update: int, draws: int) -> np.ndarray:
    """[L, D, 41] the draws that are tried at an update: noughts first, the likeliest offers."""
    lots = np.random.default_rng([own.seed, update]).gumbel(size=(draws, own.days, len(OFFERS)))
    lots[0] = 0.0
    return lots.astype(np.float32)


class _Found(NamedTuple):
    """A draw of an update's policy in its worlds: mean reward, ROI and score."""

    update: int
    parameters: Any
    lots: np.ndarray
    reward: float
    roi: float
    score: float


@dataclass(frozen=True)
class _Trial:
    """Where policies are played: worlds with doubts of their own, the same at each update; all customers, drawn."""

    own: PolicySettings
    game: PromotionGame
    shape: MarketShape
    params: PromotionParams
    actor: NetworkSpec
    worlds: np.ndarray

    def _episodes(self, count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """(worlds [R], which take turns, doubts [R, 41])."""
        assert self.params.doubt is not None
        normal = np.random.default_rng(seed).standard_normal((count, NUM_LEVELS - 1))
        return np.resize(self.worlds, count), np.asarray(doubts_of(float(self.params.doubt) * normal))

    def _rewards(self, gmv: np.ndarray, cost: np.ndarray, world: np.ndarray) -> np.ndarray:
        assert self.params.zero_gmv is not None
        zero = np.asarray(self.params.zero_gmv, float)[world] * self.own.days
        return np.asarray(final_reward(gmv, cost, zero, self.own.asked))

    def best_draw(self, parameters: Any, update: int, draws: int) -> _Found:
        """Of some fixed draws of the policy the one with the largest mean reward."""
        own, params = self.own, self.params
        lots = _lots(own, update, draws)
        trials = max(_LEAST_TRIALS, _TRIALS // draws)
        world, doubts = self._episodes(trials, [own.seed, 0])
        played = play_actor(
            self.game, self.shape, params, self.actor, parameters, np.tile(world, draws), own.seed + 1,
            np.repeat(lots, trials, axis=0), np.tile(doubts, (draws, 1)),
        )  # fmt: skip
        gmv, cost = (part.sum(1).reshape(draws, trials) for part in (played.gmv, played.cost))
        reward = self._rewards(gmv, cost, world).mean(1)
        best = int(reward.argmax())
        assert params.zero_gmv is not None
        score = gmv[best] / (np.asarray(params.zero_gmv, float)[world] * own.days)
        roi = gmv[best].sum() / max(cost[best].sum(), 1e-6)
        return _Found(update, parameters, lots[best], float(reward[best]), float(roi), float(score.mean()))

    def judge(self, found: _Found, plan: Feedback) -> Verdict:
        """The best of many is one that a lucky error favours: it and the plan once more, over draws that are fresh."""
        own = self.own
        world, doubts = self._episodes(_FRESH, [own.seed, 1])
        given = self.game, self.shape, self.params
        by_plan = play_feedback(*given, plan, world, own.seed + 2, doubts)
        by_best = by_plan  # whose update is 0
        if found.update:
            by_best = play_actor(*given, self.actor, found.parameters, world, own.seed + 2, found.lots, doubts)
        totals = [(played.gmv.sum(1), played.cost.sum(1)) for played in (by_best, by_plan)]
        reward, planned = (self._rewards(*total, world) for total in totals)
        reached, plan_reached = (float((gmv >= own.asked * cost).mean()) for gmv, cost in totals)
        error = float((reward - planned).std(ddof=1) / np.sqrt(_FRESH))
        return Verdict(
            found.update, found.update, _FRESH, float(reward.mean()), float(planned.mean()), error, reached,
            plan_reached,
        )  # fmt: skip

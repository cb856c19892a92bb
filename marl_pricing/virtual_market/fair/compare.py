"""A policy beside rules, played where the truth is known or in the learned worlds: score, ROI, what fairness costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from marl_pricing.evaluation.statistics import interval
from marl_pricing.virtual_market.fair.feedback import Feedback
from marl_pricing.virtual_market.fair.kept import Policy
from marl_pricing.virtual_market.fair.offers import (
    best_calendar,
    best_cycle,
    cycles_near,
    learned_tables,
    personal_bound,
    true_tables,
)
from marl_pricing.virtual_market.fair.plan import PLAN, PlanPolicy, PlanSettings, feedback_of
from marl_pricing.virtual_market.fair.playing import Played, play_calendars, play_feedback
from marl_pricing.virtual_market.fair.worlds import LearnedWorlds, TrueWorld

_CANDIDATES, _SLACK = 64, 0.3  # cycles that are played, and how far below the threshold the tables may put them
_NAMED = 4  # offers that are named of those of episodes that differ
_CANDIDATE_DRAWS = 2  # episodes of a candidate in each world

FEEDBACK = f"{PLAN} (model)"  # beside a learned policy; where the policy is the plan it is listed once


@dataclass(frozen=True)
class Standing:
    """One policy's or rule's play.

    Attributes:
        name: of it.  played: its episodes; None for a bound, of which only expectations are known.
        score, roi: [R], or [1] of a bound.
        offers: in words.
    """

    name: str
    played: Played | None
    score: np.ndarray
    roi: np.ndarray
    offers: str


def in_words(offers: np.ndarray) -> str:
    """Offers [D, 2] as text: `1 × 0.90`, or `none`, a day; what comes again and again, at least twice, is told once."""
    texts = ["none" if count < 0.5 else f"{count:.0f} × {share:.2f}" for count, share in offers]
    for length in range(1, len(texts) // 2 + 1):
        if all(text == texts[place % length] for place, text in enumerate(texts)):
            return ", ".join(texts[:length])
    return ", ".join(texts)


def alike(offers: np.ndarray) -> bool:
    """Whether all episodes [R, D, 2] have the same offers."""
    return bool((offers == offers[0]).all())


def offers_in_words(offers: np.ndarray) -> str:
    """Offers of episodes [R, D, 2] as text: as `in_words` where all have the same, else the shares of their days."""
    if alike(offers):
        return in_words(offers[0])
    each, count = np.unique(offers.reshape(-1, 2), axis=0, return_counts=True)
    order = np.argsort(-count, kind="stable")
    named = [f"{in_words(each[place][None])} on {_share(count[place], count.sum())}" for place in order[:_NAMED]]
    rest = count[order[_NAMED:]].sum()
    others = [f"{len(order) - _NAMED} more on {_share(rest, count.sum())}"] if rest else []
    return f"differs by episode; of all days {', '.join(named + others)}"


def _share(part: int, whole: int) -> str:
    return "less than 1 %" if 0 < part < 0.005 * whole else f"{100 * part / whole:.0f} %"


def _standing(name: str, played: Played, zero: np.ndarray) -> Standing:
    return Standing(name, played, played.score(zero), played.total_roi(), offers_in_words(played.offers))


def cycle_of_model(policy: Policy, worlds: LearnedWorlds) -> np.ndarray:
    """[D] the best cycle of up to three days that the learned worlds can find.

    All 70,643 cycles are summed from tables of the day after the log; the best of them are played, since what days do
    to customers is not in the tables, and the one of largest mean score whose ROI reaches the threshold is taken.
    """
    own = policy.settings
    gmv, cost = (table.mean(0) for table in learned_tables(worlds, policy.starts[0]))
    plans = cycles_near(gmv, cost, policy.weekday, own.days, policy.threshold, _SLACK, _CANDIDATES)
    shape, params = policy.in_world(worlds, 8)
    each = worlds.count * _CANDIDATE_DRAWS
    where = np.tile(np.repeat(np.arange(worlds.count), _CANDIDATE_DRAWS), len(plans))
    played = play_calendars(policy.game, shape, params, np.repeat(plans, each, axis=0), where, policy.measured + 2)
    gmvs, costs = (part.sum(1).reshape(len(plans), each).mean(1) for part in (played.gmv, played.cost))
    allowed = gmvs >= policy.threshold * costs
    return plans[np.where(allowed, gmvs, -np.inf).argmax()] if allowed.any() else np.zeros(own.days, int)


def feedback_of_model(policy: Policy, worlds: LearnedWorlds) -> Feedback:
    """Offers by what is left for the same days and the same goal, money a customer.

    It asks for the goal itself: what the tables misjudge is made up for on the way, and needs no margin beforehand.
    """
    given = policy.settings
    own = PlanSettings(days=given.days, goal=given.goal, reserve=given.reserve)
    return feedback_of(worlds, policy.starts, policy.weekday, own)[1]


def in_truth(
    policy: Policy, world: TrueWorld, learned: LearnedWorlds | None, episodes: int, seed: int
) -> list[Standing]:
    """The policy, first, and rules among customers whose truth is known, all over the same draws.

    Args:
        learned: to find the model's own best cycle in; None leaves it out.
    """
    own, game = policy.settings, policy.game
    shape, params = policy.in_world(world)
    assert params.zero_gmv is not None
    zero, where = np.asarray(params.zero_gmv, float)[np.zeros(episodes, int)], np.zeros(episodes, int)
    gmv, cost = true_tables(world)
    gmvs, costs = gmv.sum(2), cost.sum(2)
    first, days, goal = policy.weekday, own.days, own.goal
    allowed = np.where(gmvs.mean(1) >= goal * costs.mean(1), gmvs.mean(1), -np.inf)
    plans = {
        "no coupons": np.zeros(days, int),
        "best fixed offer (truth)": np.full(days, int(allowed.argmax())),
        "best cycle (truth)": best_cycle(gmvs, costs, first, days, goal).offers,
        "best calendar (truth)": best_calendar(gmvs, costs, first, days, goal).offers,
    }
    if learned is not None:
        plans["best cycle (model)"] = cycle_of_model(policy, learned)
    found = [_standing(policy.title, policy.play(shape, params, where, seed), zero)]
    if learned is not None and not isinstance(policy, PlanPolicy):
        plan = feedback_of_model(policy, learned)
        found.append(_standing(FEEDBACK, play_feedback(game, shape, params, plan, where, seed), zero))
    found += [
        _standing(name, play_calendars(game, shape, params, plan, where, seed), zero) for name, plan in plans.items()
    ]
    bound = personal_bound(gmv, cost, first, days, goal)
    whole = zero[0] * days * gmv.shape[2]
    personal = np.array([bound[0] / whole]), np.array([bound[0] / max(bound[1], 1e-9)])
    return [*found, Standing("personal offers (bound)", None, *personal, "each customer its own")]


def in_model(policy: Policy, worlds: LearnedWorlds, episodes: int, seed: int) -> list[Standing]:
    """The same in the learned worlds, which take turns; of what is known there."""
    shape, params = policy.in_world(worlds, 32)
    assert params.zero_gmv is not None
    where = np.arange(episodes) % worlds.count
    zero = np.asarray(params.zero_gmv, float)[where]
    plans = {"no coupons": np.zeros(policy.settings.days, int), "best cycle (model)": cycle_of_model(policy, worlds)}
    found = [_standing(policy.title, policy.play(shape, params, where, seed), zero)]
    if not isinstance(policy, PlanPolicy):
        plan = feedback_of_model(policy, worlds)
        found.append(_standing(FEEDBACK, play_feedback(policy.game, shape, params, plan, where, seed), zero))
    return found + [
        _standing(name, play_calendars(policy.game, shape, params, plan, where, seed), zero)
        for name, plan in plans.items()
    ]


class Row(NamedTuple):
    """A standing in numbers: means with their intervals, the share of episodes that reach the goal."""

    policy: str
    score: float
    score_low: float
    score_high: float
    roi: float
    roi_low: float
    roi_high: float
    reached: float
    offers: str


def rows_of(found: list[Standing], goal: float) -> list[Row]:
    """A row each."""
    return [
        Row(own.name, *interval(own.score), *interval(own.roi), float((own.roi >= goal).mean()), own.offers)
        for own in found
    ]


def said(found: list[Standing], goal: float) -> list[str]:
    """The same in lines, and what the policy's, the first one's, score is of the best cycle's, over the same draws."""
    lines = []
    for row in rows_of(found, goal):
        ends = "" if np.isnan(row.score_low) else f" ({row.score_low:.3f} … {row.score_high:.3f})"
        lines.append(
            f"- {row.policy}: score {row.score:.3f}{ends}, ROI {row.roi:.2f}, at least {goal:g} in {row.reached:.0%}: "
            f"{row.offers}"
        )
    by_name = {own.name: own for own in found}
    if "best cycle (truth)" in by_name:
        ratio = found[0].score.mean() / by_name["best cycle (truth)"].score.mean()
        fair = found[0].score.mean() / by_name["personal offers (bound)"].score.mean()
        lines.append(f"the {found[0].name} reaches {ratio:.1%} of the best cycle in the truth")
        lines.append(f"and {fair:.1%} of what offers to each customer could: the rest is what it costs to be fair")
    return lines

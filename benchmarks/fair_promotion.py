"""The study behind docs/virtual_market.md: fair policies of several logs and seeds, robust and plain, in the truth.

    python -m benchmarks.fair_promotion [first=10] [logs=5] [seeds=2] [customers=1000] [reference=true]
                                       [FIELD=VALUE of train …]
    python -m benchmarks.fair_promotion feedback [first=10] [logs=5] [customers=1000]

For each log (another seed of customers, from `first` on; settings were chosen on logs 0 to 2): simulate, learn the
customers, train a robust policy (worlds=ensemble) and a plain one (worlds=first), and judge both among the true
customers beside the best fixed cycle that exhaustive search in the truth finds, and beside the plans that they started
from. `reference=true` trains one more of
each log in the truth itself. `speed` instead times episodes of 10,000 customers in the learned market; `margins` prints
what rules that know the truth bring under several thresholds. `feedback` trains nothing: it judges the model's plan by
what is left, beside the model's own calendar and cycle.
"""

from __future__ import annotations

import sys
import time
from functools import cache, partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.config.command_line import read_command_line
from marl_pricing.config.errors import ConfigError, validate
from marl_pricing.doors import say_errors
from marl_pricing.evaluation.statistics import interval
from marl_pricing.market import MarketShape
from marl_pricing.presentation.output import run_command
from marl_pricing.virtual_market.fair.compare import cycle_of_model
from marl_pricing.virtual_market.fair.feedback import by_what_is_left
from marl_pricing.virtual_market.fair.game import PromotionGame, PromotionParams, promotion_params
from marl_pricing.virtual_market.fair.offers import best_calendar, best_cycle, mean_tables, personal_bound, true_tables
from marl_pricing.virtual_market.fair.playing import Played, measure_zero_gmv, play_calendars, play_feedback
from marl_pricing.virtual_market.fair.policy import FairPolicy, PolicySettings
from marl_pricing.virtual_market.fair.start import starts_of
from marl_pricing.virtual_market.fair.training import train_policy
from marl_pricing.virtual_market.fair.worlds import TrueWorld, learned_worlds
from marl_pricing.virtual_market.fit import FitSettings, fit
from marl_pricing.virtual_market.levels import OFFERS
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.memory import memories_of
from marl_pricing.virtual_market.model import VirtualMarket
from marl_pricing.virtual_market.simulate import SimulationSettings, simulate

EPISODES = 64
_SEED = 1000  # of the episodes' draws
_SIZES = {"first": 10, "logs": 5, "seeds": 2, "customers": 1000}


class Judged(NamedTuple):
    """A policy among the true customers."""

    ratio: float  # score over that of the best cycle in the truth
    roi: float  # of all episodes together
    reached: float  # share of episodes that reach the goal
    score: float

    def said(self, goal: float) -> str:
        """It in a line."""
        score = f"{self.ratio:.1%} of the best cycle (score {self.score:.3f})"
        return f"{score}, ROI {self.roi:.2f}, at least {goal:g} in {self.reached:.0%} of {EPISODES} episodes"


def judged(policy: FairPolicy, world: TrueWorld, plan: np.ndarray | None = None) -> Judged:
    """A policy, or fixed offers [D] in its place, beside the best cycle that the truth has, over the same draws."""
    own = policy.settings
    shape, params = policy.in_world(world)
    where = np.zeros(EPISODES, int)
    found = (
        policy.play(shape, params, where, _SEED)
        if plan is None
        else play_calendars(policy.game, shape, params, plan, where, _SEED)
    )
    return _beside_the_best_cycle(found, policy.game, shape, params, own.goal)


def _beside_the_best_cycle(
    found: Played, game: PromotionGame, shape: MarketShape, params: PromotionParams, goal: float
) -> Judged:
    """What was played among the true customers, by the best cycle over the same draws."""
    assert params.zero_gmv is not None and params.weekdays is not None
    gmv, cost = (table.sum(2) for table in true_tables(params.world))
    cycle = best_cycle(gmv, cost, int(params.weekdays[-1]), game.days, goal).offers
    zero = np.asarray(params.zero_gmv, float)[0]
    best = play_calendars(game, shape, params, cycle, np.zeros(EPISODES, int), _SEED)
    roi = found.gmv.sum() / max(found.cost.sum(), 1e-9)
    score = found.score(zero).mean()
    return Judged(score / best.score(zero).mean(), float(roi), float((found.total_roi() >= goal).mean()), float(score))


def feedback(first: int, logs: int, customers: int) -> None:
    """Print what the model's plan by what is left, its calendar and its cycle bring in the truth."""
    own = PolicySettings()
    every: dict[str, list[Judged]] = {}
    for number in range(first, first + logs):
        log, world, model = _case(number, customers)
        starts, weekdays = starts_of(log, model.settings.form, 1)
        game = PromotionGame(own.days, model.settings.form)
        shape, params = promotion_params(world, starts, weekdays, days=own.days, threshold=own.goal)
        zero = measure_zero_gmv(game, shape, params, 256, 0)
        params = params.replace(zero_gmv=jnp.asarray(zero, jnp.float32))
        made = *mean_tables(learned_worlds(model), starts[0]), int(weekdays[0]), own.days, own.goal
        where = np.zeros(EPISODES, int)
        played = {
            "plan by what is left": play_feedback(game, shape, params, by_what_is_left(*made), where, _SEED),
            "calendar": play_calendars(game, shape, params, best_calendar(*made).offers, where, _SEED),
            "cycle": play_calendars(game, shape, params, best_cycle(*made).offers, where, _SEED),
        }
        for name, found in played.items():
            told = _beside_the_best_cycle(found, game, shape, params, own.goal)
            every.setdefault(name, []).append(told)
            print(f"log {number}, the model's {name}: {told.said(own.goal)}", flush=True)
    for name, those in every.items():
        print(_summary(f"the model's {name}", those, own.goal))


def _summary(name: str, every: list[Judged], goal: float) -> str:
    """All logs in a line."""
    ratio, roi = (np.array([one[part] for one in every]) for part in (0, 1))
    mean, low, high = interval(ratio)
    spread = f"{mean:.1%} ({low:.1%} to {high:.1%}), least {ratio.min():.1%}, largest {ratio.max():.1%}"
    return f"{name}: ROI {goal:g} reached by {(roi >= goal).sum()} of {len(every)}; of the best cycle {spread}"


def study(first: int, logs: int, seeds: int, customers: int, reference: bool, given: dict[str, object]) -> None:
    """Print a line a policy, and what they come to."""
    goal = validate(PolicySettings, given).goal
    found: dict[str, list[Judged]] = {"ensemble": [], "first": []}
    plans: dict[str, list[Judged]] = {}
    for seed, number in product(range(seeds), range(first, first + logs)):
        log, world, model = _case(number, customers)
        trained = {"ensemble": model, "first": model} | ({"truth": world} if reference and seed == 0 else {})
        for kind, where in trained.items():
            # What is true needs no margin.
            kept = {"worlds": "first", "threshold": None} if kind == "truth" else {"worlds": kind}
            own = validate(PolicySettings, {**given, **kept, "seed": seed})
            began = time.perf_counter()
            policy = train_policy(where, log, own)
            took = time.perf_counter() - began
            told = judged(policy, world)
            found.setdefault(kind, []).append(told)
            named = "trained in the truth" if kind == "truth" else f"worlds={kind}"
            print(f"log {number}, seed {seed}, {named}: {told.said(goal)}; trained in {took:.0f} s", flush=True)
            assert policy.verdict is not None
            print(f"- {policy.verdict.said()}", flush=True)
            if policy.plan is not None:
                shape, params = policy.in_world(world)
                played = play_feedback(policy.game, shape, params, policy.plan, np.zeros(EPISODES, int), _SEED)
                plan = _beside_the_best_cycle(played, policy.game, shape, params, goal)
                plans.setdefault(kind, []).append(plan)
                print(f"- the plan that it started from: {plan.said(goal)}", flush=True)
            if kind == "ensemble" and seed == 0:
                rule = judged(policy, world, cycle_of_model(policy, learned_worlds(model)))
                print(f"log {number}, best cycle in the model: {rule.said(goal)}", flush=True)
    for kind, every in found.items():
        print(_summary(kind, every, goal))
        if kind in plans:
            print(_summary(f"{kind}, the plans that they started from", plans[kind], goal))
            _pairs(f"{kind}, learned less plan", every, plans[kind], goal)
    _pairs("robust less plain", found["ensemble"], found["first"], goal)


def _pairs(name: str, one: list[Judged], other: list[Judged], goal: float) -> None:
    """Print the mean differences of pairs, with their intervals, in points of a hundred."""
    if len(one) < 2:
        return
    for told, part in (
        ("of the best cycle", [a.ratio - b.ratio for a, b in zip(one, other, strict=True)]),
        (
            "of policies below the goal",
            [(own.roi < goal) - (its.roi < goal) for own, its in zip(one, other, strict=True)],
        ),
        ("of episodes below the goal", [b.reached - a.reached for a, b in zip(one, other, strict=True)]),
    ):
        mean, low, high = (100 * value for value in interval(np.array(part, float)))
        print(f"{name}: {mean:+.2f} % {told} ({low:+.2f} to {high:+.2f})")


@cache
def _case(seed: int, customers: int) -> tuple[PromotionLog, TrueWorld, VirtualMarket]:
    """A log, who its customers are, and what was learned of them."""
    simulated = simulate(SimulationSettings(out="unused", customers=customers, seed=seed))
    began = time.perf_counter()
    model = VirtualMarket(FitSettings(), fit(simulated.log, FitSettings()))
    print(f"log {seed}: customers learned in {time.perf_counter() - began:.0f} s", flush=True)
    return simulated.log, TrueWorld(simulated.truth, simulated.customers), model


def speed(customers: int = 10_000, days: int = 14, episodes: int = 16) -> None:
    """Print episodes a second of a fixed offer in the learned market."""
    simulated = simulate(SimulationSettings(out="unused", customers=1000))
    how = FitSettings(epochs=1)
    model = VirtualMarket(how, fit(simulated.log, how))
    memory = np.tile(memories_of(simulated.log, how.form)[:, -1].T, (1, customers // 1000))
    shape, params = promotion_params(learned_worlds(model), memory[None], [0], days=days, threshold=6.5)
    game = PromotionGame(days)
    where = jnp.asarray(np.arange(episodes) % how.members)
    play = partial(play_calendars, game, shape, params, np.full(days, len(OFFERS) // 2), np.asarray(where))
    play(0)
    walls, works = [], []
    for number in range(1, 4):
        began, worked = time.perf_counter(), time.process_time()
        play(number)
        walls.append(time.perf_counter() - began)
        works.append(time.process_time() - worked)
    each = f"{episodes / min(walls):.1f} episodes/s, {min(works) / episodes * 1e3:.0f} ms of processor time an episode"
    print(f"{customers:,} customers × {days} days: {each} ({jax.default_backend()})")


def margins() -> None:
    """Print what the best cycle, calendar and personal offers bring in the truth, by the ROI that they keep."""
    simulated = simulate(SimulationSettings(out="unused"))
    gmv, cost = true_tables(TrueWorld(simulated.truth, simulated.customers))
    gmvs, costs = gmv.sum(2), cost.sum(2)
    first, days = (int(simulated.log.weekdays[-1]) + 1) % 7, PolicySettings().days
    zero = gmvs[0, (first + np.arange(days)) % 7].sum()
    for threshold in (6.5, 7.0, 7.5):
        cycle = best_cycle(gmvs, costs, first, days, threshold)
        calendar = best_calendar(gmvs, costs, first, days, threshold)
        personal = personal_bound(gmv, cost, first, days, threshold)[0]
        print(
            f"ROI {threshold}: score of the best cycle {cycle.gmv / zero:.3f}, of the best calendar "
            f"{calendar.gmv / zero:.3f}, of personal offers {personal / zero:.3f}"
        )


def main() -> int:
    """Read the sizes of the study and training's fields from the command line."""
    if sys.argv[1:2] in (["speed"], ["margins"]):
        (speed if sys.argv[1] == "speed" else margins)()
        return 0
    with say_errors():
        _carry_out(by_feedback=sys.argv[1:2] == ["feedback"])
    return 0


def _carry_out(by_feedback: bool) -> None:
    given = dict(read_command_line(sys.argv[2:] if by_feedback else sys.argv[1:]))
    reference = given.pop("reference", False) is True
    sizes = {name: int(given.pop(name, usual)) for name, usual in _SIZES.items()}
    if not by_feedback:
        study(**sizes, reference=reference, given=given)
    elif given or reference:
        raise ConfigError(f"{', '.join(given) or 'reference'}: accepted with feedback are first, logs, customers")
    else:
        feedback(sizes["first"], sizes["logs"], sizes["customers"])


if __name__ == "__main__":
    run_command(main)

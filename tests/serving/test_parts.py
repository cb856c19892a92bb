"""What prices are made of, each by itself and computed another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from marl_pricing.serving.elasticity import PRIOR, Point, estimate
from marl_pricing.serving.guardrails import Bounds, within
from marl_pricing.serving.judging import Judge, note, read_judge, share_of_agents
from marl_pricing.serving.pricers import Pricing, markup


def test_an_elasticity_is_the_maximum_of_its_posterior() -> None:
    drawn = np.random.default_rng(0)
    x = drawn.choice(np.log([0.9, 1.0, 1.2]), 60)
    views = drawn.integers(50, 400, 60)
    orders = drawn.poisson(0.1 * views * np.exp(-1.7 * x))
    found = estimate([Point(*own) for own in zip(x, views.astype(float), orders.astype(float), strict=True)])

    def cost(value: float) -> float:
        shares = views * np.exp(value * x)
        return -float(stats.multinomial.logpmf(orders, orders.sum(), shares / shares.sum())) + (value + 1) ** 2 / 2

    best = minimize_scalar(cost, bounds=(-5, 3), method="bounded", options={"xatol": 1e-9}).x
    assert found.estimated and found.value == pytest.approx(best, abs=1e-5)
    step = 1e-3
    curve = (cost(best + step) - 2 * cost(best) + cost(best - step)) / step**2
    assert found.error == pytest.approx(1 / math.sqrt(curve), rel=1e-3)
    assert abs(found.value + 1.7) < 4 * found.error


def test_prices_that_do_not_move_tell_no_elasticity() -> None:
    for points in ([], [Point(0.1, 100.0, 20.0)] * 9, [Point(0.0, 9.0, 0.0), Point(0.1, 9.0, 0.0)]):
        assert estimate(points) == (*PRIOR, False)


def test_surges_that_follow_browsing_do_not_look_like_demand_that_follows_prices() -> None:
    """Ten times the shoppers at a price a fifth higher, converting alike: the elasticity of conversion is nothing."""
    found = estimate([Point(0.0, 1e4, 1e3), Point(math.log(1.2), 1e5, 1e4)] * 40)
    assert abs(found.value) < 0.01


FREE = Bounds(10.0, 1000.0, 100.0, 100.0, None)


def test_floor_cap_changes_and_endings_hold() -> None:
    assert within(99.994, FREE) == (9999, [])
    assert within(5.0, FREE) == (1000, ["floor"])
    assert within(5000.0, FREE) == (100_000, ["cap"])
    assert within(math.nan, FREE, 5000) == (5000, ["no_number"])
    step = FREE._replace(max_change=0.1)
    assert within(200.0, step, 10_000) == (11_000, ["max_change"])
    assert within(50.0, step, 10_000) == (9000, ["max_change"])
    day = step._replace(max_change_day=0.15)
    assert within(200.0, day, 11_000, 10_000) == (11_500, ["max_change", "max_change_day"])
    # A catalogue that moves its floor further than a change may go.
    assert within(10.0, step._replace(floor=150.0), 10_000) == (15_000, ["floor"])
    ending = FREE._replace(ending=0.99)
    assert within(99.60, ending) == (9999, ["ending"])
    assert within(99.49, ending) == (9899, ["ending"])  # of two that are as near the lower
    assert within(99.99, ending) == (9999, [])
    assert within(10.2, ending._replace(cap=10.5)) == (1020, ["no_ending_fits"])


def test_guardrails_hold_for_whatever_is_wanted() -> None:
    drawn = np.random.default_rng(1)
    for _ in range(2000):
        floor = drawn.uniform(1, 100)
        cap = floor + drawn.uniform(0, 200)
        bounds = Bounds(
            floor, cap, drawn.uniform(0.01, 1), drawn.uniform(0.01, 1), drawn.choice([None, 0.99, 0.0, 0.5])
        )
        last, day = (int(own) for own in drawn.uniform(floor * 100 + 1, cap * 100 + 1, 2))
        price, moved = within(drawn.uniform(-10, 400), bounds, last, day)
        # Bounds that hold no whole cent give way to the next above.
        assert math.ceil(floor * 100 - 1e-6) <= price <= max(cap * 100 + 1e-6, math.ceil(floor * 100))
        assert abs(price - last) <= bounds.max_change * last + 1 or {"floor", "cap"} & set(moved)
        if bounds.ending is not None and "no_ending_fits" not in moved:
            assert price % 100 == round(bounds.ending * 100)


def test_a_judges_chance_is_the_detectors_posterior() -> None:
    from marl_pricing.traffic import detection, kernels

    judge = read_judge("storefront", 0.3)
    human, agent = kernels.align(kernels.storefront_kernels())
    session = ["search", "view_item", "hover_title", "view_item", "add_item"]
    numbers = kernels.encode(session, human.states)[:6]  # it may go on: without its end
    ratio = detection.log_ratio(human.matrix, agent.matrix)[numbers[:-1], numbers[1:]].sum()
    names = ("search", "view_item_page", "hover_over_title", "view_item_page", "add_item_to_cart")
    path: list[list[int]] = []
    for moment in (4, 0, 2, 1, 3):  # as they may come
        state = judge.code(names[moment])
        assert state is not None
        note(path, moment, state)
    assert judge.log_ratio(path) == pytest.approx(ratio, abs=1e-9)
    assert judge.chance(path) == pytest.approx(float(detection.posterior(np.array(ratio), 0.3)), abs=1e-12)
    assert judge.code("session_start") is None and judge.code("page_view") is None  # those kernels know none
    assert judge.code("hover_over_button") == judge.code("hover_over_title")


def test_sessions_that_are_over_tell_the_share_whatever_they_think_of_prices() -> None:
    """Whole sessions; people refuse nine purchases of ten, agents none. Without their ends the share is far off."""
    from marl_pricing.traffic import kernels
    from marl_pricing.traffic.logs.simulation import walk

    judge, drawn, paths = read_judge("fallback", 0.3), np.random.default_rng(5), []
    for own, count, refuses in zip(kernels.default_kernels(), (2800, 1200), (0.9, 0.0), strict=True):
        session, state = walk(own, count, drawn)
        for number in range(count):
            names = [own.states[place] for place in state[session == number]][1:-1]
            if drawn.random() < refuses:
                names = [name for name in names if name != "purchase"]
            paths.append([[place, judge.states.index(name)] for place, name in enumerate(names)])
    over, going_on = (share_of_agents([judge.log_ratio(path, end) for path in paths], 0.5) for end in (True, False))
    assert over is not None and abs(over.value - 0.3) < 3 * over.error < 0.12
    assert going_on is not None and abs(going_on.value - 0.3) > 4 * going_on.error
    older = Judge(judge.states, judge.ratios, judge.prior)
    assert older.log_ratio(paths[0], True) == judge.log_ratio(paths[0])


def test_a_share_is_the_most_likely_one_and_none_where_there_are_no_agents() -> None:
    drawn = np.random.default_rng(2)
    for share in (0.0, 0.4, 1.0):
        agents = drawn.random(3000) < share
        # Sessions whose ratios are what they say: normal with mean ± d²/2 and variance d².
        ratios = drawn.normal(np.where(agents, 2.0, -2.0), 2.0)
        found = share_of_agents(list(ratios), 0.2)
        assert found is not None and found.sessions == 3000

        def cost(value: float, ratios: np.ndarray = ratios) -> float:
            return -float(np.log(value * np.exp(ratios) + 1 - value).sum())

        best = minimize_scalar(cost, bounds=(0, 1), method="bounded", options={"xatol": 1e-8}).x
        assert found.value == pytest.approx(best, abs=2e-3)
        assert abs(found.value - share) < 4 * found.error
    assert share_of_agents([], 0.2) is None
    assert share_of_agents([0.0], 0.2) == (pytest.approx(0.2), math.inf, 1)


def test_a_session_without_interest_pays_the_curves_foot() -> None:
    own = Pricing("session", 1, 0, "wall", 1, 0, 0.25, 4.0, 1.25, None, 1, 1, None, (), False, False)
    assert markup(4.0, own) == 1.125
    assert markup(0.0, own) == pytest.approx(1 + 0.25 / (1 + math.exp(3.2)))
    assert markup(-1e9, own) == 1.0 and markup(1e9, own) == 1.25


def test_a_judge_comes_back_from_json() -> None:
    import json

    from marl_pricing.serving.judging import judge_from

    judge = Judge(("session_start", "search", "session_end"), ((0.0, 0.1, -1 / 3), (0.0, 1e-17, 2.0), (0.0,) * 3), 0.2)
    assert judge_from(json.loads(json.dumps(judge.to_plain()))) == judge

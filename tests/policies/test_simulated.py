"""Best constant prices by simulation: beside brute force in other code, and beside exact benchmarks."""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import numpy as np
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.evaluation.play import play
from marl_pricing.policies import RULES, RuleError, constant, simulated, simulated_joint, simulated_nash, tried
from tests.doors.compose import composed
from tests.markets import UNLIMITED, make, one_shot

GRID = {"map": "levels", "low": 1.2, "high": 2.2, "num_price_levels": 6}
# About four units an epoch are wanted of each seller, and at most three come.
SCARCE: dict[str, Any] = {
    "prices": GRID, "episode_length": 10,
    "inventory": {
        "rule": "threshold", "initial_stock": 4.0, "reorder_point": 4.0, "order_quantity": 6.0, "lead_time": 2,
    },
}  # fmt: skip


def test_where_stock_is_unlimited_they_are_the_static_ones_of_the_grid() -> None:
    own = one_shot(cost=[1.0, 1.2], episode_length=2)
    grid = np.asarray(own.params.prices.levels)
    table = np.array([[static.profits_at(*own, grid[[0, 1], [a, b]]) for b in range(5)] for a in range(5)])
    stable = [
        (a, b) for a, b in product(range(5), repeat=2)
        if table[a, b, 0] >= table[:, b, 0].max() and table[a, b, 1] >= table[a, :, 1].max()
    ]  # fmt: skip
    nash = simulated_nash(*own)
    assert tuple(np.abs(grid - np.asarray(nash.parameters.prices)[:, None]).argmin(1)) in stable
    best = np.unravel_index(table.sum(-1).argmax(), (5, 5))
    np.testing.assert_allclose(simulated_joint(*own).parameters.prices, grid[[0, 1], best], rtol=1e-6)
    found = tried(*own, nash)  # no chance: nothing is left to win, and nothing is uncertain
    np.testing.assert_allclose([*found.gain, *found.error, *found.gain_error, found.total_error], 0.0, atol=1e-6)
    place = np.abs(grid - found.prices[:, None]).argmin(1)
    np.testing.assert_allclose(found.profits, table[place[0], place[1]], rtol=1e-4)


@pytest.fixture(scope="module")
def scarce():
    """A market whose shelves are empty at times, and its profits [6, 6, E, S] by brute force."""
    own = make(**SCARCE)
    grid = np.asarray(own.params.prices.levels)
    rows = []
    for a, b in product(range(6), repeat=2):
        record = play(jax.random.key(0), *own, constant(*own, grid[[0, 1], [a, b]]), simulated.EPISODES)
        rows.append(np.where(record.live, record.reward_raw, 0.0).mean(1))
    return own, np.array(rows, float).reshape(6, 6, simulated.EPISODES, 2)


def test_nobody_alone_and_all_together_have_no_better_price_where_stock_runs_out(scarce) -> None:
    own, table = scarce
    mean, grid = table.mean(2), np.asarray(own.params.prices.levels)
    nash = np.abs(grid - np.asarray(simulated_nash(*own).parameters.prices)[:, None]).argmin(1)
    assert mean[nash[0], nash[1], 0] == pytest.approx(mean[:, nash[1], 0].max(), rel=1e-6)
    assert mean[nash[0], nash[1], 1] == pytest.approx(mean[nash[0], :, 1].max(), rel=1e-6)
    joint = np.abs(grid - np.asarray(simulated_joint(*own).parameters.prices)[:, None]).argmin(1)
    assert mean[joint[0], joint[1]].sum() == pytest.approx(mean.sum(-1).max(), rel=1e-6)
    # The static ones take it that all is served.
    assert static.joint_profit(*own).profits.sum() > 1.1 * mean.sum(-1).max()


def test_what_they_bring_is_told_of_other_shoppers_than_those_that_chose(scarce) -> None:
    own, table = scarce
    policy = simulated_nash(*own)
    found, grid = tried(*own, policy), np.asarray(own.params.prices.levels)
    place = np.abs(grid - found.prices[:, None]).argmin(1)
    chosen = table[place[0], place[1]]
    assert not np.allclose(found.profits, chosen.mean(0), rtol=1e-9)
    # They are means of at least 256 other episodes: within four standard errors of these 32.
    apart = np.abs(found.profits - chosen.mean(0))
    assert (apart < 4 * np.hypot(found.error, chosen.std(0, ddof=1) / np.sqrt(len(chosen)))).all()
    assert (found.error < 0.5 * chosen.std(0, ddof=1) / np.sqrt(len(chosen))).all()
    assert (found.gain >= 0.0).all() and (found.gain < 0.05 * found.profits).all()
    told = simulated.words_of(own.shape, policy.name, found)
    assert told.startswith("prices seller 0 ") and "another price of one offer brings a seller at most " in told


def test_prices_of_no_grid_are_tried_from_lowest_to_highest() -> None:
    own = make(prices={"map": "scale", "low": 1.2, "high": 2.2}, inventory=UNLIMITED)
    exact = static.nash(*own).prices
    np.testing.assert_allclose(simulated_nash(*own).parameters.prices, exact, atol=2.5 * 1.0 / 24)


def test_chosen_orders_go_with_each_price() -> None:
    chosen = {"rule": "chosen", "initial_stock": 5.0, "lead_time": 1, "order_levels": [0.0, 5.0, 10.0]}
    own = make(inventory=chosen, prices=GRID, episode_length=4)
    policy = simulated_joint(*own)
    same = constant(*own, policy.parameters.prices)
    np.testing.assert_allclose(policy.parameters.order_up_to, same.parameters.order_up_to, rtol=1e-6)
    record = play(jax.random.key(0), *own, same, 3 * simulated.EPISODES)  # every other episode but those that chose
    paid = np.where(record.live, record.reward_raw, 0.0).mean(1)[2 * simulated.EPISODES :]
    found = tried(*own, policy)
    assert (np.abs(found.profits - paid.mean(0)) < 4 * np.hypot(found.error, paid.std(0) / np.sqrt(len(paid)))).all()


def test_where_nobody_knows_what_to_order_they_are_refused() -> None:
    own = composed("experiment=phantom_prototype", "market/inventory=chosen").market
    for name in ("simulated_nash", "simulated_joint"):
        with pytest.raises(RuleError, match=f"{name}: "):
            RULES[name](*own)

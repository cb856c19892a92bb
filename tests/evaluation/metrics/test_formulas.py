"""Each formula against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from marl_pricing.evaluation.metrics import economics, fairness, information, operations, prices


def offers(*epochs: float) -> np.ndarray:
    """One episode of one offer."""
    return np.array(epochs, float)[None, :, None]


def test_gain_and_deviation_are_lines_between_benchmarks() -> None:
    assert economics.profit_gain(np.array([0.2, 0.3, 0.4]), 0.2, 0.4).tolist() == pytest.approx([0.0, 0.5, 1.0])
    assert economics.relative_price_deviation(np.array([1.0, 2.5]), 1.0, 2.0).tolist() == pytest.approx([0.0, 1.5])


def test_lerner_weighs_by_revenue() -> None:
    found = economics.lerner_index(offers(2.0, 4.0), np.array([1.0]), offers(3.0, 1.0))
    assert found.value.item() == pytest.approx((3 * 1 + 1 * 3) / (3 * 2 + 1 * 4))


def test_concentration() -> None:
    shares = economics.herfindahl(np.array([[1.0, 1.0, 2.0], [5.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert shares[:2].tolist() == pytest.approx([1 / 16 + 1 / 16 + 1 / 4, 1.0]) and np.isnan(shares[2])


def test_shoppers_that_are_not_served_gain_nothing() -> None:
    surplus = np.array([[4.0, 4.0, 4.0]])
    wanted, sold = (np.array([[[6.0, 2.0], [5.0, 5.0], [0.0, 0.0]]]) * k for k in (1.0, 0.5))
    assert economics.consumer_surplus(surplus, wanted, sold).tolist() == [[2.0, 2.0, 4.0]]


def test_movement_and_rigidity_of_prices() -> None:
    path, live = offers(1.0, 1.0, 2.0, 1.0), offers(1, 1, 1, 1)
    assert prices.volatility(path, live).value.item() == pytest.approx((0 + 1 + 0.5) / 3)
    assert prices.unchanged(path, live).value.item() == pytest.approx(1 / 3)
    gone = offers(1, 1, 0, 0)  # what a seller that left would have posted does not count
    assert prices.volatility(path, gone).value.item() == 0 and prices.unchanged(path, gone).value.item() == 1


def test_dispersion_is_of_those_who_are_there() -> None:
    path = np.array([[[1.0, 3.0, 2.0], [1.0, np.nan, 2.0]]])
    assert prices.dispersion(path).tolist() == [[2.0, 1.0]]


@pytest.mark.parametrize(("path", "period"), [
    ([2.0] * 9, 1),
    ([5.0, 4.0, 3.0] * 3, 3),
    ([9.0, 8.0, 7.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0], 2),  # only the end has to repeat
    ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 0),
    ([1.0, 2.0, 1.0, 2.0], 0),  # too short to be seen three times
])  # fmt: skip
def test_cycles_are_found(path: list[float], period: int) -> None:
    assert prices.cycle_lengths(offers(*path)).tolist() == [period]


def test_service_by_units_and_by_cycles() -> None:
    sold, wanted = offers(3, 2, 0, 5), offers(3, 4, 2, 5)
    assert operations.fill_rate(sold, wanted).value.item() == pytest.approx(10 / 14)
    # Cycles: epochs 0-1 (a stockout), 2-3 (two stockouts, one cycle), 4 (none); the last, epoch 5, is not ended.
    arrivals, unmet = offers(0, 0, 5, 0, 4, 3), offers(0, 1, 1, 1, 0, 9)
    found = operations.cycle_service(arrivals, unmet)
    assert (found.top.item(), found.bottom.item()) == (1.0, 3.0)
    first = operations.cycle_service(offers(7, 0, 5), offers(0, 0, 0))  # what comes at the start ends no cycle
    assert (first.top.item(), first.bottom.item()) == (1.0, 1.0)


def test_turns_cover_and_bullwhip() -> None:
    sold, stock = offers(2, 4), offers(6, 8)
    assert operations.turns(sold, stock, np.array([3.0])).value.item() == pytest.approx(6 / (5 + 6))
    assert operations.cover(sold, stock, offers(2, 6)).value.item() == pytest.approx(8 / 8)
    ordered, wanted, live = offers(0, 8, 0, 8), offers(3, 5, 3, 5), offers(1, 1, 1, 1)
    assert operations.bullwhip(ordered, wanted, live).value.item() == pytest.approx(16.0)
    assert np.isnan(operations.bullwhip(ordered, offers(4, 4, 4, 4), live).value.item())


def test_evenness_with_and_without_losses() -> None:
    equal, one, lossy = np.array([2.0, 2.0]), np.array([4.0, 0.0]), np.array([3.0, -1.0])
    assert [fairness.jain_index(x).item() for x in (equal, one, lossy)] == [1.0, 0.5, 0.5]
    assert [fairness.gini(x).item() for x in (equal, one, lossy)] == [0.0, 1.0, 1.0]
    three = np.array([1.0, 2.0, 3.0])  # the usual coefficient, 2/9, times 3/2
    assert fairness.gini(three).item() == pytest.approx(1 / 3)
    assert np.isnan(fairness.gini(np.zeros(2))) and np.isnan(fairness.jain_index(np.array([-1.0, -2.0])))


def test_cost_of_information() -> None:
    assert information.coi_level(offers(2.0, 3.0), np.array([1.0]), offers(1, 3)).value.item() == pytest.approx(7 / 4)
    loss = information.agent_loss(offers(3.0, 2.0), offers(2.0, 2.5), offers(4, 4))
    assert loss.ravel().tolist() == [4.0, 0.0]
    assert information.coi_leak(0.5, np.array([[0.2]]), np.array([[10.0]])).item() == pytest.approx(1.0)


def test_erosion_of_uniform_prices_has_its_closed_form() -> None:
    """Of uniform prices on [a, b] the cheapest of N is a + (b - a)/(N + 1) on average."""
    sample = np.linspace(1.0, 3.0, 20_001)[None]
    found = information.erosion(np.concatenate([sample, np.full_like(sample, np.nan)], 1), 0.5, quotes=4)
    assert found.value.item() == pytest.approx((2.0 - 1.4) / (2.0 - 0.5), abs=1e-4)

"""The rule on synthetic curves, of which it is known what they do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from marl_pricing.learning.convergence import Curves, curves_of, judge, trend
from marl_pricing.learning.held_out import gain_of
from marl_pricing.learning.run_files import EVALUATION, read_table
from tests.learning.helpers import measured_of

EVERY = 5


def curves(greedy: np.ndarray, **changes) -> Curves:
    """Of values [n] or [n, R, S]; sampled play earns the same, nobody deviates."""
    greedy = np.asarray(greedy, float)
    greedy = greedy[:, None, None] if greedy.ndim == 1 else greedy
    own = {
        "sampled": greedy, "entropy": np.ones_like(greedy), "gain": np.full_like(greedy, np.nan),
        "error": np.full_like(greedy, np.nan),
        "updates": EVERY * np.arange(1, len(greedy) + 1), "greedy": greedy,
        "sellers": tuple(range(greedy.shape[-1])),
    }  # fmt: skip
    return Curves(**{**own, **changes})


def test_who_holds_a_seat_without_learning_is_not_judged() -> None:
    """A frozen policy has no entropy; that it earns less and less is its opponents' doing."""
    rows = [
        {"update": str(EVERY * n), "seed": "0", "seller": str(seller), "policy": policy, "shaped": str(shaped),
         "entropy": entropy, "deviation_gain": ""}
        for n in range(1, 9)
        for seller, shaped, entropy in ((0, 10.0 - n, ""), (1, 5.0, "0.5"), (2, 5.0 + (n % 2), "0.5"))
        for policy in ("greedy", "sampled")
    ]  # fmt: skip
    verdict = judge(curves_of(rows))
    assert not verdict.converged and len(verdict.reasons) == 1 and "greedy return of seller 2 swings" in str(verdict)
    assert str(verdict).endswith(" (against opponents that are frozen: seller 0 does not learn)")
    calm = [row for row in rows if row["seller"] != "2"]
    curves = curves_of(calm)
    assert (curves.sellers, curves.held) == ((1,), (0,)) and curves.greedy.shape == (8, 1, 1)
    assert judge(curves).converged
    assert "(against" not in str(judge(curves_of([row | {"entropy": "0.5"} for row in calm])))
    few = judge(curves_of([row for row in rows if int(row["update"]) <= 2 * EVERY]))
    assert few.converged is None and "seller 0 does not learn" in str(few)


def test_flat_curves_have_converged_whatever_came_before_the_window() -> None:
    learning = np.concatenate([np.linspace(1.0, 10.0, 15), np.full(5, 10.0)])
    assert judge(curves(np.concatenate([learning, [10.0]]))).converged
    assert str(judge(curves(np.full(20, 3.0)))).startswith("converged: ")
    assert judge(curves(np.zeros(20))).converged
    assert judge(curves(np.full(20, -3.0))).converged


@pytest.mark.parametrize(("slope", "word"), [(0.05, "rises"), (-0.05, "falls")])
def test_a_curve_that_moves_says_how_fast(slope: float, word: str) -> None:
    # 20 evaluations, five updates apart; the window is the last six, whose mean is at 17.5
    values = 10.0 + slope * np.arange(1, 21)
    told = str(judge(curves(values)))
    rate = abs(slope) / EVERY * 10 / (10.0 + slope * 17.5)
    assert told == f"not converged: greedy return of seller 0 still {word} by {rate:.1%} per 10 updates"


def test_a_slow_drift_below_the_tolerance_has_converged() -> None:
    level, last = 10.0, 5  # steps from the first to the last evaluation of the window
    assert judge(curves(level + 0.9 * 0.01 * level / last * np.arange(20))).converged
    assert not judge(curves(level + 1.2 * 0.01 * level / last * np.arange(20))).converged


def test_an_oscillation_has_not_converged() -> None:
    told = judge(curves(10.0 + np.cos(np.arange(24) * np.pi)))
    assert told.converged is False
    assert "swings by" in told.reasons[0]
    assert judge(curves(10.0 + 0.1 * np.cos(np.arange(24) * np.pi))).converged


@pytest.mark.parametrize("shape", [(24, 1, 1), (48, 2, 3)])
def test_flat_noisy_curves_raise_an_alarm_in_at_most_five_percent(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    cases = 600
    alarms = sum(not judge(curves(10.0 * (1 + 0.01 * rng.standard_normal(shape)))).converged for _ in range(cases))
    assert alarms <= stats.binom.ppf(0.999, cases, 0.05)
    assert alarms > 0  # the test can raise one


def test_a_rise_under_the_same_noise_is_found() -> None:
    rng = np.random.default_rng(1)
    rise = np.linspace(0, 0.1, 48)  # 2.3 % over the last quarter
    found = sum(
        judge(curves(10.0 * (1 + rise + 0.003 * rng.standard_normal(48)))).converged is False for _ in range(100)
    )
    assert found == 100


def test_one_seed_or_seller_that_still_moves_is_named() -> None:
    values = np.full((24, 3, 2), 5.0)
    values[:, 2, 1] += 0.1 * np.arange(24)
    assert "seller 1 (seed 2) still rises" in str(judge(curves(values)))


def test_sampled_play_has_to_be_greedy_play_or_nearly_certain() -> None:
    greedy = np.full((24, 2, 2), 10.0)
    sampled = greedy.copy()
    sampled[:, 1] *= 0.97
    told = judge(curves(greedy, sampled=sampled))
    assert told.reasons == ("sampled play earns 3.0% less than greedy play, entropy 1.00 nats",)
    assert judge(curves(greedy, sampled=sampled, entropy=np.full_like(greedy, 0.05))).converged
    sampled[:, 1] = 9.85
    assert judge(curves(greedy, sampled=sampled)).converged


def test_a_gain_by_a_constant_price_counts_where_it_was_measured_last() -> None:
    greedy = np.full((24, 1, 2), 10.0)
    gain = np.full_like(greedy, np.nan)
    gain[-2] = 5.0
    assert judge(curves(greedy, gain=gain)).converged
    gain[-1] = [-1.0, 0.15]
    assert judge(curves(greedy, gain=gain)).reasons == ("seller 1 gains 1.5% by a constant price",)
    gain[-1] = [-1.0, 0.09]
    assert judge(curves(greedy, gain=gain)).converged


def test_a_gain_that_may_be_luck_does_not_count() -> None:
    """Two sellers of one seed, 24 episodes: 2.5 % of either, one-sided; older runs have no error."""
    greedy = np.full((24, 1, 2), 10.0)
    gain, error = np.full_like(greedy, np.nan), np.full_like(greedy, np.nan)
    gain[-1] = 0.15
    critical = stats.t.isf(0.025, 23)
    error[-1] = [[0.2, 0.05 / critical * 1.01]]
    assert judge(curves(greedy, gain=gain, error=error)).converged
    error[-1] = [[0.2, 0.05 / critical * 0.99]]
    assert judge(curves(greedy, gain=gain, error=error)).reasons == ("seller 1 gains 1.5% by a constant price",)
    assert not judge(curves(greedy, gain=gain)).converged


def test_policies_within_the_tolerance_fail_by_their_gains_in_at_most_five_percent() -> None:
    """One of 25 constant prices 1 % better than each of ten policies, noise of 5 % an episode."""
    numbers, greedy = np.random.default_rng(4), np.full((24, 5, 2), 10.0)
    alarms, cases = 0, 300
    gain, error = np.full((2, *greedy.shape), np.nan)
    for _ in range(cases):
        within = 0.5 * numbers.standard_normal((5, 2, 25, 32)) - 1.0
        within[:, :, 7] += 1.1
        gain[-1], error[-1] = gain_of(measured_of(within))
        alarms += not judge(curves(greedy, gain=gain, error=error)).converged
    assert alarms <= stats.binom.ppf(0.999, cases, 0.05)
    better = numbers.standard_normal((5, 2, 25, 32)) * 0.2
    better[3, 1, 7] += 0.3
    gain[-1], error[-1] = gain_of(measured_of(better))
    assert "seller 1 (seed 3) gains" in str(judge(curves(greedy, gain=gain, error=error)))


def test_too_few_evaluations_are_not_judged() -> None:
    told = judge(curves(np.full(5, 1.0)))
    assert told.converged is None
    assert str(told) == "convergence not judged: 5 evaluations; at least 6 are needed"
    assert judge(curves_of([])).converged is None


def test_the_trend_is_that_of_scipy() -> None:
    rng = np.random.default_rng(2)
    x, y = np.arange(3, 60, 7), rng.standard_normal(9)
    slope, t, spread = trend(x, y)
    expected = stats.linregress(x, y)
    assert slope == pytest.approx(expected.slope)
    assert t == pytest.approx(expected.slope / expected.stderr)
    left = y - expected.intercept - expected.slope * x
    assert spread == pytest.approx(np.sqrt((left**2).sum() / 7))


def test_rows_become_curves(tmp_path) -> None:
    path = tmp_path / "evaluation.csv"
    assert read_table(tmp_path, EVALUATION) == []
    lines = ["update,seed,seller,policy,shaped,entropy,deviation_gain,deviation_error"]
    for update in (4, 8):
        for seller in (0, 1):
            lines += [f"{update},0,{seller},greedy,{update + seller}.5,0.25,{f'{seller},0.5' if update == 8 else ','}",
                      f"{update},0,{seller},sampled,{update}.0,0.25,,"]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    own = curves_of(read_table(tmp_path, EVALUATION))
    np.testing.assert_array_equal(own.updates, [4, 8])
    np.testing.assert_array_equal(own.greedy[:, 0], [[4.5, 5.5], [8.5, 9.5]])
    np.testing.assert_array_equal(own.sampled[:, 0], [[4, 4], [8, 8]])
    np.testing.assert_array_equal(own.gain[:, 0], [[np.nan, np.nan], [0, 1]])
    np.testing.assert_array_equal(own.error[:, 0], [[np.nan, np.nan], [0.5, 0.5]])
    assert len(read_table(tmp_path, EVALUATION, last=4)) == 4

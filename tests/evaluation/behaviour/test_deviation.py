"""Forced deviations against rules whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.evaluation.behaviour.deviation import BEST_REPLY, Move, deviations, recovery_time
from marl_pricing.evaluation.behaviour.forced import follow, leave_alone
from marl_pricing.evaluation.play import play
from tests.evaluation.behaviour.rules import HIGH, LOW, PUNISHED, T, make_adjusting, make_duopoly, rule
from tests.markets import one_shot

AT, DISCOUNT = 6, 0.9
STEPS = Move("cut", "steps", -4)
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def duopoly():
    return make_duopoly()


def starts(own, *names: str, episodes: int = 2, at: int = AT):
    return follow(KEY, *own, [rule(own.shape, names)], episodes, at)


def seat(frame, seller: int, length: int = 1):
    found = frame[frame["seller"].eq(str(seller)) & frame["epochs"].eq(length)]
    assert len(found) == 1
    return found.iloc[0]


def path(frame, forced, seller, column: str = "price_change", length: int = 1) -> np.ndarray:
    own = frame[frame["forced"].eq(str(forced)) & frame["seller"].eq(str(seller)) & frame["epochs"].eq(length)]
    return own.sort_values("since")[column].to_numpy()


def profit(own, seller: int, prices: Sequence[float]) -> float:
    return static.profits_at(*own, np.array(prices))[seller]


def test_undisturbed_play_is_that_of_an_evaluation_bit_for_bit(duopoly) -> None:
    (start,) = starts(duopoly, "chance", "linear")
    record = play(jax.random.fold_in(KEY, 0), *duopoly, start.policy, 2)
    after = start.branch(leave_alone(duopoly.shape, 2, 3), T - AT)
    for branch in range(3):
        np.testing.assert_array_equal(np.concatenate([start.before.price, after.price[:, branch]], 1), record.price)
        np.testing.assert_array_equal(
            np.concatenate([start.before.reward, after.reward[:, branch]], 1), record.reward_raw
        )


def test_nobody_answers_who_looks_at_nothing(duopoly) -> None:
    rows, summary, paths = deviations(starts(duopoly, "constant", "constant"), [STEPS], [1, 3], DISCOUNT)
    for length in (1, 3):
        for seller in (0, 1):
            found = seat(rows, seller, length)
            assert found["size"] == pytest.approx(-0.4, abs=1e-6)
            assert found["depth"] == found["height"] == found["recovery"] == 0.0
            once = profit(duopoly, seller, [HIGH - 0.4 * (seller == j) for j in (0, 1)])
            once -= profit(duopoly, seller, [HIGH, HIGH])
            assert found["gain"] == pytest.approx(once * sum(DISCOUNT**t for t in range(length)), rel=1e-4)
            own = path(paths, seller, seller, length=length)[5:]
            np.testing.assert_allclose(own, [-0.4] * length + [0.0] * (T - AT - length), atol=1e-6)
            assert not path(paths, seller, 1 - seller, length=length).any()
    together = seat(summary.replace({"seller": {"all": "9"}}), 9, 3)
    assert (together["recovered"], together["pays"]) == (1.0, rows[rows["epochs"].eq(3)]["pays"].mean())


def test_a_punishment_has_its_depth_length_and_price(duopoly) -> None:
    rows, _, paths = deviations(starts(duopoly, "constant", "punish"), [STEPS], [1, 2], DISCOUNT)
    here = profit(duopoly, 0, [HIGH, HIGH])
    cut, punished = profit(duopoly, 0, [HIGH - 0.4, HIGH]) - here, profit(duopoly, 0, [HIGH, LOW]) - here
    found = seat(rows, 0)
    assert found["depth"] == pytest.approx(HIGH - LOW, abs=1e-5)
    assert found["depth_share"] == pytest.approx((HIGH - LOW) / HIGH, abs=1e-5)
    assert found["recovery"] == PUNISHED + 1
    later = sum(DISCOUNT**t for t in range(1, PUNISHED + 1))
    assert found["gain"] == pytest.approx(cut + later * punished, rel=1e-4)
    assert found["pays"] == (cut + later * punished > 0)
    answer = [0.0] + [LOW - HIGH] * PUNISHED
    np.testing.assert_allclose(path(paths, 0, 1)[5:], answer + [0.0] * (T - AT - len(answer)), atol=1e-5)
    # Forced twice, the deviator meets the punishment in its second epoch already.
    twice = seat(rows, 0, 2)
    both = profit(duopoly, 0, [HIGH - 0.4, LOW]) - here
    later = sum(DISCOUNT**t for t in range(2, PUNISHED + 2))
    assert twice["recovery"] == PUNISHED + 1
    assert twice["gain"] == pytest.approx(cut + DISCOUNT * both + later * punished, rel=1e-4)
    # The constant seller does not answer the punisher's deviation.
    assert seat(rows, 1)["depth"] == 0.0


def test_what_is_never_forgiven_does_not_recover(duopoly) -> None:
    rows, summary, _ = deviations(starts(duopoly, "constant", "grim"), [STEPS], [1], DISCOUNT)
    assert seat(rows, 0)["depth"] == pytest.approx(0.4, abs=1e-5) and np.isnan(seat(rows, 0)["recovery"])
    assert seat(summary, 0)["recovered"] == 0.0 and np.isnan(seat(summary, 0)["recovery"])


def test_memory_is_played_and_never_reset(duopoly) -> None:
    """The clock goes on through what was forced: at tau it stands at tau, and afterwards nothing is late."""
    (start,) = starts(duopoly, "clock", "clock")
    levels = np.array([1.3, 1.4, 1.5, 1.6, 1.7])
    np.testing.assert_allclose(start.before.price[0, :, 0], levels[np.arange(AT) % 5], atol=1e-6)
    _, _, paths = deviations([start], [Move("rise", "share", 0.3)], [3], DISCOUNT)
    own, undisturbed = (path(paths, 0, 0, name, 3)[5:] for name in ("price_change", "undisturbed"))
    np.testing.assert_allclose(undisturbed, levels[np.arange(AT, T) % 5], atol=1e-6)
    # Set once, at tau, and kept: the level nearest to 1.3 times the price of that moment.
    np.testing.assert_allclose((own + undisturbed)[:3], 1.8, atol=1e-6)
    assert not own[3:].any()


def test_a_best_reply_gains_what_the_one_shot_game_says(duopoly) -> None:
    rows, _, _ = deviations(starts(duopoly, "constant", "constant"), [BEST_REPLY], [1], 0.0)
    payoffs = static.grid_payoffs(*duopoly)  # selfish sellers
    here = round((HIGH - 1.2) / 0.1)
    for seller in (0, 1):
        along = payoffs[:, here, 0] if seller == 0 else payoffs[here, :, 1]
        assert seat(rows, seller)["gain"] == pytest.approx(along.max() - along[here], rel=1e-4)
        assert seat(rows, seller)["size"] == pytest.approx(0.1 * (along.argmax() - here), abs=1e-5)
        assert seat(rows, seller)["pays"]


def test_intervals_are_over_seeds_where_there_are_several(duopoly) -> None:
    policies = [rule(duopoly.shape, ("constant", name)) for name in ("punish", "constant", "grim")]
    rows, summary, paths = deviations(follow(KEY, *duopoly, policies, 2, AT), [STEPS], [1], DISCOUNT)
    found, gains = seat(summary, 0), rows[rows["seller"].eq("0")]["gain"]
    assert (found["resampled"], found["count"]) == ("seeds", 3)
    assert found["gain"] == pytest.approx(gains.mean()) and found["pays"] == (gains > 0).mean()
    assert gains.min() - 1e-9 <= found["low"] < found["gain"] < found["high"] <= gains.max() + 1e-9
    assert found["recovered"] == pytest.approx(2 / 3)
    assert found["recovery"] == pytest.approx((PUNISHED + 1) / 2)
    mean, low, high = (path(paths, 0, "1", name)[6] for name in ("price_change", "price_low", "price_high"))
    assert mean == pytest.approx((LOW - HIGH - 0.4) / 3, abs=1e-5)
    assert low == pytest.approx(LOW - HIGH, abs=1e-5) and high == pytest.approx(0.0, abs=1e-5)


def test_one_seller_moves_all_its_products_as_near_as_factors_allow() -> None:
    """The map `scale`: 0.9 times 2.0 is the nearest to 1.6, and 1.0 times 2.0 to 1.92."""
    prices = {"map": "scale", "factors": [0.9, 1.0, 1.1], "low": 0.5, "high": 3.0, "start": HIGH}
    alone = one_shot(1, num_products=2, episode_length=6, prices=prices)
    (start,) = starts(alone, "constant", at=2)
    for share, size in ((-0.2, -0.2), (-0.04, 0.0)):
        rows, summary, paths = deviations([start], [Move("cut", "share", share)], [1], 1.0)
        assert rows["size"][0] == pytest.approx(size, abs=1e-5)
        # Back from 1.8 it goes by 1.1, the nearest factor, to 1.98 and stays.
        np.testing.assert_allclose(path(paths, 0, 0)[2:], [size, 0.1 * size, 0.1 * size, 0.1 * size], atol=1e-5)
        assert rows[["depth", "depth_share", "height", "recovery"]].isna().all(axis=None)
        assert np.isnan(summary["recovered"][0]) and set(paths["seller"]) == {"0", "itself"}
        gain = sum(profit(alone, 0, [HIGH + x, HIGH + x]) for x in (size, *[0.1 * size] * 3))
        assert rows["gain"][0] == pytest.approx(gain - 4 * profit(alone, 0, [HIGH, HIGH]), rel=1e-3, abs=1e-6)


def test_relative_changes_are_clipped_and_rivals_products_left_alone() -> None:
    market = make_adjusting()
    own = starts(market, "constant", "constant", at=2)
    for share, size in ((-0.3, -0.2), (-0.08, -0.16), (0.05, 0.1)):
        rows, _, paths = deviations(own, [Move("move", "share", share)], [1], DISCOUNT)
        np.testing.assert_allclose(rows["size"], size, atol=1e-5)
        np.testing.assert_allclose(path(paths, 1, 1)[2], size, atol=1e-5)
        assert not path(paths, 1, 0).any() and not path(paths, 0, 1).any()
    with pytest.raises(ValueError, match=r"accepted are whole steps where market.prices.map is .* .here 'adjust'"):
        deviations(own, [STEPS], [1], DISCOUNT)


def test_what_is_not_within_the_episode_is_refused(duopoly) -> None:
    with pytest.raises(ValueError, match="at=16: accepted is an epoch of the episode, from 0 to 15"):
        starts(duopoly, "constant", "constant", at=16)
    with pytest.raises(ValueError, match="episodes=0"):
        starts(duopoly, "constant", "constant", episodes=0)
    own = starts(duopoly, "constant", "constant")
    with pytest.raises(ValueError, match="epochs=11: accepted is 1 to 10, from epoch 6 on"):
        deviations(own, [STEPS], [1, 11], DISCOUNT)
    with pytest.raises(ValueError, match=r"discount=1\.5: accepted is a number from 0 to 1"):
        deviations(own, [STEPS], [1], 1.5)
    with pytest.raises(ValueError, match="accepted are whole steps"):
        deviations(own, [Move("cut", "steps", -0.5)], [1], DISCOUNT)
    with pytest.raises(ValueError, match="accepted is a share above -1"):
        deviations(own, [Move("cut", "share", -1.0)], [1], DISCOUNT)


def test_recovery_is_counted_from_the_last_forced_epoch() -> None:
    path = np.array([0.0, -0.2, -1.0, -0.5, -0.04, -0.3, 0.0])
    assert recovery_time(path, 1, 0.0) == 4 and recovery_time(path, 3, 0.0) == 2
    assert recovery_time(path, 1, 0.5) == 3  # half a grid step is wider than 5 %
    assert recovery_time(np.minimum(path, -0.1), 1, 0.0) != recovery_time(path, 1, 0.0)
    assert np.isnan(recovery_time(np.array([0.0, -1.0, -0.9]), 1, 0.0))
    assert recovery_time(np.array([0.0, 0.04, -0.05]), 1, 0.05) == 0.0
    assert np.isnan(recovery_time(np.array([0.0, np.nan]), 1, 0.0))

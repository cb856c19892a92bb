"""The plan as a policy: made from a model, kept whole or refused, played, and the same offers in NumPy alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from marl_pricing.virtual_market.__main__ import main
from marl_pricing.virtual_market.errors import ModelError
from marl_pricing.virtual_market.fair.compare import offers_in_words
from marl_pricing.virtual_market.fair.game import promotion_params
from marl_pricing.virtual_market.fair.kept import load_policy
from marl_pricing.virtual_market.fair.plan import PlanPolicy, PlanSettings, make_plan
from marl_pricing.virtual_market.fair.start import POLICY
from marl_pricing.virtual_market.fair.worlds import learned_worlds
from marl_pricing.virtual_market.levels import OFFERS
from tests.virtual_market.fair.submitted import submitted
from tests.virtual_market.logs import a_log, untrained

DAYS, EPISODES = 4, 6


@cache
def _policy() -> PlanPolicy:
    """Customers that have learned nothing, so that offers differ by what comes."""
    return make_plan(untrained(), a_log(customers=60, days=14).log, PlanSettings(days=DAYS, goal=5.0))


def test_a_plan_begins_on_the_day_after_the_log_and_asks_for_the_goal() -> None:
    policy, log = _policy(), a_log(customers=60, days=14).log
    assert policy.weekday == (log.weekdays[-1] + 1) % 7 and (policy.starts[0, 0] == log.orders.sum(1)).all()
    told = policy.where_tables_are_right()
    at = told.offers, (policy.weekday + np.arange(DAYS)) % 7
    assert told.gmv == pytest.approx(policy.tables.gmv[at].sum()) and told.roi >= 5.0
    careful = make_plan(untrained(), log, PlanSettings(days=DAYS, goal=5.0, reserve=0.5))
    assert (careful.plan.offers != policy.plan.offers).any()  # the reserve says something


def test_a_plan_is_kept_whole_or_refused(tmp_path: Path) -> None:
    folder = _policy().save(tmp_path / "policy")
    again = load_policy(folder)
    assert isinstance(again, PlanPolicy) and again.settings == _policy().settings and again.weekday == _policy().weekday
    for own, other in zip((*again.plan[:2], *again.tables), (*_policy().plan[:2], *_policy().tables), strict=True):
        assert (own == other).all()
    told, arrays = POLICY.read(folder)
    told = {name: told[name] for name in ("kind", "settings", "form", "weekday")}
    for changed, wrong, where in (
        ({}, {"offers": arrays["offers"][:-1]}, r"policy\.npz: .*offers of shape \(3, 3001\) for 4 days"),
        ({}, {"offers": arrays["offers"] + np.uint8(len(OFFERS))}, r"policy\.npz: .*offers that there are not"),
        ({}, {"grid": arrays["grid"][::-1]}, r"policy\.npz: .*grid"),
        ({}, {"gmv": arrays["gmv"][:, :6]}, r"policy\.npz: .*no table of 41 offers and 7 weekdays"),
        ({}, {"starts": arrays["starts"][0]}, r"policy\.npz: .*starts of shape \(21, 60\)"),
        ({"kind": "wish"}, {}, r"policy\.json: kind 'wish'; accepted is learned or plan"),
        ({"weekday": 7}, {}, r"policy\.json: form 'order_days', weekday 7"),
        ({"settings": {"updates": 3}}, {}, r"policy\.json: settings are no plan policy's"),
    ):  # fmt: skip
        POLICY.save(folder, told | changed, arrays | wrong)
        with pytest.raises(ModelError, match=where):
            load_policy(folder)
    POLICY.save(folder, told, {name: own for name, own in arrays.items() if name != "grid"})
    with pytest.raises(ModelError, match=r"policy\.npz: has no 'grid'"):
        load_policy(folder)
    _policy().save(folder)
    (folder / "policy.npz").write_bytes((folder / "policy.npz").read_bytes()[:-7])
    with pytest.raises(ModelError, match=r"policy\.npz: .*cut short or changed"):
        load_policy(folder)


def test_the_submission_offers_day_by_day_what_is_played(tmp_path: Path) -> None:
    """Customers answer the very offers: what they are drawn is drawn again by the game's own keys, for NumPy."""
    policy, worlds = _policy(), learned_worlds(untrained())
    where = np.arange(EPISODES) % worlds.count
    shape, params = promotion_params(worlds, policy.starts, [policy.weekday], days=DAYS, threshold=policy.threshold)
    played = policy.play(shape, params, where, 3)
    assert len({tuple(own.ravel()) for own in played.offers}) > 1  # they differ by what came
    found = submitted(policy, worlds, params, where, played, 3, tmp_path)
    offers = played.offers.reshape(-1, 2)
    assert found["told"] == [[count, min(share, 0.95)] for count, share in offers.tolist()]
    assert (found["gmv"], found["cost"]) == pytest.approx((played.gmv[-1].sum(), played.cost[-1].sum()), rel=1e-4)
    assert found["refused"].startswith("day 5: the plan has 4;")


def test_offers_that_differ_by_episode_are_told_by_their_days() -> None:
    same = np.stack([OFFERS[[0, 1, 0, 1]]] * 3)
    assert offers_in_words(same) == "none, 1 × 0.95"
    differing = OFFERS[np.array([[1, 1, 1, 2], [1, 1, 3, 0], [1, 1, 1, 9]])]
    assert offers_in_words(differing) == (
        "differs by episode; of all days 1 × 0.95 on 67 %, none on 8 %, 1 × 0.85 on 8 %, 1 × 0.90 on 8 %, 1 more on 8 %"
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["kind=plan", "updates=3", "threshold=7"], "threshold=7.0, updates=3: says nothing with kind=plan; accepted "
         "beside it are days, goal, reserve"),
        (["kind=plans"], "kind='plans': accepted is 'learned' or 'plan'"),
    ],
)  # fmt: skip
def test_settings_of_the_other_kind_are_refused(
    given: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "log=none.csv", f"model={tmp_path}", f"out={tmp_path / 'new'}", *given])
    assert told in capsys.readouterr().err and not (tmp_path / "new").exists()

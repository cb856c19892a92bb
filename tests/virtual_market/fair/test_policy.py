"""A fair policy from training to submission: kept whole, refused where cut, the same offers in NumPy alone."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.learning import mappo
from marl_pricing.virtual_market.__main__ import main
from marl_pricing.virtual_market.errors import LogError, ModelError
from marl_pricing.virtual_market.fair.compare import (
    FEEDBACK,
    feedback_of_model,
    in_model,
    in_truth,
    in_words,
    said,
)
from marl_pricing.virtual_market.fair.game import (
    PromotionGame,
    PromotionState,
    observe,
    promotion_params,
    scales,
    shown_roi,
)
from marl_pricing.virtual_market.fair.kept import load_policy
from marl_pricing.virtual_market.fair.plan import PLAN
from marl_pricing.virtual_market.fair.policy import LEARNED, FairPolicy, PolicySettings
from marl_pricing.virtual_market.fair.start import POLICY, starts_of
from marl_pricing.virtual_market.fair.submission import export_policy
from marl_pricing.virtual_market.fair.training import train_policy
from marl_pricing.virtual_market.fair.worlds import TrueWorld, learned_worlds
from marl_pricing.virtual_market.levels import OFFERS
from marl_pricing.virtual_market.memory import next_memory
from marl_pricing.virtual_market.money import day_cost, day_gmv
from tests.processes import python
from tests.virtual_market.logs import a_log, memories, untrained

DAYS = 4
SMALL = PolicySettings(start="nothing", days=DAYS, threshold=6.0, goal=5.0, starts=3, customers=20, updates=2,
                       episodes=4, hidden=8, every=1, draws=3)  # fmt: skip


@cache
def _policy() -> FairPolicy:
    """One that has learned nothing, but draws its offers."""
    starts, weekdays = np.stack([memories(60, day).T for day in range(3)]), [2, 3, 4]
    shape, params = promotion_params(learned_worlds(untrained()), starts, weekdays, days=DAYS, threshold=6.0)
    actor = mappo.make_learner(SMALL.learner(), shape, params, game=PromotionGame(DAYS)).actor
    lots = np.random.default_rng(0).gumbel(size=(DAYS, len(OFFERS)))
    parameters = jax.tree.map(np.asarray, actor.init(jax.random.key(0)))
    return FairPolicy(SMALL, "order_days", parameters, *scales(starts, DAYS), starts[-1:], int(weekdays[-1]),
                      lots.astype(np.float32), np.ones(2), np.ones((1, 2)))  # fmt: skip


def _true() -> TrueWorld:
    own = a_log(customers=60, days=14)
    return TrueWorld(own.truth, own.customers)


@pytest.mark.slow
def test_episodes_start_from_the_last_days_of_the_log_and_the_day_after() -> None:
    log = a_log(customers=60, days=14).log
    starts, weekdays = starts_of(log, "order_days", 3)
    assert starts.shape == (3, 21, 60) and weekdays.tolist() == [*log.weekdays[-2:], (log.weekdays[-1] + 1) % 7]
    assert (starts[-1, 0] == log.orders.sum(1)).all() and (starts[0, 0] == log.orders[:, :-2].sum(1)).all()
    with pytest.raises(LogError, match=r"starts=15: accepted are at most 14, the days of the log"):
        starts_of(log, "order_days", 15)


def test_a_policy_is_kept_whole_or_refused(tmp_path: Path) -> None:
    folder = _policy().save(tmp_path / "policy")
    again = load_policy(folder)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), again.parameters, _policy().parameters))
    assert again.settings == SMALL and (again.lots == _policy().lots).all() and again.weekday == _policy().weekday
    told, arrays = POLICY.read(folder)
    before = POLICY._replace(format=2, older=())  # as it was before there were plans
    before.save(folder, {name: told[name] for name in ("settings", "form", "weekday")}, arrays)
    assert isinstance(load_policy(folder), FairPolicy) and load_policy(folder).settings == SMALL
    kept = {name: told[name] for name in ("kind", "settings", "form", "weekday")}
    for name, where in (
        ("lots", r"lots of shape \(3, 41\), not \(4, 41\)"),
        ("actor/embed/kernel", r"actor/embed/kernel of shape \(95, 8\), not \(96, 8\)"),
    ):
        POLICY.save(folder, kept, arrays | {name: arrays[name][1:]})
        with pytest.raises(ModelError, match=rf"policy\.npz: .*{where}"):
            load_policy(folder)
    content = (_policy().save(folder) / "policy.npz").read_bytes()
    (folder / "policy.npz").write_bytes(content[:-7])
    with pytest.raises(ModelError, match="cut short or changed"):
        load_policy(folder)
    (folder / "policy.json").write_text(json.dumps({"format": 7}))
    with pytest.raises(ModelError, match="accepted is a policy of format 2 or 3 or 4"):
        load_policy(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    for keep in (_policy().save, lambda place: export_policy(_policy(), place)):
        with pytest.raises(ModelError, match="holds something"):
            keep(tmp_path / "other")


@pytest.mark.slow
def test_a_plain_policy_is_trained_too() -> None:
    told = []
    own = SMALL.model_copy(update={"worlds": "first", "updates": 1})
    plain = train_policy(untrained(), a_log(customers=60, days=14).log, own, say=lambda *own: told.append(own))
    assert len(told) == 1 and len(plain.zero_gmv) == 2  # measured in both worlds all the same


_EPISODE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from policy_validation import get_pv_instance
policy, told = get_pv_instance(), []
for answers in (np.load(sys.argv[2]), np.load(sys.argv[2])):
    states = policy.initial_states
    for day in answers:
        action = policy.get_action_from_policy(states)
        told.append([*map(float, action)])
        states = policy.get_next_states(states, action, [day[0], day[1]])
print(json.dumps({"told": told, "jax": any(name.partition(".")[0] == "jax" for name in sys.modules)}))
"""


def test_the_submission_offers_in_numpy_what_the_policy_offers(tmp_path: Path) -> None:
    """Both are told the same customers, whatever they were offered; NumPy's process can import nothing of ours."""
    policy = _policy()
    export_policy(policy, tmp_path / "submission")
    rng = np.random.default_rng(0)
    orders = rng.integers(0, 3, (DAYS, 60))
    answers = np.stack([orders, np.where(orders > 0, rng.uniform(5, 30, orders.shape), 0.0)], axis=1).astype(float)
    np.save(tmp_path / "answers.npy", answers)
    ran = python(_EPISODE, {"jax", "flax", "marl_pricing", "scipy"}, str(tmp_path / "submission"),
                 str(tmp_path / "answers.npy"), folder=tmp_path)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert not found["jax"] and found["told"][:DAYS] == found["told"][DAYS:]

    shape, params = promotion_params(
        learned_worlds(untrained()), policy.starts, [policy.weekday], days=DAYS, threshold=6.0,
        scale=(policy.centre, policy.spread),
    )  # fmt: skip
    actor = policy.actor(shape, params)
    state = policy.game.begin(params.starts[-1], params.weekdays[-1], jnp.int32(0), jnp.zeros(len(OFFERS)))
    memory, offers = actor.start(1), []
    for day in range(DAYS):
        logits, memory = actor.step(policy.parameters, observe(params, state, DAYS).local[None], memory)
        offer = OFFERS[int((logits[0, 0] + policy.lots[day]).argmax())]
        offers.append([offer[0], min(offer[1], 0.95)])
        count, fee = answers[day]
        gmv, cost = (money(*offer, count, fee).mean() for money in (day_gmv, day_cost))
        after = next_memory(np.asarray(state.memory).T, offer, answers[day].T, "order_days").T
        state = PromotionState(
            jnp.asarray(after, jnp.float32), state.world, (state.weekday + 1) % 7, state.day + 1,
            jnp.float32(count.mean()), shown_roi(jnp.float32(gmv), jnp.float32(cost)), state.gmv + gmv,
            state.cost + cost, state.doubt, state.known,
        )  # fmt: skip
    assert found["told"][:DAYS] == offers


@pytest.mark.slow
def test_comparison_says_what_each_brings() -> None:
    found = in_truth(_policy(), _true(), learned_worlds(untrained()), 8, 0)
    by_name = {own.name: own for own in found}
    assert by_name["no coupons"].roi.tolist() == [np.inf] * 8
    assert abs(by_name["no coupons"].score.mean() - 1.0) < 0.1
    fixed, cycle, calendar = (
        by_name[f"best {name} (truth)"].score.mean() for name in ("fixed offer", "cycle", "calendar")
    )
    assert fixed < cycle * 1.05 and cycle < calendar * 1.05 and calendar < by_name["personal offers (bound)"].score[0]
    plan, played = feedback_of_model(_policy(), learned_worlds(untrained())), by_name[FEEDBACK].played
    assert played is not None
    for gmv, cost, offers in zip(played.gmv, played.cost, played.offers, strict=True):
        before = [(day, gmv[:day].sum(), cost[:day].sum()) for day in range(DAYS)]
        assert offers.tolist() == [OFFERS[plan.offer(*own)].tolist() for own in before]
    lines = said(found, SMALL.goal)
    assert lines[0].startswith(f"- {LEARNED}: score ") and "of the best cycle in the truth" in lines[-2]
    assert [own.name for own in in_model(_policy(), learned_worlds(untrained()), 4, 0)][1:] == [
        FEEDBACK, "no coupons", "best cycle (model)"
    ]  # fmt: skip


def test_offers_in_words() -> None:
    assert in_words(OFFERS[[0, 1, 0, 1, 0]]) == "none, 1 × 0.95"
    assert in_words(OFFERS[[0, 1, 0]]) == "none, 1 × 0.95, none"  # three days, not two again and again
    assert in_words(OFFERS[[0, 1, 2]]) == "none, 1 × 0.95, 1 × 0.90"


@pytest.mark.slow
def test_from_a_log_to_a_submission_by_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = {name: str(tmp_path / name) for name in ("log", "model", "policy", "page", "submission", "plan", "plan_page")}
    log = f"log={at['log']}/promotion_log.csv"
    small = ["days=4", "updates=2", "episodes=4", "hidden=8", "every=1", "draws=2", "customers=20"]
    for given in (
        ["simulate", f"out={at['log']}", "customers=60", "days=20"],
        ["fit", log, f"out={at['model']}", "members=2", "epochs=1", "width=8", "holdout=4"],
        ["train", log, f"model={at['model']}", f"out={at['policy']}", *small],
        ["compare", log, f"model={at['model']}", f"policy={at['policy']}", "episodes=4"],
        ["page", log, f"model={at['model']}", f"policy={at['policy']}", f"truth={at['log']}", f"out={at['page']}",
         "episodes=4"],
        ["export", f"policy={at['policy']}", f"out={at['submission']}"],
        ["train", log, f"model={at['model']}", f"out={at['plan']}", "kind=plan", "days=4"],
        ["page", log, f"model={at['model']}", f"policy={at['plan']}", f"out={at['plan_page']}", "episodes=4"],
    ):  # fmt: skip
        assert main(given) == 0, given
    told = capsys.readouterr().out
    assert "of the best cycle in the truth" in told and "update 2: in its worlds ROI" in told
    assert "update 0: in its worlds ROI" in told and told.count("when it was trained: ") == 1
    page = (tmp_path / "page" / "page.html").read_text()
    assert "<h2>What it offers</h2>" in page and page.count("<figure>") == 6
    assert "<p>When it was trained: " in page
    assert (tmp_path / "page" / "scores.csv").read_text().startswith("policy,score,")
    assert (tmp_path / "submission" / "policy_validation.py").is_file()
    names = [line.partition(",")[0] for line in (tmp_path / "plan_page" / "scores.csv").read_text().splitlines()]
    assert names[1:] == [PLAN, "no coupons", "best cycle (model)"]  # it is the policy, and no rule beside itself
    assert f"In the learned market the {PLAN} brings" in (tmp_path / "plan_page" / "page.html").read_text()

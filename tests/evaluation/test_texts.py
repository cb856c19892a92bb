"""Sentences that the report makes of its tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.report.texts import (
    equilibrium_sentence,
    opponent_sentences,
    runs_sentence,
)
from marl_pricing.evaluation.runs import RunToEvaluate, held_line
from tests.markets import one_shot


def rows(*shares: tuple[float, float, float], objective: str = "raw") -> pd.DataFrame:
    """One row a seller: its gain as a share, and the ends of its interval; then NashConv, which counts for nothing."""
    names = ("share", "share_low", "share_high")
    sellers = [
        {"seller": str(number), "response": "constant"} | dict(zip(names, own, strict=True))
        for number, own in enumerate(shares)
    ]
    last = {"seller": "NashConv", "response": "", "share": 9.0, "share_low": 9.0, "share_high": 9.0}
    return pd.DataFrame([*sellers, last]).assign(run="one", objective=objective)


def test_an_equilibrium_is_said_to_be_found_where_no_gain_and_no_interval_is_large() -> None:
    assert equilibrium_sentence(rows((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))) == (
        "In one no response that was tried gains anything in any seat: an equilibrium, as far as is known."
    )
    close = equilibrium_sentence(rows((0.004, 0.001, 0.008), (0.002, 0.0, 0.019)))
    assert close.startswith("In one an equilibrium was found up to 0.4\u00a0%") and "seller 0's" in close
    assert "(95 % interval 0.1\u00a0% … 0.8\u00a0%)" in close
    for far in ((0.027, 0.018, 0.036), (0.008, 0.001, 0.021)):
        told = equilibrium_sentence(rows((0.0, 0.0, 0.0), far))
        assert told.startswith("In one no equilibrium was found") and "seller 1 gains" in told and "constant" in told


def test_against_opponents_it_is_their_best_answer_that_was_found_or_not() -> None:
    assert equilibrium_sentence(rows((0.0, 0.0, 0.0)), held=True) == (
        "In one no response that was tried gains anything in any learned seat: the best answer to the opponents, "
        "as far as is known."
    )
    close = equilibrium_sentence(rows((0.004, 0.001, 0.008)), held=True)
    assert close.startswith("In one the best answer to the opponents was found up to 0.4\u00a0%")
    far = equilibrium_sentence(rows((0.3, 0.2, 0.4)), held=True)
    assert far.startswith("In one the best answer to the opponents was not found: against") and "equilibrium" not in far


def test_who_did_not_learn_is_said_first_and_nothing_where_all_did() -> None:
    own = one_shot(3)
    plain, held, turns = (
        RunToEvaluate(name, *own, policies={}, **more)
        for name, more in (("a", {}), ("b", {"held": {2: "myopic", 0: "runs/x"}}), ("c", {"selves": (0, 1, 2)}))
    )
    assert opponent_sentences([plain]) == [] and plain.learners == [0, 1, 2]
    assert opponent_sentences([held]) == [
        "Seller 0 is held by runs/x; seller 2 is held by myopic, in training and here: only seller 1 learned."
    ]
    both = opponent_sentences([held, turns])
    assert both[0].startswith("In b seller 0 is held by runs/x") and both[1].startswith(
        "In c sellers 0, 1, 2 took turns"
    )
    assert held_line(held.held) == "; seller 0 is held by runs/x; seller 2 is held by myopic" and held_line({}) == ""


def test_the_seller_that_is_named_is_the_one_that_may_gain_most() -> None:
    told = equilibrium_sentence(rows((0.009, 0.0, 0.018), (0.008, -0.01, 0.03)))
    assert told.startswith("In one no equilibrium was found") and "seller 1 gains 0.8" in told


def test_a_share_of_nothing_is_not_told() -> None:
    nothing = (np.nan, np.nan, np.nan)
    assert "earns nothing" in equilibrium_sentence(rows(nothing, (0.0, 0.0, 0.0)))
    alone = equilibrium_sentence(rows((0.001, np.nan, np.nan)))  # one episode: no interval
    assert "interval" not in alone and "up to 0.1\u00a0%" in alone


def test_what_sellers_were_trained_for_decides() -> None:
    both = pd.concat([rows((0.0, 0.0, 0.0), objective="shaped"), rows((0.3, 0.2, 0.4))], ignore_index=True)
    assert "as far as is known" in equilibrium_sentence(both)


def compared(low: float, high: float, *, units: str = "seeds", turned: bool = False) -> str:
    """The sentence on two runs that earn 10 and 9, with the interval of their difference."""
    names = ("run", "policy", "measure", "seller", "value", "low", "high")
    summary = pd.DataFrame(
        [
            ("a", "learned (greedy)", "profit", "all", 10.0, 9.5, 10.5),
            ("b", "learned (greedy)", "profit", "all", 9.0, 8.0, 9.9),
        ],
        columns=list(names),
    )
    effect = statistics.student(5) / (5**0.5 * (high - 1.0))  # Student's interval is this one, too
    pair = {"run": "a", "against": "b", "difference": 1.0, "low": low, "high": high, "above": 0.9, "effect": effect}
    if turned:
        pair |= {"run": "b", "against": "a", "difference": -1.0, "low": -high, "high": -low, "above": 0.1}
        pair["effect"] = -effect
    comparisons = pd.DataFrame([pair | {"measure": "profit", "units": units, "count": 5}])
    return runs_sentence(summary, dict.fromkeys(("a", "b"), "learned (greedy)"), comparisons, True)


def test_a_difference_that_seeds_support_is_told_the_same_from_both_sides() -> None:
    told = compared(0.2, 1.8)
    assert "of a earns most, 10.00" in told and "1.000 more (95\u00a0% interval 0.200 to 1.800)" in told
    assert "a seed of a earns more than one of b with probability 0.90" in told
    assert compared(0.2, 1.8, turned=True) == told


def test_what_seeds_do_not_tell_apart_is_not_called_a_difference() -> None:
    told = compared(-0.3, 2.3)
    assert told.startswith("2 runs of 5 seeds do not tell whose sellers earn more") and "that can be luck" in told
    assert "most" not in told and "interval -0.300 to 2.300" in told
    one = compared(0.2, 1.8, units="episodes")  # the same two policies before many shoppers
    assert one.startswith("2 runs of one seed each do not tell") and "another seed's training may end otherwise" in one

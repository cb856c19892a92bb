"""Two checkouts side by side: what is told of their turns, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import against
from benchmarks.against import compared, table_of
from benchmarks.timed import Timed, Turn, ratio_of


def turns(*seconds: float, processor: float = 1.0) -> list[Turn]:
    return [Turn(own, own * processor) for own in seconds]


def test_a_ratio_is_of_turns_that_follow_each_other_and_not_of_medians() -> None:
    """The machine is four times as slow in the last two turns, for both: the ratio is 2 in every pair."""
    found = ratio_of([1.0, 1.0, 1.0, 4.0, 4.0], [2.0, 2.0, 2.0, 8.0, 8.0])
    assert (found.middle, found.low, found.high) == (2.0, 2.0, 2.0)
    found = ratio_of([1.0, 1.0, 1.0, 1.0, 1.0], [0.5, 1.0, 2.0, 3.0, 9.0])
    assert (found.middle, found.low, found.high) == (2.0, 1.0, 3.0)
    few = ratio_of([1.0, 1.0], [2.0, 4.0])
    assert (few.middle, few.low, few.high) == (3.0, 2.0, 4.0)


def test_slower_is_what_both_clocks_say_and_not_by_luck() -> None:
    theirs = turns(*(1.0,) * 5)
    assert compared("a", turns(1.2, 1.2, 1.3, 1.2, 1.2), theirs).verdict(0.05) == "slower"
    assert compared("a", turns(1.03, 1.03, 1.03, 1.03, 1.03), theirs).verdict(0.05) == "as fast"
    assert compared("a", turns(0.5, 0.5, 0.5, 0.5, 0.5), theirs).verdict(0.05) == "faster"
    # A third of the turns are as fast: the quartiles of the processor's seconds disagree.
    assert compared("a", turns(1.2, 1.2, 1.2, 1.0, 0.99), theirs).verdict(0.05) == "as fast"
    # Waiting for a core is no work.
    waited = [Turn(2.0, 1.0)] * 5
    assert compared("a", waited, theirs).verdict(0.05) == "as fast"


def test_the_table_says_ratios_and_the_verdict() -> None:
    row = compared("market", turns(1.0, 1.0, 1.0, 1.0), turns(0.5, 0.5, 0.5, 0.5))
    table = table_of([row], 0.05, "old")
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells == ["market", "0.50", "0.50 – 0.50", "0.50", "0.50 – 0.50", "slower"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere"], "CHECKOUT='nowhere': accepted is a folder that holds marl_pricing and benchmarks"),
        ([str(against.HERE), "markets"], "CASE='markets': accepted is the beginning of training, hidden 64"),
        ([str(against.HERE), "--turns", "0"], "--turns=0: accepted is a number above 0"),
        ([str(against.HERE), "--tolerance", "1"], "--tolerance=1.0: accepted is a number from 0 up to 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        against.main(given)
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_slower_case_is_named_and_the_command_fails(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    def measure(case: str, *_: object) -> against.Compared:
        return compared(case, turns(*(2.0 if "Poisson" in case else 1.0,) * 4), turns(*(1.0,) * 4))

    monkeypatch.setattr(against, "measure", measure)
    assert against.main([str(against.HERE), "market, 2"]) == 1
    out = capsys.readouterr().out
    assert out.rstrip().endswith("market, 2 sellers, Poisson demand, replenishment")
    assert against.main([str(against.HERE), "market, 2 sellers, expected"]) == 0


def test_a_program_that_ends_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such market"):
        Timed((sys.executable, "-c", "raise SystemExit('no such market')"), tmp_path)
    code = """
import json, sys
print(json.dumps({'ready': True}), flush=True)
for line in sys.stdin:
    print(json.dumps({'n': int(line)}), flush=True)
"""
    with Timed((sys.executable, "-c", code), tmp_path) as program:
        assert program.ask("4") == {"n": 4}

"""Attempts are told apart as they ended."""

from __future__ import annotations

import os
import sys
import time
from functools import partial

import pytest

from tests.attacks import outcome
from tests.attacks.outcome import REFUSED, Attempt, carry_out, carry_out_all, faults, in_command, in_door, rows


def refuse(text: str, status: int = 2) -> int:
    print(text, file=sys.stderr)
    return status


def by_system(text: str) -> None:
    os.write(2, text.encode())
    raise SystemExit(2)


def command(arguments: list[str]) -> int:
    return refuse(*arguments) if arguments else 0


def fill() -> None:
    held = bytearray(512 << 20)
    held[::4096] = b"x" * len(held[::4096])


def compute() -> None:
    while True:
        pass


def answer() -> int:
    return 7


@pytest.mark.parametrize(
    ("call", "kept", "verdict"),
    [
        (answer, {}, "accepted"),
        (answer, {"right": 7}, "accepted"),
        (answer, {"right": 8}, "wrong"),
        (answer, {"right": REFUSED}, "wrong"),
        (partial(in_door, command), {}, "accepted"),
        (partial(in_door, command, "error: a.csv is empty"), {"names": "a.csv"}, "refused"),
        (partial(in_door, command, "error: the file is empty"), {"names": "a.csv"}, "traceback"),
        (partial(in_door, command, "error: one\nerror: two"), {}, "traceback"),
        (partial(in_door, command, "error: one\nerror: two"), {"lines": 2}, "refused"),
        (partial(in_door, command, ""), {}, "traceback"),
        (partial(by_system, "error: from a library"), {}, "refused"),
        (partial(by_system, "Traceback (most recent call last): x"), {}, "traceback"),
        (partial(int, "x"), {}, "traceback"),
        (partial(in_command, "-c", "raise SystemExit('error: no')"), {}, "refused"),
        (partial(in_command, "-c", "1 / 0"), {"lines": 99}, "traceback"),
    ],
)  # fmt: skip
def test_an_attempt_is_told_by_how_it_ended(call, kept: dict, verdict: str) -> None:
    assert carry_out(Attempt("kind", "told", call, **kept))[0] == verdict


def test_one_that_hangs_is_ended_and_one_that_takes_too_much_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "MOST", 200.0)
    monkeypatch.setattr(outcome, "WAITING", 2.0)
    calls = {
        "slow": partial(time.sleep, 60), "busy": compute, "dead": partial(os._exit, 3), "large": fill,
        "good": partial(command, []),
    }  # fmt: skip
    patience = {"slow": 1.0, "busy": 1.0}  # the others take what a busy machine takes
    attempts = (Attempt("kind", name, call, patience=patience.get(name)) for name, call in calls.items())
    found = list(carry_out_all(attempts))
    assert [own.verdict for own in found] == ["hang", "hang", "traceback", "memory", "accepted"]
    assert len(faults(found)) == 4
    assert rows(found)["all"] == rows(found)["kind"] == [5, 0, 1, 0, 1, 2, 1]

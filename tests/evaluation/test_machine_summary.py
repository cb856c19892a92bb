"""summary.json says what the page says, in the words that the page says it in."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from marl_pricing.evaluation.machine_summary import to_json
from marl_pricing.presentation.words import Words, using


def _told(told: str) -> dict:
    nothing = pd.DataFrame({"run": []})
    text = to_json([], [told], [told], nothing, {}, nothing, nothing, 4, 0, "evaluate", {}, Path("out"))
    return json.loads(text)


def test_names_currency_and_period_are_those_of_the_page() -> None:
    told = "seller 0 earns 3.2 money an epoch"
    with using(Words("USD", "week", ("North", "South"), ("tea", "rice"))):
        found = _told(told)
    assert found["in_short"] == found["sentences"] == ["North earns 3.2 USD a week"]
    assert found["names"] == {
        "currency": "USD", "period": "week", "sellers": ["North", "South"], "products": ["tea", "rice"],
    }  # fmt: skip


def test_what_has_no_names_says_so() -> None:
    found = _told("seller 0 earns 3.2 money an epoch")
    assert found["in_short"] == ["seller 0 earns 3.2 money an epoch"]
    assert found["names"] == {"currency": "", "period": "", "sellers": [], "products": []}

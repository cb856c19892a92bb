"""Exposure and conversion by price, of logs in which it is known who saw what and bought it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from marl_pricing.traffic.logs import PRICE_COLUMNS, Log, LogError, exposure, tidy, write_log
from marl_pricing.traffic.logs.__main__ import main


def event(session: str, minute: int, name: str, item: str, price: float, actor: str = "human") -> dict[str, Any]:
    return {
        "session": session, "actor": actor, "experiment": "e", "mode": "shop", "event": name, "page": None,
        "item": item, "price": price, "dwell_ms": np.nan, "user_agent": "ua",
        "time": pd.Timestamp("2026-01-05T10:00:00") + pd.Timedelta(minutes=minute),
    }  # fmt: skip


def log_of(events: list[dict[str, Any]], prices: list[dict[str, Any]] = []) -> Log:  # noqa: B006
    frame = pd.DataFrame(prices, columns=list(PRICE_COLUMNS))
    return Log(tidy(pd.DataFrame(events)), frame, len(events), 0, Counter(), 0, 0, Counter())


def many(shares: dict[float, float], count: int, actor: str = "human") -> list[dict[str, Any]]:
    """Sessions that see item "a" at each price, `count` a price, of whom a share buys."""
    rows = []
    for price, share in shares.items():
        for number in range(count):
            session = f"{actor}-{price}-{number}"
            rows.append(event(session, 0, "view_item_page", "a", price, actor))
            if number < round(share * count):
                rows.append(event(session, 1, "purchase", "a", price, actor))
    return rows


def test_conversion_is_counted_at_each_price_with_wilsons_interval() -> None:
    table = exposure.by_price(exposure.exposures(log_of(many({7.5: 0.4, 10.0: 0.25, 11.5: 0.1}, 40))))
    assert table["actor"].eq("human").all() and table["exposures"].tolist() == [40, 40, 40]
    assert table["conversions"].tolist() == [16, 10, 4] and table["low"].tolist() == [-np.inf, -0.02, 0.1]
    np.testing.assert_allclose(table["relative"], [-0.25, 0.0, 0.15])
    low, high = proportion_confint([16, 10, 4], 40, method="wilson")
    np.testing.assert_allclose(table[["conversion_low", "conversion_high"]], np.stack([low, high], 1))


def test_a_session_is_exposed_at_the_last_price_before_it_bought() -> None:
    log = log_of(
        [
            event("one", 0, "view_item_page", "a", 10.0), event("one", 1, "view_item_page", "a", 8.0),
            event("one", 2, "purchase", "a", 8.0), event("one", 3, "view_item_page", "a", 12.0),
            event("two", 0, "view_item_page", "a", 10.0), event("two", 5, "view_item_page", "a", 12.0),
            event("two", 0, "view_item_page", "b", 3.0),
        ],
        [{"item": "a", "price": 7.0, "session": "two", "mode": "shop", "time": pd.Timestamp("2026-01-05T10:09:00Z")}],
    )  # fmt: skip
    found = exposure.exposures(log).set_index(["session", "item"])
    assert found["price"].to_dict() == {("one", "a"): 8.0, ("two", "a"): 7.0, ("two", "b"): 3.0}
    assert found["bought"].to_dict() == {("one", "a"): True, ("two", "a"): False, ("two", "b"): False}
    assert found.loc[("two", "a"), ["lowest", "highest", "shown"]].tolist() == [7.0, 12.0, 3]
    assert found.loc[("one", "a"), "shown"] == 3 and found.loc[("one", "a"), "usual"] == 7.5
    assert exposure.by_price(found.reset_index())["exposures"].sum() == 2  # item b was shown at one price


def test_actors_are_told_apart_and_together() -> None:
    log = log_of(many({8.0: 0.3, 10.0: 0.3}, 20) + many({8.0: 0.8, 10.0: 0.2}, 10, "agent"))
    table = exposure.by_price(exposure.exposures(log))
    assert list(dict.fromkeys(table["actor"])) == ["all", "agent", "human"]
    of_agents = table[table["actor"].eq("agent")]
    assert of_agents["conversions"].tolist() == [8, 2]
    assert table[table["actor"].eq("all")]["exposures"].sum() == 60


def test_the_command_leaves_a_table_and_a_figure(tmp_path, capsys) -> None:
    path = tmp_path / "log.csv"
    write_log(path, log_of(many({8.0: 0.4, 10.0: 0.25, 11.5: 0.1}, 40)).events)
    assert main([str(path), "--exposure", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "Exposure and conversion by price" in told and "as usual" in told and "40.00%" in told
    table = pd.read_csv(tmp_path / "out" / "exposure.csv")
    assert list(table.columns) == list(exposure.COLUMNS) and table["exposures"].sum() == 120
    assert (tmp_path / "out" / "exposure.svg").exists() and (tmp_path / "out" / "exposure.png").exists()
    write_log(path, log_of(many({8.0: 0.4}, 10)).events)
    assert main([str(path), "--exposure", str(tmp_path / "none")]) == 2
    assert "shown at one price only" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_a_log_without_prices_is_refused() -> None:
    with pytest.raises(LogError, match="no event says which item was shown at what price"):
        exposure.exposures(log_of([event("one", 0, "view_item_page", "a", np.nan)]))

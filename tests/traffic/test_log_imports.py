"""Logs of other people's layouts: mappings that say little, forms that are found, purchases that are not lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from marl_pricing.config import ConfigError, market_from
from marl_pricing.traffic import kernels, logs
from marl_pricing.traffic.logs import LogError, read_log, sessions_of, simulate_events
from marl_pricing.traffic.logs.__main__ import main
from marl_pricing.traffic.logs.schemas import told_mapping
from tests.intake import exports

HUMAN, AGENT = kernels.default_kernels()


def other_layout(path: Path, sessions: int = 60) -> Path:
    """A labelled log of people and agents with semicolons, dd.mm.yyyy, decimal commas, in cp1252, words of a shop."""
    events = simulate_events({"human": HUMAN, "agent": AGENT}, {"human": sessions, "agent": sessions}, 5, 1,
                             prices=np.array([1.5, 2.25, 1234.5, 3.0, 4.0]))  # fmt: skip
    words = {"purchase": "Kauf", "add_item": "Korb", "page_view": "Seite"}
    rows = []
    for row in events.astype({"event": str, "actor": str}).itertuples():
        price = "" if np.isnan(row.price) else f"{row.price:,.2f} €".replace(",", " ").replace(".", ",")
        who = "Käufer" if row.actor == "human" else "Bot"
        rows.append(f"{row.session};{row.time:%d.%m.%Y %H:%M:%S.%f};{words.get(row.event, row.event)};{price};{who}")
    path.write_bytes(("Sitzung;Zeit;Ereignis;Preis;Wer\n" + "\n".join(rows) + "\n").encode("cp1252"))
    return path


MAPPING = """session: Sitzung
time: Zeit
event: Ereignis
price: Preis
label: Wer
human: [Käufer]
agent: [Bot]
events: {Kauf: purchase, Korb: add_item, Seite: page_view}
"""


def test_a_mapping_says_the_columns_and_the_rest_is_found(tmp_path: Path) -> None:
    path = other_layout(tmp_path / "log.csv")
    (tmp_path / "m.yaml").write_text(MAPPING)
    log = read_log(path, mapping=tmp_path / "m.yaml")
    same = simulate_events({"human": HUMAN, "agent": AGENT}, {"human": 60, "agent": 60}, 5, 1,
                           prices=np.array([1.5, 2.25, 1234.5, 3.0, 4.0]))  # fmt: skip
    for name in ("session", "time", "price"):
        assert log.events[name].equals(same[name])
    assert [str(one) for one in log.events["event"]] == [str(one) for one in same["event"]]
    assert [str(one) for one in log.events["actor"]] == [str(one) for one in same["actor"]]
    assert log.rejected == 0
    assert log.read_as == ("semicolon between columns", "cp1252", "times dd.mm.yyyy", "decimal comma")


def test_a_log_that_needs_a_mapping_is_trained_on(tmp_path: Path) -> None:
    path = other_layout(tmp_path / "log.csv")
    (tmp_path / "m.yaml").write_text(MAPPING)
    market = {"num_sellers": 2, "num_products": 2, "demand": {"model": "logit", "quality": 2.0, "scale": 0.5},
              "agent": {}, "prices": {"map": "levels", "low": 1.0, "high": 2.0},
              "inventory": {"rule": "unlimited"}}  # fmt: skip
    own = {"model": "chain", "agent_share": 0.3, "log": str(path)}
    built = market_from(market, own | {"log_mapping": str(tmp_path / "m.yaml")})
    assert built.params.traffic.sessions is not None
    # The same kernels as by hand.
    log = read_log(path, mapping=tmp_path / "m.yaml")
    found = [sessions_of(log, actor) for actor in ("human", "agent")]
    states = kernels.states_of([session for each in found for session in each])
    by_hand = kernels.estimate([kernels.encode(session, states) for session in found[0]], states, 1.0).matrix
    np.testing.assert_allclose(np.asarray(built.params.traffic.sessions.kernels)[0, 0], by_hand, atol=1e-6)
    with pytest.raises(
        ConfigError,
        match=r"traffic\.log: .*log\.csv:1: no layout that is known .*likely are session: Sitzung, time: Zeit",
    ):
        market_from(market, own)
    with pytest.raises(ConfigError, match=r"traffic\.log_mapping='m\.yaml': accepted is null without traffic\.log"):
        market_from(market, {"model": "chain", "agent_share": 0.3, "log_mapping": "m.yaml"})


HEAD = "visit,at,action\n"
OWN = {"session": "visit", "time": "at", "event": "action"}


@pytest.mark.parametrize("name", ["transaction", "orderPlaced", "buy_now", "Bestellung", "payment-done", "achat"])
def test_an_event_that_sounds_like_a_purchase_is_not_dropped(tmp_path: Path, name: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEAD + "a,2024-01-01,view\n" * 30 + f"a,2024-01-02,{name}\n")
    if name == "orderPlaced":  # known by its beginning
        with pytest.warns(UserWarning, match="as purchase"):
            assert sessions_of(read_log(path, mapping=OWN))[-1] == ["purchase"]
        return
    with pytest.raises(LogError) as caught:
        read_log(path, mapping=OWN)
    assert str(caught.value) == (
        f"{path}:32: event {name!r} sounds like a purchase and is no word of ours, so its orders would be lost; "
        f"events: {{{name}: purchase}} in a mapping says so, events: {{{name}: null}} leaves it out"
    )
    with pytest.warns(UserWarning, match="view"):
        log = read_log(path, mapping=OWN | {"events": {name: "purchase"}})
    assert sessions_of(log)[-1] == ["purchase"]
    with pytest.warns(UserWarning, match="view"):
        log = read_log(path, mapping=OWN | {"events": {name: None}})
    assert (log.left_out_events, log.rejected) == ({name: 1}, 0)


def test_a_mapping_without_columns_is_about_the_layout_found(tmp_path: Path) -> None:
    own = exports.rees46()
    (tmp_path / "log.csv").write_bytes(own.data.replace(b"remove_from_cart", b"paid_later"))
    with pytest.raises(LogError, match="event 'paid_later' sounds like a purchase"):
        read_log(tmp_path / "log.csv")
    log = read_log(tmp_path / "log.csv", mapping={"events": {"paid_later": None}})
    assert sessions_of(log) == [own.sessions[0], own.sessions[1][:2]]


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (["1704067200", "1704067260"], "2024-01-01"), (["1704067200000", "1704067260000"], "2024-01-01"),
        (["1704067200000000", "1704067260000000"], "2024-01-01"),
        (["01/13/2024 3:00 PM", "01/14/2024 3:00 PM"], "2024-01-13 15:00"),
        (["2024-01-01 01:00:00 UTC", "2024-01-01 01:05:00 UTC"], "2024-01-01 01:00"),
        (["2024-01-01T01:00:00+01:00", "2024-01-01T01:05:00+01:00"], "2024-01-01"),
    ],
)  # fmt: skip
def test_forms_of_times_are_found(tmp_path: Path, times: list[str], first: str) -> None:
    (tmp_path / "log.csv").write_text(HEAD + "".join(f"a,{time},sort\n" for time in times))
    events = read_log(tmp_path / "log.csv", mapping=OWN).events
    assert str(events["time"].iloc[0].tz_localize(None)) == str(np.datetime64(first, "s")).replace("T", " ")


def test_what_every_row_is_can_be_told_where_no_column_says(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("session_id,timestamp,item_id\n1,2014-04-07T10:51:09.277Z,5\n1,2014-04-07T10:54:09.868Z,6\n")
    with pytest.raises(LogError, match=r"likely are session: session_id, time: timestamp, .* every: view_item in the"):
        read_log(path)
    own = {"session": "session_id", "time": "timestamp", "item": "item_id", "every": "view_item"}
    log = read_log(path, mapping=own)
    assert sessions_of(log) == [["view_item", "view_item"]] and log.events["item"].tolist() == ["5", "6"]
    assert log.schema is not None
    told = told_mapping(log.schema, ["session_id", "timestamp", "item_id"])
    assert told["every"] == "view_item" and sessions_of(read_log(path, mapping=told)) == sessions_of(log)
    with pytest.raises(LogError, match="every='looked': accepted is an event that each row is: add_item"):
        read_log(path, mapping=own | {"every": "looked"})
    with pytest.raises(LogError, match="accepted is null where a column `event` is named"):
        read_log(path, mapping=own | {"event": "item_id"})


REFUSED = {
    "day or month": (
        HEAD + "a,03/04/2024 10:00,sort\n",
        r":2: at '03/04/2024 10:00' can be read as 3 April 2024 .*time_unit:",
    ),
    "no time": (HEAD + "a,12,sort\n", r":2: at '12' is no time since 1970 in s, ms, us or ns and no date; time_unit:"),
    "no words": ("x,y\n1,2\n", r":1: no column visit, at, action in the header \(x, y\)"),
    "a price in two ways": ("visit,at,action,p\na,2024-01-01,sort,1.499\n", r":2: p '1\.499' can be read as 1499"),
    "a list": ('[{"sessionId": 1}]', r":1: is one JSON list; accepted are JSON lines"),
    "a bad time": (
        HEAD + "a,2024-01-01,sort\nb,soon,sort\n",
        r":3: time 'soon'; 1 of 2 rows .*time_unit: in a mapping",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_log_that_cannot_be_read_is_refused_with_the_value_and_what_helps(tmp_path: Path, name: str) -> None:
    text, told = REFUSED[name]
    (tmp_path / "log.csv").write_text(text)
    own = None if name == "a list" else OWN | ({"price": "p"} if "price" in name else {})
    with pytest.raises(LogError, match=told) as caught:
        read_log(tmp_path / "log.csv", mapping=own)
    assert "\n" not in str(caught.value)


def test_a_check_of_a_log_writes_the_mapping_that_reads_it(tmp_path: Path, capsys) -> None:
    for make in exports.LOGS:
        own = make()
        path = tmp_path / own.name
        path.write_bytes(own.data)
        assert main([str(path), "--check"]) == 0
        assert f"mapping: {path}.mapping.yaml" in capsys.readouterr().out
        if make is not exports.ga4:  # its parameters stand in lists, which a mapping has no words for
            mapping = yaml.safe_load(Path(f"{path}.mapping.yaml").read_text())
            assert sessions_of(read_log(path, mapping=mapping)) == own.sessions
    path = other_layout(tmp_path / "other.csv")
    assert main([str(path), "--check"]) == 2  # Kauf sounds like a purchase
    assert "event 'Kauf' sounds like a purchase" in capsys.readouterr().err


def test_the_command_reads_a_table_of_another_encoding(tmp_path: Path) -> None:
    events = simulate_events({"human": HUMAN}, {"human": 30}, 5, 2)
    path = logs.write_log(tmp_path / "log.csv", events.assign(page="/Käse"), "whoclickedit")
    path.write_bytes(path.read_text().encode("utf-16"))
    command = [sys.executable, "-m", "marl_pricing.traffic.logs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "utf-16" in done.stdout and f"{len(events):,}" in done.stdout
    assert set(read_log(path).events["page"]) == {"/Käse"}

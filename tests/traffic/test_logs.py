"""Logs: what is written is read back, and what is no record is refused with its line and reason."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from marl_pricing.traffic import kernels, logs
from marl_pricing.traffic.logs import (
    LogError,
    read_log,
    session_features,
    sessions_of,
    simulate_events,
    sources,
    write_log,
)
from marl_pricing.traffic.logs.__main__ import main
from marl_pricing.traffic.logs.detecting import columns_of
from marl_pricing.traffic.logs.schemas import from_mapping
from marl_pricing.traffic.logs.summary import print_summary

HUMAN, AGENT = kernels.default_kernels()
BOTH = {"human": HUMAN, "agent": AGENT}
HEADER = (
    "actor_type,is_agent,record_type,sessionId,experimentId,storeMode,ts,eventName,page,productId,price,userAgent,"
    "metadata_dwellTime"
)
GOOD = "human,false,interaction,s1,e,shop,2026-01-05T10:00:00Z,page_view,/home,,,ua,"
MAPPING = {"format": "csv", "session": "sid", "time": "at", "event": "what", "time_unit": "iso"}


def events_of(counts: dict[str, int], seed: int = 1, **options) -> pd.DataFrame:
    return simulate_events(BOTH, counts, 5, seed, **options)


def json_event(number: int = 0, **changes) -> dict:
    event = {
        "sessionId": "s1",
        "experimentId": "e",
        "storeMode": "shop",
        "eventName": "view_item_page",
        "page": "/items/3",
        "productId": 3,
        "ts": f"2026-01-05T10:00:{number:02d}Z",
        "metadata": {"price": 12.5, "dwellTime": 800},
        "userAgent": "ua",
    }
    return event | changes


def table(tmp_path, *rows: str, header: str = HEADER, name: str = "log.csv"):
    path = tmp_path / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def lines(tmp_path, *rows, name: str = "log.jsonl"):
    path = tmp_path / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


# ---- round trips


@pytest.mark.parametrize("schema", ["p4p", "whoclickedit"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_what_is_written_is_read_back(tmp_path, schema: str, suffix: str) -> None:
    events = events_of({"human": 300, "agent": 300}, prices=np.array([0.1 + 0.2, 1 / 3, 1e-7, 12.0, 99.99]))
    # All that a field may be: missing labels, odd texts, further digits.
    events["actor"] = events["actor"].where(events["session"] != "human-000003")
    events["page"] = np.where(np.arange(len(events)) % 3 == 0, 'a "quoted", name/ä\nsecond line', "/p")
    events["dwell_ms"] = np.where(np.arange(len(events)) % 2 == 0, np.pi * 100, np.nan)
    events["logged_event"] = events["event"].astype("str").replace({"add_item": "add_item_to_cart"})
    events = logs.tidy(events)
    path = write_log(tmp_path / f"log{suffix}", events, schema)
    log = read_log(path, idle_minutes=1e6)
    assert_frame_equal(log.events, events)
    assert (log.rows, log.rejected, log.duplicates, log.split_sessions) == (len(events), 0, 0, 0)
    assert not log.reasons and not log.unknown_events
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == (suffix == ".gz")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_price_records_are_read_back_in_the_table(tmp_path) -> None:
    events = events_of({"human": 20})
    prices = pd.DataFrame(
        {
            "item": ["3", "1"],
            "price": [9.5, 0.1],
            "session": ["human-000001", None],
            "mode": ["shop", None],
            "time": pd.to_datetime(["2026-01-05T10:00:00.25Z", "2026-01-05T09:00:00.00Z"]),
        }
    )
    log = read_log(write_log(tmp_path / "log.csv", events, "whoclickedit", prices))
    assert_frame_equal(log.events, events)
    assert log.prices["item"].tolist() == ["3", "1"]
    assert log.prices["price"].tolist() == [9.5, 0.1]
    assert log.prices["session"].isna().tolist() == [False, True]
    assert log.prices["time"].tolist() == prices["time"].tolist()
    with pytest.raises(ValueError, match="schema='p4p'"):
        write_log(tmp_path / "log.jsonl", events, "p4p", prices)


def test_a_log_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch) -> None:
    path = write_log(tmp_path / "log.jsonl", events_of({"human": 5}))
    before = path.read_bytes()
    monkeypatch.setattr(json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_log(path, events_of({"human": 9}))
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "wrap",
    [
        lambda event: event,
        lambda event: {"value": {"payload": event}},
        lambda event: {"value": {"payload": json.dumps(event)}, "offset": 7},
        lambda event: {"value": json.dumps({"payload": event})},
        lambda event: {"value": json.dumps({"payload": json.dumps(event)})},
        lambda event: {"value": event},
    ],
)
def test_envelopes_are_opened(tmp_path, wrap) -> None:
    log = read_log(lines(tmp_path, *(wrap(json_event(number)) for number in range(3))))
    assert log.events["event"].tolist() == ["view_item"] * 3
    assert log.events["logged_event"].tolist() == ["view_item_page"] * 3
    first = log.events.iloc[0]
    assert (first["item"], first["price"], first["dwell_ms"], first["page"]) == ("3", 12.5, 800.0, "/items/3")
    assert (first["experiment"], first["mode"], first["user_agent"]) == ("e", "shop", "ua")
    assert pd.isna(first["actor"])


@pytest.mark.parametrize(
    "time", ["2026-01-05T10:00:00.250Z", "2026-01-05T11:00:00.25+01:00", "2026-01-05 10:00:00.25", 1767607200250]
)
def test_times_are_utc(tmp_path, time) -> None:
    # A second row in another form, so that forms are mixed.
    log = read_log(lines(tmp_path, json_event(ts=time), json_event(59)))
    assert log.events["time"].iloc[0] == pd.Timestamp("2026-01-05T10:00:00.250Z")
    assert str(log.events["time"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize("time", ["-1", "-0001-06-05T10:00:00Z", "+12026-01-05T10:00:00Z"])
def test_a_time_of_a_year_that_no_calendar_writes_is_no_time(tmp_path, time: str, capsys) -> None:
    path = table(
        tmp_path, *(f"a,2026-01-05T10:00:0{n}Z,sort" for n in range(9)), f"a,{time},sort", header="sid,at,what"
    )
    log = read_log(path, mapping=MAPPING, bad_share=0.2)
    assert (len(log.events), log.rejected, log.reasons["time"]) == (9, 1, 1)
    print_summary(path, log)
    assert "2026-01-05" in capsys.readouterr().out


# ---- any other layout


def test_a_mapping_reads_any_table(tmp_path) -> None:
    path = table(
        tmp_path, "a,1767607200.5,kauf,7,3.5,0", "b,1767607201,page_view,,,1", header="sid,at,what,art,preis,bot"
    )
    mapping = MAPPING | {"time_unit": "s", "item": "art", "price": "preis", "label": "bot", "human": [0], "agent": [1]}
    log = read_log(path, mapping=mapping | {"events": {"kauf": "purchase"}})
    assert log.events["event"].tolist() == ["purchase", "page_view"]
    assert log.events["actor"].tolist() == ["human", "agent"]
    assert log.events["item"].iloc[0] == "7" and log.events["price"].iloc[0] == 3.5
    assert log.events["time"].iloc[0] == pd.Timestamp("2026-01-05T10:00:00.5Z")
    assert not log.unknown_events


def test_a_mapping_may_be_a_file_and_its_log_parquet_or_json(tmp_path) -> None:
    frame = pd.DataFrame(
        {
            "sid": ["a", "a"],
            "at": pd.to_datetime(["2026-01-05T10:00Z", "2026-01-05T10:01Z"]),
            "what": ["sort", "search"],
        }
    )
    frame.to_parquet(tmp_path / "log.parquet")
    file = tmp_path / "m.yaml"
    file.write_text("format: parquet\nsession: sid\ntime: at\nevent: what\ntime_unit: iso\n")
    from_parquet = read_log(tmp_path / "log.parquet", mapping=file)
    assert from_parquet.events["time"].tolist() == frame["at"].tolist()
    rows = [{"sid": "a", "at": 60_000 * n + 1_767_607_200_000, "what": what} for n, what in enumerate(frame["what"])]
    from_json = read_log(lines(tmp_path, *rows), mapping=MAPPING | {"format": "jsonl", "time_unit": "ms"})
    assert_frame_equal(from_json.events, from_parquet.events)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "xml"}, "format='xml': accepted is csv, jsonl, parquet"),
        ({"time_unit": "fortnight"}, "time_unit='fortnight'"),
        ({"time": None}, "time missing"),
        ({"session": 3}, "session=3"),
        ({"colour": "x"}, "'colour' is no key"),
        ({"label": "bot"}, "human=None"),
        ({"human": [1]}, "no column `label`"),
        ({"label": "bot", "human": [1], "agent": [1]}, "both human and agent"),
        ({"events": {"kauf": "buy"}}, "'buy' is no event"),
        ({"item": "art"}, "no column art in the header"),
    ],
)
def test_a_mapping_that_is_none_is_refused(tmp_path, change: dict, told: str) -> None:
    path = table(tmp_path, "a,2026-01-05,sort", header="sid,at,what")
    with pytest.raises(LogError, match=told):
        read_log(path, mapping=MAPPING | change)


def test_a_mapping_file_that_cannot_be_read_is_refused(tmp_path) -> None:
    path = table(tmp_path, "a,2026-01-05,sort", header="sid,at,what")
    (tmp_path / "bad.yaml").write_text("format: [csv\n")
    for name, told in (("none.yaml", "no such mapping"), ("bad.yaml", "no mapping in YAML")):
        with pytest.raises(LogError, match=told) as caught:
            read_log(path, mapping=tmp_path / name)
        assert "\n" not in str(caught.value)


# ---- rows that are no records


def changed(**fields: str) -> str:
    return ",".join((dict(zip(HEADER.split(","), GOOD.split(","), strict=True)) | fields).values())


BAD_ROWS = {
    "no session": [changed(sessionId=" ")],
    "no time": [changed(ts="")],
    "no event": [changed(eventName="")],
    "time": [changed(ts="yesterday"), changed(ts="2026-13-05T10:00:00Z"), changed(ts="1767607200"), changed(ts="NaN")],
    "event": [changed(eventName="frobnicate")],
    "label": [changed(actor_type="robot"), changed(is_agent="perhaps")],
    "is_agent contradicts actor_type": [changed(is_agent="true"), changed(actor_type="agent")],
    "price": [changed(price="-1"), changed(price="NaN"), changed(price="1e999"), changed(price="12 EUR")],
    "dwell time": [changed(metadata_dwellTime="-5")],
    "record_type": [changed(record_type="note")],
    "no item": [changed(record_type="price_log", price="3")],
    "no price": [changed(record_type="price_log", productId="3")],
    "number of fields": ["human,false,interaction,s1", GOOD + ",1,2"],
}


@pytest.mark.parametrize(("reason", "row"), [(reason, row) for reason, rows in BAD_ROWS.items() for row in rows])
def test_a_row_that_is_no_record_is_set_aside(tmp_path, reason: str, row: str) -> None:
    path = table(tmp_path, GOOD, "", row, changed(sessionId="s2"))
    aside = tmp_path / "aside.csv"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log = read_log(path, bad_share=0.5, quarantine=aside)
    assert (log.rows, log.rejected, log.reasons) == (3, 1, {reason: 1})
    assert log.events["session"].tolist() == ["s1", "s2"]
    with aside.open(newline="") as stream:
        header, found = csv.reader(stream)
    assert header == ["line", "reason", "text"]
    # Line 1 is the header and line 3 blank.
    assert found[:2] == ["4", reason]
    # A field is quoted as it was or not at all: texts say the same, space around fields aside.
    assert next(csv.reader([found[2]])) == next(csv.reader([row]))


JSON_FAULTS = {
    "not JSON": ["{'sessionId': 1}", "[1, 2]", '{"sessionId": "s1"', json.dumps({"value": "no event"})],
    "no session": [json_event(sessionId=None)],
    "time": [json_event(ts="soon"), json_event(ts=True)],
    "price": [json_event(metadata={"price": -2}), json_event(metadata={"price": float("nan")})],
    "label": [json_event(metadata={"actor_type": "dog"})],
    "is_agent contradicts actor_type": [json_event(actor_type="human", is_agent=True)],
}


@pytest.mark.parametrize(("reason", "row"), [(reason, row) for reason, rows in JSON_FAULTS.items() for row in rows])
def test_a_line_that_is_no_event_is_set_aside(tmp_path, reason: str, row) -> None:
    path = lines(tmp_path, json_event(1), row, json_event(2))
    log = read_log(path, bad_share=0.5, quarantine=tmp_path / "aside.csv")
    assert (log.rows, log.rejected, log.reasons) == (3, 1, {reason: 1})
    with (tmp_path / "aside.csv").open(newline="") as stream:
        found = list(csv.reader(stream))[1:]
    assert found == [["2", reason, row if isinstance(row, str) else json.dumps(row)]]


def test_a_garbled_first_line_does_not_hide_what_a_file_is(tmp_path) -> None:
    log = read_log(lines(tmp_path, "#!", *(json_event(n) for n in range(40))))
    assert (log.rows, log.rejected) == (41, 1)


def test_too_many_bad_rows_refuse_the_file(tmp_path) -> None:
    rows = [changed(sessionId=f"s{n}") for n in range(18)]
    path = table(tmp_path, *rows, changed(price="-1"), changed(ts="never"))
    aside = tmp_path / "aside.csv"
    assert read_log(path, bad_share=0.1).rejected == 2
    with pytest.raises(LogError) as caught:
        read_log(path, bad_share=0.0999, quarantine=aside)
    assert str(caught.value) == (
        f"{path}:20: price '-1'; 2 of 20 rows (10 %) are no records, accepted are 9.99 %; "
        "decimal: in a mapping sets its decimal sign"
    )
    assert len(aside.read_text().splitlines()) == 3


def test_lines_are_told_across_chunks(tmp_path) -> None:
    rows = [changed(sessionId=f"s{n}") for n in range(1000)]
    wrong = {17: "1,2,3", 400: changed(price="-1"), 401: GOOD + ",", 402: "x", 999: "end"}
    for line, row in wrong.items():
        rows[line - 2] = row
    path = table(tmp_path, *rows)
    for chunk_rows in (7, 100, 10**6):
        log = read_log(path, chunk_rows=chunk_rows, quarantine=tmp_path / "aside.csv")
        with (tmp_path / "aside.csv").open(newline="") as stream:
            assert sorted(int(row[0]) for row in list(csv.reader(stream))[1:]) == sorted(wrong)
        assert log.rejected == 5 and log.rows == 1000


# ---- files that are no logs


def test_a_file_that_is_no_log_is_refused_in_one_line(tmp_path) -> None:
    whole = write_log(tmp_path / "whole.gz", events_of({"human": 500})).read_bytes()
    table_whole = write_log(tmp_path / "table.gz", events_of({"human": 500}), "whoclickedit").read_bytes()
    cases = {
        "empty.csv": (b"", r"empty\.csv: the file is empty"),
        "empty.gz": (gzip.compress(b""), r"empty\.gz: the file is empty"),
        "header.csv": (HEADER.encode() + b"\n", "no usable row"),
        "headless.csv": (
            GOOD.encode() + b"\n",
            "headless.csv:1: no layout that is known .* no column sounds like session",
        ),
        "other.csv": (b"record_type,sessionId,ts\n1,2,3\n", "no column eventName in the header .*accepts sessionId"),
        "twice.csv": (HEADER.encode() + b",price\n", "column price is there more than once"),
        "latin.jsonl": (b'{"sessionId": 1}\n{"page": "K\xe4se"}\n', "latin.jsonl:2: not UTF-8"),
        "nul.csv": (f"{HEADER}\n{GOOD}\0\n".encode(), "nul.csv:2: there are 1 NUL bytes"),
        "cut.gz": (whole[:-40], "cut.gz: the compressed file is cut short"),
        "cut_table.gz": (table_whole[: len(table_whole) // 2], "cut_table.gz: the compressed file is cut short"),
        "damaged.gz": (whole[:200] + b"\0" * 50 + whole[250:], "damaged.gz: the compressed file is cut short or"),
        "plain.gz": (HEADER.encode(), "not compressed with gzip"),
        "all_bad.jsonl": (b"{\n{\n", "all_bad.jsonl:1: not JSON, .{.; 2 of 2 rows"),
    }
    for name, (content, told) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(LogError, match=told) as caught:
            read_log(path, bad_share=1.0)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(path))
    with pytest.raises(LogError, match="there is no such file"):
        read_log(tmp_path / "none.csv")
    (tmp_path / "text.parquet").write_text("sid")
    pd.DataFrame({"sid": ["a"], "at": [0], "what": ["sort"]}).to_parquet(tmp_path / "page.parquet")
    content = (tmp_path / "page.parquet").read_bytes()
    (tmp_path / "page.parquet").write_bytes(content[:4] + bytes([0xFF] * 16) + content[20:])  # a page's header
    (tmp_path / "name.parquet").write_bytes(content.replace(b"sid", b"\xff\xfed"))
    for name in ("text", "page", "name"):
        with pytest.raises(LogError, match=rf"{name}\.parquet:") as caught:
            read_log(tmp_path / f"{name}.parquet", mapping=MAPPING | {"format": "parquet"})
        assert "\n" not in str(caught.value)
    with pytest.raises(LogError, match=r"name\.parquet: cannot be read, 'utf-8'"):
        columns_of(tmp_path / "name.parquet", from_mapping(MAPPING | {"format": "parquet"}))


def test_a_byte_order_mark_is_accepted(tmp_path) -> None:
    for path in (table(tmp_path, GOOD), lines(tmp_path, json_event())):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert len(read_log(path).events) == 1


@pytest.mark.parametrize(
    "options", [{"bad_share": 1.5}, {"idle_minutes": 0.0}, {"chunk_rows": 0}, {"schema": "apache"}]
)
def test_arguments_that_cannot_be_had_are_refused(tmp_path, options: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        read_log(table(tmp_path, GOOD), **options)


# ---- what becomes of rows


@pytest.mark.slow
def test_chunks_make_no_difference(tmp_path) -> None:
    events = events_of({"human": 14_000, "agent": 14_000}, seed=4)
    big = pd.concat([events, events.assign(session="b-" + events["session"])])
    path = write_log(tmp_path / "log.csv", big, "whoclickedit")
    header, *rows = path.read_text().splitlines(keepends=True)
    assert len(rows) == len(big) > 300_000
    np.random.default_rng(0).shuffle(rows)
    rows[123_456] = "x\n"
    path.write_text("".join([header, *rows, *rows[:1000]]))
    whole, parts = (read_log(path, chunk_rows=size, idle_minutes=0.2) for size in (10**9, 50_000))
    # Seconds faster than assert_frame_equal, and as strict but for the types.
    assert whole.events.equals(parts.events)
    assert (whole.events.dtypes == parts.events.dtypes).all()
    for name in ("rows", "rejected", "reasons", "duplicates", "split_sessions"):
        assert getattr(whole, name) == getattr(parts, name), name
    assert whole.rows == len(big) + 1000 and whole.rejected == 1 and whole.duplicates == 1000
    assert whole.split_sessions > 1000 and whole.reasons["out_of_order"] > 10_000
    # And what was read is what was written, the lost row aside.
    assert len(whole.events) == len(big) - 1


def test_an_idle_session_is_split(tmp_path) -> None:
    minutes = {"a": [0, 30, 60.02, 100, 101], "b": [0, 29]}
    rows = [
        json_event(sessionId=name, ts=1767607200000 + round(minute * 60_000))
        for name, times in minutes.items()
        for minute in times
    ]
    log = read_log(lines(tmp_path, *rows))
    assert log.split_sessions == 1
    assert log.events["session"].tolist() == ["a", "a", "a#2", "a#3", "a#3", "b", "b"]
    assert read_log(lines(tmp_path, *rows), idle_minutes=45).split_sessions == 0
    again = read_log(write_log(tmp_path / "again", log.events))
    assert_frame_equal(again.events, log.events)
    with pytest.raises(LogError, match="session 'a#2' is there"):
        read_log(lines(tmp_path, *rows, json_event(sessionId="a#2")))


def test_duplicates_are_dropped_and_times_sorted(tmp_path) -> None:
    same = json_event(5)
    log = read_log(lines(tmp_path, same, json_event(7), same, json_event(6), json_event(5, productId=4)))
    # Going back: from 7 to 5, and from 6 to 5.
    assert log.reasons == {"out_of_order": 2}
    assert (log.duplicates, log.rejected, log.rows) == (1, 0, 5)
    assert log.events["time"].dt.second.tolist() == [5, 5, 6, 7]
    assert log.events["item"].tolist() == ["3", "4", "3", "3"]


def test_both_generations_of_names_mean_the_same(tmp_path) -> None:
    old = ["page_view", "view_item_page", "add_item_to_cart", "remove_item_from_cart", "checkout_start"]
    new = ["view_page", "item_view", "cart_add", "remove_item", "begin_checkout"]
    rows = [json_event(n, eventName=name, sessionId=s) for s, names in zip("ab", (old, new), strict=True)
            for n, name in enumerate(names)]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log = read_log(lines(tmp_path, *rows))
    first, second = sessions_of(log)
    assert first == second == ["page_view", "view_item", "add_item", "remove", "checkout"]
    assert not log.unknown_events


def test_unknown_names_are_reported_once(tmp_path) -> None:
    names = ["view_gallery"] * 3 + ["frobnicate"] + ["page_view"] * 40
    path = lines(tmp_path, *(json_event(n, eventName=name) for n, name in enumerate(names)))
    with pytest.warns(UserWarning, match="not in the vocabulary") as caught:
        log = read_log(path, chunk_rows=2)
    assert len(caught) == 1
    assert "'frobnicate' (1) dropped, 'view_gallery' (3) as view_item" in str(caught[0].message)
    assert log.unknown_events == {"view_gallery": 3, "frobnicate": 1}
    assert log.reasons == {"event": 1}


# ---- sessions


def test_sessions_become_kernels_again(tmp_path) -> None:
    events = events_of({"human": 20_000, "agent": 50}, seed=3)
    log = read_log(write_log(tmp_path / "log.csv", events, "whoclickedit"))
    sessions = sessions_of(log, "human")
    assert len(sessions) == 20_000 and len(sessions_of(log)) == 20_050
    encoded = [kernels.encode(session, HUMAN.states) for session in sessions]
    counts = kernels.estimate(encoded, HUMAN.states, 0.0).counts
    assert counts is not None
    visits = counts.sum(1, keepdims=True)
    error = np.sqrt(HUMAN.matrix * (1 - HUMAN.matrix) / np.maximum(visits, 1))[:-1]
    off = np.abs(counts / np.maximum(visits, 1) - HUMAN.matrix)[:-1]
    assert (visits[:-1] > 1000).all()
    assert (off <= 4 * error + 1e-12).all()


def test_features_of_sessions() -> None:
    words = ["session_start", "page_view", "view_item", "add_item", "purchase", "session_end"]
    events = logs.tidy(
        pd.DataFrame(
            {
                "session": ["a"] * 6 + ["b"] * 2 + ["c"],
                "actor": ["human"] * 6 + ["agent"] * 2 + [None],
                "event": [*words, "session_start", "session_end", "search"],
                "time": pd.to_datetime([0, 1, 3, 4, 7, 20, 0, 1, 5], unit="s", utc=True),
            }
        )
    )
    features = session_features(events)
    a, b, c = (features.loc[name] for name in "abc")
    assert (a["events"], a["views"], a["carts"], a["purchases"], a["actor"]) == (4, 2, 1, 1, "human")
    assert (a["duration_seconds"], a["mean_gap_seconds"]) == (6.0, 2.0)
    assert a["velocity"] == pytest.approx(4 / (6 + 1e-6), rel=1e-12)
    assert a["conversion"] == pytest.approx(1 / (2 + 1e-6), rel=1e-12)
    assert (b["events"], b["velocity"], b["actor"]) == (0, 0.0, "agent")
    assert c["velocity"] == pytest.approx(1e6) and pd.isna(c["actor"])
    both = events.assign(actor=["human", "agent"] + ["human"] * 7)
    with pytest.raises(LogError, match="session 'a' has rows of both"):
        session_features(both)


def test_simulated_times_items_and_prices() -> None:
    prices = np.array([3.0, 5.0, 8.0])
    attention = {"agent": np.array([0.7, 0.2, 0.1])}
    counts = {"human": 4000, "agent": 4000}
    events = simulate_events(BOTH, counts, 3, 2, prices=prices, attention=attention, ends=False)
    assert_frame_equal(events, simulate_events(BOTH, counts, 3, 2, prices=prices, attention=attention, ends=False))
    assert (events["price"] == prices[events["item"].astype(int)]).all()
    for actor, scale, shares in (("human", 3.0, np.full(3, 1 / 3)), ("agent", 0.6, attention["agent"])):
        own = events[events["actor"] == actor]
        gaps = own.groupby("session")["time"].diff().dropna().dt.total_seconds()
        assert abs(gaps.mean() - 2 * scale) < 4 * scale * np.sqrt(2 / len(gaps))
        seen = own["item"].astype(int).value_counts(normalize=True).sort_index()
        assert (np.abs(seen - shares) < 4 * np.sqrt(shares * (1 - shares) / len(own))).all()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"counts": {"cat": 1}}, "counts='cat'"),
        ({"counts": {"human": -1}}, "counts.human=-1"),
        ({"counts": {}}, "counts="),
        ({"num_items": 0}, "num_items=0"),
        ({"prices": np.array([1.0])}, "prices="),
        ({"attention": {"human": np.ones(2)}}, "attention.human="),
    ],
)
def test_simulations_that_cannot_be_had_are_refused(options: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        simulate_events(**({"kernels": BOTH, "counts": {"human": 1}, "num_items": 2, "seed": 1} | options))


def test_a_session_is_its_actors_also_where_rows_do_not_say(tmp_path) -> None:
    rows = [
        changed(actor_type="", is_agent=""),
        changed(actor_type="", is_agent="false", eventName="sort", ts="2026-01-05T10:00:01Z"),
        changed(sessionId="s2", actor_type="Agent", is_agent="", eventName="search"),
        changed(sessionId="s3", actor_type="", is_agent=""),
    ]
    log = read_log(table(tmp_path, *rows))
    assert sessions_of(log, "human") == [["page_view", "sort"]]
    assert sessions_of(log, "agent") == [["search"]]
    assert sessions_of(log) == [["page_view", "sort"], ["search"], ["page_view"]]


# ---- the command


def test_the_command_tells_what_is_in_a_log(tmp_path, capsys) -> None:
    path = table(tmp_path, GOOD, changed(sessionId="s2", eventName="purchase", productId="7", price="3"), "x")
    assert main([str(path), "--bad-share", "0.5", "--quarantine", str(tmp_path / "q.csv")]) == 0
    out = capsys.readouterr().out
    rows = [" ".join(word for word in line.split() if word not in "│┃") for line in out.splitlines()]
    for told in ("rows 3", "rejected 1", "number of fields 1", "human 2 1.00 1 1 50.00%", "purchase 1 50.00%",
                 "prices of events 3.00 to 3.00", "items 1"):  # fmt: skip
        assert told in rows
    assert (tmp_path / "q.csv").read_text().splitlines() == ["line,reason,text", "4,number of fields,x"]
    mapping = tmp_path / "m.yaml"
    mapping.write_text("{format: csv, session: sid, time: at, event: what, time_unit: iso}")
    other = table(tmp_path, "a,2026-01-05,sort", header="sid,at,what", name="other.csv")
    assert main([str(other), "--mapping", str(mapping)]) == 0
    assert "nobody known" in capsys.readouterr().out


def test_the_command_says_how_unknown_names_were_understood(tmp_path, capsys) -> None:
    path = table(tmp_path, GOOD, changed(eventName="view_gallery"))
    assert main([str(path)]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{path}: event names that are not in the vocabulary: 'view_gallery' (1) as view_item"
    ]


def test_a_terminal_is_shown_how_far_a_long_reading_is(tmp_path, monkeypatch, capsys) -> None:
    path = table(tmp_path, *(changed(sessionId=f"s{n}") for n in range(100)))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    read_log(path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sources, "_PATIENCE", -1.0)
    read_log(path, chunk_rows=10)
    assert "reading log.csv" in capsys.readouterr().err


def test_an_error_of_the_command_is_one_line(tmp_path, capsys) -> None:
    both = table(tmp_path, GOOD, changed(actor_type="agent", is_agent="true", eventName="sort"))
    for arguments, told in (
        ([str(both)], "session 's1' has rows of both a human and an agent"),
        ([str(both), "--bad-share", "2"], "bad_share=2.0: accepted is a number from 0 to 1"),
        ([str(both), "--mapping", str(tmp_path / "m.yaml")], f"{tmp_path / 'm.yaml'}: there is no such mapping"),
    ):
        assert main(arguments) == 2
        out, error = capsys.readouterr()
        assert (out, error) == ("", told + "\n")


def test_the_command_says_in_one_line_what_is_wrong(tmp_path) -> None:
    command = [sys.executable, "-m", "marl_pricing.traffic.logs", str(tmp_path / "none.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f"{tmp_path / 'none.csv'}: there is no such file"]

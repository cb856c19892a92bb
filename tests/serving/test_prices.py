"""What a shopper is told, for how long, and why."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from marl_pricing.serving import event_api, price_api
from tests.serving.asking import T0, shop, stamp

TWIN = "/api/hotel/price/hotel-twin"


@pytest.fixture
def at(monkeypatch):
    """Sets the server's clock, in seconds after T0."""

    def setting(seconds: float) -> None:
        for module in (event_api, price_api):
            monkeypatch.setattr(module, "now_ms", lambda: T0 + round(seconds * 1000))

    setting(0)
    return setting


@pytest.fixture
def admin(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "key").write_text("0123456789abcdef")
    return {"admin_key_file": str(tmp_path / "key")}


KEY = {"authorization": "Bearer 0123456789abcdef"}


def test_a_session_keeps_its_price_for_half_an_hour_and_a_restart_keeps_it(tmp_path, at) -> None:
    with shop(tmp_path, surge_high=4.0, surge_low=0.0) as own:
        assert own.get(f"{TWIN}?sessionId=early").json["price"] == 124.0
        own.event("add_item_to_cart", 1, product="hotel-twin")
        own.until(300)
        at(301)
        late = own.get(f"{TWIN}?sessionId=late").json
        assert (late["price"], late["model_version"], late["markup"]) == (148.8, "surge", 1.2)
        assert own.get(f"{TWIN}?sessionId=early").json["price"] == 124.0
        assert own.get(TWIN).json["price"] == 148.8
        at(1799.999)
        assert own.get(f"{TWIN}?sessionId=early").json["model_version"] == "base"
    with shop(tmp_path, surge_high=4.0, surge_low=0.0) as own:
        assert own.get(f"{TWIN}?sessionId=early").json["price"] == 124.0
        at(1800)
        assert own.get(f"{TWIN}?sessionId=early").json["price"] == 148.8
        assert own.get(f"{TWIN}?sessionId=late").json["valid_until"] == T0 + 301_000 + 1_800_000
        own.until(2500)
        at(2500)
        assert own.get(f"{TWIN}?sessionId=late").json["price"] == 111.6


def test_interest_marks_up_and_a_suspected_agent_is_left_out(tmp_path, at) -> None:
    given = {"pricer": "session", "kernels": "storefront", "withhold_above": 0.5, "markup_strength": 0.5}
    with shop(tmp_path, **given) as own:
        for number in range(3):
            own.event("view_item_page", number, "keen", product="hotel-twin")
        own.event("add_item_to_cart", 5, "keen", product="hotel-twin")
        own.service.settle()
        judge = own.service.judge
        assert judge is not None
        # A session that always does what tells an agent most.
        path, before = [], 0
        for number in range(40):
            before = max(range(1, len(judge.states) - 1), key=lambda state: judge.ratios[before][state])
            path.append([number, before])
        assert judge.chance(path) > 0.99
        seen = own.service.runner.pipeline.sessions["keen"]
        own.service.runner.pipeline.sessions["robot"] = type(seen)(0, seen.interest, {}, path)
        new = own.get(f"{TWIN}?sessionId=new").json
        keen, robot = (own.get(f"{TWIN}?sessionId={name}").json for name in ("keen", "robot"))
        assert keen["price"] == pytest.approx(124.0 * (1 + 0.5 / (1 + math.exp(-(5 - 4) / 1.25))), abs=0.005)
        assert new["price"] == pytest.approx(124.0 * (1 + 0.5 / (1 + math.exp(4 / 1.25))), abs=0.005)
        assert (robot["price"], robot["model_version"]) == (124.0, "session-aware")
        assert keen["model_version"] == "session-aware" and keen["uses_personal_data"]
        assert not own.get(TWIN).json["uses_personal_data"]


def test_switches_hold_at_once_and_after_a_restart(tmp_path, at, admin) -> None:
    given = {"surge_high": 4.0, "surge_low": 0.0, "pricer": "surge"} | admin
    with shop(tmp_path / "shop", **given) as own:
        own.event("add_item_to_cart", 1, product="hotel-twin")
        own.until(300)
        assert own.get(f"{TWIN}?sessionId=a").json["price"] == 148.8
        for wrong, field in (
            ({"kill": 1, "reason": "x"}, "kill"), ({"reason": "x"}, "kill"), ({"kill": True}, "reason"),
            ({"frozen": ["none"], "reason": "x"}, "frozen"), ({"stop": True, "reason": "x"}, "stop"),
        ):  # fmt: skip
            refused = own.post("/admin/switches", wrong, **KEY)
            assert (refused.status, refused.json["field"]) == (404 if field == "frozen" else 422, field)
        done = own.post("/admin/switches", {"kill": True, "reason": "a bad night"}, **KEY)
        assert done.json["switches"] == {"kill": True, "reason": "a bad night"}
        assert own.get(f"{TWIN}?sessionId=a").json["price"] == 124.0
    with shop(tmp_path / "shop", **given) as own:
        assert own.get(TWIN).json["price"] == 124.0
        own.post("/admin/switches", {"kill": False, "shadow": True, "reason": "morning"}, **KEY)
        assert own.get(TWIN).json["model_version"] == "base"
        own.post("/admin/switches", {"shadow": False, "reason": "noon"}, **KEY)
        assert own.get(TWIN).json["price"] == 148.8


def test_the_audit_says_why_a_session_saw_a_price(tmp_path, at, admin) -> None:
    with shop(tmp_path / "shop", surge_high=4.0, surge_low=0.0, ending=0.99, **admin) as own:
        own.event("add_item_to_cart", 1, product="hotel-twin")
        own.until(300)
        at(310)
        price = own.get(f"{TWIN}?sessionId=a").json["price"]
        at(320)
        own.get("/api/hotel/price/hotel-suite?sessionId=a")
        own.service.writer.submit(lambda log: None).result(60)
        (told,) = own.get(f"/admin/audit?sessionId=a&productId=hotel-twin&at={stamp(400)}", **KEY).json["data"]
        assert (told["price"], told["at"]) == (price, T0 + 310_000) and "uses_personal_data" not in told
        assert price == 148.99 and told["moved_by"] == ["ending"] and told["vector_version"] == 1
        assert told["line"]["wanted"] == pytest.approx(148.8) and told["line"]["proxy"] == 4.0
        assert told["pricer_version"].startswith("surge-")
        assert len(own.get("/admin/audit?sessionId=a", **KEY).json["data"]) == 2
        assert own.get(f"/admin/audit?sessionId=a&at={stamp(300)}", **KEY).json["data"] == []
        assert own.get("/admin/audit", **KEY).json["field"] == "sessionId"
        (vector,) = own.get("/admin/vectors", **KEY).json["data"]
        assert vector["prices"]["hotel-twin"] == 148.99
        assert own.post("/api/kafka/ingest", b"{").status == 400
        (letter,) = own.get("/admin/dead-letters", **KEY).json["data"]
        assert (letter["field"], letter["body"]) == ("body", "{")


def test_prices_are_stale_when_a_window_was_missed(tmp_path, at) -> None:
    with shop(tmp_path, clock="wall") as own:
        own.service.book.started = T0
        assert not own.get(TWIN).json["stale"]
        at(601)
        assert own.get(TWIN).json["stale"]


def test_a_catalogue_is_taken_up_and_one_that_is_wrong_is_not(tmp_path: Path, at) -> None:
    catalogue = tmp_path / "shop.csv"
    head = "id,mode,name,base_price,cost,floor,cap,stock\n"
    catalogue.write_text(head + "a,hotel,A,100,50,60,150,\n")
    with shop(tmp_path / "shop", catalogue=str(catalogue), surge_high=1.0, surge_low=0.0) as own:
        own.event("page_view", 1, product="a")
        own.until(300)
        assert own.get("/api/hotel/price/a").json["price"] == 120.0
        catalogue.write_text(head + "a,hotel,A,90,50,60,110,\nb,airline,B,10,5,5,20,3\n")
        assert own.post("/models/reload", b"").json == {"success": True, "changed": True, "products": 2}
        assert own.get("/api/hotel/price/a").json["price"] == 90.0  # 120 is above the new cap
        assert own.get("/api/airline/price/b").json["price"] == 10.0
        own.event("page_view", 301, product="a")
        own.until(600)
        # From 120 it goes down as far as a change may go, and the cap further: 108 is wanted.
        assert own.get("/api/hotel/price/a").json["price"] == 108.0
        catalogue.write_text(head + "a,hotel,A,90,95,60,110,\n")
        refused = own.post("/models/reload", b"")
        assert refused.status == 422 and "cost <= floor <= base_price <= cap" in refused.json["error"]
        assert own.get("/api/airline/price/b").status == 200


def test_a_log_that_cannot_be_written_answers_503_and_prices_go_on(tmp_path, at) -> None:
    with shop(tmp_path) as own:
        log = own.service.writer._log
        log._db.execute(f"pragma max_page_count={log._db.execute('pragma page_count').fetchone()[0]}")
        answers = [own.event("search", number, metadata={"text": "x" * 20_000}) for number in range(8)]
        failed = [answer for answer in answers if answer.status != 200]
        assert failed and {answer.status for answer in failed} == {503}
        assert {answer.headers["retry-after"] for answer in failed} == {"1"}
        assert own.get(TWIN).json["price"] == 124.0
        assert own.get("/health").json["status"] == "degraded"
        log._db.execute("pragma max_page_count=1000000")
        assert own.event("search", 99).status == 200
        own.service.settle()
        kept = own.get("/api/kafka/dump").json["count"]
        assert kept == len(answers) - len(failed) + 1
        assert json.loads(own.get("/health").body)["fault"] is None

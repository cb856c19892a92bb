"""The storefront's requests as its contract documents them, and a thousand that are not."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from marl_pricing.serving.schemas import EVENTS, RefusedError, interaction, parse_stamp, price_shown, read_object
from tests.serving.asking import interaction as posted
from tests.serving.asking import request, shop, stamp

PRICE = {"productId": "hotel-queen", "price": 119.0, "sessionId": "s1", "storeMode": "hotel", "ts": stamp(1)}


def test_every_event_of_the_contract_is_taken_once_and_dumped_as_it_came(tmp_path) -> None:
    with shop(tmp_path) as own:
        sent = []
        for number, name in enumerate(EVENTS):
            data = posted(name, number, product="hotel-queen", experimentId="e1", userAgent="Mozilla/5.0")
            data["metadata"] = {
                "dwellTime": 1500,
                "elementText": "Zimmer mit Aussicht ½",
                "nights": 2,
                "viewport": [1, 2],
            }
            answer = own.post("/api/kafka/ingest", data)
            assert (answer.status, answer.json["success"], answer.json["duplicate"]) == (200, True, False), answer.body
            again = own.post("/api/kafka/ingest", data)
            assert (again.status, again.json["duplicate"]) == (200, True)
            sent.append(data)
        dumped = own.get("/api/kafka/dump?topic=user-interactions&last_n=&t_start=&t_end=").json
        assert (dumped["success"], dumped["count"], dumped["data"]) == (True, len(EVENTS), sent)
        some = own.get(f"/api/kafka/dump?topic=user-interactions&last_n=3&t_end={stamp(9)}").json["data"]
        assert some == sent[7:10]
        assert own.post("/api/kafka/price-log", PRICE).status == 200
        assert own.get("/api/kafka/dump?topic=price-logs").json["data"] == [PRICE]


def test_products_are_those_of_the_catalogue_without_costs(tmp_path) -> None:
    with shop(tmp_path) as own:
        query = "dateIndex=2&origin=&destination=&adults=2&children=0&infants=0&rooms=1"
        hotels = own.get(f"/api/products/type/hotel?{query}").json
        assert [own_["storeMode"] for own_ in hotels] == ["hotel"] * 6
        assert not {"cost", "floor", "cap", "stock"} & set(hotels[0])
        flights = own.get("/api/products/type/airline?origin=SEA&destination=LAX").json
        assert len(flights) == 3
        assert own.get(f"/api/products/{hotels[0]['id']}").json == hotels[0]
        assert own.get("/api/products/none").json["field"] == "productId"
        refused = own.get("/api/products/type/hotel?adults=two")
        assert (refused.status, refused.json["field"]) == (422, "adults")
        for product in hotels + flights:
            told = own.get(f"/api/{product['type']}/price/{product['id']}?sessionId=s1&experimentId=e1")
            assert told.status == 200
            assert told.json["price"] == product["base_price"] and told.json["model_version"] == "base"
            assert told.json["markup"] == 1.0 and isinstance(told.json["elasticity"], float)
        assert own.get("/health").json["status"] == "ok"
        assert [model["name"] for model in own.get("/models").json["models"] if model["active"]] == ["surge"]
        assert own.post("/models/reload", b"").json["changed"] is False
        assert b"marl_pricing_lookups_total" in own.get("/metrics").body
        assert "/api/{mode}/price/{productId}" in own.get("/openapi.json").json["paths"]


FAULTS: list[tuple[str, Any]] = [
    ("sessionId", None), ("sessionId", ""), ("sessionId", 7), ("sessionId", "x" * 129), ("sessionId", "a\u0000b"),
    ("sessionId", "\ud800"), ("storeMode", "train"), ("storeMode", []), ("eventName", "view"), ("eventName", None),
    ("page", 3), ("page", None), ("ts", "yesterday"), ("ts", "9999-12-31T23:59:59Z"), ("ts", "1970-01-01T00:00:00Z"),
    ("ts", "2026-02-30T00:00:00Z"), ("ts", 1e12), ("ts", None), ("ts", "2026-01-01"), ("productId", {}),
    ("productId", "x" * 200), ("metadata", "text"), ("metadata", [1]), ("userAgent", 5), ("experimentId", False),
    ("other", 1), ("__proto__", {}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), FAULTS)
def test_a_fault_is_named_by_its_field(field: str, value: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        interaction(posted("view_item_page", product="hotel-queen") | {field: value}, 0, False)
    assert refused.value.field == field and str(refused.value).startswith(f"{field}: ")


def test_what_a_type_of_event_needs_is_asked_of_it() -> None:
    for name in EVENTS:
        needs = name in ("view_item_page", "learn_more_about_item", "add_item_to_cart", "remove_item")
        if needs:
            with pytest.raises(RefusedError, match=r"^productId: has to be given"):
                interaction(posted(name), 0, False)
        else:
            interaction(posted(name), 0, False)
    with pytest.raises(RefusedError, match=r"^metadata.dwellTime: "):
        interaction(posted("hover_over_link", metadata={"dwellTime": "long"}), 0, False)
    with pytest.raises(RefusedError, match=r"^price: "):
        price_shown(PRICE | {"price": "119"}, 0, False)
    with pytest.raises(RefusedError, match=r"^metadata: "):
        interaction(posted("search", metadata={"a": float("1e999")}), 0, False)
    with pytest.raises(RefusedError, match=r"^ts: .* at most a day ahead"):
        interaction(posted("search"), 0, True)
    assert parse_stamp("2026-01-31T12:00:00.123456789Z", "ts") == parse_stamp("2026-01-31T13:00:00.123+01:00", "ts")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"nul", b"\xff\xfe{}", b'{"a":NaN}', b"[" * 100_000, b'{"ts":' + b"9" * 5000 + b"}",
        b'{"a":1,"a":2}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError):
        read_object(body)


def test_a_thousand_variations_are_answered_and_what_is_refused_is_kept_with_the_reason(tmp_path) -> None:
    drawn = random.Random(1)
    values: list[Any] = [
        None, True, -1, 0, 1e308, 10**30, "", "x" * 5000, "½\u202e", "\ud800", "'; drop table records; --", [], {},
        {"a": {"b": [1]}}, "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "<script>", "hotel",
    ]  # fmt: skip
    paths = ("/api/kafka/ingest", "/api/kafka/price-log")

    def vary(number: int) -> tuple[str, bytes]:
        path = drawn.choice(paths)
        data: dict[str, Any] = dict(
            posted("add_item_to_cart", number, product="hotel-twin") if path == paths[0] else PRICE
        )
        for _ in range(drawn.randint(1, 3)):
            name = drawn.choice([*data, "extra", "é"]) if data else "extra"
            how = drawn.randrange(3)
            if how == 0:
                data.pop(name, None)
            else:
                data[name] = drawn.choice(values)
        body = bytearray(json.dumps(data).encode())
        if drawn.random() < 0.2:
            body[drawn.randrange(len(body))] = drawn.randrange(256)
        return path, bytes(body)

    sent = [vary(number) for number in range(1000)] + [(paths[0], b'{"sessionId":"' + b"a" * 10_000_000 + b'"}')]
    with shop(tmp_path) as own:

        async def all_of_them() -> list[Any]:
            app = own.service.event_app
            return await asyncio.gather(*(request(app, "POST", path, body) for path, body in sent))

        answers = asyncio.run(all_of_them())
        refused = [answer for answer in answers if answer.status != 200]
        assert {answer.status for answer in answers} == {200, 400, 413, 422}
        assert all(answer.json["field"] and answer.json["error"] for answer in refused)
        assert len(refused) > 500
        letters = own.service._reader.refused(2000)
        assert len(letters) == len(refused) and all(letter.reason for letter in letters)
        assert {letter.body for letter in letters} == {
            body[:65_536] for (_, body), answer in zip(sent, answers, strict=True) if answer.status != 200
        }
        own.service.settle()  # what was taken is folded without a fault
        assert own.service.book.fault is None


def test_keys_are_asked_for_and_admin_is_off_without_one(tmp_path) -> None:
    for name in ("ingest", "price", "admin"):
        (tmp_path / name).write_text(f"{name}-0123456789abcdef\n")
    with shop(tmp_path / "open") as own:
        assert own.get("/admin/audit?sessionId=s1").status == 403
        assert own.post("/admin/switches", {"kill": True, "reason": "x"}).status == 403
    keys = {f"{name}_key_file": str(tmp_path / name) for name in ("ingest", "price", "admin")}
    with shop(tmp_path / "shut", **keys, cors=["https://shop.example"]) as own:
        for path, name in (
            ("/api/kafka/dump", "ingest"),
            ("/api/hotel/price/hotel-twin", "price"),
            ("/admin/vectors", "admin"),
        ):
            right = f"Bearer {name}-0123456789abcdef"
            for wrong in ("", right[:-1], right + "x", right.replace("Bearer", "Basic"), "Bearer é"):
                answer = own.get(path, authorization=wrong)
                assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert own.get(path, authorization=right).status == 200
        assert own.post("/api/kafka/ingest", posted("search")).status == 401
        assert own.get("/health", origin="https://shop.example").headers["access-control-allow-origin"]
        assert "access-control-allow-origin" not in own.get("/health", origin="https://else.example").headers

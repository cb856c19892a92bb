"""What the storefront posts its events to, and asks for its products."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from marl_pricing.serving.catalogue import MODES
from marl_pricing.serving.http import (
    PRINTABLE,
    Endpoint,
    HttpError,
    add,
    answer,
    build_app,
    check_key,
    query,
    read_body,
    whole,
    whole_number,
)
from marl_pricing.serving.log import INTERACTIONS, PRICES, TOPICS, Record, Refusal
from marl_pricing.serving.pipeline import RIVALS, STOCK
from marl_pricing.serving.schemas import (
    ABOUT_A_PRODUCT,
    EVENTS,
    FIRST,
    LAST,
    MOST_PRICE,
    SCHEMAS,
    STAMP_PATTERN,
    RefusedError,
    number,
    parse_stamp,
    read_object,
)
from marl_pricing.serving.telemetry import CONTENT_TYPE

if TYPE_CHECKING:
    from marl_pricing.serving.service import Service

MOST_DUMPED = 10_000
MOST_UNITS = 1e9
MOST_SEARCHED = 10_000  # of days, guests and rooms
# Of a search in the storefront; the catalogue has one price a product, so that they are checked and change nothing.
_NUMBERS = ("dateIndex", "adults", "children", "infants", "rooms")


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _posting(service: Service, topic: str) -> Any:
    schema, wall = SCHEMAS[topic], service.settings.clock == "wall"
    told = service.telemetry.events
    taken, again, refused = (told.labels(topic, name) for name in ("taken", "duplicate", "refused"))

    async def dead(field: str, reason: str, body: bytes, received: int) -> None:
        refused.inc()
        # Half characters may stand in a message about a name.
        clean = [text.encode("utf-8", "backslashreplace").decode() for text in (field, reason)]
        await service.write(lambda log: log.refuse([Refusal(received, topic, clean[0], clean[1], body)]))

    async def post(request: Request) -> Response:
        check_key(request, service.keys.ingest)
        received, body = now_ms(), b""
        try:
            body = await read_body(request, service.settings.most_body)
            entry = schema(read_object(body), received, wall)
        except RefusedError as error:
            await dead(error.field, str(error), body, received)
            if error.field == "body":
                raise HttpError(400, "body", str(error)) from None
            raise
        except HttpError as error:
            await dead(error.field, str(error), error.body, received)
            raise
        (offset,) = await service.write(lambda log: log.append([entry]))
        (again if offset is None else taken).inc()
        return answer({"success": True, "offset": offset, "duplicate": offset is None})

    return post


def _moment(request: Request, name: str) -> int | None:
    """A query's time: ISO 8601, or milliseconds since 1970."""
    text = request.query_params.get(name, "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return whole_number(request, name, None, FIRST, LAST)
    return parse_stamp(text, name)


def _kept(records: Sequence[Record]) -> bytes:
    """Bodies are JSON already."""
    data = ",".join(own.body for own in records)
    return f'{{"success":true,"count":{len(records)},"data":[{data}]}}'.encode()


def _by_product(service: Service, data: Any, field: str, most: float) -> dict[str, float]:
    """Numbers by id of the catalogue.

    Raises:
        RefusedError: naming the field and the id.
    """
    if not isinstance(data, dict):
        raise RefusedError(field, "accepted is an object {id: number}")
    for name in data:
        if name not in service.catalogue:
            raise RefusedError(field, f"{name[:40]!a}: accepted are ids of the catalogue", 404)
        number(data, name, f"{field}.{name}", most, needed=True)
    return {name: float(value) for name, value in data.items()}


async def _fed(service: Service, request: Request, accepted: tuple[str, ...]) -> dict[str, Any]:
    """The object of a feed's body, with one of the accepted fields at least and no other."""
    check_key(request, service.keys.ingest)
    try:
        data = read_object(await read_body(request, service.settings.most_body))
    except RefusedError as error:
        raise HttpError(400, "body", str(error)) from None
    if not data or any(name not in accepted for name in data):
        wrong = next((name for name in data if name not in accepted), accepted[0])
        name = wrong[:40].encode("ascii", "backslashreplace").decode()
        raise RefusedError(name, f"accepted is an object with {' or '.join(accepted)}")
    return data


def build_event_app(service: Service) -> FastAPI:
    """The event API of a service."""
    paths = {"/api/kafka/ingest": _posting(service, INTERACTIONS), "/api/kafka/price-log": _posting(service, PRICES)}

    def hot(method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        return (paths[path], {}) if method == "POST" and path in paths else None

    app = build_app(
        "Events",
        "What the storefront posts, and its catalogue.",
        service.settings.cors,
        hot,
        service.settings.rate_limit,
        service.keys,
    )

    async def dump(request: Request) -> Response:
        check_key(request, service.keys.ingest)
        topic = request.query_params.get("topic") or INTERACTIONS
        if topic not in TOPICS:
            raise RefusedError("topic", f"accepted is {' or '.join(TOPICS)}")
        most = whole_number(request, "last_n", 100, 1, MOST_DUMPED)
        first, last = _moment(request, "t_start"), _moment(request, "t_end")
        assert most is not None
        records = await service.read(lambda log: log.newest(topic, most, first, last))
        return Response(await asyncio.to_thread(_kept, records), media_type="application/json")

    async def products(request: Request) -> Response:
        mode = request.path_params["mode"]
        if mode not in MODES:
            raise RefusedError("type", f"accepted is {' or '.join(MODES)}")
        for name in _NUMBERS:
            whole_number(request, name, None, 0, MOST_SEARCHED)
        found = [product for product in service.catalogue.values() if product.mode == mode]
        for name in ("origin", "destination"):
            wanted = request.query_params.get(name, "").strip().casefold()
            if wanted and mode == "airline":
                found = [own for own in found if own.attributes.get(name, "").casefold() == wanted]
        return answer([product.shown() for product in found])

    async def product(request: Request) -> Response:
        found = service.catalogue.get(request.path_params["productId"])
        if found is None:
            raise HttpError(404, "productId", "there is no such product")
        return answer(found.shown())

    async def stock(request: Request) -> Response:
        data = await _fed(service, request, ("stock", "on_order"))
        await service.feed(STOCK, {name: _by_product(service, own, name, MOST_UNITS) for name, own in data.items()})
        return answer({"success": True})

    async def rivals(request: Request) -> Response:
        told = (await _fed(service, request, ("prices",)))["prices"]
        known = service.policy.rivals if service.policy else []
        if not isinstance(told, dict) or not told or any(name not in known for name in told):
            able = ", ".join(known) or "nothing: no pricer looks at rivals"
            status = 409 if isinstance(told, dict) else 422
            raise RefusedError("prices", f"accepted is {{rival: {{id: price}}}}, rivals being {able}", status)
        prices = {name: _by_product(service, own, f"prices.{name}", MOST_PRICE) for name, own in told.items()}
        await service.feed(RIVALS, {"prices": prices})
        return answer({"success": True})

    async def health(request: Request) -> Response:
        return answer(service.health())

    async def metrics(request: Request) -> Response:
        return Response(service.telemetry.text(), headers={"content-type": CONTENT_TYPE})

    done = {"type": "object", "properties": {"success": {"const": True}}}
    text = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": PRINTABLE}
    perhaps = {"type": ["string", "null"], "maxLength": 128, "pattern": PRINTABLE}
    money = {"type": ["number", "null"], "minimum": 0, "maximum": MOST_PRICE}
    common = {
        "sessionId": text, "experimentId": perhaps, "storeMode": {"enum": list(MODES)},
        "ts": {"type": "string", "pattern": STAMP_PATTERN},
    }  # fmt: skip

    def kind(names: Sequence[str], metadata: dict[str, Any], about: bool = False) -> dict[str, Any]:
        """The schema of events of these names."""
        return {
            "type": "object", "additionalProperties": False,
            "required": ["sessionId", "storeMode", "eventName", "page", "ts", *(["productId"] if about else [])],
            "properties": common | {
                "eventName": {"enum": list(names)}, "page": text | {"maxLength": 2048},
                "productId": text if about else perhaps,
                "metadata": {"type": ["object", "null"], "properties": metadata},
                "userAgent": perhaps | {"maxLength": 2048},
            },
        }  # fmt: skip

    hovers = [name for name in EVENTS if name.startswith("hover_")]
    interaction = {
        "anyOf": [
            kind(ABOUT_A_PRODUCT, {"price": money}, True),
            kind(hovers, {"dwellTime": {"type": ["number", "null"], "minimum": 0, "maximum": 86_400_000}}),
            kind([name for name in EVENTS if name not in (*hovers, *ABOUT_A_PRODUCT)], {}),
        ]
    }
    shown = {
        "type": "object", "additionalProperties": False,
        "required": ["productId", "price", "sessionId", "storeMode", "ts"],
        "properties": common | {"productId": text, "price": money | {"type": "number"}},
    }  # fmt: skip
    refusals = (400, 401, 404, 408, 409, 413, 422, 503)
    add(app, "POST", "/api/kafka/ingest", paths["/api/kafka/ingest"], done, refusals, body=interaction)
    add(app, "POST", "/api/kafka/price-log", paths["/api/kafka/price-log"], done, refusals, body=shown)
    by_product = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": MOST_UNITS}}
    of_stock = {
        "type": "object", "additionalProperties": False, "minProperties": 1,
        "properties": {"stock": by_product, "on_order": by_product},
    }  # fmt: skip
    of_rivals = {
        "type": "object", "additionalProperties": False, "required": ["prices"],
        "properties": {"prices": {"type": "object", "additionalProperties": by_product}},
    }  # fmt: skip
    add(app, "POST", "/api/stock", stock, done, refusals, body=of_stock)
    add(app, "POST", "/api/rivals", rivals, done, refusals, body=of_rivals)
    moment = {"anyOf": [{"type": "string", "pattern": STAMP_PATTERN}, whole(FIRST, LAST)]}
    asked = [
        query("topic", {"enum": ["", *TOPICS]}, "which log; the first where it is empty"),
        query("last_n", whole(1, MOST_DUMPED), "at most so many, the newest"),
        query("t_start", moment, "not before, ISO 8601 or ms"),
        query("t_end", moment, "not after, ISO 8601 or ms"),
    ]
    add(app, "GET", "/api/kafka/dump", dump, {"type": "object"}, (401, 422, 503), asked)
    search = [query(name, whole(0, MOST_SEARCHED), "of the search") for name in _NUMBERS]
    search += [query(name, {"type": "string"}, "of a flight") for name in ("origin", "destination")]
    mode = query("mode", {"enum": list(MODES)}, "which shop", "path")
    add(app, "GET", "/api/products/type/{mode}", products, {"type": "array"}, (422,), [mode, *search])
    one = [query("productId", {"type": "string"}, "of the catalogue", "path")]
    add(app, "GET", "/api/products/{productId}", product, {"type": "object"}, (404,), one)
    add(app, "GET", "/health", health, {"type": "object"})
    add(app, "GET", "/metrics", metrics, {"type": "string"}, content="text/plain")
    return app

"""What the storefront asks for prices, and who runs the shop for why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from marl_pricing.serving.catalogue import MODES, Product
from marl_pricing.serving.event_api import now_ms
from marl_pricing.serving.guardrails import cents
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
from marl_pricing.serving.pricers import PURPOSES
from marl_pricing.serving.schemas import STAMP_PATTERN, RefusedError, parse_stamp, read_object, text
from marl_pricing.serving.telemetry import CONTENT_TYPE

if TYPE_CHECKING:
    from marl_pricing.serving.service import Service

_MOST_NAME = 128


def _name(request: Request, field: str) -> str | None:
    """A name of the query; None where it is absent or empty."""
    return text({field: request.query_params.get(field)}, field, _MOST_NAME, needed=False)


def _check_admin(request: Request, service: Service) -> None:
    if service.keys.admin is None:
        raise HttpError(403, "admin_key_file", "is not given, and without it there are no switches and no audit")
    check_key(request, service.keys.admin)


def _switches(data: dict[str, Any], service: Service) -> dict[str, Any]:
    """What a body switches, checked.

    Raises:
        RefusedError: naming the field.
    """
    for field in data:
        if field not in ("kill", "shadow", "frozen", "reason"):
            name = field[:40].encode("ascii", "backslashreplace").decode()
            raise RefusedError(name, "there is no such switch: accepted are kill, shadow, frozen, and a reason")
    found = {}
    for name in ("kill", "shadow"):
        if name in data:
            if not isinstance(data[name], bool):
                raise RefusedError(name, "accepted is true or false")
            found[name] = data[name]
    if "frozen" in data:
        ids = data["frozen"]
        if not isinstance(ids, list) or any(not isinstance(own, str) for own in ids):
            raise RefusedError("frozen", "accepted is a list of ids of the catalogue")
        if any(own not in service.catalogue for own in ids):
            raise RefusedError("frozen", "accepted is a list of ids of the catalogue", 404)
        found["frozen"] = ids
    if not found:
        raise RefusedError("kill", "accepted is at least one of kill, shadow and frozen")
    found["reason"] = text(data, "reason", 1000)
    return found


async def _claim(service: Service, product: Product, session: str, participant: str | None, now: int) -> None:
    """Tell a session what it was told elsewhere, else what it costs here."""
    book, shared = service.book, service.shared
    assert shared is not None
    made = book.proposed(product, session, now, participant)
    made = await shared.claim(session, product.id, made, now)
    if book.asks(product, session, now):  # another request may have been first
        bounded = cents(product.floor) <= cents(made.price) <= cents(product.cap)
        book.tell(session, product.id, made if bounded else book.proposed(product, session, now, participant), now)


def build_price_app(service: Service) -> FastAPI:
    """The price provider of a service."""

    def hot(method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        parts = path.split("/")
        if method != "GET" or len(parts) != 5 or parts[1] != "api" or parts[3] != "price" or not parts[4]:
            return None
        return price, {"mode": parts[2], "productId": parts[4]}

    app = build_app(
        "Prices",
        "What a product costs now, and why.",
        service.settings.cors,
        hot,
        service.settings.rate_limit,
        service.keys,
    )
    book, lookups, seconds = service.book, service.telemetry.lookups, service.telemetry.seconds

    async def price(request: Request) -> Response:
        begun = time.perf_counter()
        check_key(request, service.keys.price)
        mode, identity = request.path_params["mode"], request.path_params["productId"]
        product = book.catalogue.get(identity)
        if mode not in MODES:
            raise HttpError(404, "mode", f"accepted is {' or '.join(MODES)}")
        if product is None or product.mode != mode:
            raise HttpError(404, "productId", f"there is no such product of mode {mode}")
        session, participant, now = _name(request, "sessionId"), _name(request, "experimentId"), now_ms()
        if service.shared is not None and session is not None and book.asks(product, session, now):
            await _claim(service, product, session, participant, now)
        told = book.look_up(product, session, now, participant)
        lookups.labels(told["model_version"]).inc()
        seconds.observe(time.perf_counter() - begun)
        return answer(told)

    async def models(request: Request) -> Response:
        check_key(request, service.keys.price)
        own = service.book.pricing
        told = [{"name": name, "purpose": what, "active": name == own.pricer} for name, what in PURPOSES.items()]
        return answer({"active": own.version, "models": told})

    async def reload(request: Request) -> Response:
        check_key(request, service.keys.price)
        return answer(await service.reload())

    async def health(request: Request) -> Response:
        return answer(service.health())

    async def metrics(request: Request) -> Response:
        return Response(service.telemetry.text(), headers={"content-type": CONTENT_TYPE})

    async def switch(request: Request) -> Response:
        _check_admin(request, service)
        try:
            wanted = _switches(read_object(await read_body(request, service.settings.most_body)), service)
        except RefusedError as error:
            if error.field == "body":
                raise HttpError(400, "body", str(error)) from None
            raise
        return answer({"success": True, "switches": await service.switch(wanted)})

    async def audit(request: Request) -> Response:
        _check_admin(request, service)
        session, product = _name(request, "sessionId"), _name(request, "productId")
        if session is None:
            raise RefusedError("sessionId", "has to be given")
        at = request.query_params.get("at")
        moment = parse_stamp(at, "at") if at else None
        return answer({"success": True, "data": await service.audit(session, product, moment)})

    async def vectors(request: Request) -> Response:
        _check_admin(request, service)
        most = whole_number(request, "last_n", 1, 1, 1000)
        assert most is not None
        return answer({"success": True, "data": await service.read(lambda log: log.newest_vectors(most))})

    async def dead_letters(request: Request) -> Response:
        _check_admin(request, service)
        most = whole_number(request, "last_n", 100, 1, 1000)
        assert most is not None
        found = await service.read(lambda log: log.refused(most))
        rows = [own._asdict() | {"body": own.body.decode("utf-8", "backslashreplace")} for own in found]
        return answer({"success": True, "data": rows})

    told = {
        "type": "object", "required": ["productId", "price", "base_price", "markup", "elasticity", "model_version"],
        "properties": {
            "productId": {"type": "string"}, "price": {"type": "number"}, "base_price": {"type": "number"},
            "markup": {"type": "number"}, "elasticity": {"type": "number"}, "model_version": {"type": "string"},
            "stale": {"type": "boolean"}, "uses_personal_data": {"type": "boolean"}, "valid_until": {"type": "integer"},
        },
    }  # fmt: skip
    anything, name = {"type": "object"}, {"type": "string", "maxLength": _MOST_NAME, "pattern": PRINTABLE}
    where = [
        query("mode", {"enum": list(MODES)}, "which shop", "path"),
        query("productId", {"type": "string"}, "of the catalogue", "path"),
        query("sessionId", name, "whose price; it stays for a while"),
        query("experimentId", name, "whose sessions meet one pricer, while an experiment runs"),
    ]
    add(app, "GET", "/api/{mode}/price/{productId}", price, told, (401, 404, 422), where)
    add(app, "GET", "/models", models, anything, (401,))
    add(app, "POST", "/models/reload", reload, anything, (401, 422, 503))
    add(app, "GET", "/health", health, anything)
    add(app, "GET", "/metrics", metrics, {"type": "string"}, content="text/plain")
    switches = {
        "type": "object", "additionalProperties": False, "required": ["reason"],
        "properties": {
            "kill": {"type": "boolean"}, "shadow": {"type": "boolean"},
            "frozen": {"type": "array", "items": {"type": "string"}},
            "reason": {"type": "string", "minLength": 1, "maxLength": 1000, "pattern": PRINTABLE},
        },
        "anyOf": [{"required": [name]} for name in ("kill", "shadow", "frozen")],
    }  # fmt: skip
    add(app, "POST", "/admin/switches", switch, anything, (400, 401, 403, 404, 408, 413, 422, 503), body=switches)
    asked = [
        query("sessionId", name | {"minLength": 1}, "who was told", needed=True),
        query("productId", name, "of the catalogue; all where it is not given"),
        query("at", {"type": "string", "pattern": STAMP_PATTERN}, "what held then; all where it is not given"),
    ]
    add(app, "GET", "/admin/audit", audit, anything, (401, 403, 422, 503), asked)
    last = [query("last_n", whole(1, 1000), "the newest")]
    add(app, "GET", "/admin/vectors", vectors, anything, (401, 403, 422, 503), last)
    add(app, "GET", "/admin/dead-letters", dead_letters, anything, (401, 403, 422, 503), last)
    return app

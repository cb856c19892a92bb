"""What both APIs share: bodies and keys, answers and refusals, and what OpenAPI is told of them."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from marl_pricing.serving.limits import LimitRates, seconds
from marl_pricing.serving.log import LogError
from marl_pricing.serving.schemas import RefusedError

_PATIENCE = 10.0  # seconds for a body to come
RETRY_AFTER = "1"  # seconds


class HttpError(Exception):
    """An answer that is a refusal: status, field and reason."""

    def __init__(self, status: int, field: str, told: str, body: bytes = b"") -> None:
        super().__init__(told)
        self.status, self.field, self.body = status, field, body


def answer(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON."""
    content = json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
    return Response(content, status, headers, "application/json")


def refusal(status: int, field: str, told: str) -> Response:
    """JSON that names the field and says what is accepted."""
    headers = {503: {"Retry-After": RETRY_AFTER}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    return answer({"success": False, "field": field, "error": told}, status, headers)


async def read_body(request: Request, most: int) -> bytes:
    """A request's body.

    Raises:
        HttpError: 413 for one of more than `most` bytes (with what came of it), 408 for one that does not come.
    """
    found = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE):
            async for chunk in request.stream():
                found += chunk[: most + 1 - len(found)]
                if len(found) > most:
                    raise HttpError(413, "body", f"accepted are at most {most} bytes", bytes(found[:most]))
    except TimeoutError:
        raise HttpError(408, "body", f"did not come within {_PATIENCE:g} s", bytes(found)) from None
    except ClientDisconnect:
        raise HttpError(400, "body", "was cut off", bytes(found)) from None
    return bytes(found)


def check_key(request: Request, key: bytes | None) -> None:
    """Ask for a bearer key; compared in a time that does not tell how much of it was right.

    Raises:
        HttpError: 401.
    """
    if key is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), key)
    if scheme.lower() != "bearer" or not right:
        raise HttpError(401, "Authorization", "accepted is Bearer and the key")


def whole_number(request: Request, name: str, default: int | None, least: int, most: int) -> int | None:
    """A query parameter; the default where it is absent or empty.

    Raises:
        RefusedError: for anything but a whole number within the bounds.
    """
    text = request.query_params.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15 or not least <= int(text) <= most:
        told = text[:40].encode("ascii", "backslashreplace").decode()
        raise RefusedError(name, f"{told!r}: accepted is a whole number from {least} to {most}")
    return int(text)


def refused(error: Exception) -> Response:
    """The answer that an error is."""
    if isinstance(error, HttpError):
        return refusal(error.status, error.field, str(error))
    if isinstance(error, RefusedError):
        return refusal(error.status, error.field, str(error))
    if isinstance(error, LogError):
        return refusal(503, "log", "cannot be used now; nothing was taken")
    assert isinstance(error, HTTPException)  # of Starlette: no such path, another method
    told = refusal(error.status_code, "path" if error.status_code == 404 else "method", str(error.detail))
    told.headers.update(error.headers or {})  # Allow
    return told


_ERRORS = (HttpError, RefusedError, LogError)
Endpoint = Callable[[Request], Awaitable[Response]]
# Of a method and a path: the endpoint and the path's parameters.
Match = Callable[[str, str], tuple[Endpoint, dict[str, str]] | None]


class HotPath:
    """Middleware that answers what is asked a thousand times a second, past FastAPI's routing (two thirds of the time).

    The endpoints are routes of the application too, for all that is rare: other methods, OpenAPI.
    """

    def __init__(self, app: ASGIApp, match: Match) -> None:
        self.app, self.match = app, match

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        found = self.match(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self.app(scope, receive, send)
            return
        endpoint, scope["path_params"] = found
        try:
            response = await endpoint(Request(scope, receive))
        except _ERRORS as error:
            response = refused(error)
        await response(scope, receive, send)


def _too_often(wait: float) -> Response:
    told = refusal(429, "rate_limit", "too many requests of this address or key")
    told.headers["Retry-After"] = seconds(wait)
    return told


def build_app(
    title: str, description: str, cors: Sequence[str], hot: Match, rate: float | None, keys: Sequence[bytes | None]
) -> FastAPI:
    """An application whose every answer is JSON, refusals with the field.

    Args:
        hot: what is answered past FastAPI.  rate: requests a second of an address or a key; None: any number.
        keys: that are right, for `rate`.
    """
    app = FastAPI(title=title, description=description, docs_url=None, redoc_url=None)
    app.add_middleware(HotPath, match=hot)
    if rate is not None:
        known = frozenset(key for key in keys if key is not None)
        app.add_middleware(LimitRates, rate=rate, keys=known, refuse=_too_often)
    if cors:  # around it
        app.add_middleware(
            CORSMiddleware, allow_origins=list(cors), allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"], max_age=600,
        )  # fmt: skip

    async def handle(request: Request, error: Exception) -> Response:
        return refused(error)

    for kind in (*_ERRORS, HTTPException):
        app.add_exception_handler(kind, handle)
    return app


# Texts without control characters, for OpenAPI.
PRINTABLE = "^[^\x00-\x1f\x7f]*$"
_REFUSAL = {
    "type": "object",
    "required": ["success", "field", "error"],
    "properties": {"success": {"const": False}, "field": {"type": "string"}, "error": {"type": "string"}},
}
_MEANINGS = {
    400: "the body is no JSON object, or was cut off", 401: "the key is missing or wrong", 403: "there is no such key",
    404: "there is no such product", 409: "not as things are now", 408: "the body did not come",
    413: "the body is too large", 422: "a field is refused", 429: "too many requests",
    503: "the log cannot be used now",
}  # fmt: skip


def query(name: str, schema: dict[str, Any], told: str, place: str = "query", needed: bool = False) -> dict[str, Any]:
    """A parameter for OpenAPI."""
    needed = needed or place == "path"
    return {"name": name, "in": place, "required": needed, "schema": schema, "description": told}


def whole(least: int, most: int) -> dict[str, Any]:
    """What `whole_number` takes, for OpenAPI."""
    return {"anyOf": [{"type": "integer", "minimum": least, "maximum": most}, {"const": ""}]}


def add(
    app: FastAPI,
    method: str,
    path: str,
    endpoint: Endpoint,
    returns: dict[str, Any],
    refusals: Sequence[int] = (),
    parameters: Sequence[dict[str, Any]] = (),
    body: dict[str, Any] | None = None,
    content: str = "application/json",
) -> None:
    """A route that reads its request itself, and what OpenAPI is told of it.

    Args:
        returns, body: JSON schemas.  refusals: statuses beside 200.
    """
    told: dict[str, Any] = {"parameters": list(parameters)}
    if body is not None:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": _MEANINGS[status], "content": {"application/json": {"schema": _REFUSAL}}}
        for status in (*refusals, 429)
    }
    responses[200] = {"description": "done", "content": {content: {"schema": returns}}}
    app.add_api_route(
        path, endpoint, methods=[method], response_class=Response, responses=responses, openapi_extra=told,
        response_model=None,
    )  # fmt: skip

"""The dashboard: what a shop's windows came to, and the page that shows it. It reads and changes nothing."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from marl_pricing.serving.catalogue import Catalogue
from marl_pricing.serving.event_api import now_ms
from marl_pricing.serving.http import HttpError, add, answer, build_app, check_key, query, whole, whole_number
from marl_pricing.serving.log import Refusal
from marl_pricing.serving.settings import LOOPBACK

if TYPE_CHECKING:
    from marl_pricing.serving.service import Service

MOST_WINDOWS = 1000
_WINDOWS = 96
_PRODUCTS = 40  # that are shown, those with most events first
_LETTERS = 20
_LONGEST = 300  # signs of a refused body
# Nothing but this page's own files runs or is loaded; Plotly sets styles of elements.
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'"
_HEADERS = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "cache-control": "no-store"}
_TYPES = {"board.html": "text/html; charset=utf-8", "board.js": "text/javascript", "board.css": "text/css"}


def _sum(vector: Mapping[str, Any], name: str) -> float:
    return sum(line[name] for line in vector["lines"].values())


def _window(vector: Mapping[str, Any]) -> dict[str, Any]:
    """One window over all products."""
    views, orders = _sum(vector, "views"), _sum(vector, "orders")
    told = {name: vector.get(name) for name in ("ends", "events", "sessions", "agents", "coi_leak", "pricer")}
    told |= {"proxy": _sum(vector, "proxy"), "views": views, "orders": orders, "late": vector["late"]}
    return told | {"look_to_book": views / orders if orders else None}


def summary(
    vectors: Sequence[Mapping[str, Any]], catalogue: Catalogue, dead: Sequence[Refusal], num_dead: int
) -> dict[str, Any]:
    """What the page shows.

    Args:
        vectors: oldest first.  dead: the newest refusals.

    Returns:
        `windows` (sums over products), `products` (a line each, with their prices over the windows: those that had most
        events), `others` (how many products are not shown), `hits` (how often each guardrail moved a price), `arms`
        (what each pricer brought), `experiment`, `dead_letters`.
    """
    busy: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for vector in vectors:
        for name, line in vector["lines"].items():
            busy[name] += line["proxy"]
            hits.update(line["moved_by"])
    shown = sorted((name for name in catalogue), key=lambda name: -busy[name])[:_PRODUCTS]
    last = vectors[-1] if vectors else None
    products = []
    for name in shown:
        product = catalogue[name]
        line = last["lines"].get(name, {}) if last else {}
        prices = [vector["prices"].get(name) for vector in vectors]
        arms = {arm: own["prices"].get(name) for arm, own in (last or {}).get("arms", {}).items()}
        products.append(
            {
                "id": name, "name": product.name, "mode": product.mode, "base": product.base_price,
                "price": prices[-1] if prices and prices[-1] is not None else product.base_price, "prices": prices,
                "arms": arms, "line": line,
            }
        )  # fmt: skip
    letters = [
        {
            "received": own.received, "topic": own.topic, "field": own.field, "reason": own.reason,
            "body": own.body[:_LONGEST].decode("utf-8", "backslashreplace"),
        }
        for own in dead
    ]  # fmt: skip
    return {
        "windows": [_window(vector) for vector in vectors], "products": products,
        "others": max(len(catalogue) - len(shown), 0), "hits": dict(hits.most_common()),
        "arms": (last or {}).get("tallies", {}), "experiment": (last or {}).get("experiment"),
        "dead_letters": letters, "num_dead_letters": num_dead,
    }  # fmt: skip


@functools.cache
def _file(name: str) -> bytes:
    return files("marl_pricing.serving").joinpath("static", name).read_bytes()


@functools.cache
def _plotly() -> bytes:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().encode()


def _check(request: Request, service: Service) -> None:
    """The admin key, where there is one; else only this machine's own pages may read.

    Raises:
        HttpError: 401 and 403.
    """
    if service.keys.admin is not None:
        check_key(request, service.keys.admin)
        return
    if service.settings.host not in LOOPBACK:
        raise HttpError(403, "admin_key_file", "is not given, and without it there is no dashboard but at 127.0.0.1")
    # A page from elsewhere can have its name lead here; the browser then says that name.
    asked = request.headers.get("host", "").rsplit(":", 1)[0].strip("[]")
    if asked not in LOOPBACK:
        raise HttpError(403, "Host", f"accepted is {' or '.join(LOOPBACK)} without admin_key_file")


def build_board_app(service: Service) -> FastAPI:
    """The dashboard of a service."""
    app = build_app("Board", "What a shop's windows came to.", [], lambda method, path: None, None, ())

    def page(name: str) -> Any:
        async def give(request: Request) -> Response:
            return Response(_file(name), media_type=_TYPES[name], headers=_HEADERS)

        return give

    async def plotly(request: Request) -> Response:
        headers = {"cache-control": "max-age=86400", "x-content-type-options": "nosniff"}
        return Response(_plotly(), media_type="text/javascript", headers=headers)

    async def data(request: Request) -> Response:
        _check(request, service)
        most = whole_number(request, "last_n", _WINDOWS, 1, MOST_WINDOWS)
        assert most is not None
        vectors, dead, num_dead = await service.read(
            lambda log: (log.newest_vectors(most), log.refused(_LETTERS), log.num_refused())
        )
        told = summary(vectors, service.catalogue, dead, num_dead)
        switches = {name: service.book.switches.get(name) for name in ("kill", "shadow", "frozen", "reason")}
        told |= {"health": service.health(), "now": now_ms(), "switches": switches}
        return answer(told | {"window": service.book.pricing.window, "clock": service.settings.clock}, headers=_HEADERS)

    add(app, "GET", "/", page("board.html"), {"type": "string"}, content="text/html")
    add(app, "GET", "/board.js", page("board.js"), {"type": "string"}, content="text/javascript")
    add(app, "GET", "/board.css", page("board.css"), {"type": "string"}, content="text/css")
    add(app, "GET", "/plotly.js", plotly, {"type": "string"}, content="text/javascript")
    last = [query("last_n", whole(1, MOST_WINDOWS), "windows, the newest")]
    add(app, "GET", "/data", data, {"type": "object"}, (401, 403, 422, 503), last)
    return app

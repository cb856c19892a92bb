"""What the storefront may post, checked field by field and by type of event. Plain Python: it is on the hot path."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from marl_pricing.intake import shown
from marl_pricing.serving.catalogue import MODES
from marl_pricing.serving.log import INTERACTIONS, PRICES, Entry

EVENTS = (
    "session_start", "page_view", "view_item_page", "learn_more_about_item", "add_item_to_cart", "remove_item",
    "checkout_start", "purchase_complete", "search", "filter_for_date", "filter_for_amenities", "filter_for_price",
    "sort_change", "hover_over_title", "hover_over_paragraph", "hover_over_link", "hover_over_button",
)  # fmt: skip
# Events that say nothing without the product that they are about.
ABOUT_A_PRODUCT = ("view_item_page", "learn_more_about_item", "add_item_to_cart", "remove_item")
# 2000 to 2099 wherever the client is.
FIRST = int(datetime(1999, 12, 31, tzinfo=UTC).timestamp() * 1000)
LAST = int(datetime(2100, 1, 2, tzinfo=UTC).timestamp() * 1000)
AHEAD = 86_400_000  # ms that a client's clock may be ahead of ours
MOST_PRICE = 1e9
# The same for OpenAPI; it leaves out the 29th of February, which is not in every year.
STAMP_PATTERN = (
    "^20[0-9]{2}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])$"
)
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_HALF = re.compile("[\ud800-\udfff]")


class RefusedError(ValueError):
    """What cannot be taken: a field, and what is accepted there.

    Attributes:
        status: of HTTP. 422; 404 for what the catalogue has not, 409 for what only does not go with how things are now.
    """

    def __init__(self, field: str, told: str, status: int = 422) -> None:
        super().__init__(f"{field}: {told}")
        self.field, self.status = field, status


def _short(value: Any) -> str:
    """A value as a message quotes it, in signs that any stream takes."""
    text = value if isinstance(value, str) else json.dumps(value)
    return shown(text.encode("ascii", "backslashreplace").decode())


def _nan(text: str) -> float:
    raise RefusedError("body", f"{text}: accepted is JSON, which has no such number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise RefusedError(next(name for name in names if names.count(name) > 1), "accepted is one value")
    return found


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        RefusedError: for anything else.
    """
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_nan, object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise RefusedError("body", f"byte {error.start} is no UTF-8") from None
    except json.JSONDecodeError as error:
        raise RefusedError("body", f"is no JSON from sign {error.pos} on: {error.msg}") from None
    except RefusedError:
        raise
    except (ValueError, RecursionError):
        raise RefusedError("body", "accepted is JSON without endless numbers or very deep nesting") from None
    if not isinstance(data, dict):
        raise RefusedError("body", "accepted is a JSON object")
    return data


def text(data: dict[str, Any], field: str, most: int, needed: bool = True) -> str | None:
    """A text of 1 to `most` printable signs; None where it is absent, null or, if not needed, empty."""
    value = data.get(field)
    if value is None or (value == "" and not needed):
        if needed:
            raise RefusedError(field, "has to be given")
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= most or _UNPRINTABLE.search(value):
        raise RefusedError(field, f"{_short(value)}: accepted is a text of 1 to {most} printable signs")
    return value


def one_of(data: dict[str, Any], field: str, accepted: tuple[str, ...]) -> str:
    """One of several texts."""
    value = data.get(field)
    if value is None:
        raise RefusedError(field, "has to be given")
    if not isinstance(value, str) or value not in accepted:
        raise RefusedError(field, f"{_short(value)}: accepted is {', '.join(accepted)}")
    return value


def number(data: dict[str, Any], field: str, name: str, most: float, needed: bool = False) -> float | None:
    """A finite number from 0 to `most`; `name` is what a message calls it."""
    value = data.get(field)
    if value is None and not needed:
        return None
    if value is None:
        raise RefusedError(name, "has to be given")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise RefusedError(name, f"{_short(value)}: accepted is a number from 0 to {most:g}")
    return float(value)


def parse_stamp(value: Any, field: str) -> int:
    """Milliseconds since 1970 of an ISO 8601 stamp with `Z` or an offset.

    Raises:
        RefusedError: for anything else, and for times before 2000 or after 2099.
    """
    accepted = "accepted is a time as 2026-01-31T12:00:00.000Z, from 2000 to 2099"
    if not isinstance(value, str) or len(value) > 40 or not _STAMP.fullmatch(value):
        raise RefusedError(field, f"{_short(value)}: {accepted}")
    try:
        # fromisoformat takes at most microseconds.
        whole = re.sub(r"(\.\d{6})\d+", r"\1", value)
        moment = datetime.fromisoformat(whole).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RefusedError(field, f"{_short(value)}: {accepted}") from None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    stamp = (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
    if not FIRST <= stamp <= LAST:
        raise RefusedError(field, f"{_short(value)}: {accepted}")
    return stamp


def _stamp(data: dict[str, Any], received: int, wall: bool) -> int:
    if data.get("ts") is None:
        raise RefusedError("ts", "has to be given")
    stamp = parse_stamp(data["ts"], "ts")
    if wall and stamp > received + AHEAD:
        raise RefusedError("ts", f"{_short(data['ts'])}: accepted is a time at most a day ahead of ours", 409)
    return stamp


def _only(data: dict[str, Any], accepted: tuple[str, ...]) -> None:
    for name in data:
        if name not in accepted:
            raise RefusedError(_short(name).strip("'"), f"there is no such field: accepted are {', '.join(accepted)}")


def _identity(*parts: object) -> bytes:
    """16 bytes by which a repeated event is recognised."""
    return blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def _whole(data: dict[str, Any]) -> str:
    """The JSON that is kept: ASCII, and without half characters, which no other store would take."""
    try:
        kept = json.dumps(data, separators=(",", ":"), allow_nan=False)
        if _HALF.search(json.dumps(data, ensure_ascii=False)):
            raise RefusedError("metadata", "accepted are texts without half characters")
    except (ValueError, RecursionError) as error:
        if isinstance(error, RefusedError):
            raise
        # 1e999 is JSON, and reads as infinity.
        raise RefusedError("metadata", "accepted are numbers that 64 bits hold, and no very deep nesting") from None
    return kept


_INTERACTION = (
    "sessionId",
    "experimentId",
    "storeMode",
    "eventName",
    "page",
    "ts",
    "productId",
    "metadata",
    "userAgent",
)
_PRICE = ("productId", "price", "sessionId", "experimentId", "storeMode", "ts")


def interaction(data: dict[str, Any], received: int, wall: bool = True) -> Entry:
    """An event of `POST /api/kafka/ingest`.

    Args:
        received: ms since 1970.  wall: refuse stamps that are far ahead of it.

    Raises:
        RefusedError: naming the field and what is accepted.
    """
    _only(data, _INTERACTION)
    session = text(data, "sessionId", 128)
    text(data, "experimentId", 128, needed=False)
    one_of(data, "storeMode", MODES)
    name = one_of(data, "eventName", EVENTS)
    text(data, "page", 2048)
    stamp = _stamp(data, received, wall)
    product = text(data, "productId", 128, needed=name in ABOUT_A_PRODUCT)
    text(data, "userAgent", 2048, needed=False)
    metadata = data.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise RefusedError("metadata", f"{_short(metadata)}: accepted is an object")
    if metadata:
        if name.startswith("hover_"):
            number(metadata, "dwellTime", "metadata.dwellTime", 86_400_000)
        elif name in ABOUT_A_PRODUCT:
            number(metadata, "price", "metadata.price", MOST_PRICE)
    assert session is not None
    return Entry(INTERACTIONS, session, stamp, received, _identity("i", session, name, product, stamp), _whole(data))


def price_shown(data: dict[str, Any], received: int, wall: bool = True) -> Entry:
    """A price of `POST /api/kafka/price-log`; arguments and errors as `interaction`."""
    _only(data, _PRICE)
    product = text(data, "productId", 128)
    price = number(data, "price", "price", MOST_PRICE, needed=True)
    session = text(data, "sessionId", 128)
    text(data, "experimentId", 128, needed=False)
    one_of(data, "storeMode", MODES)
    stamp = _stamp(data, received, wall)
    assert product is not None and price is not None
    if not math.isfinite(price):
        raise RefusedError("price", f"accepted is a number from 0 to {MOST_PRICE:g}")
    return Entry(PRICES, product, stamp, received, _identity("p", session, product, stamp, price), _whole(data))


Schema = Callable[[dict[str, Any], int, bool], Entry]
SCHEMAS: dict[str, Schema] = {INTERACTIONS: interaction, PRICES: price_shown}

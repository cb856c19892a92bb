"""Layouts of logs that are known by what a file holds."""

from __future__ import annotations

from dataclasses import replace

from marl_pricing.traffic.events import START
from marl_pricing.traffic.logs.schemas import Schema

# P4P events carry no label; where one is known it stands in the free part, and `write_log` puts it there.
P4P = Schema(
    "p4p",
    "jsonl",
    {
        "session": ("sessionId",),
        "actor": ("actor_type", "metadata.actor_type"),
        "is_agent": ("is_agent", "metadata.is_agent"),
        "experiment": ("experimentId",),
        "mode": ("storeMode",),
        "time": ("ts",),
        "event": ("eventName",),
        "page": ("page",),
        "item": ("productId",),
        "price": ("price", "metadata.price"),
        "dwell_ms": ("metadata.dwellTime",),
        "user_agent": ("userAgent",),
        "declared": ("agentIdentity", "metadata.agentIdentity"),
        "filters": ("metadata.filters", "metadata.filter"),
        "element_text": ("metadata.elementText", "metadata.text"),
    },
)
WHOCLICKEDIT = Schema(
    "whoclickedit",
    "csv",
    {
        "session": ("sessionId",),
        "actor": ("actor_type",),
        "is_agent": ("is_agent",),
        "record": ("record_type",),
        "experiment": ("experimentId",),
        "mode": ("storeMode",),
        "time": ("ts",),
        "event": ("eventName",),
        "page": ("page",),
        "item": ("productId",),
        "price": ("price", "metadata_price"),
        "dwell_ms": ("metadata_dwellTime",),
        "user_agent": ("userAgent",),
        "declared": ("agentIdentity", "metadata_agentIdentity"),
        "filters": ("metadata_filters", "metadata_filter"),
        "element_text": ("metadata_elementText", "metadata_text"),
    },
    needed=("record_type", "sessionId", "ts", "eventName"),
)
SCHEMAS = {schema.name: schema for schema in (P4P, WHOCLICKEDIT)}

_LABELS = {"actor": ("actor_type",), "is_agent": ("is_agent",)}
# Names of Google Analytics 4 that are not the vocabulary's; those of a visit as such say nothing of shopping.
_GA4_EVENTS: dict[str, str | None] = {
    **dict.fromkeys(("first_visit", "first_open", "user_engagement", "refund")),
    **dict.fromkeys(("view_item_list", "view_promotion", "select_promotion", "view_cart"), "page_view"),
    **dict.fromkeys(("select_item", "click"), "view_item"),
    **dict.fromkeys(("add_shipping_info", "add_payment_info"), "checkout"),
    **dict.fromkeys(("ecommerce_purchase", "in_app_purchase"), "purchase"),
    **dict.fromkeys(("add_to_wishlist", "file_download"), "learn_more"),
    "session_start": START,
    "scroll": "hover_paragraph",
    "view_search_results": "search",
}
# The export of Google Analytics 4 to BigQuery, as JSON lines: `sources` takes parameters and first item out of lists.
GA4 = Schema(
    "ga4",
    "jsonl",
    {
        "session": ("user_pseudo_id", "ga_session_id"), "time": ("event_timestamp",), "event": ("event_name",),
        "page": ("page_location",), "item": ("item_id",), "price": ("item_price",), **_LABELS,
    },
    time_unit="us",
    events=_GA4_EVENTS,
    joined=frozenset({"session"}),
)  # fmt: skip
# The same, flattened to a table.
GA4_TABLE = replace(
    GA4,
    format="csv",
    columns={**GA4.columns, "price": ("item_price", "price")},
    needed=("event_timestamp", "event_name", "user_pseudo_id"),
)
RETAILROCKET = Schema(
    "retailrocket",
    "csv",
    {"session": ("visitorid",), "time": ("timestamp",), "event": ("event",), "item": ("itemid",), **_LABELS},
    needed=("timestamp", "visitorid", "event", "itemid"),
    time_unit="ms",
    events={"view": "view_item", "addtocart": "add_item", "transaction": "purchase"},
)
REES46 = Schema(
    "rees46",
    "csv",
    {
        "session": ("user_session",), "time": ("event_time",), "event": ("event_type",), "item": ("product_id",),
        "price": ("price",), **_LABELS,
    },
    needed=("event_time", "event_type", "product_id", "user_session"),
    time_unit="iso",
    events={"view": "view_item", "cart": "add_item", "remove_from_cart": "remove", "purchase": "purchase"},
)  # fmt: skip
COVEO = Schema(
    "coveo",
    "csv",
    {
        "session": ("session_id_hash",), "time": ("server_timestamp_epoch_ms",), "item": ("product_sku_hash",),
        "event": ("product_action", "event_type"), **_LABELS,
    },
    needed=("session_id_hash", "event_type", "product_action", "server_timestamp_epoch_ms"),
    time_unit="ms",
    events={
        "pageview": "page_view", "detail": "view_item", "click": "view_item", "add": "add_item", "remove": "remove",
        "purchase": "purchase",
    },
)  # fmt: skip
# Taobao's UserBehavior, with a header put above.
USER_BEHAVIOR = Schema(
    "userbehavior",
    "csv",
    {"session": ("user_id",), "time": ("timestamp",), "event": ("behavior_type",), "item": ("item_id",), **_LABELS},
    needed=("user_id", "item_id", "behavior_type", "timestamp"),
    time_unit="s",
    events={"pv": "view_item", "fav": "learn_more", "cart": "add_item", "buy": "purchase"},
)
TABLES = (WHOCLICKEDIT, GA4_TABLE, RETAILROCKET, REES46, COVEO, USER_BEHAVIOR)

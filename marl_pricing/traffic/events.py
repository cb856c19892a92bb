"""What a shopper can do: the vocabulary of events, its four categories and what each says about demand.

Categories and weights are those of the PHANTOM methodology, table "Action space partition": the more an event commits,
the more it counts in the demand proxy. Names of both generations of logs map to one vocabulary; a name that is neither
is mapped by its beginning to the nearest category.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from typing import Literal

Category = Literal["cart", "dwell", "nav", "filter"]

START, END = "session_start", "session_end"
PURCHASE = "purchase"
# Category of each action; the first of a category stands for names that are known by their beginning only.
ACTIONS: dict[str, Category] = {
    "add_item": "cart",
    "remove": "cart",
    "checkout": "cart",
    "purchase": "cart",
    "hover_title": "dwell",
    "hover_paragraph": "dwell",
    "hover_link": "dwell",
    "page_view": "nav",
    "view_item": "nav",
    "learn_more": "nav",
    "home": "nav",
    "login": "nav",
    "listing": "nav",
    "search": "filter",
    "filter_date": "filter",
    "filter_price": "filter",
    "sort": "filter",
}
# Events that are about no product where sessions are told so (the PHANTOM methodology, generic states).
GENERIC = ("home", "login", "search", "listing", "checkout")
# What an event of a category counts in the demand proxy (the PHANTOM methodology: powers of two).
WEIGHTS: dict[Category, float] = {"cart": 4.0, "dwell": 2.0, "nav": 1.0, "filter": 0.5}

# Seconds are gamma, (shape, scale): between two events (PHANTOM's prototype: agents act faster than
# people), and of a dwell event, these illustrative.
GAPS = {"human": (2.0, 3.0), "agent": (2.0, 0.6)}
DWELL = {"human": (2.0, 0.8), "agent": (2.0, 0.1)}

_ALIASES = {
    "add_item_to_cart": "add_item",
    "add_to_cart": "add_item",
    "cart_add": "add_item",
    "remove_item": "remove",
    "remove_item_from_cart": "remove",
    "remove_from_cart": "remove",
    "checkout_start": "checkout",
    "start_checkout": "checkout",
    "begin_checkout": "checkout",
    "purchase_complete": "purchase",
    "purchase_completed": "purchase",
    "order_complete": "purchase",
    "hover_over_title": "hover_title",
    "hover_over_paragraph": "hover_paragraph",
    "hover_over_link": "hover_link",
    "view_item_page": "view_item",
    "item_view": "view_item",
    "view_page": "page_view",
    "pageview": "page_view",
    "learn_more_about_item": "learn_more",
    "home_page": "home",
    "homepage": "home",
    "sign_in": "login",
    "log_in": "login",
    "filter_for_date": "filter_date",
    "filter_for_price": "filter_price",
    "filter_by_date": "filter_date",
    "filter_by_price": "filter_price",
    "sort_by": "sort",
    "start": START,
    "end": END,
    "session_begin": START,
}
# Beginnings of names, the nearest action first: what is neither an action nor an alias.
_PREFIXES = (
    ("purchase", "purchase"),
    ("order", "purchase"),
    ("checkout", "checkout"),
    ("add", "add_item"),
    ("cart", "add_item"),
    ("remove", "remove"),
    ("hover", "hover_title"),
    ("dwell", "hover_title"),
    ("scroll", "hover_paragraph"),
    ("page", "page_view"),
    ("nav", "page_view"),
    ("view", "view_item"),
    ("click", "view_item"),
    ("learn", "learn_more"),
    ("search", "search"),
    ("filter", "filter_price"),
    ("sort", "sort"),
)


def canonical(name: str) -> str | None:
    """The vocabulary's word for a logged event name, or None where not even its beginning is known."""
    word = name.strip().lower().replace("-", "_").replace(" ", "_")
    word = _ALIASES.get(word, word)
    if word in ACTIONS or word in (START, END):
        return word
    return next((action for prefix, action in _PREFIXES if word.startswith(prefix)), None)


def is_known(name: str) -> bool:
    """Whether a logged event name is an action or an alias of one, not only like one at its beginning."""
    word = name.strip().lower().replace("-", "_").replace(" ", "_")
    return word in ACTIONS or word in _ALIASES or word in (START, END)


# Beginnings of words that names of purchases are made of, in the languages that shops log in.
_WORDS = (
    "purchas transact buy bought order sale sold pay paid conver deal receipt invoice kauf gekauft bestell zahl achat "
    "achet command paiement vente compra pedido venta pago acquist ordin vendit koop gekocht köp kjøp købt заказ покуп "
    "оплат 購入 注文"
)
_BUYING = tuple(_WORDS.split())


def sounds_like_purchase(name: str) -> bool:
    """Whether one of the words of a logged event name is that of a purchase: `transaction`, `orderPlaced`, `kauf`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    return any(word.startswith(_BUYING) for word in re.split(r"[\W_]+", words) if word)


def weight(event: str) -> float:
    """What an event counts in the demand proxy; starts and ends of sessions count nothing."""
    return WEIGHTS[ACTIONS[event]] if event in ACTIONS else 0.0


def report_unknown(names: Counter[str]) -> None:
    """Say once, for all names together, how those that are not in the vocabulary were understood.

    Args:
        names: how often each logged name occurred.
    """
    like = {name: canonical(name) for name in names if not is_known(name)}
    if not like:
        return
    told = ", ".join(
        f"{name!r} ({names[name]}) {'as ' + action if action else 'dropped'}" for name, action in sorted(like.items())
    )
    warnings.warn(f"event names that are not in the vocabulary: {told}", stacklevel=2)

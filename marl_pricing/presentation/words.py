"""What money, epochs and sellers are called where a market has names for them.

Figures and pages are written of money, epochs and seller 0. Where what they show comes from somebody's sales, they say
it in the words of these: `say` stands at the last step before a figure is drawn or a page is put together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Words:
    """Names; empty where there are none.

    Attributes:
        currency: of money, as USD or €.  period: of an epoch, as week.  sellers: by number.
        products: of offers, the products of seller 0 first; as many of every seller.
    """

    currency: str = ""
    period: str = ""
    sellers: tuple[str, ...] = ()
    products: tuple[str, ...] = ()

    def seller(self, number: int) -> str:
        """A seller's name, or `seller_i` where it has none: what it is called in tags."""
        return self.sellers[number] if number < len(self.sellers) else f"seller_{number}"

    def product(self, seller: int, number: int) -> str:
        """The name of a seller's product; empty where it has none."""
        each = len(self.products) // max(len(self.sellers), 1)
        known = seller < len(self.sellers) and number < each
        return self.products[seller * each + number] if known else ""


NAMELESS = Words()
_words: ContextVar[Words] = ContextVar("words")
_OFFER = re.compile(r"\b[Ss]eller (\d+), product (\d+)\b")
_SELLER = re.compile(r"\b[Ss]eller (\d+)\b")
_EPOCH = re.compile(r"\b(e|E)poch(s?)\b")
_AN_EPOCH = re.compile(r"\b(an|An) epoch\b")
_MONEY = re.compile(r"\bmoney\b")
# What of a page is no text to be read: scripts, styles, what was typed or written in files, tags.
_NO_TEXT = re.compile(
    r"(<script\b.*?</script>|<style\b.*?</style>|<pre\b.*?</pre>|<code\b.*?</code>|<[^>]*>)", re.DOTALL
)


@contextmanager
def using(words: Words) -> Iterator[None]:
    """What is said inside is said in these words."""
    token = _words.set(words)
    try:
        yield
    finally:
        _words.reset(token)


def common(several: list[Words]) -> Words:
    """What all have in common, each kind of name for itself: one page has one word for a thing."""
    first = several[0] if several else Words()
    same = {
        name: all(getattr(other, name) == getattr(first, name) for other in several)
        for name in ("currency", "period", "sellers", "products")
    }
    return Words(**{name: getattr(first, name) for name, kept in same.items() if kept})


def spoken() -> Words:
    """The words in force."""
    return _words.get(NAMELESS)


def there_are() -> bool:
    """Whether anything has a name of its own now."""
    return spoken() != NAMELESS


def say(text: str, write: Callable[[str], str] = str) -> str:
    """A text in the words in force, each name as `write` writes it."""
    return _said(text, _written(spoken(), write))


def _written(own: Words, write: Callable[[str], str]) -> Words:
    sellers, products = (tuple(write(name) for name in names) for names in (own.sellers, own.products))
    return Words(write(own.currency), write(own.period), sellers, products)


def _said(text: str, own: Words) -> str:
    def seller(match: re.Match[str]) -> str:
        number = int(match[1])
        return own.sellers[number] if number < len(own.sellers) else match[0]

    def offer(match: re.Match[str]) -> str:
        name = own.product(int(match[1]), int(match[2]))
        return f"{own.seller(int(match[1]))}, {name}" if name else match[0]

    if own.products:
        text = _OFFER.sub(offer, text)
    if own.sellers:
        text = _SELLER.sub(seller, text)
    if own.period:
        article = "an" if own.period.lower().startswith(("a", "e", "i", "o", "u", "hour")) else "a"
        text = _AN_EPOCH.sub(lambda match: f"{article if match[1] == 'an' else article.capitalize()} epoch", text)
        text = _EPOCH.sub(lambda match: (own.period.capitalize() if match[1] == "E" else own.period) + match[2], text)
    return _MONEY.sub(lambda _: own.currency, text) if own.currency else text


def say_page(html: str) -> str:
    """The text of a page, or of a part of one, in the words in force; tags, scripts and what is quoted stay."""
    if not there_are():
        return html
    parts = _NO_TEXT.split(html)
    return "".join(part if number % 2 else say(part, escape) for number, part in enumerate(parts))

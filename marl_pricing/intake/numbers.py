"""Texts → numbers: signs of decimals and thousands, currencies, minus signs; what can be read in two ways is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pandas as pd

from marl_pricing.intake.errors import IntakeError, shown

SIGNS = (".", ",")
_CODES = (
    "EUR|USD|GBP|CHF|JPY|CNY|RMB|SEK|NOK|DKK|PLN|CZK|HUF|RON|BGN|RUB|UAH|TRY|INR|BRL|MXN|ARS|CLP|COP|CAD|AUD|NZD|ZAR|"
    "KRW|SGD|HKD|TWD|THB|IDR|MYR|PHP|VND|ILS|AED|SAR|EGP"
)
CURRENCY = re.compile(rf"(?:{_CODES}|US\$|R\$|A\$|C\$|[€$£¥₹₽₺₴₪₩฿₫]|kr\.?|zł|Kč|Ft|Fr\.|lei|TL)", re.IGNORECASE)
_WORD = rf"(?:{CURRENCY.pattern})"
_NUMBER = re.compile(
    rf"(?P<open>[(])?(?P<minus>[-+−–])?\s*(?P<before>{_WORD})?\s*(?P<inner>[-+−])?"
    rf"(?P<body>\d[\d.,'’\s]*|[.,]\d+)(?P<power>[eE][-+]?\d+)?\s*(?P<percent>%)?(?P<after>{_WORD})?\s*"
    r"(?P<last>[-−])?(?P<close>[)])?",
    re.IGNORECASE,
)
_MEASURE = re.compile(r"(?<=\d)\s*(?:/\s*)?[^\W\d_]{1,8}\.?$")
_IN_GROUPS = re.compile(r"\d{1,3}(?:[\s'’]\d{3})+(?=\D|$)")
_HEADER = re.compile(rf"(?:^|[\s_(\[/])(?P<word>{_CODES}|[€$£¥₹₽₺₴₪₩])(?:$|[\s_)\]/.])", re.IGNORECASE)


@dataclass(frozen=True)
class Parts:
    """A text that may be a number: its sign, digits with `.` and `,` only, power of ten and currency."""

    negative: bool
    body: str
    power: str
    currency: str


def take_apart(text: str) -> Parts | None:
    """The parts of a text that may be a number, None where it is none: -1.234,50 €, (3), 1'000.5, $1.49, 12-."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    body = match["body"].strip()
    if re.search(r"[\s'’]", body):
        if _IN_GROUPS.match(body) is None:
            return None
        body = re.sub(r"[\s'’]", "", body)
    signs = [sign for sign in (match["minus"], match["inner"], match["last"], match["open"]) if sign and sign != "+"]
    if len(signs) > 1:
        return None
    return Parts(bool(signs), body, match["power"] or "", match["before"] or match["after"] or "")


def _grouped(body: str, sign: str) -> bool:
    """Whether a sign may stand between thousands, all over: 1.234, 1.234.567, and 12,34,567 as in India."""
    name = re.escape(sign)
    return bool(
        re.fullmatch(rf"[1-9]\d{{0,2}}(?:{name}\d{{3}})+", body)
        or re.fullmatch(rf"[1-9]\d?(?:{name}\d{{2}})+{name}\d{{3}}", body)
    )


def decimals_of(parts: Parts) -> frozenset[str]:
    """Which of `.` and `,` may be the decimal sign of a number; none of both where it is no number."""
    body = parts.body
    fine = set()
    for sign, other in (SIGNS, SIGNS[::-1]):
        whole, _, rest = body.partition(sign)
        if body.count(sign) > 1 or not re.fullmatch(r"\d*", rest):
            continue
        if other in whole and not _grouped(whole, other):
            continue
        if other in whole and parts.power:
            continue
        fine.add(sign)
    return frozenset(fine)


def value_of(parts: Parts, decimal: str) -> float:
    """The number, NaN where it is none with that decimal sign."""
    if decimal not in decimals_of(parts):
        return np.nan
    other = SIGNS[decimal == "."]
    number = float(parts.body.replace(other, "").replace(decimal, ".") + parts.power)
    return -number if parts.negative else number


def is_open(parts: Parts) -> bool:
    """Whether a number means two things: 14.860 is fourteen thousand or fourteen and a bit."""
    both = decimals_of(parts)
    return len(both) == 2 and value_of(parts, ".") != value_of(parts, ",")


@dataclass
class Column:
    """A column of texts that are to be numbers.

    Attributes:
        name: ours.
        title: the file's.
        parts: text → its parts, None where it is no number; empty texts are not there.
        lines: text → the first line it stands in.
        money: whether it is an amount of money: then decimals are usual, and a currency may stand with it.
        decimal: settled sign; None as long as it is open.
        told: whether the user settled it.
    """

    name: str
    title: str
    parts: dict[str, Parts | None]
    lines: dict[str, int]
    money: bool
    decimal: str | None = None
    told: bool = False
    proof: dict[str, str] = field(default_factory=dict)

    def look(self, where: str) -> None:
        """Settle the sign from this column's own texts, where one of them leaves one choice.

        Raises:
            IntakeError: where two of them contradict each other.
        """
        for text, parts in self.parts.items():
            own = decimals_of(parts) if parts else frozenset()
            if len(own) == 1:
                self.proof.setdefault(next(iter(own)), text)
        if self.told:
            return
        if len(self.proof) == 2:
            (one, first), (other, second) = self.proof.items()
            raise IntakeError(
                f"{where}:{self.lines[second]}: {self.title} mixes two ways to write numbers: {shown(second)} has the "
                f"decimal sign {other!r}, {shown(first)} in line {self.lines[first]} has {one!r}; "
                f"decimal: {{{self.name}: {one!r}}} in the mapping sets aside what is not of one way"
            )
        if self.proof:
            self.decimal = next(iter(self.proof))

    @property
    def open_text(self) -> str | None:
        """A text that can be read in two ways; None where there is none."""
        return next((text for text, parts in self.parts.items() if parts and is_open(parts)), None)


def column(name: str, title: str, values: pd.Series, lines: np.ndarray, money: bool) -> Column:
    """A column taken apart, each different text once."""
    # Numbers of Excel and Parquet need no looking at.
    is_text = values.map(lambda value: isinstance(value, str)) if values.dtype.kind == "O" or len(values) == 0 else None
    if is_text is None:
        is_text = pd.Series(isinstance(values.dtype, pd.StringDtype), values.index)
    texts = values[is_text].astype(object).str.strip()
    places = pd.Series(lines, values.index)[texts.index]
    first = places.groupby(texts.to_numpy(), sort=False).first()
    found = {str(text): int(line) for text, line in first.items() if text}
    behind = _common_end(list(found))
    return Column(name, title, {text: take_apart(text.removesuffix(behind)) for text in found}, found, money)


def _common_end(texts: list[str]) -> str:
    """What all numbers of a column have behind them, as in `3 pcs` and `4.20 / kg`; empty where it is none or money."""
    match = _MEASURE.search(texts[0]) if texts and take_apart(texts[0]) is None else None
    return match[0] if match is not None and all(text.endswith(match[0]) for text in texts) else ""


def settle(
    columns: Iterable[Column], where: str, told: Mapping[str, str] | str | None = None, thousands: str | None = None
) -> dict[str, str]:
    """The decimal sign of each column (`.` where it makes no difference).

    A column settles its own sign where one value leaves one choice. One that does not takes the file's other columns'
    word where these say that its sign separates thousands; that it separates decimals is taken for money only, since
    counts seldom have any.

    Args:
        told: the user's decimal sign, of all columns or by our name.
        thousands: the user's sign of thousands; where it is a space or ', both others are signs of decimals.

    Raises:
        IntakeError: where a column can be read in two ways, with both readings and the setting that settles it.
    """
    columns = list(columns)
    for own in columns:
        sign = told if isinstance(told, str) else (told or {}).get(own.name)
        if sign is not None:
            own.decimal, own.told = sign, True
        own.look(where)
    said = {own.decimal for own in columns if own.decimal is not None and (own.proof or own.told)}
    settled = {}
    for own in columns:
        text = own.open_text
        if own.decimal is None and text is not None:
            sign = "." if "." in text else ","
            others = next(iter(said)) if len(said) == 1 else None
            if thousands in (" ", "'"):
                own.decimal = sign
            elif others is not None and (others != sign or own.money):
                own.decimal = others
            else:
                parts = own.parts[text]
                assert parts is not None
                thousand, point = value_of(parts, SIGNS[sign == "."]), value_of(parts, sign)
                raise IntakeError(
                    f"{where}:{own.lines[text]}: {own.title} {shown(text)} can be read as {thousand:.15g}, where "
                    f"{sign!r} separates thousands, or as {point:.15g}, where it separates decimals; "
                    f'decimal: {{{own.name}: "{SIGNS[sign == "."]}"}} in the mapping takes the first, '
                    f'decimal: {{{own.name}: "{sign}"}} the second'
                )
        settled[own.name] = own.decimal or "."
    return settled


def parse(values: pd.Series, own: Column) -> pd.Series:
    """Numbers [rows], NaN where a cell is none; numbers that come as such (Excel, Parquet) are taken as they are."""
    if pd.api.types.is_numeric_dtype(values):
        return pd.to_numeric(values, errors="coerce").astype(float)
    number = {text: value_of(parts, own.decimal or ".") for text, parts in own.parts.items() if parts}

    def one(value: object) -> float:
        if isinstance(value, str):
            return number.get(value.strip(), np.nan)
        if isinstance(value, (int, float, np.number, Decimal)):
            return float(value)
        return np.nan

    codes, unique = pd.factorize(values)
    found = np.array([*(one(value) for value in unique), np.nan])
    return pd.Series(found[codes], values.index)


def currency_in(title: str) -> str:
    """The currency in a column's title, as in `Preis (EUR)` or `price_usd`; empty where there is none."""
    match = _HEADER.search(title)
    return match["word"].upper() if match else ""


def currencies(columns: Iterable[Column]) -> dict[str, tuple[str, int]]:
    """Currencies that stand with amounts → (our name of the column, first line)."""
    found: dict[str, tuple[str, int]] = {}
    for own in columns:
        for text, parts in own.parts.items():
            if own.money and parts and parts.currency:
                sign = parts.currency.upper() if len(parts.currency) == 3 else parts.currency
                line = own.lines[text]
                if sign not in found or line < found[sign][1]:
                    found[sign] = (own.name, line)
    return found

"""What a shop sells: a CSV with a line a product."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from marl_pricing.intake import IntakeError, shown
from marl_pricing.serving.table import read_rows

MODES = ("hotel", "airline")
MOST_PRODUCTS = 100_000
MOST_MONEY = 1e9
_NEEDED = ("id", "mode", "name", "base_price", "cost", "floor", "cap", "stock")
IDENTITY = re.compile(r"[^\s/?#%\x00-\x1f\x7f\ud800-\udfff]{1,128}")


@dataclass(frozen=True)
class Product:
    """A product and the bounds of its price, in money."""

    id: str
    mode: str
    name: str
    base_price: float
    cost: float
    floor: float
    cap: float
    stock: float  # units; inf: never out
    attributes: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """What a shopper's page may know: neither cost nor bounds nor stock."""
        told: dict[str, Any] = {
            "id": self.id, "productId": self.id, "type": self.mode, "storeMode": self.mode, "name": self.name,
            "base_price": self.base_price, "price": self.base_price,
        }  # fmt: skip
        return told | {name: value for name, value in self.attributes.items() if name not in told}


Catalogue = dict[str, Product]


def to_plain(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Products as JSON holds them; stock without end is None."""
    rows = [asdict(product) for product in catalogue.values()]
    return [row | {"stock": None if row["stock"] == float("inf") else row["stock"]} for row in rows]


def from_plain(rows: list[dict[str, Any]]) -> Catalogue:
    """The inverse of `to_plain`."""
    return {
        row["id"]: Product(**row | {"stock": float("inf") if row["stock"] is None else row["stock"]}) for row in rows
    }


def read_catalogue(path: str | Path) -> Catalogue:
    """Products by id, in the file's order.

    Raises:
        IntakeError: naming the line, the column, the value and what is accepted.
    """
    found: Catalogue = {}
    for place, row in read_rows(path, _NEEDED, ", and any others"):
        product = _product(row, place)
        if product.id in found:
            raise IntakeError(f"{place}: id={product.id!r} is there twice")
        if len(found) == MOST_PRODUCTS:
            raise IntakeError(f"{path}: accepted are at most {MOST_PRODUCTS:,} products")
        found[product.id] = product
    if not found:
        raise IntakeError(f"{path}: there is no product")
    return found


def _number(row: Mapping[str, str], name: str, place: str) -> float:
    text = (row[name] or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= MOST_MONEY:
        raise IntakeError(f"{place}: {name}={shown(text)}: accepted is a number from 0 to {MOST_MONEY:,.0f}")
    return value


def _product(row: dict[str, Any], place: str) -> Product:
    if None in row or None in row.values():
        raise IntakeError(f"{place}: accepted is one value a column")
    identity, mode = row["id"].strip(), row["mode"].strip()
    if not IDENTITY.fullmatch(identity):
        raise IntakeError(f"{place}: id={shown(row['id'])}: accepted are 1 to 128 signs without spaces, / ? # or %")
    if mode not in MODES:
        raise IntakeError(f"{place}: mode={shown(mode)}: accepted is hotel or airline")
    base, cost, floor, cap = (_number(row, name, place) for name in ("base_price", "cost", "floor", "cap"))
    if not cost <= floor <= base <= cap or not floor > 0:
        raise IntakeError(
            f"{place}: cost={cost:g}, floor={floor:g}, base_price={base:g}, cap={cap:g}: accepted is "
            "cost <= floor <= base_price <= cap and a floor above 0"
        )
    stock = _number(row, "stock", place) if row["stock"].strip() else float("inf")
    others = {name: text.strip() for name, text in row.items() if name not in _NEEDED and text.strip()}
    return Product(identity, mode, row["name"].strip() or identity, base, cost, floor, cap, stock, others)

"""Layouts that are known by their columns: what a mapping of them would say.

Public files of sales that pricing is studied on, and exports of shop systems. A layout is recognised where all of its
`columns` are there; `mapping` is what a user would have to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Layout:
    """A known layout.

    Attributes:
        name: as it is said to the user.
        columns: that tell it.
        mapping: our settings → the file's columns.
    """

    name: str
    columns: tuple[str, ...]
    mapping: dict[str, Any]


SALES = (
    Layout(
        "order lines of the UCI Online Retail file",
        ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice"),
        {"product": "StockCode", "period": "InvoiceDate", "units": "Quantity", "price": "UnitPrice"},
    ),
    Layout(
        "order lines of the UCI Online Retail II file",
        ("Invoice", "StockCode", "Quantity", "InvoiceDate", "Price"),
        {"product": "StockCode", "period": "InvoiceDate", "units": "Quantity", "price": "Price"},
    ),
    Layout(
        "Dominick's movement file",
        ("STORE", "UPC", "WEEK", "MOVE", "QTY", "PRICE"),
        {
            "product": "UPC", "store": "STORE", "period": "WEEK", "units": "MOVE", "price": "PRICE",
            "price_for": "QTY", "margin_percent": "PROFIT", "keep": {"OK": ["1"]},
        },
    ),
    Layout(
        "NielsenIQ's movement file",
        ("store_code_uc", "upc", "week_end", "units", "prmult", "price"),
        {
            "product": "upc", "store": "store_code_uc", "period": "week_end", "units": "units", "price": "price",
            "price_for": "prmult",
        },
    ),
    Layout(
        "IRI's academic file",
        ("IRI_KEY", "WEEK", "SY", "GE", "VEND", "ITEM", "UNITS", "DOLLARS"),
        {
            "product": ["SY", "GE", "VEND", "ITEM"], "store": "IRI_KEY", "period": "WEEK", "units": "UNITS",
            "revenue": "DOLLARS",
        },
    ),
    Layout(
        "the transactions of The Complete Journey",
        ("household_key", "PRODUCT_ID", "QUANTITY", "SALES_VALUE", "STORE_ID", "WEEK_NO"),
        {
            "product": "PRODUCT_ID", "store": "STORE_ID", "stores": "add_up", "period": "WEEK_NO", "units": "QUANTITY",
            "revenue": "SALES_VALUE", "repeats": "add_up",
        },
    ),
    Layout(
        "Shopify's export of orders",
        ("Name", "Created at", "Lineitem quantity", "Lineitem name", "Lineitem price"),
        {
            "product": "Lineitem name", "period": "Created at", "units": "Lineitem quantity", "price": "Lineitem price",
            "currency": "Currency",
        },
    ),
    Layout(
        "the supermarket sales file of Kaggle",
        ("Invoice ID", "Branch", "Product line", "Unit price", "Quantity", "Date"),
        {
            "product": "Product line", "store": "Branch", "period": "Date", "units": "Quantity", "price": "Unit price",
        },
    ),
    Layout(
        "the Superstore file",
        ("Order ID", "Order Date", "Product ID", "Category", "Sales", "Quantity"),
        {
            "product": "Product ID", "period": "Order Date", "units": "Quantity", "revenue": "Sales",
            "category": "Category",
        },
    ),
)  # fmt: skip


def recognise(titles: Sequence[str], layouts: Sequence[Layout] = SALES) -> Layout | None:
    """The layout whose columns are all there, the one with most columns where several are."""
    fits = [layout for layout in layouts if set(layout.columns) <= set(titles)]
    if not fits:
        return None
    best = max(fits, key=lambda layout: len(layout.columns))
    optional = ("margin_percent", "currency", "category", "price_for")
    own = {name: value for name, value in best.mapping.items() if name not in optional or value in titles}
    if "keep" in own and not set(own["keep"]) <= set(titles):
        del own["keep"]
    return Layout(best.name, best.columns, own)

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
    Layout(
        "the transactions of The Complete Journey in R",
        ("household_id", "basket_id", "product_id", "quantity", "sales_value", "store_id", "transaction_timestamp"),
        {
            "product": "product_id", "store": "store_id", "stores": "add_up", "period": "transaction_timestamp",
            "units": "quantity", "revenue": "sales_value",
        },
    ),
    Layout(
        "dunnhumby's Breakfast at the Frat",
        ("WEEK_END_DATE", "STORE_NUM", "UPC", "UNITS", "SPEND", "PRICE"),
        {"product": "UPC", "store": "STORE_NUM", "period": "WEEK_END_DATE", "units": "UNITS", "price": "PRICE"},
    ),
    Layout(
        "dunnhumby's Let's Get Sort-of-Real",
        ("SHOP_DATE", "PROD_CODE", "QUANTITY", "SPEND", "STORE_CODE"),
        {
            "product": "PROD_CODE", "store": "STORE_CODE", "stores": "add_up", "period": "SHOP_DATE",
            "units": "QUANTITY", "revenue": "SPEND", "category": "PROD_CODE_10",
        },
    ),
    Layout(
        "the order items of Olist",
        ("order_id", "order_item_id", "product_id", "seller_id", "shipping_limit_date", "price"),
        {
            "product": "product_id", "seller": "seller_id", "period": "shipping_limit_date", "units": None,
            "price": "price",
        },
    ),
    Layout(
        "H&M's transactions",
        ("t_dat", "customer_id", "article_id", "price"),
        {"product": "article_id", "period": "t_dat", "units": None, "price": "price"},
    ),
    Layout(
        "1C's daily sales",
        ("date", "shop_id", "item_id", "item_price", "item_cnt_day"),
        {
            "product": "item_id", "store": "shop_id", "stores": "add_up", "period": "date", "units": "item_cnt_day",
            "price": "item_price",
        },
    ),
    Layout(
        "the liquor sales of Iowa",
        ("Invoice/Item Number", "Date", "Store Number", "Item Number", "Bottles Sold", "State Bottle Retail"),
        {
            "product": "Item Number", "store": "Store Number", "stores": "add_up", "period": "Date",
            "units": "Bottles Sold", "price": "State Bottle Retail", "cost": "State Bottle Cost",
            "category": "Category Name",
        },
    ),
    Layout(
        "Ta Feng's transactions",
        ("TRANSACTION_DT", "PRODUCT_SUBCLASS", "PRODUCT_ID", "AMOUNT", "SALES_PRICE"),
        {
            "product": "PRODUCT_ID", "period": "TRANSACTION_DT", "units": "AMOUNT", "revenue": "SALES_PRICE",
            "category": "PRODUCT_SUBCLASS",
        },
    ),
    Layout(
        "Amazon's report of all orders",
        ("amazon-order-id", "purchase-date", "sku", "quantity", "item-price"),
        {
            "product": "sku", "period": "purchase-date", "units": "quantity", "revenue": "item-price",
            "currency": "currency",
        },
    ),
    Layout(
        "Square's export of items",
        ("Date", "Item", "Qty", "Price Point Name", "Gross Sales", "Net Sales"),
        {
            "product": ["Item", "Price Point Name"], "period": "Date", "units": "Qty", "revenue": "Net Sales",
            "category": "Category",
        },
    ),
    Layout(
        "Magento's items of orders",
        ("created_at", "sku", "qty_ordered", "price", "row_total"),
        {"product": "sku", "period": "created_at", "units": "qty_ordered", "price": "price"},
    ),
    Layout(
        "the avocado prices of Kaggle",
        ("Date", "AveragePrice", "Total Volume", "type", "region"),
        {
            "product": "type", "store": "region", "period": "Date", "units": "Total Volume", "price": "AveragePrice",
        },
    ),
)  # fmt: skip


def recognise(titles: Sequence[str], layouts: Sequence[Layout] = SALES) -> Layout | None:
    """The layout whose columns are all there, the one with most columns where several are."""
    there = {title.strip().casefold() for title in titles}

    def has(*columns: str) -> bool:
        return {column.casefold() for column in columns} <= there

    fits = [layout for layout in layouts if has(*layout.columns)]
    if not fits:
        return None
    best = max(fits, key=lambda layout: len(layout.columns))
    optional = ("margin_percent", "currency", "category", "price_for")
    own = {name: value for name, value in best.mapping.items() if name not in optional or has(value)}
    if "keep" in own and not has(*own["keep"]):
        del own["keep"]
    return Layout(best.name, best.columns, own)

"""What a file of sales says where: the mapping that a user writes, that a known layout has, or that is suggested."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import model_validator

from marl_pricing.calibration.guessing import guess, what_is_lacking
from marl_pricing.config.errors import ConfigError, Settings, refuse
from marl_pricing.config.mapping_files import read_mapping_file
from marl_pricing.intake import IntakeError, shown
from marl_pricing.intake.dates import form_named
from marl_pricing.intake.errors import listed
from marl_pricing.intake.layouts import recognise
from marl_pricing.intake.names import find_title
from marl_pricing.intake.tables import RawTable, Told

Sign = Literal[".", ","]

# Settings that name a column each.
COLUMNS = (
    *("product", "seller", "store", "period", "units", "price", "revenue", "price_for", "margin_percent", "category"),
    *("cost", "promotion", "stock", "currency"),
)
_OWN = ("product", "period", "units", "price")  # without a mapping a file has these
_OPTIONAL = ("store", "category", "cost", "promotion", "stock", "currency")  # and may have these


class CalibrationError(ValueError):
    """Sales that cannot be used; the message names the file, where there is one the line, and what is wrong."""


class Mapping(Settings):
    """What the columns of a file of sales are, and what of the file is not to be found but told.

    A row is one product of one seller (in one store) in one period, or a line of an order: several of a period are
    added up. Columns are named as the file does; a product may be several columns together, and a period a year and its
    week or month (and day). `units: null` counts each row as one unit, `seller: null` and `product: null` are one.
    Where there is no price, `revenue` over units is it; `price_for` is the number of units that a price is for,
    `margin_percent` the margin in percent of the price, which gives a cost. `currency` is a column, or the currency
    itself; `period_name` what a period is called, where it is a number; `fill_down` columns whose empty cells are those
    above; `sheet` one, or several of the same columns.

    Null for `format`, `separator`, `encoding`, `header` (the header's line), `sheet`, `decimal` (a sign, or one by our
    name of a column), `thousands`, `date_format` and `period_length` means that it is found in the file.
    """

    product: str | list[str] | None = "product"
    seller: str | None = "seller"
    store: str | None = None
    period: str | list[str] = "period"
    units: str | None = "units"
    price: str | None = "price"
    revenue: str | None = None
    price_for: str | None = None
    margin_percent: str | None = None
    category: str | None = None
    cost: str | None = None
    promotion: str | None = None
    stock: str | None = None
    currency: str | None = None
    instruments: list[str] = []  # noqa: RUF012
    format: Literal["csv", "xlsx", "parquet"] | None = None
    separator: str | None = None
    encoding: str | None = None
    header: int | None = None
    sheet: str | list[str] | None = None
    fill_down: list[str] = []  # noqa: RUF012
    decimal: Sign | dict[str, Sign] | None = None
    thousands: Literal[".", ",", " ", "'"] | None = None
    date_format: str | None = None
    period_length: Literal["day", "week", "month"] | None = None
    period_name: str | None = None
    stores: Literal["separate", "add_up"] = "separate"
    repeats: Literal["auto", "add_up", "drop", "refuse"] = "auto"
    returns: Literal["net", "drop"] = "net"
    absent: Literal["unknown", "zero"] = "unknown"
    keep: dict[str, list[str | int | float | bool]] = {}  # noqa: RUF012

    @model_validator(mode="after")
    def _fits(self) -> Mapping:
        if isinstance(self.decimal, dict):
            numbers = ("units", "price", "revenue", "price_for", "margin_percent", "cost", "stock", "promotion")
            for name in self.decimal:
                if name not in numbers and not name.startswith("instrument"):
                    raise refuse("decimal", name, f"a sign, or one by our name of a column: {', '.join(numbers)}")
        if self.thousands is not None and self.thousands == self.decimal:
            raise refuse("thousands", self.thousands, f"another sign than decimal={self.decimal!r}")
        if self.date_format is not None:
            try:
                form_named(self.date_format)
            except IntakeError as error:
                raise ConfigError(str(error)) from None
        if isinstance(self.product, list) and not self.product:
            raise refuse("product", self.product, "the name of a column, or several")
        if isinstance(self.period, list) and not 2 <= len(self.period) <= 3:
            raise refuse("period", self.period, "a column, or a year's with those of its week, month, or month and day")
        return self

    @property
    def told(self) -> Told:
        """What it says of the file."""
        return Told(self.format, self.separator, self.encoding, self.header, self.sheet)

    @property
    def decimals(self) -> str | dict[str, str] | None:
        """The decimal sign as told, of all columns or by column; the sign of thousands tells it too."""
        if self.decimal is None and self.thousands in (".", ","):
            return "," if self.thousands == "." else "."
        return dict(self.decimal) if isinstance(self.decimal, dict) else self.decimal


def read_mapping(path: Path | str | None) -> Mapping:
    """The mapping of a YAML file; without one what the columns are is found in the file.

    Raises:
        ConfigError: naming the file, and the field that is wrong.
    """
    return read_mapping_file(path, Mapping)


def resolve(mapping: Mapping, raw: RawTable) -> tuple[Mapping, list[str]]:
    """A mapping whose columns the file has, and what was found in words.

    A file without a mapping has our own names, or a layout that is known by its columns; columns in other words are
    suggested, never taken.

    Raises:
        CalibrationError: naming a column that is not there or comes twice, with the columns that it is likely meant by.
    """
    titles, said = [str(name) for name in raw.frame.columns], []
    set_columns = [name for name in (*COLUMNS, "instruments") if name in mapping.model_fields_set]
    own = {name: getattr(mapping, name) for name in mapping.model_fields_set}
    if not set_columns:
        if not set(_OWN) <= set(titles) and (layout := recognise(titles)) is not None:
            own = layout.mapping | own
            said.append(f"known as {layout.name}")
        else:
            own |= {name: name for name in _OPTIONAL if name in titles}
    own.setdefault("seller", "seller" if find_title("seller", titles) else None)
    if own.get("revenue") is not None and find_title(own.get("price") or "price", titles) is None:
        own["price"] = None
    found = Mapping.model_validate(own)
    header = raw.form.get("header", 1)

    def title_of(name: str) -> str:
        title = find_title(name, titles)
        if title is None:
            raise CalibrationError(
                f"{raw.path}:{header}: there is no column {shown(name)}; it has {listed(titles)}; "
                f"{what_is_lacking(raw)}"
            )
        if title in raw.twice:
            raise CalibrationError(
                f"{raw.path}:{header}: column {shown(title)} is there twice, and not clear which is meant; rename one "
                "of them in the file"
            )
        return title

    changes: dict[str, Any] = {}
    for name in COLUMNS:
        value = getattr(found, name)
        if isinstance(value, list):
            changes[name] = [title_of(one) for one in value]
        elif value is not None and (name != "currency" or find_title(value, titles) is not None):
            changes[name] = title_of(value)
    changes["instruments"] = [title_of(name) for name in found.instruments]
    changes["fill_down"] = [title_of(name) for name in found.fill_down]
    changes["keep"] = {title_of(name): values for name, values in found.keep.items()}
    return found.model_copy(update=changes), said


def told_mapping(mapping: Mapping) -> str:
    """A mapping as the file that `mapping=` reads: what differs from the defaults, the columns first."""
    defaults = Mapping()
    fields = [*COLUMNS, *(name for name in Mapping.model_fields if name not in COLUMNS)]
    data = {}
    for name in fields:
        value = getattr(mapping, name)
        if value != getattr(defaults, name) or name in _OWN:
            data[name] = value
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)


def suggested(mapping: Mapping, raw: RawTable) -> Mapping | None:
    """The mapping with the columns that are likely meant; None where the file says too little."""
    own = guess(raw) | {name: getattr(mapping, name) for name in mapping.model_fields_set}
    if not {"product", "period", "units"} <= set(own) or not {"price", "revenue"} & set(own):
        return None
    own.setdefault("seller", None)
    return Mapping.model_validate(own)

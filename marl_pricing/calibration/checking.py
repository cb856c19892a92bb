"""`--check`: how a file of sales is read, in lines, and the mapping that reads it so; nothing is estimated."""

from __future__ import annotations

from pathlib import Path

from marl_pricing.calibration.calibrate import mapping_of
from marl_pricing.calibration.mapping import CalibrationError, Mapping, suggested, told_mapping
from marl_pricing.calibration.reading import Sales, gaps, read_sales
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.intake import IntakeError
from marl_pricing.intake.tables import read_table
from marl_pricing.presentation.files import write_atomically


def _told(own: CalibrationSettings, sales: Sales) -> list[str]:
    table = sales.table
    stores = f", {table['store'].nunique():,} stores" if "store" in table else ""
    money = f" {sales.currency}" if sales.currency else ""
    revenue = float((table["units"] * table["price"]).sum())
    told = [
        f"read as: {', '.join(sales.read_as)}",
        f"{sales.rows:,} rows of {own.data} became {len(table):,}: {table['product'].nunique():,} products, "
        f"{table['seller'].nunique():,} sellers{stores}, {table['period'].nunique():,} {sales.period_name}s from "
        f"{sales.first_period}",
        f"{table['units'].sum():.12g} units, revenue {revenue:,.2f}{money}, prices {table['price'].min():.6g} to "
        f"{table['price'].max():.6g}{money}",
    ]
    missing = int(gaps(table)["missing"].sum())
    if missing:
        told.append(
            f"{missing:,} {sales.period_name}s without a row between a product's first and last are unknown; absent: "
            "zero in the mapping takes them for nothing sold"
        )
    told += [f"{count:,} rows set aside: {reason}" for reason, count in sales.reasons.most_common()]
    return told


def check(own: CalibrationSettings, folder: str | None) -> list[str]:
    """What is to be said of a file.

    A file whose columns have other words is read by the mapping that these suggest; it is written all the same.

    Args:
        folder: for mapping.yaml; None writes FILE.mapping.yaml beside the file.

    Raises:
        CalibrationError, ConfigError: for a file that cannot be read, or a mapping that is there already.
    """
    mapping, guessed = mapping_of(own), ""
    try:
        sales = read_sales(own.data, mapping, own.judging)
    except CalibrationError as error:
        likely = _likely(own, mapping) if "there is no column" in str(error) else None
        if likely is None:
            raise
        guessed = "columns are GUESSED from their names, look at them before you use the mapping"
        sales = read_sales(own.data, likely, own.judging)
    text = "# How --check read the file; see docs/import.md.\n" + told_mapping(sales.mapping)
    target = Path(folder) / "mapping.yaml" if folder is not None else Path(f"{own.data}.mapping.yaml")
    if target.exists() and target.read_bytes() != text.encode():
        raise CalibrationError(f"{target}: is there already and says something else; accepted is another out=FOLDER")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, text)
    return [*([guessed] if guessed else []), *_told(own, sales), f"mapping: {target}"]


def _likely(own: CalibrationSettings, mapping: Mapping) -> Mapping | None:
    try:
        return suggested(mapping, read_table(own.data, mapping.told))
    except IntakeError:
        return None

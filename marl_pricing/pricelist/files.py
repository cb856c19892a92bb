"""What a price list leaves: a table as CSV and as Excel, a page, figures, how it came about."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from marl_pricing.presentation import style
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.spreadsheets import csv_of
from marl_pricing.pricelist import page
from marl_pricing.pricelist.make import PriceList
from marl_pricing.pricelist.settings import ANSWERING, PriceListSettings

COLUMNS = {
    "product": "text",
    "category": "text",
    "price": "money, the last that was seen",
    "proposed": "money",
    "change": "share of the price",
    "units": "expected in the next period at today's price",
    "units_proposed": "at the price proposed, the others as proposed; _low, _high: 95 % interval",
    "profit": "money a period, expected at today's prices",
    "profit_proposed": "money a period at those proposed",
    "gain": "money a period, the difference; _low, _high: 95 % interval",
    "chance": "probability that the change raises the shop's profit; of a price that stays, that of the surest "
    "change; empty where none was allowed",
    "elasticity": "posterior mean; _low, _high: 95 % interval",
    "cost": "money a unit",
    "notes": "why the price stays, or why not to trust the change",
    "currency": "of all money; empty where the file does not say",
}


def table_of(found: PriceList) -> pd.DataFrame:
    """The list, a row a product; columns of `COLUMNS`, and products that are not priced last, with the reason."""
    own, outlook = found.table, found.outlook
    listed = pd.DataFrame(
        {
            "product": own["product"],
            "category": own["category"],
            "price": own["price"],
            "proposed": found.choice.prices,
            "change": found.choice.prices / own["price"] - 1.0,
            "units": outlook.units_today.mean,
            "units_proposed": outlook.units.mean,
            "units_low": outlook.units.low,
            "units_high": outlook.units.high,
            "profit": outlook.profit_today.mean,
            "profit_proposed": outlook.profit.mean,
            "gain": outlook.gain.mean,
            "gain_low": outlook.gain.low,
            "gain_high": outlook.gain.high,
            "chance": found.choice.chance,
            "elasticity": found.elasticity.mean,
            "elasticity_low": found.elasticity.low,
            "elasticity_high": found.elasticity.high,
            "cost": own["cost"],
            "notes": own["notes"],
        }
    )
    rounded = listed.round({name: 4 for name in listed.columns if listed[name].dtype.kind == "f"})
    idle = pd.DataFrame({"product": found.idle["product"], "notes": "not priced: " + found.idle["why"]})
    whole = pd.concat([rounded, idle], ignore_index=True) if len(idle) else rounded
    return whole.assign(currency=found.sales.currency)


def _excel(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer, engine="openpyxl") as writer:
        table.to_excel(writer, sheet_name="price list", index=False, freeze_panes=(1, 1))
        sheet = writer.sheets["price list"]
        for place, name in enumerate(table.columns, start=1):
            letter = get_column_letter(place)
            sheet.column_dimensions[letter].width = 60 if name == "notes" else 24 if name == "product" else 14
            sheet[f"{letter}1"].font = Font(bold=True)
            form = {"change": "0.0%", "chance": "0%"}.get(name, "0.00")
            for cell in sheet[letter][1:]:
                if isinstance(cell.value, float):
                    cell.number_format = form
                elif isinstance(cell.value, str):
                    cell.data_type = "s"  # not a formula, whatever a name begins with
        sheet.auto_filter.ref = sheet.dimensions
    return buffer.getvalue()


def leave(found: PriceList, own: PriceListSettings, command: list[str]) -> None:
    """Write pricelist.csv, .xlsx and .html, figures, provenance.json into the folder of the settings."""
    out = Path(own.out)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    table = table_of(found)
    write_atomically(out / "pricelist.csv", csv_of(table))
    write_atomically(out / "pricelist.xlsx", _excel(table))
    if own.rivals in ANSWERING:
        told = found.answers[["product", "seller", "category", "price", "answer"]]
        write_atomically(out / "rivals.csv", csv_of(told))
    else:
        (out / "rivals.csv").unlink(missing_ok=True)
    images = {}
    for name, _, _, draw in page.pictures(found):
        images[name] = style.write_for_page(out / "figures", name, draw)
    for stale in {"gains", "elasticities"} - images.keys():
        for kind in ("png", "svg"):
            (out / "figures" / f"{stale}.{kind}").unlink(missing_ok=True)
    provenance = {
        "command": shlex.join(command),
        "file": Path(own.data).name,
        "sha256": hashlib.sha256(Path(own.data).read_bytes()).hexdigest(),
        "read_as": list(found.sales.read_as),
        "settings": own.model_dump(mode="json", exclude={"data", "out", "mapping", "costs", "stock", "policy"}),
        "versions": {name: version(name) for name in ("pyfixest", "statsmodels", "pandas", "numpy")},
    }
    write_atomically(out / "provenance.json", json.dumps(provenance, indent=1, ensure_ascii=False).encode())
    write_atomically(out / "pricelist.html", page.render(found, own, Path(own.data).name, provenance, images).encode())

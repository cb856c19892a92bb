"""Records as tidy tables: one row an offer and epoch (`offers`), one row a seller and epoch (`sellers`)."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv, parquet

from marl_pricing.evaluation.play import Record
from marl_pricing.presentation.files import replace_with
from marl_pricing.presentation.files import write_atomically as write_atomically

_INDEX = {
    "run": "text; the run whose market was played",
    "policy": "text; who set prices: learned (greedy), learned (sampled), or a rule",
    "seed": "whole number; the training seed of a learned policy, 0 for a rule; seed k meets the k-th set of shoppers",
    "episode": "whole number from 0",
    "epoch": "whole number from 0, pricing period in the episode",
    "seller": "whole number from 0",
}
COLUMNS: dict[str, dict[str, str]] = {
    "offers": _INDEX
    | {
        "product": "whole number from 0",
        "price": "money per unit; posted in this epoch",
        "price_paid": "money per unit; mean price of what was ordered, the posted price where nothing was",
        "stock": "units on hand when the shoppers came, after arrivals; inf where stock is unlimited",
        "arrivals": "units that joined the stock at the start of the epoch",
        "on_order": "units on the way after the epoch",
        "ordered": "units ordered from the supplier in this epoch",
        "demand": "units that shoppers wanted; whole unless the market runs on expected orders",
        "sales": "units sold: demand, as far as stock went",
        "unmet": "units wanted and not there: demand less sales",
        "profit": "money; price_paid x sales less what the units and orders cost, stockout penalty and holding cost",
    },
    "sellers": _INDEX
    | {
        "reward_raw": "money; the seller's profit over its products less the penalties that are switched on",
        "reward_shaped": "omega x own raw reward + (1 - omega) x all sellers' raw rewards; no money anybody earns",
    },
}
_OFFER_VALUES = [name for name in COLUMNS["offers"] if name not in _INDEX and name != "product"]
_TEXT = ["run", "policy"]
EPISODE = [*_TEXT, "seed", "episode"]
_LARGE = 200_000  # rows; a longer CSV is compressed


class TableError(ValueError):
    """A table that must not be written: the message names the column."""


def _index(record: Record, run: str, policy: str, seed: int, columns: dict[str, int]) -> dict[str, object]:
    num_episodes, num_epochs, _ = record.live.shape
    sizes = {"episode": num_episodes, "epoch": num_epochs, **columns}
    grids = np.indices(tuple(sizes.values()), dtype=np.int32)
    count = grids[0].size
    text = {
        name: pd.Categorical.from_codes(np.zeros(count, np.int8), pd.Index([value]))
        for name, value in zip(_TEXT, (run, policy), strict=True)
    }
    return {**text, "seed": np.full(count, seed, np.int32)} | {
        name: grid.reshape(-1) for name, grid in zip(sizes, grids, strict=True)
    }


def offers_table(record: Record, run: str, policy: str, seed: int) -> pd.DataFrame:
    """One row per (episode, epoch, seller, product) of a seller that was in the market; see `COLUMNS["offers"]`."""
    num_sellers = record.live.shape[-1]
    num_products = record.price.shape[-1] // num_sellers
    columns = _index(record, run, policy, seed, {"seller": num_sellers, "product": num_products})
    columns |= {name: np.asarray(getattr(record, name), np.float32).reshape(-1) for name in _OFFER_VALUES}
    live = np.repeat(np.asarray(record.live).reshape(-1), num_products)
    return pd.DataFrame(columns)[live].reset_index(drop=True)


def sellers_table(record: Record, run: str, policy: str, seed: int) -> pd.DataFrame:
    """One row per (episode, epoch, seller) of a seller that was in the market; see `COLUMNS["sellers"]`."""
    columns = _index(record, run, policy, seed, {"seller": record.live.shape[-1]})
    for name in ("reward_raw", "reward_shaped"):
        columns[name] = np.asarray(getattr(record, name), np.float32).reshape(-1)
    return pd.DataFrame(columns)[np.asarray(record.live).reshape(-1)].reset_index(drop=True)


def join(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables under each other; texts stay categories, in the order in which they first come."""
    parts = list(tables)
    for name in _TEXT:
        categories = list(dict.fromkeys(value for part in parts for value in part[name].cat.categories))
        parts = [part.assign(**{name: part[name].cat.set_categories(categories)}) for part in parts]
    return pd.concat(parts, ignore_index=True)


_ENDLESS = ("stock",)  # inf where stock is unlimited


def check(name: str, table: pd.DataFrame) -> None:
    """Refuse a table with a value that is missing or not finite.

    Raises:
        TableError: naming the table, the column and the first row that is wrong.
    """
    for column in table.columns:
        wrong, told = table[column].isna().to_numpy(), "NaN"
        if not wrong.any() and table[column].dtype.kind == "f" and column not in _ENDLESS:
            wrong, told = np.isinf(table[column].to_numpy()), "infinite"
        if wrong.any():
            row = table.iloc[int(wrong.argmax())]
            where = ", ".join(f"{key}={row[key]}" for key in _INDEX if key in table and key != column)
            raise TableError(f"table {name}: column {column!r} is {told} in {wrong.sum()} rows, first at {where}")


def write(name: str, table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write `name`.parquet and `name`.csv, or `name`.csv.gz above 200,000 rows, each atomically.

    Returns:
        The paths written.

    Raises:
        TableError: if a value is missing or not finite.
    """
    check(name, table)
    folder.mkdir(parents=True, exist_ok=True)
    rows = pa.Table.from_pandas(table, preserve_index=False)
    large = len(table) > _LARGE
    plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.gz"

    def write_csv(path: Path) -> None:
        text = [rows.schema.get_field_index(column) for column in _TEXT if column in table]
        decoded = rows
        for position in text:
            decoded = decoded.set_column(position, rows.column_names[position], rows.column(position).cast(pa.string()))
        # The quickest level: Parquet is the small file of the two.
        with gzip.open(path, "wb", compresslevel=1) if large else path.open("wb") as stream:
            csv.write_csv(decoded, stream)

    written = [
        replace_with(folder / f"{name}.parquet", lambda path: parquet.write_table(rows, path, compression="zstd")),
        replace_with(packed if large else plain, write_csv),
    ]
    # What an earlier, larger or smaller evaluation left under the other name would be stale.
    (plain if large else packed).unlink(missing_ok=True)
    return written

"""A number a product out of a file of two columns: what units cost, or how many there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from marl_pricing.intake import IntakeError, numbers, shown
from marl_pricing.intake.names import find_title
from marl_pricing.intake.tables import read_table


def read_by_product(path: str, what: str, *, money: bool) -> pd.Series:
    """The column `what` by product.

    Args:
        money: whether it is an amount of money, which has decimals more often than not.

    Raises:
        IntakeError: for a file without the columns, a number that is none, or a product with two of them; with its
            line.
    """
    raw = read_table(Path(path))
    titles = list(raw.frame.columns)
    columns = {}
    for name in ("product", what):
        title = find_title(name, titles)
        if title is None:
            raise IntakeError(f"{path}: no column {name!r}; it has {', '.join(map(shown, titles))}")
        columns[name] = raw.frame[title]
    own = numbers.column(what, what, columns[what], raw.lines, money=money)
    numbers.settle([own], path)
    values = numbers.parse(columns[what], own).to_numpy(float)
    products = columns["product"].astype(str).str.strip()
    bad = np.flatnonzero(~((values >= 0.0) & np.isfinite(values)))
    if bad.size:
        told = shown(columns[what].iloc[bad[0]])
        raise IntakeError(f"{path}:{raw.lines[bad[0]]}: {what} {told}: accepted is a number, at least 0")
    found = pd.Series(values, products.to_numpy())
    several = found.groupby(level=0).nunique().loc[products].to_numpy() > 1
    twice = np.flatnonzero(products.duplicated().to_numpy() & several)
    if twice.size:
        raise IntakeError(f"{path}:{raw.lines[twice[0]]}: {shown(products.iloc[twice[0]])} has two numbers of {what}")
    return found[~found.index.duplicated()]

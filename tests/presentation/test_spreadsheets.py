"""Names that look like formulas stay names."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from marl_pricing.presentation.spreadsheets import as_name, csv_of


def test_names_that_begin_like_formulas_are_names() -> None:
    for name in ("=1+1", "+49", "-5 %", "@sum", "\tx", "\rx"):
        assert as_name(name) == f"'{name}"
    for name in ("a=b", "", "ü", "'x", "1-2"):
        assert as_name(name) == name


def test_tables_keep_their_numbers() -> None:
    table = pd.DataFrame({"product": ["=1+1", "tea", None], "gain": [-1.5, np.nan, 2.0], "count": [-1, 2, 3]})
    text = csv_of(table).decode()
    assert text == "product,gain,count\n'=1+1,-1.5,-1\ntea,,2\n,2.0,3\n"
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text))[["gain", "count"]], table[["gain", "count"]])

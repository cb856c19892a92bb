"""A measure as a sum over a sum, so that episodes and sellers are put together by what happened in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Parts(NamedTuple):
    """Numerator and denominator of a measure, of one shape; its value is their ratio.

    Sums of numerators over sums of denominators are the measure of several episodes, offers or sellers together.
    """

    top: Array
    bottom: Array

    @property
    def value(self) -> Array:
        """Numerator over denominator; NaN where the denominator is 0: there was nothing to measure."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.bottom != 0, self.top / self.bottom, np.nan)

    def by_seller(self, num_sellers: int) -> Parts:
        """Offers [..., N] put together to sellers [..., S]."""
        shape = (*self.top.shape[:-1], num_sellers, -1)
        return Parts(self.top.reshape(shape).sum(-1), self.bottom.reshape(shape).sum(-1))

"""Measures of how evenly sellers earn. Losses are told, not hidden."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def jain_index(values: Array) -> Array:
    """Jain's index (Σ x)² / (S Σ x²): 1 for equal sellers, 1/S where one has all (Jain, Chiu and Hawe 1984).

    The index is for amounts that are received; a loss counts as nothing received.

    Args:
        values: [..., S] money.

    Returns:
        [...] in [1/S, 1]; NaN where nobody earns anything.
    """
    received = np.maximum(values, 0.0)
    squares = (received**2).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(squares > 0, received.sum(-1) ** 2 / (values.shape[-1] * squares), np.nan)


def gini(values: Array) -> Array:
    """Gini coefficient Σ_i Σ_j |x_i − x_j| / (2 (S − 1) Σ_i |x_i|), with losses at their face value.

    For amounts of 0 or more it is the usual coefficient times S / (S − 1), so that one seller with all of it has 1;
    with losses the sum of sizes keeps it in [0, 1] (Raffinetti, Siletti and Vernizzi 2015).

    Args:
        values: [..., S] money, S ≥ 2.

    Returns:
        [...] in [0, 1]; NaN where all are 0.
    """
    apart = np.abs(values[..., :, None] - values[..., None, :]).sum((-1, -2))
    size = np.abs(values).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, apart / (2.0 * (values.shape[-1] - 1) * size), np.nan)

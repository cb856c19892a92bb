"""The picture of a bargain that was played with NegMAS."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from marl_pricing import negotiation
from marl_pricing.presentation import bargain
from marl_pricing.presentation.bargain import CAPTION as CAPTION
from marl_pricing.procurement.playing import SIDES, PlayedBargain


def picture(own: PlayedBargain) -> Figure:
    """Utilities, offers and what was agreed; see `presentation.bargain`."""
    worths = own.buyer, own.supplier
    asked = {}
    for side, worth, other, exponent in zip(SIDES, worths, worths[::-1], own.exponents, strict=True):
        if exponent is not None:
            sorted_side = negotiation.sort_side(worth, other.utility)
            asked[side] = np.asarray(negotiation.demands(sorted_side, jnp.float32(exponent), own.settings.rounds))
    return bargain.picture(
        bargain.BargainPicture(
            utility={side: np.asarray(worth.utility) for side, worth in zip(SIDES, worths, strict=True)},
            reserved={side: float(worth.reserved) for side, worth in zip(SIDES, worths, strict=True)},
            frontier=np.asarray(own.frontier),
            trace=own.trace,
            agreement=own.agreement,
            solutions={"Nash": own.nash, "Kalai–Smorodinsky": own.kalai_smorodinsky},
            asked=asked,
            titles={"buyer": str(own.settings.buyer), "supplier": str(own.settings.supplier)},
        )
    )

"""The protocol turn by turn in plain Python, from its description only: what the closed form has to agree with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


class Conceder:
    """A side that asks for less with time. Outcomes of utility −inf cannot be."""

    def __init__(self, utility: Sequence[float], reserved: float, exponent: float, rounds: int) -> None:
        self.utility, self.reserved, self.exponent, self.rounds = list(utility), reserved, exponent, rounds
        self.best = max(self.utility)
        self.floor = max(min(u for u in self.utility if u > -math.inf), reserved)

    def asks(self, number: int) -> float:
        """What it wants at least in a round; inf where nothing is worth its reserved value."""
        if self.best < self.floor:
            return math.inf
        time = (number + 1) / (self.rounds + 1)
        wanted = (self.best - self.floor) * (1 - time**self.exponent) + self.floor - 0.001
        return min(max(wanted, self.floor), self.best)

    def offers(self, number: int) -> int | None:
        """The outcome that is worth least to it among those that it wants."""
        wanted = [(u, outcome) for outcome, u in enumerate(self.utility) if u >= self.asks(number)]
        return min(wanted)[1] if wanted else None

    def accepts(self, outcome: int | None, number: int) -> bool:
        return outcome is not None and self.utility[outcome] >= self.asks(number)


def play(buyer: Conceder, supplier: Conceder) -> tuple[int, int, bool]:
    """(outcome, round, whether the buyer accepted); (−1, −1, False) without an agreement."""
    counter: int | None = None
    for number in range(buyer.rounds):
        if buyer.accepts(counter, number):
            assert counter is not None
            return counter, number, True
        offer = buyer.offers(number)
        if supplier.accepts(offer, number):
            assert offer is not None
            return offer, number, False
        counter = supplier.offers(number)
    return -1, -1, False


def random_profile(random: np.random.Generator, outcomes: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Utilities without ties that partly oppose each other, and reserved values: (buyer, supplier, r_b, r_s)."""
    common, own, other = random.random((3, outcomes))
    opposition = random.uniform(0.3, 1.0)
    buyer = opposition * own + (1 - opposition) * common
    supplier = opposition * (0.8 * (1 - own) + 0.2 * other) + (1 - opposition) * common
    scale = random.uniform(0.5, 40.0, 2)
    reserved = random.uniform(-0.1, 0.5, 2) * scale
    # What float32 and float64 both hold: the rule is compared, not the rounding.
    buyer, supplier = np.float32(buyer * scale[0]), np.float32(supplier * scale[1])
    return buyer.astype(float), supplier.astype(float), float(np.float32(reserved[0])), float(np.float32(reserved[1]))

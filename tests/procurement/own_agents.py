"""Suppliers as a user might write them: agents of a NegMAS world."""

from __future__ import annotations

from marl_pricing.procurement.agents import Supplier


class Choosy(Supplier):
    """Takes small contracts only, and always brings half of them."""

    def signs(self, contracts):
        return [own for own in contracts if own.agreement["quantity"] <= 4]

    def delivers(self, contract):
        return contract.agreement["quantity"] / 2


class Silent(Supplier):
    def negotiator(self, offer):
        return None


class Broken(Supplier):
    def delivers(self, contract):
        raise RuntimeError("a fault of the user's own")


class Greedy(Supplier):
    """Brings more than was signed."""

    def delivers(self, contract):
        return 1000.0


class NeedsMore(Supplier):
    def __init__(self, name: str, taste: float) -> None:
        super().__init__(name)

"""Negotiators as a user might write them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from marl_pricing.procurement.library import load

negmas = load()


class TakesAnything(negmas.sao.SAONegotiator):
    def propose(self, state, dest=None):
        return self.ufun.best()

    def respond(self, state, source=None):
        return negmas.ResponseType.ACCEPT_OFFER


class Leaves(TakesAnything):
    def respond(self, state, source=None):
        return negmas.ResponseType.END_NEGOTIATION


class Fails(TakesAnything):
    def propose(self, state, dest=None):
        raise RuntimeError("a fault of the user's own")


class Speechless(TakesAnything):
    def respond(self, state, source=None):
        raise RuntimeError("a fault of the user's own")


class Unfinished(TakesAnything, ABC):
    @abstractmethod
    def think(self) -> None: ...


class Choosy(TakesAnything):
    def __init__(self, taste: float) -> None:
        super().__init__()
        self.taste = taste

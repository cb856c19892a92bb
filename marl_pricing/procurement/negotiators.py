"""Negotiators by name: NegMAS's own, and anybody's as `module:Class`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.procurement.library import load

# Names of ours for classes of NegMAS; every other negotiator of its module `sao` has its class's name.
NAMES = {
    "aspiration": "AspirationNegotiator",
    "boulware": "BoulwareTBNegotiator",
    "linear": "LinearTBNegotiator",
    "conceder": "ConcederTBNegotiator",
    "micro": "MiCRONegotiator",
    "fast_micro": "FastMiCRONegotiator",
    "tit_for_tat": "NaiveTitForTatNegotiator",
    "nice_tit_for_tat": "NiceTitForTatNegotiator",
    "hybrid": "HybridNegotiator",
    "tough": "ToughNegotiator",
    "random": "RandomNegotiator",
}


def find(field: str, name: str, others: Mapping[str, type] | None = None) -> type:
    """The class that a name means.

    Args:
        field: that it was given in, for messages.
        others: classes beside negotiators whose own are accepted, by what they are called.

    Raises:
        ConfigError: where it is unknown, cannot be imported, is no negotiator for alternating offers, or is unfinished.
    """
    negmas, others = load(), others or {}
    module_name, colon, attribute = name.partition(":")
    if colon:
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except Exception as error:  # whatever the user's module does while it is imported
            raise refuse(field, name, f"module:Class, which cannot be imported: {one_line(error)}") from None
    else:
        found = getattr(negmas.sao, NAMES.get(name, name), None)
        if found is None:
            raise refuse(field, name, f"{', '.join(NAMES)}, a class of negmas.sao, or module:Class")
    if not (inspect.isclass(found) and issubclass(found, (negmas.gb.negotiators.GBNegotiator, *others.values()))):
        accepted = "a class of negotiators for alternating offers (negmas.sao.SAONegotiator)"
        raise refuse(field, name, " or ".join([accepted, *(f"of {own}" for own in others)]))
    if inspect.isabstract(found):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise refuse(field, name, f"a class without abstract methods; it has {missing}")
    return found


def make(field: str, name: str, exponent: float | None, label: str) -> Any:
    """A negotiator of a class by name.

    Args:
        exponent: of the aspiration; None: the class's own.  label: its name in the bargain.

    Raises:
        ConfigError: as `find`, where it cannot be made, or where it has no exponent and one was given.
    """
    found = find(field, name)
    own: dict[str, Any] = {"name": label}
    if exponent is not None:
        if not issubclass(found, load().sao.AspirationNegotiator):
            raise ConfigError(f"{field}_exponent={exponent!r}: accepted is null with {field}={name!r}")
        own["aspiration_type"] = exponent
    try:
        return found(**own)
    except Exception as error:  # the user's own class
        raise refuse(field, name, f"a class that can be made with name=…; {one_line(error)}") from None


def one_line(error: Exception) -> str:
    """What somebody else's code raised, in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

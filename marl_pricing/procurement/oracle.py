"""The bargains of `negotiation` by NegMAS's own mechanism and negotiators: what the closed form is held against."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from marl_pricing.procurement.library import load


class Played(NamedTuple):
    """How NegMAS ended a bargain."""

    outcome: int  # number; −1: none
    round: int  # −1: none
    by_buyer: bool  # the buyer accepted


def as_ufun(utility: np.ndarray, reserved: float, outcomes: list[tuple]) -> Any:
    """Utilities [O] of numbered outcomes as NegMAS's function of an outcome."""
    values = {outcome: float(value) for outcome, value in zip(outcomes, utility, strict=True)}
    return load().preferences.MappingUtilityFunction(values, outcomes=outcomes, reserved_value=float(reserved))


def by_numbers(
    buyer: tuple[np.ndarray, float], supplier: tuple[np.ndarray, float], exponents: tuple[float, float], rounds: int
) -> Played:
    """A bargain between two `AspirationNegotiator`s, the buyer first.

    Args:
        buyer, supplier: utilities [O] and reserved value; outcomes of utility −inf to either are left out.
        exponents: of the buyer and the supplier.
    """
    negmas = load()
    feasible = np.flatnonzero(np.isfinite(buyer[0]) & np.isfinite(supplier[0]))
    outcomes = [(int(number),) for number in feasible]
    mechanism = negmas.sao.SAOMechanism(outcomes=outcomes, n_steps=rounds)
    for name, (utility, reserved), exponent in zip(("buyer", "supplier"), (buyer, supplier), exponents, strict=True):
        ufun = as_ufun(np.asarray(utility)[feasible], reserved, outcomes)
        mechanism.add(negmas.sao.AspirationNegotiator(name=name, aspiration_type=exponent), ufun=ufun)
    state = mechanism.run()
    if state.agreement is None:
        return Played(-1, -1, False)
    # Whose offer stands was accepted by the other.
    return Played(state.agreement[0], mechanism.history[-1].step, state.last_negotiator == "supplier")

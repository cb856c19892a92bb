"""A buyer that bargains with several suppliers at once under one utility; needs NegMAS when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from marl_pricing.negotiation.alternating_offers import LINEAR, TOLERANCE
from marl_pricing.procurement.library import load

_negmas = load()
_SAOController: Any = _negmas.sao.SAOController
_ACCEPT, _REJECT, _END = (
    _negmas.ResponseType.ACCEPT_OFFER, _negmas.ResponseType.REJECT_OFFER, _negmas.ResponseType.END_NEGOTIATION,
)  # fmt: skip

# The utility of contracts (tuples of issues' values) and one more, for each outcome that is asked about: [outcomes].
Worths = Callable[[Sequence[tuple], Sequence[tuple]], np.ndarray]


class JointBuyer(_SAOController):
    """One utility of all contracts together, and concession by the clock in each bargain over what a contract adds.

    In the bargain with supplier i an outcome o is worth U(A ∪ {o}) and no outcome U(A), where A are the contracts that
    are agreed and those that it has on offer elsewhere. On that it plays the rule of `negotiation.alternating_offers`:
    it asks for at least lo = clip((max − mn)·(1 − t^e) + mn − 0.001, mn, max), offers the outcome that is worth least
    to it among those, and accepts what is worth lo. Of several offers that it would accept, it takes the best and looks
    at the others again. A bargain that can add nothing any more is left. With one supplier it is NegMAS's
    AspirationNegotiator. Where what a contract adds falls with what is there already (`deliveries`), it never ends
    below U(∅), whichever of its offers are taken.

    Args:
        worths: the utility.
        exponent: of the aspiration.
    """

    def __init__(self, worths: Worths, exponent: float = LINEAR, **kwargs: Any) -> None:
        """As above; the rest is NegMAS's."""
        super().__init__(**kwargs)
        self._worths, self._exponent = worths, float(exponent)
        self._agreed: dict[str, tuple] = {}
        self._known: dict[tuple, np.ndarray] = {}
        self._outcomes: dict[str, list[tuple]] = {}

    @property
    def agreed(self) -> list[tuple]:
        """The contracts so far."""
        return list(self._agreed.values())

    def propose(self, negotiator_id: str, state: Any, dest: str | None = None) -> tuple | None:
        """The outcome worth least to it among those that are worth what it asks for; None where nothing is gained."""
        outcomes, worths, asked = self._stand(negotiator_id, state)
        if asked is None:
            return None
        return outcomes[int(np.argmin(np.where(worths >= asked, worths, np.inf)))]

    def respond(self, negotiator_id: str, state: Any, source: str | None = None) -> Any:
        """Accept what is worth what it asks for, unless an offer that stands elsewhere is worth more."""
        outcomes, worths, asked = self._stand(negotiator_id, state)
        if asked is None:
            return _END
        if state.current_offer is None:
            return _REJECT
        here = float(worths[outcomes.index(tuple(state.current_offer))])
        if here < asked:
            return _REJECT
        last = state.step + 1 >= self._nmi(negotiator_id).n_steps
        return _ACCEPT if last or here >= self._best_elsewhere(negotiator_id) else _REJECT

    def on_negotiation_end(self, negotiator_id: str, state: Any) -> None:
        """Remember what was agreed."""
        if state.agreement is not None:
            self._agreed[negotiator_id] = tuple(state.agreement)
        self._outcomes.pop(negotiator_id, None)
        super().on_negotiation_end(negotiator_id, state)

    def _nmi(self, negotiator_id: str) -> Any:
        return self.negotiators[negotiator_id][0].nmi

    def _running(self) -> list[str]:
        states = {name: own[0].nmi.state for name, own in self.negotiators.items() if own[0].nmi is not None}
        return [name for name, state in states.items() if state.started and state.running]

    def _beside(self, negotiator_id: str) -> tuple[tuple, ...]:
        """What is agreed, and what it has on offer elsewhere."""
        on_offer = []
        for name in self._running():
            state = self._nmi(name).state
            if name != negotiator_id and state.current_proposer == name and state.current_offer is not None:
                on_offer.append(tuple(state.current_offer))
        return tuple(sorted([*self._agreed.values(), *on_offer]))

    def _stand(self, negotiator_id: str, state: Any) -> tuple[list[tuple], np.ndarray, float | None]:
        """(outcomes, what they are worth now, what it asks for; None: nothing can be gained)."""
        if negotiator_id not in self._outcomes:
            self._outcomes[negotiator_id] = [tuple(own) for own in self._nmi(negotiator_id).outcome_space.enumerate()]
        outcomes = self._outcomes[negotiator_id]
        beside = self._beside(negotiator_id)
        worths = self._worth(beside, outcomes)
        reserved, best = float(self._worth(beside, [()])[0]), float(worths.max())
        if best <= reserved:
            return outcomes, worths, None
        least = max(float(worths.min()), reserved)
        aspiration = 1.0 - state.relative_time**self._exponent
        return outcomes, worths, float(np.clip((best - least) * aspiration + least - TOLERANCE, least, best))

    def _worth(self, beside: tuple[tuple, ...], outcomes: list[tuple]) -> np.ndarray:
        key = (beside, len(outcomes), outcomes[0], outcomes[-1])
        if key not in self._known:
            self._known[key] = np.asarray(self._worths(beside, outcomes))
        return self._known[key]

    def _best_elsewhere(self, negotiator_id: str) -> float:
        """What the best of the other suppliers' offers is worth that stand and that it would accept."""
        most = -np.inf
        for name in self._running():
            state = self._nmi(name).state
            if name == negotiator_id or state.current_offer is None or state.current_proposer == name:
                continue
            outcomes, worths, asked = self._stand(name, state)
            there = float(worths[outcomes.index(tuple(state.current_offer))])
            most = max(most, there if asked is not None and there >= asked else -np.inf)
        return most

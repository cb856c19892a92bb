"""Sellers and suppliers as agents of a NegMAS world; needs NegMAS when it is imported.

A supplier of your own is a class derived from `Supplier` that changes what it wants to do otherwise:

    from marl_pricing.procurement.agents import Supplier

    class Choosy(Supplier):
        def signs(self, contracts):
            return [own for own in contracts if own.agreement["quantity"] >= 4]

Any other agent of NegMAS is taken too, as long as it can be made with name=…; it delivers what it has signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from marl_pricing.procurement.controller import JointBuyer
from marl_pricing.procurement.library import load
from marl_pricing.procurement.negotiators import find, make

_negmas = load()
_Agent: Any = _negmas.situated.Agent
CONTROLLER = "controller"  # the name of `JointBuyer`
CONTROLLERS = {"controllers (negmas.sao.SAOController)": _negmas.sao.SAOController}
AGENTS = {"agents (marl_pricing.procurement.agents.Supplier)": _negmas.situated.Agent}


def check(seller: str, suppliers: Sequence[str]) -> None:
    """Refuse names that no seller or supplier can bargain by, before anything is built.

    Raises:
        ConfigError: naming the first.
    """
    if seller != CONTROLLER:
        find("seller", seller, CONTROLLERS)
    for how in suppliers:
        find("suppliers", how, AGENTS)


class _Partner(_Agent):
    """An agent that is told of everything and says nothing to it."""

    def init(self) -> None:
        """Nothing to prepare."""

    def step(self) -> None:
        """Nothing to do of its own accord."""

    def on_neg_request_rejected(self, req_id: str, by: list[str] | None) -> None:
        """Told."""

    def on_neg_request_accepted(self, req_id: str, mechanism: Any) -> None:
        """Told."""

    def on_negotiation_failure(self, partners: list[str], annotation: dict, mechanism: Any, state: Any) -> None:
        """Told."""

    def on_negotiation_success(self, contract: Any, mechanism: Any) -> None:
        """Told."""

    def on_contract_executed(self, contract: Any) -> None:
        """Told."""

    def on_contract_breached(self, contract: Any, breaches: list, resolution: Any) -> None:
        """Told."""

    def set_renegotiation_agenda(self, contract: Any, breaches: list) -> None:
        """Nothing is bargained over twice."""

    def respond_to_renegotiation_request(self, contract: Any, breaches: list, agenda: Any) -> None:
        """Nothing is bargained over twice."""

    def _respond_to_negotiation_request(
        self, initiator: str, partners: list, issues: list, annotation: dict, mechanism: Any, role: Any, req_id: Any
    ) -> Any:
        """Refused."""
        return None


class Seller(_Partner):
    """A seller of the market: where its position is below the trigger it asks all its suppliers at once.

    Args:
        how: `controller`, a negotiator's name, or module:Class of a negotiator or a controller.
    """

    def __init__(self, name: str, how: str) -> None:
        """As above; refuses what `negotiators.find` does."""
        super().__init__(name=name)
        self.how = how
        self.found = JointBuyer if how == CONTROLLER else find("seller", how, CONTROLLERS)
        self.controls = issubclass(self.found, _negmas.sao.SAOController)

    def step(self) -> None:
        """Ask every supplier that can deliver before the last day."""
        for offer in self.awi.asking():
            controller = self._controller(offer) if self.controls else None
            for supplier in self.awi.suppliers():
                issues = self.awi.issues(offer, supplier)
                if issues is None:
                    continue
                if controller is not None:
                    negotiator = controller.create_negotiator(name=self.name)
                else:
                    exponent = self.awi.exponent(offer) if self.how == "aspiration" else None
                    negotiator = make("seller", self.how, exponent, self.name)
                    negotiator.set_preferences(self.awi.buyer_ufun(offer, supplier))
                self._request_negotiation(
                    issues=issues,
                    partners=[self.id, self.awi.id_of(supplier)],
                    negotiator=negotiator,
                    annotation={"offer": offer, "supplier": supplier, "day": self.awi.current_step},
                )

    def _controller(self, offer: int) -> Any:
        if self.found is JointBuyer:
            return JointBuyer(self.awi.need(offer).joint, self.awi.exponent(offer), name=self.name)
        return self.found(name=self.name, ufun=self.awi.buyer_ufun(offer, None))

    def choose(self, contracts: Sequence[Any]) -> list[Any]:
        """What of its agreements it signs: the best for itself; of a controller's also what adds to that, in turn."""
        chosen = []
        for offer in sorted({own.annotation["offer"] for own in contracts}):
            left = [own for own in contracts if own.annotation["offer"] == offer]
            need, signed = self.awi.need(offer), list[Any]()
            while left and (self.controls or not signed):
                beside = [terms(own) for own in signed]
                worths = need.joint(beside, [(), *(terms(own) for own in left)])
                best = int(np.argmax(worths[1:]))
                if worths[1 + best] < worths[0]:
                    break
                signed.append(left.pop(best))
            chosen += signed
        return chosen

    def sign_all_contracts(self, contracts: list) -> dict[str, str | None]:
        """What it has not signed already it does not sign: buyers sign first (`SupplyWorld`)."""
        return {}


class Supplier(_Partner):
    """A supplier of the market.

    `self.awi` knows what is its own business: `worths`, `toughness`, `capacity` and `risk` of an offer (a seller's
    product, by number), `worth_of` a contract; `self.awi.chance` draws the same numbers in every run of one seed.

    Args:
        how: how it bargains, a negotiator's name or module:Class.
    """

    def __init__(self, name: str, how: str = "aspiration") -> None:
        """As above; refuses what `negotiators.find` does."""
        super().__init__(name=name)
        self.how = how
        find("suppliers", how)

    def negotiator(self, offer: int) -> Any:
        """Who bargains for it over an offer; None: it refuses to."""
        return make("suppliers", self.how, self.awi.toughness(offer) if self.how == "aspiration" else None, self.name)

    def signs(self, contracts: Sequence[Any]) -> list[Any]:
        """Of a day's agreements that buyers have signed, those that it signs: best first, up to its capacity.

        Args:
            contracts: NegMAS's; `agreement` has the issues by name, `annotation` offer, supplier and day.
        """
        worths = {own.id: self.awi.worth_of(own) for own in contracts}
        signed, units = [], 0.0
        for own in sorted(contracts, key=lambda own: (-worths[own.id], own.annotation["offer"])):
            quantity, offer = own.agreement["quantity"], own.annotation["offer"]
            if units + quantity <= self.awi.capacity(offer):
                signed.append(own)
                units += quantity
        return signed

    def delivers(self, contract: Any) -> float:
        """Units that it brings when a contract is due: all of them, or in default a share, rounded down."""
        probability, share = self.awi.risk(contract.annotation["offer"])
        quantity = float(contract.agreement["quantity"])
        return float(np.floor(quantity * share)) if self.awi.chance.random() < probability else quantity

    def _respond_to_negotiation_request(
        self, initiator: str, partners: list, issues: list, annotation: dict, mechanism: Any, role: Any, req_id: Any
    ) -> Any:
        """Bargain, unless no outcome is worth anything to it."""
        worths = self.awi.worths(annotation["offer"])
        if max(worths.values()) <= 0:
            return None
        negotiator = self.negotiator(annotation["offer"])
        if negotiator is not None:
            negotiator.set_preferences(self.awi.ufun(worths))
        return negotiator

    def sign_all_contracts(self, contracts: list) -> dict[str, str | None]:
        """What `signs` says, of those that buyers have signed."""
        wanted = sorted((own for own in contracts if own.signatures), key=order_of)
        return {own.id: self.id for own in self.signs(wanted)}


def terms(contract: Any) -> tuple:
    """A contract's outcome: the values of its issues."""
    return tuple(contract.agreement.values())


def order_of(contract: Any) -> tuple[int, int]:
    """Contracts of one day in the same order in every run: by offer and supplier."""
    return contract.annotation["offer"], contract.annotation["supplier"]

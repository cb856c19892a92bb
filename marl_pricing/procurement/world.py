"""A NegMAS world of sellers and suppliers whose contracts drive the market's stock; needs NegMAS when it is imported.

A day is an epoch of the market:

1. contracts that are due are executed, or breached with a record (a supplier brings less than was signed, or the buyer
   is bankrupt);
2. the market's epoch: what has come joins the stock, sellers post prices by their policy, shoppers come;
3. sellers whose position is below the trigger ask their suppliers, who accept or refuse to bargain;
4. all bargains are played to their end;
5. buyers sign, then suppliers do, up to their capacity; what both have signed comes after its lead time.

Demand, prices, stock and rewards are `marl_pricing.market`'s, an epoch at a time. What would come after the last day is
not bargained over, so that every contract that is signed is executed or breached.
"""

from __future__ import annotations

import os
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import market, negotiation
from marl_pricing.market import Outcome
from marl_pricing.negotiation import Terms
from marl_pricing.negotiation.outcomes import LEAD_TIME, QUANTITY
from marl_pricing.negotiation.utilities import paid
from marl_pricing.procurement.agents import AGENTS, Seller, Supplier, order_of, terms
from marl_pricing.procurement.deliveries import Need
from marl_pricing.procurement.library import load
from marl_pricing.procurement.negotiators import find, one_line
from marl_pricing.procurement.oracle import as_ufun
from marl_pricing.procurement.playing import ended
from marl_pricing.procurement.world_settings import Scene, about, supplier_of

_negmas = load()
_World: Any = _negmas.situated.World
_AWI: Any = _negmas.situated.AgentWorldInterface
_Operations = _negmas.situated.Operations
_DAY = (
    _Operations.ContractExecution,
    _Operations.SimulationStep,  # the market's epoch
    _Operations.AgentSteps,
    _Operations.Negotiations,
    _Operations.SimulationStep,  # buyers sign
    _Operations.ContractSigning,
    _Operations.SimulationStep,  # what is signed is on the way
    _Operations.StatsUpdate,
)


class Records(NamedTuple):
    """What happened, a dict a row."""

    bargains: list[dict[str, Any]]
    contracts: list[dict[str, Any]]
    breaches: list[dict[str, Any]]
    stock: list[dict[str, Any]]


@partial(jax.jit, static_argnums=(0, 1))
def _epoch(
    shape: market.MarketShape, act: Any, key: jax.Array, carried: tuple, parameters: Any, params: market.MarketParams
) -> tuple[tuple, market.Action, Outcome]:
    state, seen, memory = carried
    key_market, key_policy = jax.random.split(key)
    action, memory = act(parameters, key_policy, memory, seen, state, params)
    state, seen, outcome = market.step(key_market, shape, state, action, params)
    return (state, seen, memory), action, outcome


_sign = jax.jit(market.sign_outside, static_argnums=0)
_observe = jax.jit(market.observe, static_argnums=0)


class SupplyInterface(_AWI):
    """What a world tells an agent: its own business, and no one else's."""

    _world: SupplyWorld
    agent: Any

    def asking(self) -> list[int]:
        """Offers of this seller whose position is below the trigger."""
        return [offer for offer in self._world.asks if self._world.sellers[self._world.seller_of(offer)] is self.agent]

    def suppliers(self) -> range:
        """Numbers of the suppliers."""
        return range(len(self._world.suppliers))

    def id_of(self, supplier: int) -> str:
        """NegMAS's id of a supplier."""
        return self._world.suppliers[supplier].id

    def issues(self, offer: int, supplier: int) -> list[Any] | None:
        """What is bargained over today; None: nothing could come before the last day."""
        return self._world.issues(offer, supplier)

    def need(self, offer: int) -> Need:
        """Where an offer of this seller stands."""
        return self._world.needs[offer]

    def exponent(self, offer: int) -> float:
        """Of this seller's aspiration."""
        return self._world.exponents[offer]

    def buyer_ufun(self, offer: int, supplier: int | None) -> Any:
        """What a contract is worth to this seller, as NegMAS's function; of any supplier where it is None."""
        need = self.need(offer)
        numbers = self._world.numbers(offer, supplier) if supplier is not None else range(need.space.cardinality)
        outcomes = [need.space.outcome(int(number)) for number in numbers]
        return as_ufun(need.worths()[list(numbers)], need.worth(), outcomes)

    @property
    def number(self) -> int:
        """This supplier's."""
        return self._world.suppliers.index(self.agent)

    def worths(self, offer: int) -> dict[tuple, float]:
        """Of every outcome that can be agreed upon today, what it is worth to this supplier."""
        worth, space = self._world.supplied(offer, self.number), self._world.space
        return {space.outcome(number): float(worth[number]) for number in self._world.numbers(offer, self.number)}

    def worth_of(self, contract: Any) -> float:
        """What a contract is worth to this supplier."""
        world = self._world
        return float(world.supplied(contract.annotation["offer"], self.number)[world.space.index(terms(contract))])

    def ufun(self, worths: dict[tuple, float]) -> Any:
        """Such worths as NegMAS's function, 0 without a contract."""
        return as_ufun(np.array(list(worths.values())), 0.0, list(worths))

    def toughness(self, offer: int) -> float:
        """Exponent of this supplier's aspiration."""
        return float(self._world.numbers_of.toughness[offer, self.number])

    def capacity(self, offer: int) -> float:
        """Units that this supplier takes on in a day."""
        return float(self._world.numbers_of.suppliers.capacity[offer, self.number])

    def risk(self, offer: int) -> tuple[float, float]:
        """(probability that this supplier defaults on a contract, share of the units that it delivers then)."""
        own = self._world.numbers_of
        return float(own.default_probability[offer, self.number]), float(own.delivered_share[offer, self.number])

    @property
    def chance(self) -> np.random.Generator:
        """This supplier's random numbers."""
        return self._world.chances[self.number]


class SupplyWorld(_World):
    """The world. `step()` plays a day, `run()` all of them; `records` has what happened.

    Args:
        scene: of `world_settings.build_scene`.
        seller: how sellers bargain.
        seed: of shoppers and defaults; negotiators that draw take `random` and `numpy.random`.
    """

    def __init__(self, scene: Scene, seller: str, days: int, seed: int) -> None:
        """As above.

        Raises:
            ConfigError: naming a negotiator, controller or agent that cannot play.
        """
        self.scene = scene
        self.about, self.numbers_of = about(scene.market)
        self.space = self.about.space
        self._due = paid(self.space)
        self.records = Records([], [], [], [])
        self.asks: list[int] = []
        self.needs: dict[int, Need] = {}
        self.exponents: list[float] = []
        self._today: list[Any] = []
        self._waiting: dict[str, tuple[int, Any]] = {}  # contracts on the way: their row of the records
        count = len(scene.suppliers)
        sides = [Seller(f"seller_{i}", seller) for i in range(scene.market.shape.num_sellers)]
        others = [_supplier(f"supplier_{v}", own) for v, own in enumerate(scene.suppliers)]
        self.chances = [np.random.default_rng([seed, v]) for v in range(count)]
        self.supplied = lru_cache(maxsize=None)(self._supplied)
        super().__init__(
            n_steps=days,
            time_limit=None,
            neg_n_steps=self.about.rounds,
            neg_time_limit=None,
            neg_step_time_limit=None,
            negotiation_speed=None,
            shuffle_negotiations=False,
            default_signing_delay=0,
            batch_signing=True,
            breach_processing=_negmas.situated.BreachProcessing.NONE,
            mechanisms={"negmas.sao.SAOMechanism": {"ignore_negotiator_exceptions": True}},
            awi_type=SupplyInterface,
            operations=_DAY,
            log_folder=str(Path(os.environ["NEGMAS_LOG_BASE"]) / "world"),
            log_to_file=False,
            no_logs=True,
            event_file_name="",
            save_negotiations=False,
            saved_details_level=0,
            ignore_agent_exceptions=True,
            name="supply",
        )
        self.sellers, self.suppliers = sides, others
        for place, agent in enumerate([*sides, *others]):  # a priority each: they act in this order
            self.join(agent, simulation_priority=place)
        self._key, key = jax.random.split(jax.random.key(seed))
        shape, params = scene.market
        self._params = jax.tree.map(jnp.asarray, params)
        start = jax.jit(market.reset, static_argnums=1)(key, shape, self._params)
        self._carried: Any = (*start, scene.policy.start())
        self.outcomes: list[Outcome] = []

    # What agents are told.

    def seller_of(self, offer: int) -> int:
        """The seller of an offer."""
        return offer // self.scene.market.shape.num_products

    @property
    def state(self) -> market.MarketState:
        """The market's, before the next epoch."""
        return self._carried[0]

    def numbers(self, offer: int, supplier: int) -> list[int]:
        """Outcomes that can be agreed upon today: within the capacity, and delivered before the last day."""
        most = float(self.numbers_of.suppliers.capacity[offer, supplier])
        return _feasible(self.space, most, self.n_steps - 1 - self.current_step)

    def issues(self, offer: int, supplier: int) -> list[Any] | None:
        """Those outcomes as NegMAS's issues; None: there are none."""
        numbers = self.numbers(offer, supplier)
        if not numbers:
            return None
        columns = {issue.name: self.space.column(issue.name)[numbers] for issue in self.space.issues}
        return [_negmas.make_issue(values=np.unique(own).tolist(), name=name) for name, own in columns.items()]

    def _supplied(self, offer: int, supplier: int) -> np.ndarray:
        """What the outcomes are worth to a supplier [O]; −inf beyond its capacity."""
        worth = negotiation.supplier_worth(self.space, supplier_of(self.scene.market, offer, supplier))
        return np.asarray(worth.utility, float)

    # A day.

    def executable_contracts(self) -> list[Any]:
        """Contracts that are due today."""
        return [own for row, own in self._waiting.values() if self.records.contracts[row]["due"] == self.current_step]

    def order_contracts_for_execution(self, contracts: Any) -> list[Any]:
        """In the order in which they were signed."""
        return sorted(contracts, key=lambda own: self._waiting[own.id][0])

    def start_contract_execution(self, contract: Any) -> set[Any]:
        """Ask the supplier for the units; what is missing is a breach."""
        super().start_contract_execution(contract)
        row, _ = self._waiting.pop(contract.id)
        told = self.records.contracts[row]
        offer, supplier, quantity = told["offer"], told["supplier"], told["quantity"]
        active = self.state.active
        if active is not None and not bool(active[self.seller_of(offer)]):
            told |= {"status": "breached", "delivered": 0.0, "paid": 0.0, "fine": 0.0}
            return {self._breach(contract, told, "buyer", "bankrupt", 1.0)}
        delivers = getattr(self.suppliers[supplier], "delivers", None)
        brought = quantity if delivers is None else self.call(self.suppliers[supplier], delivers, contract)
        # Nobody brings more than was signed, or parts of a unit; whose agent fails brings nothing.
        delivered = float(np.clip(np.floor(0.0 if brought is None else float(brought)), 0.0, quantity))
        missing = quantity - delivered
        penalty = float(self.numbers_of.default_penalty[offer, supplier])
        told |= {"delivered": delivered, "paid": told["unit_cost"] * delivered, "fine": penalty * missing}
        told["status"] = "breached" if missing else "executed"
        return {self._breach(contract, told, "supplier", "units", missing / quantity)} if missing else set()

    def _breach(self, contract: Any, told: dict[str, Any], by: str, kind: str, level: float) -> Any:
        seller, supplier = (self.sellers[self.seller_of(told["offer"])], self.suppliers[told["supplier"]])
        perpetrator, victim = (seller, supplier) if by == "buyer" else (supplier, seller)
        missing = told["quantity"] - told["delivered"]
        self.records.breaches.append(
            {"contract": told["contract"], "day": self.current_step, "by": perpetrator.name, "against": victim.name,
             "kind": kind, "missing": missing, "level": level, "fine": told["fine"]}
        )  # fmt: skip
        return _negmas.situated.Breach(
            contract=contract, perpetrator=perpetrator.id, type=kind, victims=[victim.id], level=level,
            step=self.current_step,
        )  # fmt: skip

    def complete_contract_execution(self, contract: Any, breaches: list, resolution: Any) -> None:
        """A breach is final."""

    def delete_executed_contracts(self) -> None:
        """They have left when they were executed."""

    def simulation_step(self, stage: int = 0) -> None:
        """The market's epoch, buyers' signatures, or what is signed: by stage."""
        (self._trade, self._buyers_sign, self._enter)[stage]()

    def _trade(self) -> None:
        shape, policy = self.scene.market.shape, self.scene.policy
        state, seen, memory = self._carried
        short = np.zeros((3, shape.num_offers), np.float32)
        for told in self.records.contracts:
            if told["status"] == "breached" and told["due"] == self.current_step:
                missing = told["quantity"] - told["delivered"]
                short[:, told["offer"]] += np.array([missing, missing * told["unit_cost"], told["fine"]], np.float32)
        state = market.fall_short(state, *jnp.asarray(short))
        key = jax.random.fold_in(self._key, self.current_step)
        carried = (state, seen, memory)
        self._carried, action, outcome = _epoch(shape, policy.act, key, carried, policy.parameters, self._params)
        outcome = jax.tree.map(np.asarray, outcome)
        self.outcomes.append(outcome)
        self._look(action, outcome)

    def _look(self, action: market.Action, outcome: Outcome) -> None:
        """What sellers see of the epoch, and who asks for supply."""
        shape, numbers = self.scene.market.shape, self.numbers_of
        after, supplied = self.state, outcome.supplied
        assert supplied is not None
        assert after.stock is not None and after.contracts is not None
        left, forecast = np.asarray(after.stock), np.asarray(after.contracts.forecast)
        position = left + outcome.on_order
        self.asks = [int(offer) for offer in np.flatnonzero(supplied.asked)]
        level = np.zeros(shape.num_offers, int) if action.order is None else np.asarray(action.order).reshape(-1)
        exponents = np.asarray(numbers.exponents)
        self.exponents = [float(exponents[offer, level[offer]]) for offer in range(shape.num_offers)]
        self.needs = {
            offer: Need(
                space=self.space,
                stock=round(float(position[offer])),
                price=float(outcome.prices[offer]),
                demand=float(forecast[offer]),
                horizon=self.about.stock.horizon,
                holding_cost=float(numbers.buyer.holding_cost[offer]),
                shortage_cost=float(numbers.buyer.shortage_cost[offer]),
            )
            for offer in self.asks
        }
        for offer in range(shape.num_offers):
            self.records.stock.append(
                {"day": self.current_step, "offer": offer, "seller": self.sellers[self.seller_of(offer)].name}
                | {"arrivals": float(outcome.arrivals[offer]), "demand": float(outcome.demand[offer])}
                | {"sales": float(outcome.sales[offer]), "stock": float(left[offer])}
                | {"on_order": 0.0, "price": float(outcome.prices[offer])}
                | {"revenue": float(outcome.price_paid[offer] * outcome.sales[offer])}
                | {"paid": float(supplied.paid[offer]), "fines": float(supplied.fines[offer])}
                | {"average_cost": float(supplied.value[offer] / left[offer]) if left[offer] > 0 else 0.0}
            )

    def _buyers_sign(self) -> None:
        self._today = sorted(self.unsigned_contracts.get(self.current_step, ()), key=order_of)
        for seller in self.sellers:
            for own in seller.choose([own for own in self._today if own.partners[0] == seller.id]):
                own.signatures[seller.id] = seller.id

    def _enter(self) -> None:
        """Record the day's agreements, and put those that are signed on the way."""
        shape = self.scene.market.shape
        for own in self._today:
            offer, supplier = own.annotation["offer"], own.annotation["supplier"]
            number, wait = self.space.index(terms(own)), int(own.agreement[LEAD_TIME])
            quantity, signed = float(own.agreement[QUANTITY]), own.signed_at == self.current_step
            unit_cost = float(np.float32(self._due[number] / quantity))  # rebates taken off; as the market's own
            refused = self.suppliers[supplier].name if own.signatures else self.sellers[self.seller_of(offer)].name
            row = len(self.records.contracts)
            self.records.contracts.append(
                {"contract": row, "day": self.current_step, "seller": self.sellers[self.seller_of(offer)].name}
                | {"offer": offer, "supplier": supplier, "supplier_name": self.suppliers[supplier].name}
                | {"outcome": number, "quantity": quantity, "unit_cost": unit_cost, "lead_time": wait}
                | {"status": "on the way" if signed else "not signed", "refused_by": "" if signed else refused}
                | {"due": self.current_step + wait if signed else -1, "delivered": 0.0, "paid": 0.0, "fine": 0.0}
            )
            if not signed:
                continue
            self._waiting[own.id] = (row, own)
            here = np.arange(shape.num_offers) == offer
            agreed = Terms(
                quantity=jnp.asarray(np.where(here, quantity, 0.0), jnp.float32),
                unit_cost=jnp.asarray(np.where(here, unit_cost, 0.0), jnp.float32),
                lead_time=jnp.asarray(np.where(here, wait, 1), jnp.int32),
                supplier=jnp.asarray(np.where(here, supplier, -1), jnp.int32),
                outcome=jnp.asarray(np.where(here, number, -1), jnp.int32),
            )
            state, _, memory = self._carried
            state = _sign(shape, self._params, state, agreed, jnp.asarray(here))
            self._carried = (state, _observe(shape, self._params, state), memory)
        pipeline = self.state.pipeline
        assert pipeline is not None
        on_order = np.asarray(pipeline).sum(-1)
        for told in self.records.stock[-shape.num_offers :]:
            told["on_order"] = float(on_order[told["offer"]])

    # Records.

    def request_negotiation_about(self, req_id: str, caller: Any, *args: Any, **asked: Any) -> Any:
        """Ask for a bargain; who refuses is recorded."""
        found = super().request_negotiation_about(req_id, caller, *args, **asked)
        if found is None or found.mechanism is None:
            self._record_bargain(asked["annotation"], "refused", -1, None)
        return found

    def on_negotiation_end(self, negotiation: Any) -> None:
        """Record how a bargain ended."""
        super().on_negotiation_end(negotiation)
        state = negotiation.mechanism.state
        self._record_bargain(negotiation.annotation, ended(state), state.step, state.agreement)

    def _record_bargain(self, asked: dict[str, Any], how: str, last: int, agreement: tuple | None) -> None:
        offer, supplier = asked["offer"], asked["supplier"]
        need, number = self.needs[offer], -1 if agreement is None else self.space.index(tuple(agreement))
        worth = self.supplied(offer, supplier)
        self.records.bargains.append(
            {"day": self.current_step, "seller": self.sellers[self.seller_of(offer)].name, "offer": offer}
            | {"supplier": self.suppliers[supplier].name, "position": need.stock, "price": need.price}
            | {"expected_demand": need.demand, "exponent": self.exponents[offer], "ended": how, "rounds": last + 1}
            | {"outcome": number, "buyer_gain": float(need.worths()[number] - need.worth()) if number >= 0 else 0.0}
            | {"supplier_gain": float(worth[number]) if number >= 0 else 0.0}
        )

    def faults(self) -> dict[str, list[str]]:
        """What agents and their negotiators raised, by name, a line each."""
        names = {agent.id: agent.name for agent in [*self.sellers, *self.suppliers]}
        found: dict[str, list[str]] = {}
        for kind in (self.agent_exceptions, self.negotiator_exceptions):
            for agent, raised in kind.items():
                if raised:
                    found.setdefault(names.get(agent, "unknown"), []).extend(_last_line(own) for own in raised)
        return found

    # What NegMAS asks of every world.

    def contract_record(self, contract: Any) -> dict[str, Any]:
        """A contract for NegMAS's own list."""
        return {"id": contract.id, "issues": [str(issue) for issue in contract.issues], **contract.agreement}

    def breach_record(self, breach: Any) -> dict[str, Any]:
        """A breach for NegMAS's own list."""
        return breach.as_dict()

    def contract_size(self, contract: Any) -> float:
        """Money that a contract is about."""
        return float(self._due[self.space.index(terms(contract))])

    def execute_action(self, action: Any, agent: Any, callback: Any = None) -> bool:
        """There is nothing to be done but bargain."""
        return False

    def get_private_state(self, agent: Any) -> dict[str, Any]:
        """A seller's stock and money; of a supplier nothing."""
        if agent not in self.sellers or not self.records.stock:
            return {}
        last = self.records.stock[-self.scene.market.shape.num_offers :]
        return {"offers": [own for own in last if own["seller"] == agent.name]}


def _last_line(raised: Any) -> str:
    """Of what NegMAS keeps of an exception: a traceback, or it and the day, also in a list."""
    while isinstance(raised, list | tuple) and raised:
        raised = raised[-1]
    lines = str(raised).strip().splitlines()
    return lines[-1] if lines else "unknown"


@lru_cache(maxsize=1024)
def _feasible(space: negotiation.OutcomeSpace, capacity: float, days: int) -> list[int]:
    here = (space.column(QUANTITY) <= capacity) & (space.column(LEAD_TIME) <= days)
    return [int(number) for number in np.flatnonzero(here)]


def _supplier(name: str, how: str) -> Any:
    """A supplier that bargains as a negotiator's class does, or an agent of the user's."""
    found = find("suppliers", how, AGENTS)
    if not issubclass(found, _negmas.situated.Agent):
        return Supplier(name, how)
    try:
        return found(name=name)
    except Exception as error:  # the user's own class
        from marl_pricing.config.errors import refuse

        raise refuse("suppliers", how, f"a class that can be made with name=…; {one_line(error)}") from None

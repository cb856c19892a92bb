"""One utility for several bargains: worth of several deliveries, the rule, and that it never loses by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import poisson

pytest.importorskip("negmas")

import jax.numpy as jnp

from marl_pricing import negotiation
from marl_pricing.negotiation import BuyerCosts, Stock
from marl_pricing.procurement.__main__ import main
from marl_pricing.procurement.deliveries import Need, expected_sales
from marl_pricing.procurement.library import load
from marl_pricing.procurement.oracle import as_ufun
from tests.negotiation.protocol import Conceder, play
from tests.procurement.test_play import SMALL

SPACE = negotiation.supply_space(np.linspace(0.8, 1.4, 7).tolist(), [2, 4, 6, 8], [1, 3])


def need_of(random: np.random.Generator) -> Need:
    return Need(
        SPACE, int(random.integers(0, 8)), random.uniform(1.2, 3), random.uniform(0.5, 4), 6, 0.08, random.uniform(0, 1)
    )  # fmt: skip


def day_by_day(stock: int, deliveries: list[tuple[int, int]], demand: float, horizon: int) -> float:
    """Expected sales with the law of the stock followed epoch by epoch."""
    law, sold = {stock: 1.0}, 0.0
    for epoch in range(horizon):
        law = {units + sum(q for q, wait in deliveries if wait == epoch): p for units, p in law.items()}
        after: dict[int, float] = {}
        for units, p in law.items():
            for asked in range(units):
                here = p * poisson.pmf(asked, demand)
                sold += here * asked
                after[units - asked] = after.get(units - asked, 0.0) + here
            out = p * poisson.sf(units - 1, demand)
            sold += out * units
            after[0] = after.get(0, 0.0) + out
        law = after
    return sold


def test_several_deliveries_sell_what_the_stocks_law_says() -> None:
    random = np.random.default_rng(0)
    for _ in range(8):
        deliveries = [(int(random.integers(1, 6)), int(random.integers(1, 5))) for _ in range(random.integers(0, 4))]
        stock, demand = int(random.integers(0, 6)), random.uniform(0.2, 3)
        own = expected_sales(stock, deliveries, demand, 5)
        assert own == pytest.approx(day_by_day(stock, deliveries, demand, 5), abs=1e-9)


def test_one_contract_is_worth_what_the_market_says() -> None:
    random = np.random.default_rng(1)
    for _ in range(3):
        need = need_of(random)
        costs = BuyerCosts(*(jnp.float32(x) for x in (need.holding_cost, need.shortage_cost, 0.0)))
        numbers = jnp.float32(need.price), jnp.float32(need.demand)
        worth = negotiation.buyer_worth(SPACE, Stock(8, need.horizon), *numbers, costs)
        assert need.worths() == pytest.approx(np.asarray(worth.utility[need.stock]), abs=2e-4)
        assert need.worth() == pytest.approx(float(worth.reserved[need.stock]), abs=2e-4)


def test_what_a_contract_adds_falls_with_what_is_agreed() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        need, agreed = need_of(random), []
        adds = need.worths() - need.worth()
        for _ in range(3):
            agreed.append(int(random.integers(SPACE.cardinality)))
            now = need.worths(agreed) - need.worth(agreed)
            assert (now <= adds + 1e-9).all()
            adds = now


def bargain(
    need: Need, suppliers: list[np.ndarray], exponents: list[float], rounds: int
) -> tuple[list[int], list[int]]:
    """(agreements, the last round of each) of our controller with NegMAS's negotiators."""
    from marl_pricing.procurement.controller import JointBuyer

    negmas = load()
    outcomes = [SPACE.outcome(number) for number in range(SPACE.cardinality)]
    controller, mechanisms = JointBuyer(need.joint, 1.0), []
    for utility, exponent in zip(suppliers, exponents, strict=True):
        mechanism = negmas.sao.SAOMechanism(outcomes=outcomes, n_steps=rounds)
        mechanism.add(controller.create_negotiator(name="buyer"))
        supplier = negmas.sao.AspirationNegotiator(name="supplier", aspiration_type=exponent)
        mechanism.add(supplier, ufun=as_ufun(utility, 0.0, outcomes))
        mechanisms.append(mechanism)
    while any(not own.state.ended for own in mechanisms):
        for own in mechanisms:
            if not own.state.ended:
                own.step()
    found = [own.state.agreement for own in mechanisms]
    ends = [own.history[-1].step for own in mechanisms]
    return [-1 if agreed is None else SPACE.index(tuple(agreed)) for agreed in found], ends


def supplier_of(random: np.random.Generator) -> np.ndarray:
    costs = (random.uniform(0.7, 1.0), random.uniform(0.0, 0.3), np.inf, 0.0)
    return np.asarray(
        negotiation.supplier_worth(SPACE, negotiation.SupplierCosts(*map(jnp.float32, costs))).utility, float
    )


def test_with_one_supplier_it_plays_the_rule() -> None:
    random = np.random.default_rng(3)
    for _ in range(6):
        need, supplier, exponent = need_of(random), supplier_of(random), random.choice([0.25, 1.0])
        buyer = Conceder(need.worths(), need.worth(), 1.0, 20)
        outcome, last, _ = play(buyer, Conceder(supplier, 0.0, exponent, 20))
        found, ends = bargain(need, [supplier], [exponent], 20)
        assert found == [outcome]
        assert outcome < 0 or ends == [last]


def test_with_several_it_never_loses_and_gains_more_than_with_its_best_alone() -> None:
    random, more = np.random.default_rng(4), 0
    for _ in range(6):
        need, suppliers = need_of(random), [supplier_of(random) for _ in range(3)]
        found = [number for number in bargain(need, suppliers, [1.0, 0.25, 0.5], 20)[0] if number >= 0]
        worth, alone = need.worth(found), max([need.worth([own]) for own in found], default=need.worth())
        assert worth >= alone - 1e-9 >= need.worth() - 1e-6
        more += worth > alone + 1e-6
    assert more


@pytest.mark.slow
def test_play_with_a_controller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beside = "beside=[{supplier: conceder, supply: {unit_cost: 1.1}}]"
    assert main(["play", f"out={tmp_path}/both", *SMALL, "buyer=controller", beside]) == 0
    said = capsys.readouterr().out
    assert "supplier 1, conceder: " in said and "the buyer gains " in said
    told = json.loads((tmp_path / "both" / "bargain.json").read_text())
    assert len(told["suppliers"]) == 2 and told["worth"] >= told["best_alone"] >= told["reserved"]
    assert (tmp_path / "both" / "bargain.png").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["beside=[{supplier: micro}]"], "beside='1 suppliers': accepted is [] with buyer='aspiration'"),
        (["buyer=controller", "beside=[{supplier: nobody}]"], "beside[0].supplier='nobody': accepted is aspiration"),
        (["buyer=controller", "beside=[{supply: {capacity: 0}}]"], "beside[0].supply.capacity=0.0: accepted is at"),
        (["buyer=SAORandomController", "buyer_exponent=2"], "buyer_exponent=2.0: accepted is null"),
    ],
)
def test_what_a_controller_cannot_have_is_said(
    given: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["play", f"out={tmp_path}/none", *SMALL, *given])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and told in said and said.count("\n") == 1

"""A NegMAS world whose contracts are the market's supply: each executed or breached, the stock and the money ours."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("negmas")

import jax.numpy as jnp

from marl_pricing import negotiation
from marl_pricing.config.errors import validate
from marl_pricing.negotiation import BuyerCosts
from marl_pricing.procurement import world_files
from marl_pricing.procurement.__main__ import main
from marl_pricing.procurement.world import SupplyWorld
from marl_pricing.procurement.world_settings import Scene, WorldSettings, build_scene, supplier_of
from tests.negotiation.protocol import Conceder, play
from tests.processes import python

HERE = "tests.procurement.own_agents:"
SUPPLIERS = (
    # Odd numbers: outcomes that are worth the same to a supplier are told apart in turn by NegMAS.
    "market.inventory.suppliers=[{unit_cost: 0.713, rush_cost: 0.217, capacity: 8, default_probability: 0.3, "
    "delivered_share: 0.4, default_penalty: 0.2}, {unit_cost: 0.853, rush_cost: 0.0517, toughness: 0.5, "
    "default_probability: 0.2}]"
)
SMALL = [
    "traffic=analytic", "market/inventory=contract", "market.inventory.rounds=20", "market.prices.num_price_levels=4",
    "market.inventory.issues.quantities=[2, 4, 6, 8]", "market.inventory.issues.cost_levels=7",
    "market.inventory.issues.lead_times=[1, 3]", "market.bankruptcy.initial_cash=100", SUPPLIERS,
]  # fmt: skip


@lru_cache(maxsize=1)
def scene() -> Scene:
    """The same market for shorter worlds, so that it is compiled once."""
    return build_scene(validate(WorldSettings, {"out": "x", "days": 50, "overrides": SMALL}))


def played(
    days: int, seller: str = "aspiration", suppliers: tuple[str, ...] | None = None, seed: int = 0
) -> SupplyWorld:
    own = scene() if suppliers is None else scene()._replace(suppliers=suppliers)
    world = SupplyWorld(own, seller, days, seed)
    world.run()
    return world


def check_books(world: SupplyWorld) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Stock, what is on the way and the till, from the contracts and the shoppers alone; signed contracts, breaches."""
    own = world_files.tables(world)
    contracts, breaches, stock = own["contracts"], own["breaches"], own["stock"]
    signed = contracts[contracts["status"] != "not signed"]
    assert set(signed["status"]) <= {"executed", "breached"}
    short = signed["delivered"] < signed["quantity"]
    assert ((signed["status"] == "breached") == short).all()
    assert sorted(breaches["contract"]) == sorted(signed["contract"][short])
    missing = (signed["quantity"] - signed["delivered"])[short].rename_axis("contract")
    assert breaches.set_index("contract")["missing"].sort_index().tolist() == missing.sort_index().tolist()
    assert (signed["due"] == signed["day"] + signed["lead_time"]).all() and (signed["due"] < world.n_steps).all()
    shape, params = world.scene.market
    cash = np.full(shape.num_sellers, 100.0)
    for offer in range(shape.num_offers):
        held = float(params.inventory.initial_stock[offer])
        mine = signed[signed["offer"] == offer]
        for _, day in stock[stock["offer"] == offer].iterrows():
            t = day["day"]
            due = mine[mine["due"] == t]
            held += due["delivered"].sum()
            sales = min(held, day["demand"])
            held -= sales
            assert (day["arrivals"], day["sales"], day["stock"]) == (due["delivered"].sum(), sales, held)
            assert day["on_order"] == mine[(mine["day"] <= t) & (t < mine["due"])]["quantity"].sum()
            money, fines = due["delivered"] @ due["unit_cost"], due["fine"].sum()
            assert (day["paid"], day["fines"]) == pytest.approx((money, fines), abs=5e-3)
            unmet = day["demand"] - sales
            cash[offer] += day["price"] * sales - money + fines - 0.5 * unmet - 0.01 * held
    assert world.state.cash == pytest.approx(cash, abs=0.01)
    told = world_files.summary(world, WorldSettings(out="x"))
    for side, name in (("paid", "income"), ("fines", "fines")):
        got = sum(own[name] for own in told["suppliers"].values())
        assert sum(own[side] for own in told["sellers"].values()) == pytest.approx(got, abs=0.01)
    # NegMAS counted the same.
    assert sum(world.stats["n_contracts_signed"]) == len(signed)
    assert sum(world.stats["n_contracts_executed"]) == (~short).sum() and sum(world.stats["n_breaches"]) == short.sum()
    return signed, breaches


@pytest.mark.slow
def test_fifty_days_of_three_sellers_and_two_suppliers() -> None:
    world = played(50)
    signed, breaches = check_books(world)
    assert world.current_step == 50 and world.faults() == {}
    assert set(signed["supplier"]) == {0, 1} and set(signed["offer"]) == {0, 1, 2} and 0 < len(breaches) < len(signed)
    bargains = world_files.tables(world)["bargains"]
    about, numbers_of = world.about, world.numbers_of
    # Nothing is asked for above the trigger; a bargain ends as the protocol says, turn by turn.
    assert (bargains["position"] < 8).all() and set(bargains["ended"]) <= {"agreement", "deadline"}
    for _, row in bargains.iloc[:: max(1, len(bargains) // 12)].iterrows():
        v, n = int(row["supplier"][-1]), int(row["offer"])
        costs = BuyerCosts(*(jnp.float32(x) for x in (0.01 * 8, 0.5, 0.0)))
        price, demand = jnp.float32(row["price"]), jnp.float32(row["expected_demand"])
        worth = negotiation.buyer_worth(about.space, about.stock, price, demand, costs)
        numbers = np.array(world_numbers(world, n, v, int(row["day"])))
        buyer = np.asarray(worth.utility, float)[row["position"]][numbers]
        other = np.asarray(
            negotiation.supplier_worth(about.space, supplier_of(world.scene.market, n, v)).utility, float
        )[numbers]
        found = play(
            Conceder(buyer, float(worth.reserved[row["position"]]), 1.0, 20),
            Conceder(other, 0.0, float(numbers_of.toughness[n, v]), 20),
        )[0]
        assert (row["outcome"] >= 0) == (found >= 0)
        if found >= 0:
            place = int(np.flatnonzero(numbers == row["outcome"])[0])
            assert (buyer[place], other[place]) == pytest.approx((buyer[found], other[found]), abs=1e-3)


def world_numbers(world: SupplyWorld, offer: int, supplier: int, day: int) -> list[int]:
    space = world.space
    most, last = float(world.numbers_of.suppliers.capacity[offer, supplier]), world.n_steps - 1 - day
    rows = [space.outcome(number) for number in range(space.cardinality)]
    return [number for number, row in enumerate(rows) if row[0] <= most and row[2] <= last]


@pytest.mark.slow
def test_the_same_seed_is_the_same_world() -> None:
    first, again, other = (world_files.tables(played(6, seed=seed)) for seed in (0, 0, 1))
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, again[name])
    assert not first["stock"]["demand"].equals(other["stock"]["demand"])


@pytest.mark.slow
def test_a_supplier_of_ones_own() -> None:
    world = played(12, suppliers=(f"{HERE}Choosy", "micro"))
    signed, breaches = check_books(world)
    own = signed[signed["supplier"] == 0]
    assert (own["quantity"] <= 4).all() and (own["delivered"] == own["quantity"] // 2).all()
    assert len(breaches) == len(own)


@pytest.mark.slow
def test_suppliers_that_refuse_bring_too_much_or_fail() -> None:
    world = played(12, suppliers=(f"{HERE}Silent", f"{HERE}Greedy"))
    signed, breaches = check_books(world)
    bargains = world_files.tables(world)["bargains"]
    assert set(bargains["ended"][bargains["supplier"] == "supplier_0"]) == {"refused"}
    assert (signed["supplier"] == 1).all() and breaches.empty and world.faults() == {}
    world = played(12, suppliers=(f"{HERE}Broken", "tests.procurement.own_negotiators:Speechless"))
    signed, breaches = check_books(world)
    assert len(signed) == len(breaches) > 0 and (breaches["level"] == 1.0).all()
    assert set(world.faults()) == {"supplier_0", "supplier_1"} and "user's own" in world.faults()["supplier_0"][-1]


@pytest.mark.slow
def test_suppliers_sign_no_more_than_they_can_make() -> None:
    world = played(12, suppliers=("conceder", "tough"))
    signed, _ = check_books(world)
    own = signed[signed["supplier"] == 0]
    assert len(own) and own.groupby("day")["quantity"].sum().max() <= 8
    contracts = world_files.tables(world)["contracts"]
    refused = contracts[contracts["status"] == "not signed"]
    assert set(refused["refused_by"]) <= {"supplier_0", "supplier_1", "seller_0", "seller_1", "seller_2"}


@pytest.mark.slow
def test_sellers_that_bargain_with_all_suppliers_under_one_utility() -> None:
    world = played(12, seller="controller")
    signed, _ = check_books(world)
    assert world.faults() == {} and len(signed)
    other = played(12, seller="SAOSingleAgreementAspirationController")
    signed, _ = check_books(other)
    assert len(signed) and not signed.duplicated(["offer", "day"]).any()


@pytest.mark.slow
def test_the_command_leaves_tables_a_summary_and_a_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["world", f"out={tmp_path}/world", "suppliers=[aspiration,linear]", *SMALL]) == 0
    said = capsys.readouterr().out
    assert said.startswith("50 days, ") and "seller_2: " in said and "supplier_1 (linear): " in said
    folder = tmp_path / "world"
    names = ["bargains.csv", "breaches.csv", "contracts.csv", "stock.csv", "world.json", "world.png", "world.svg"]
    assert sorted(path.name for path in folder.iterdir()) == names
    told = json.loads((folder / "world.json").read_text())
    assert told["days"] == 50 and len(pd.read_csv(folder / "stock.csv")) == 150
    assert sum(told["contracts"].values()) == len(pd.read_csv(folder / "contracts.csv"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("suppliers=nobody", "suppliers='nobody': accepted is aspiration, boulware"),
        ("suppliers=pathlib:Path", "or of agents (marl_pricing.procurement.agents.Supplier)"),
        ("suppliers=nowhere:Somebody", "suppliers='nowhere:Somebody': accepted is module:Class, which cannot be"),
        (f"suppliers={HERE}NeedsMore", "a class that can be made with name=…; TypeError"),
        ("suppliers=[micro]", "suppliers=['micro']: accepted is a name, or one for each of the 2 of market.inventory"),
        ("seller=pathlib:Path", "or of controllers (negmas.sao.SAOController)"),
        ("policy=cheapest", "policy='cheapest': accepted is constant_nash"),
        ("days=0", "days=0: accepted is"),
        ("dayz=3", "dayz"),
        ("market.inventory.suppliers=[{unit_cost: 0.8, capacity: 1}]", "market.inventory.suppliers[0].capacity=1.0"),
        (
            "market.inventory.suppliers=[{unit_cost: 2}]",
            "market.inventory.issues.cost_high=1.4: accepted is a cost above",
        ),
        ("market.inventory.suppliers=[{unit_cost: 0.8}, {rush_cost: 30}]", "suppliers[1]: an agreement is impossible"),
        ("market/inventory=threshold", "market.inventory.rule='threshold': accepted is contract or contract_chosen"),
        ("market.collapse_patience=3", "market.collapse_patience=3: accepted is 0 in a world"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    given: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = given.partition("=")[0]
    small = [own for own in SMALL if own.partition("=")[0] != name]
    if name == "market/inventory":
        small = [own for own in small if not own.startswith("market.inventory")]
    with pytest.raises(SystemExit) as ended:
        main(["world", f"out={tmp_path}/none", "days=5", *small, given])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and told in said and said.count("\n") == 1, said
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_nothing_is_written_to_the_home_folder(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    code = f"from marl_pricing.procurement.__main__ import main; main({['world', 'out=world', 'days=3', *SMALL]!r})"
    done = python(code, set(), folder=folder, HOME=str(home), MPLCONFIGDIR=str(tmp_path / "fonts"))
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == [] and [path.name for path in folder.iterdir()] == ["world"]

"""Supply contracts: the space, what they are worth, and the table of agreements."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from marl_pricing import negotiation
from marl_pricing.negotiation import BuyerCosts, Issue, OutcomeSpace, Stock, SupplierCosts, supply_space
from tests.negotiation.protocol import Conceder, play

COSTS = BuyerCosts(jnp.asarray(0.1), jnp.asarray(0.4), jnp.asarray(0.02))
SUPPLIER = SupplierCosts(jnp.asarray(1.0), jnp.asarray(0.6), jnp.asarray(np.inf), jnp.asarray(0.01))


def small_space() -> OutcomeSpace:
    return supply_space(np.linspace(1.05, 2.0, 6), range(1, 5), range(1, 4), pack_size=2)


def test_outcomes_are_numbered_and_found_again() -> None:
    space = supply_space(np.linspace(1, 2, 20), payment_delays=(0, 2), rebates=(0.0, 0.1))
    assert supply_space(np.linspace(1, 2, 20)).cardinality == 1000 and space.cardinality == 4000
    for number in (0, 17, 3999):
        assert space.index(space.outcome(number)) == number
        for place, issue in enumerate(space.issues):
            assert space.column(issue.name)[number] == space.outcome(number)[place]
    assert small_space().column("quantity").max() == 8.0


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Issue("unit_cost", ()), r"unit_cost=\[\]"),
        (lambda: Issue("unit_cost", (2.0, 1.0)), "increasing"),
        (lambda: Issue("quantity", (1.0, float("nan"))), "quantity"),
        (lambda: OutcomeSpace((Issue("a", (1.0,)), Issue("a", (2.0,)))), "different names"),
        (lambda: small_space().column("colour"), "colour"),
    ],
)
def test_spaces_that_are_none_are_refused_by_name(make, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()


def sales_by_hand(x: int, q: int, lead_time: int, demand: float, horizon: int) -> float:
    """A sum over what is asked for before and after the delivery."""
    asked = np.arange(60)
    before, after = (stats.poisson(demand * epochs).pmf(asked) for epochs in (lead_time, horizon - lead_time))
    early = np.minimum(asked, x)[:, None]
    return float(before @ (early + np.minimum(asked, x - early + q)) @ after)


@partial(jax.jit, static_argnames=("space", "stock"))
def buyer_worth(space: OutcomeSpace, stock: Stock, price: float, demand: float) -> negotiation.Worth:
    return negotiation.buyer_worth(space, stock, price, demand, COSTS)


def test_the_buyers_utility_is_expected_money_summed_by_hand() -> None:
    space, stock, demand, price = small_space(), Stock(6, 5), 1.7, 2.4
    worth = buyer_worth(space, stock, price, demand)
    for x in (0, 3, 6):
        for number in (0, 20, 45, space.cardinality - 1):
            q, w, lead_time = space.outcome(number)
            sold = sales_by_hand(x, int(q), int(lead_time), demand, 5)
            value = price * sold - w * q - 0.1 * (x + q - sold) - 0.4 * (demand * 5 - sold)
            assert float(worth.utility[x, number]) == pytest.approx(value, abs=2e-4)
        sold = sales_by_hand(x, 0, 1, demand, 5)
        value = price * sold - 0.1 * (x - sold) - 0.4 * (demand * 5 - sold)
        assert float(worth.reserved[x]) == pytest.approx(value, abs=2e-4)


def test_no_demand_makes_every_contract_a_loss_and_waiting_costs_nothing() -> None:
    space = small_space()
    worth = buyer_worth(space, Stock(3, 4), 2.0, 0.0)
    assert bool((worth.utility < worth.reserved[:, None]).all())
    by_lead_time = np.asarray(worth.utility).reshape(4, 4, 6, 3)
    np.testing.assert_allclose(by_lead_time, by_lead_time[..., :1] * np.ones(3))


def test_payment_delays_and_rebates_are_money() -> None:
    space = supply_space([1.5], [2, 4], [1], payment_delays=[0, 3], rebates=[0.0, 0.1])
    worth = negotiation.supplier_worth(space, SUPPLIER)
    for number in range(space.cardinality):
        q, w, lead_time, delay, rebate = space.outcome(number)
        money = (w * q - rebate * w * max(q - 2, 0)) * (1 - 0.01 * delay)
        assert float(worth.utility[number]) == pytest.approx(money - 1.0 * q - 0.6 * q / lead_time, abs=1e-5)
    buyer = buyer_worth(space, Stock(0, 2), 3.0, 1.0).utility[0]
    later, sooner = space.index((4, 1.5, 1, 3, 0.0)), space.index((4, 1.5, 1, 0, 0.0))
    assert float(buyer[later] - buyer[sooner]) == pytest.approx(0.02 * 3 * 6.0, abs=1e-5)


def test_a_supplier_signs_no_more_than_its_capacity() -> None:
    space = small_space()
    worth = negotiation.supplier_worth(space, SUPPLIER.replace(capacity=jnp.asarray(4.0)))
    np.testing.assert_array_equal(np.isfinite(worth.utility), space.column("quantity") <= 4)


def test_the_table_holds_the_bargains_of_the_protocol_and_the_better_of_two_suppliers() -> None:
    space, stock, rounds = small_space(), Stock(4, 5), 20
    prices, demands = jnp.asarray([[1.6, 2.4]]), jnp.asarray([[0.0, 1.5]])
    exponents = jnp.asarray([[0.25, 2.0]])
    suppliers = SupplierCosts(*(jnp.asarray([pair]) for pair in ((1.0, 1.1), (0.6, 0.0), (np.inf, 6.0), (0.0, 0.0))))
    table = negotiation.tabulate(
        space, stock, rounds, prices=prices, demands=demands, exponents=exponents,
        buyer=BuyerCosts(*(cost[None] for cost in jax.tree.leaves(COSTS))), suppliers=suppliers,
        supplier_exponents=jnp.asarray([[1.0, 0.5]]),
    )  # fmt: skip
    seen = set()
    for p, price in enumerate(prices[0]):
        for d, demand in enumerate(demands[0]):
            worth = buyer_worth(space, stock, price, demand)
            for e, exponent in enumerate((0.25, 2.0)):
                for x in range(5):
                    best, code = -np.inf, -1
                    for v, tough in enumerate((1.0, 0.5)):
                        other = negotiation.supplier_worth(space, jax.tree.map(lambda own, v=v: own[0, v], suppliers))
                        utility = np.asarray(worth.utility[x], float)
                        utility[~np.isfinite(other.utility)] = -np.inf
                        outcome, _, _ = play(
                            Conceder(utility, float(worth.reserved[x]), exponent, rounds),
                            Conceder(np.asarray(other.utility, float), 0.0, tough, rounds),
                        )
                        if outcome >= 0 and utility[outcome] > best:
                            best, code = utility[outcome], v * space.cardinality + outcome
                    assert int(table.code[0, p, d, e, x]) == code
                    seen.add(code // space.cardinality if code >= 0 else -1)
    assert seen == {-1, 0, 1}  # both suppliers win somewhere, and somewhere nobody does

    def terms(position, price, demand, exponent):
        return negotiation.look_up(table, *(jnp.asarray([own]) for own in (position, price, demand, exponent)))

    found = terms(1.2, 2.3, 1.4, 1)
    code = int(table.code[0, 1, 1, 1, 1])
    q, w, lead_time = space.outcome(code % space.cardinality)
    assert (float(found.quantity[0]), int(found.lead_time[0])) == (q, lead_time)
    assert float(found.unit_cost[0]) == pytest.approx(w) and int(found.supplier[0]) == code // space.cardinality
    nothing = np.argwhere(np.asarray(table.code[0]) < 0)[0]
    none = terms(nothing[3], prices[0, nothing[0]], demands[0, nothing[1]], nothing[2])
    assert (float(none.quantity[0]), int(none.supplier[0]), int(none.outcome[0])) == (0.0, -1, -1)

"""Bargains per second: the closed form, tables of agreements, and NegMAS's own mechanism in the same run."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from benchmarks import market
from marl_pricing import negotiation
from marl_pricing.config import ConfigError, market_from
from marl_pricing.negotiation import BuyerCosts, Side, Stock, SupplierCosts, Worth, supply_space
from marl_pricing.negotiation.alternating_offers import arrange

NUM_BARGAINS, NUM_OUTCOMES, ROUNDS = 8192, 1000, 20


def _profiles(count: int) -> np.ndarray:
    """Utilities [2, B, O] without ties."""
    return np.random.default_rng(0).random((2, count, NUM_OUTCOMES), np.float32)


def _sides(profiles: np.ndarray) -> tuple[Side, Side]:
    """Both sides of every bargain, sorted, split over the devices."""
    order = np.argsort(profiles, -1, kind="stable").astype(np.int32)

    def one(own: jax.Array, theirs: jax.Array, order: jax.Array) -> Side:
        return arrange(Worth(own, jnp.zeros(())), theirs, order)

    mesh = jax.make_mesh((jax.device_count(),), ("bargain",), axis_types=(AxisType.Auto,))
    placed = jax.device_put((profiles, order), NamedSharding(mesh, P(None, "bargain")))
    (buyer, supplier), orders = placed
    many = jax.jit(jax.vmap(one))
    return many(buyer, supplier, orders[0]), many(supplier, buyer, orders[1])


def closed_form(repeats: int) -> tuple[float, float]:
    """(bargains a second, median; seconds of compilation): utilities given per bargain, tables sorted beforehand."""
    sides = _sides(_profiles(NUM_BARGAINS))
    exponents = jnp.ones(NUM_BARGAINS)

    def play(buyer: Side, supplier: Side, exponents: jax.Array) -> jax.Array:
        return jax.vmap(lambda *own: negotiation.agree(*own, 1.0, ROUNDS).outcome)(buyer, supplier, exponents)

    begin = time.perf_counter()
    compiled = jax.jit(play).lower(*sides, exponents).compile()
    compile_seconds, seconds = time.perf_counter() - begin, []
    for _ in range(3 * repeats + 1):
        begin = time.perf_counter()
        compiled(*sides, exponents).block_until_ready()
        seconds.append(time.perf_counter() - begin)
    return NUM_BARGAINS / median(seconds[1:]), compile_seconds


def table(repeats: int) -> float:
    """Agreements tabulated a second, utilities and sorting included: 1 buyer, 2 suppliers, 20 prices, 5 exponents."""
    space, num_prices, num_demands = supply_space(np.linspace(1.0, 2.0, 20).tolist()), 20, 8
    exponents = jnp.asarray([[0.25, 0.5, 1.0, 2.0, 4.0]])
    pair = jnp.asarray([[1.0, 1.1]])
    seconds = []
    for number in range(repeats + 1):
        begin = time.perf_counter()
        found = negotiation.tabulate(
            space, Stock(29, 8), ROUNDS,
            prices=jnp.linspace(1.5, 2.5 + number / 100, num_prices)[None],
            demands=jnp.linspace(0.0, 4.0, num_demands)[None], exponents=exponents,
            buyer=BuyerCosts(*jnp.asarray([[0.1], [0.2], [0.0]])),
            suppliers=SupplierCosts(pair, 0.3 * pair, jnp.full((1, 2), jnp.inf), 0.0 * pair),
            supplier_exponents=pair,
        )  # fmt: skip
        found.code.block_until_ready()
        seconds.append(time.perf_counter() - begin)
    return 2 * found.code.size / median(seconds[1:])


def negmas(count: int = 60) -> float:
    """The same bargains a second by NegMAS's mechanism, seconds that this process had a core."""
    from marl_pricing.procurement import oracle

    buyers, suppliers = _profiles(count)
    begin = time.process_time()
    for buyer, supplier in zip(buyers, suppliers, strict=True):
        oracle.by_numbers((buyer, 0.0), (supplier, 0.0), (1.0, 1.0), ROUNDS)
    return count / (time.process_time() - begin)


def market_steps(repeats: int, num_sellers: int, random_orders: bool) -> dict[str, Any]:
    """A market step whose sellers bargain for their stock, beside one whose sellers reorder at a threshold.

    Orders take up to five epochs in both. The two are measured in turn, so that whatever else the machine does falls on
    both.
    """
    rules: tuple[dict[str, Any], ...] = (
        {"rule": "threshold", "order_quantity": 14.0, "lead_time": 3, "max_lead_time": 5},
        {
            "rule": "contract",
            "issues": {"cost_low": 0.8, "cost_high": 1.4},
            "suppliers": [{"unit_cost": 0.8, "rush_cost": 0.2}, {"unit_cost": 0.9, "rush_cost": 0.0}],
        },
    )
    plain, contract = (
        market_from(
            {
                "num_sellers": num_sellers,
                "episode_length": 100,
                "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
                "prices": {"map": "levels", "low": 1.1, "high": 2.5},
                "inventory": rule | {"initial_stock": 20.0, "reorder_point": 14.0},
                "reward": {"unit_cost": 1.0, "stockout_penalty": 0.5},
            },
            {"sessions_per_epoch": 10, "random_orders": random_orders},
        )
        for rule in rules
    )
    runs = [market.make_run(own, market.NUM_MARKETS, market.NUM_STEPS) for own in (plain, contract)]
    seconds: list[list[float]] = [[], []]
    for number in range(2 * repeats + 1):
        for place, ((run, _), own) in enumerate(zip(runs, (plain, contract), strict=True)):
            begin = time.perf_counter()
            run(jax.random.key(number), own.params).block_until_ready()
            seconds[place].append(time.perf_counter() - begin)
    threshold, bargained = (np.asarray(own[1:]) for own in seconds)
    demand = "Poisson" if random_orders else "expected"
    return {
        "name": f"market: {num_sellers} sellers, {demand} demand, contracts with two suppliers",
        "value": market.NUM_MARKETS * market.NUM_STEPS / median(bargained),
        "unit": "market steps/s",
        "compile_seconds": runs[1][1],
        "note": f"{median(bargained / threshold):.2f} times the seconds of the threshold rule",
    }


def rows(repeats: int = 5) -> list[dict[str, Any]]:
    """The rows of bargains."""
    speed, compile_seconds = closed_form(repeats)
    what = f"{NUM_OUTCOMES} outcomes, {ROUNDS} rounds"
    made = [
        {
            "name": "bargains: utilities given, tables sorted",
            "value": speed,
            "unit": "bargains/s",
            "compile_seconds": compile_seconds,
            "note": f"{what}, {NUM_BARGAINS} at once on {jax.device_count()} devices",
        },
        {
            "name": "bargains: tabulated, utilities and sorting included",
            "value": table(repeats),
            "unit": "bargains/s",
            "note": what,
        },
    ]
    made += [market_steps(repeats, *case) for case in ((2, True), (8, True), (2, False))]
    try:
        theirs = negmas()
    except ConfigError as error:  # the extra is optional
        return [*made, {"name": "bargains: NegMAS", "value": 0.0, "unit": "bargains/s", "note": str(error)}]
    note = f"AspirationNegotiator, one core; the closed form plays {speed / theirs:,.0f} times as many"
    return [*made, {"name": "bargains: NegMAS's SAOMechanism", "value": theirs, "unit": "bargains/s", "note": note}]

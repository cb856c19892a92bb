"""The prototype's sessions: people look at one to three products; agents look at everything and come back clean.

PHANTOM's prototype, `_simulate_sessions`, drawn without an event table: what an epoch needs are counts.
A person views 1–3 products, may cart each, and buys at most one; the price rises with the interest shown. An agent's
recon session only views; its clean purchase session, linked by the agent's identity, pays nearly no mark-up, and the
oracle price is what it would have paid had the platform known.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.demand import DemandParams, DemandShape, propensities
from marl_pricing.traffic import information
from marl_pricing.traffic.draws import poisson
from marl_pricing.traffic.params import Array, ScriptParams, TrafficParams, TrafficShape
from marl_pricing.traffic.types import Conditions, Traffic

_CHUNK = 512
# A recon session is flagged from this many events on: it buys nothing, and its views are 1.2 s apart on average, so
# that the detector's other two conditions hold (slower than one in 5 s has a probability below 1e-30).
_FLAGGED_FROM = 12


def _three_products(bits: Array, num_offers: int) -> Array:
    """Three different products [M, 3], each choice as likely as any other, from random words [3, M]."""

    def below(word: Array, limit: int) -> Array:
        return ((word >> 8).astype(jnp.float32) * 2.0**-24 * limit).astype(jnp.int32)

    first = below(bits[0], num_offers)
    second = below(bits[1], num_offers - 1)
    second += second >= first
    third = below(bits[2], num_offers - 2)
    low, high = jnp.minimum(first, second), jnp.maximum(first, second)
    third += third >= low
    third += third >= high
    return jnp.stack([first, second, third], -1)


def _add(size: int, index: Array, value: Array) -> Array:
    """Values summed by index, [size]."""
    return jnp.zeros((size,)).at[index.reshape(-1)].add(value.reshape(-1))


def _scatter_views(key: Array, total: Array, num_offers: int) -> Array:
    """`total` views, each of any product with the same probability: counts [N]."""

    def more(carry: tuple[Array, Array]) -> Array:
        return carry[0] * _CHUNK < total

    def chunk(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        number, counts = carry
        bits = jax.random.bits(jax.random.fold_in(key, number), (_CHUNK,))
        product = ((bits >> 8).astype(jnp.float32) * 2.0**-24 * num_offers).astype(jnp.int32)
        counts_in = number * _CHUNK + jnp.arange(_CHUNK) < total
        return number + 1, counts.at[product].add(counts_in.astype(jnp.float32))

    return jax.lax.while_loop(more, chunk, (jnp.zeros((), jnp.int32), jnp.zeros((num_offers,))))[1]


def simulate(
    key: Array,
    shape: TrafficShape,
    params: TrafficParams,
    demand: DemandShape,
    demand_params: DemandParams,
    conditions: Conditions,
    agent_shares: Array,
) -> Traffic:
    """One wave of sessions for every candidate share of agents [C], from the same random numbers.

    Of M sessions round(M α) are agents', in pairs of a recon and a possible purchase session. Scores are 1 for a recon
    session that the heuristic detector flags.
    """
    script, markup = params.script, params.markup
    assert script is not None and markup is not None
    places, num_offers = shape.num_sessions, demand.num_offers
    keys = jax.random.split(key, 6)
    rate = propensities(
        demand, demand_params, conditions.prices, conditions.level, conditions.available, conditions.listed
    )
    came = jnp.floor(shape.sessions * conditions.intensity + jax.random.uniform(keys[5]))
    came = jnp.minimum(came, places)
    # Sessions look at products at random, and see nothing of those whose seller has left.
    listed = jnp.ones((num_offers,)) if conditions.listed is None else conditions.listed.astype(jnp.float32)
    came = jnp.where(listed.any(), came, 0.0)
    people = _people(keys[0], script, params, conditions, rate[0], places)
    agents = _agents(keys[1:5], script, params, conditions, rate[-1], places // 2)

    def world(share: Array) -> Traffic:
        num_agents = jnp.round(came * share) if demand.num_classes > 1 else jnp.zeros(())
        # Agents come in pairs of sessions; where there are any, there is one.
        identities = jnp.where(num_agents > 0, jnp.maximum(jnp.floor(num_agents / 2), 1.0), 0.0)
        person = jnp.arange(places) < came - num_agents
        agent = jnp.arange(places // 2) < identities
        viewed = people["viewed"] * listed[people["product"]] * person[:, None]
        bought = people["bought"] * person[:, None]
        human = _add(num_offers, people["product"], bought)
        clean = agents["clean"] * listed[agents["product"]] * agent
        bought_clean = agents["bought"] * agent
        by_agents = _add(num_offers, agents["product"], bought_clean)
        recon = agents["views"] * agent
        own_views = _add(num_offers, people["product"], viewed) + _add(num_offers, agents["product"], clean)
        carts = _add(num_offers, people["product"], people["carted"] * person[:, None]) * listed
        flagged = (agents["views"] >= _FLAGGED_FROM) & agent
        counted = jnp.where(script.exclude_detected > 0, jnp.where(flagged, 0.0, recon), recon).sum()
        seen = own_views + _scatter_views(keys[4], counted, num_offers) * listed
        orders = jnp.stack([human, by_agents])[: demand.num_classes]
        paid = _add(num_offers, people["product"], bought * people["paid"])
        units = orders.sum(0)

        def per_unit(agents_pay: Array) -> Array:
            money = paid + _add(num_offers, agents["product"], bought_clean * agents_pay)
            return jnp.where(units > 0, money / jnp.maximum(units, 1.0), conditions.prices)

        view, cart, purchase = script.weights
        return Traffic(
            orders=orders,
            events=view * seen + cart * carts + purchase * units,
            price_paid=per_unit(agents["paid"]),
            price_linked=per_unit(agents["linked"]),
            scores=flagged.astype(jnp.float32),
            class_scores=jnp.zeros((2,)),
            visits=person.sum() + identities + clean.sum(),
            views=viewed.sum() + recon.sum() * listed.mean() + clean.sum(),
        )

    return jax.vmap(world)(agent_shares)


def _price(conditions: Conditions, params: TrafficParams, product: Array, signal: Array) -> Array:
    assert params.markup is not None
    posted = conditions.prices[product]
    marked = posted * information.session_markup(signal, params.markup)
    return jnp.minimum(marked, jnp.maximum(params.markup.highest_price, posted))


def _people(
    key: Array, script: ScriptParams, params: TrafficParams, conditions: Conditions, rate: Array, places: int
) -> dict[str, Array]:
    """What a person in each place would do: products [M, 3], each viewed, carted, bought or not, at what price."""
    key_bits, key_uniform = jax.random.split(key)
    bits = jax.random.bits(key_bits, (4, places))
    uniform = jax.random.uniform(key_uniform, (2, places, 3))
    count = 1 + ((bits[3] >> 8).astype(jnp.float32) * 2.0**-24 * 3).astype(jnp.int32)
    product = _three_products(bits[:3], rate.size)
    viewed = (jnp.arange(3) < count[:, None]).astype(jnp.float32)
    carted = viewed * (uniform[0] < script.cart_probability)
    wants = viewed * (uniform[1] < rate[product])
    bought = wants * (jnp.cumsum(wants, -1) == 1)
    signal = jnp.cumsum(viewed + 2.0 * carted, -1)
    paid = _price(conditions, params, product, signal)
    return {"product": product, "viewed": viewed, "carted": carted, "bought": bought, "paid": paid}


def _agents(
    keys: Array, script: ScriptParams, params: TrafficParams, conditions: Conditions, rate: Array, places: int
) -> dict[str, Array]:
    """What the agent of each identity [A] would do: views of its recon session, its clean session, prices."""
    draws = poisson(keys[0], jnp.broadcast_to(script.recon_mean, (places,)))
    views = jnp.floor(draws * script.recon_multiplier) + script.recon_floor
    uniform = jax.random.uniform(keys[1], (2, places))
    clean = (uniform[0] < script.clean_probability).astype(jnp.float32)
    product = jax.random.randint(keys[2], (places,), 0, rate.size)
    bought = clean * (uniform[1] < rate[product])
    assert params.markup is not None
    return {
        "views": views,
        "clean": clean,
        "product": product,
        "bought": bought,
        "paid": _price(conditions, params, product, params.markup.clean_signal),
        "linked": _price(conditions, params, product, views),
    }

"""Orders that are held: at its reference prices a market sells the same under every share of agents.

Agents' sessions end in a purchase more rarely than people's. Without holding, a world of more agents is above all a
world of less demand; held, it differs by how agents look around and choose. In a calibrated market the estimates say
what is sold, so that sessions are held at the estimates' orders: a shopper of the estimates is no session of a funnel
of which five in six buy nothing.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import market
from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.config.market_settings import MarketSettings
from marl_pricing.config.traffic_settings import HoldOrders, Traffic
from marl_pricing.demand import propensities
from marl_pricing.equilibrium import static


def held_how(own: Traffic, calibrated: bool) -> HoldOrders:
    """What `traffic.hold_orders` comes to: what it says, or `purchases` in a calibrated market (`sessions` where a
    session takes one unit at most), and `none` in others."""
    if own.hold_orders is not None:
        return own.hold_orders
    if not calibrated or own.model == "scripted" or own.comparison > 0:
        return "none"
    return "sessions" if own.order_law == "multinomial" else "purchases"


def reference_prices(
    own: Traffic, settings: MarketSettings, shape: market.MarketShape, params: market.MarketParams
) -> np.ndarray:
    """Prices [N] at which orders are held: those of `traffic.hold_prices`, of a calibration, of power demand, or the
    Nash prices among people alone.

    Raises:
        ConfigError: for a list of another length, and where there are no Nash prices.
    """
    count = shape.num_offers
    given = own.hold_prices
    if given is None and settings.calibration is not None:
        given = settings.calibration.reference_price
    if given is None and settings.demand.model == "power":
        given = settings.demand.reference_price
    if given is not None:
        prices = np.asarray(given, np.float64)
        if prices.size == shape.num_sellers:
            prices = np.repeat(prices, shape.num_products)
        if prices.size not in (1, count):
            accepted = f"a price, or a list of {shape.num_sellers} (sellers) or {count} (offers)"
            raise refuse("traffic.hold_prices", given, accepted)
        return np.broadcast_to(prices.reshape(-1), (count,))
    # Posted prices, as if nobody paid a mark-up: sessions do not matter, and the benchmark is known by a short key.
    shape = replace(shape, traffic=replace(shape.traffic, markup=False, quotes=False))
    people = params.traffic.replace(
        agent_share=jnp.float32(0.0),
        sessions=None,
        markup=None,
        quotes=None,
        purchase_rate=jnp.ones_like(params.traffic.purchase_rate),
    )
    try:
        return static.nash(shape, params.replace(traffic=people)).prices
    except static.NoEquilibriumError as error:
        raise ConfigError(f"traffic.hold_prices=None: people have no Nash prices to hold orders at: {error}") from None


def hold_orders(
    own: Traffic, settings: MarketSettings, shape: market.MarketShape, params: market.MarketParams
) -> tuple[market.MarketShape, market.MarketParams]:
    """The market whose expected orders at its reference prices are the same under every share of agents.

    With `purchases` a class's purchase events take more units (or fewer); with `sessions` as many more sessions come.

    Raises:
        ConfigError: for traffic and markets that cannot be held.
    """
    calibrated = settings.calibration is not None
    how = held_how(own, calibrated)
    if how == "none":
        if own.hold_prices is not None:
            raise refuse("traffic.hold_prices", own.hold_prices, "null with traffic.hold_orders=none")
        return shape, params
    if shape.demand.num_classes < 2 and not calibrated:
        raise refuse("traffic.hold_orders", how, "none without agents (market.agent=null)")
    prices = jnp.asarray(reference_prices(own, settings, shape, params), jnp.float32)
    there, level = jnp.ones((shape.num_offers,), bool), jnp.ones((shape.num_offers,))
    wanted = np.asarray(propensities(shape.demand, params.demand, prices, level, there).sum(-1), np.float64)
    rate = np.asarray(params.traffic.purchase_rate, np.float64)
    by_session = rate * wanted
    if not (by_session > 0).all():
        who = "people" if by_session[0] <= 0 else "agents"
        raise ConfigError(
            f"traffic.hold_orders={how!r}: {who} buy nothing at the reference prices; accepted are other "
            "traffic.hold_prices, or none"
        )
    held = wanted[0] if calibrated else by_session[0]
    if how == "sessions":
        weight = by_session / held
        # As many as come where all are of the class that buys most rarely.
        most = int(np.ceil(shape.traffic.num_sessions / weight.min() - 1e-6)) if shape.traffic.capacity else 0
        visitors = params.traffic.replace(session_weight=jnp.asarray(weight, jnp.float32))
        held_shape = type(shape.traffic)(**{**vars(shape.traffic), "capacity": most})
        return type(shape)(**{**vars(shape), "traffic": held_shape}), params.replace(traffic=visitors)
    units: jax.Array = jnp.asarray(held / by_session, jnp.float32)
    visitors = params.traffic.replace(purchase_rate=params.traffic.purchase_rate * units)
    if visitors.sessions is not None:
        visitors = visitors.replace(sessions=visitors.sessions.replace(units=units))
    return shape, params.replace(traffic=visitors)


def with_reference(own: Traffic, params: market.MarketParams) -> market.MarketParams:
    """The market with the prices up to which all sessions come: `traffic.browsing.reference`, or the lowest it allows.

    Raises:
        ConfigError: for a list of another length, and for a lowest price that is not above 0.
    """
    visitors = params.traffic.browsing
    if visitors is None:
        return params
    given, low = own.browsing.reference, np.asarray(params.prices.low, np.float64)
    prices = low if given is None else np.asarray(given, np.float64).reshape(-1)
    if prices.size not in (1, low.size):
        raise refuse("traffic.browsing.reference", given, f"a price, or a list of {low.size} (offers)")
    if not (prices > 0).all():
        raise refuse("traffic.browsing.reference", given, "prices above 0 in a market whose lowest is not")
    reference = jnp.asarray(np.broadcast_to(prices, low.shape), jnp.float32)
    return params.replace(traffic=params.traffic.replace(browsing=visitors.replace(reference=reference)))

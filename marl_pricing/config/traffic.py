"""The visitors that traffic settings mean."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from marl_pricing import traffic
from marl_pricing.config.behaviour import behaving, behaviour_of, identity_of, kinds_told_apart, times_of
from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.traffic import bank, detection, sessions
from marl_pricing.traffic.events import ACTIONS, PURCHASE
from marl_pricing.widths import float32


class Visitors(NamedTuple):
    """Traffic ready to run."""

    shape: traffic.TrafficShape
    params: traffic.TrafficParams


@lru_cache(maxsize=16)
def _sessions(dumped: str, num_classes: int) -> tuple[traffic.SessionParams, jax.Array, jax.Array]:
    """(parameters, purchases of a session [Y], weight of its other events [Y]); cached: a bank takes a second."""
    own = Traffic.model_validate_json(dumped)
    found = behaviour_of(own)
    human, agent = found.global_kernels
    states = human.states
    width = max(len(kinds) for kinds in found.kinds)
    matrices = np.zeros((num_classes, width, len(states), len(states)), np.float32)
    followed = behaving(own, found)
    shares = np.zeros((num_classes, width), np.float32)
    for number in range(num_classes):
        for kind in range(width):
            # Padding repeats the first kind with share 0.
            matrices[number, kind] = followed[number][kind if kind < len(followed[number]) else 0]
        shares[number, : len(found.shares[number])] = found.shares[number]
    params = traffic.SessionParams(
        kernels=float32(matrices),
        kind_shares=float32(shares),
        weights=float32(human.weights),
        purchase=float32([state == PURCHASE for state in states]),
        view=float32([ACTIONS.get(state) == "nav" and state not in human.generic for state in states]),
        log_ratio=float32(detection.log_ratio(human.matrix, agent.matrix)),
        temperature=float32(own.temperature),
        mean_scores=float32(np.zeros(2)),
        refused_scores=float32(np.zeros(2)),
        comparison=float32(own.comparison),
        bank=None,
        product=float32(human.product) if human.generic else None,
        times=times_of(own, found),
        identity=identity_of(own),
        **kinds_told_apart(own, found),
    )
    shape = session_shape(own, _purchase_slots(params))
    key = jax.random.key(own.bank.seed)
    if found.logged is not None and own.bank.source == "log":
        try:
            times = None
            if params.times is not None:
                from marl_pricing.traffic import logs

                times = [logs.times_of(found.events, "human"), logs.times_of(found.events, "agent")]
            rows = bank.from_sessions(found.logged[:num_classes], shape, params, own.bank.size, own.bank.seed, times)
        except ValueError as error:
            raise ConfigError(f"traffic.log={own.log!r}: {error}; see traffic.max_events") from None
    else:
        rows = bank.fill(key, shape, params, own.bank.size)
    kept, refused = sessions.class_scores(shape, params, rows)
    params = params.replace(mean_scores=kept, refused_scores=refused)
    if own.markup.strength > 0:
        most = sessions.most_interest(params, shape.max_events)
        fixed = own.model == "bank" and not own.bank.refresh
        law = sessions.interest_of_rows(rows, most) if fixed else sessions.interest_of_kernels(params, shape.max_events)
        params = params.replace(interest=float32(law))
    totals = sessions.session_totals(params, shape.max_events)
    rate, events = totals
    if own.model == "bank":
        params = params.replace(bank=rows)
        if not own.bank.refresh:
            rate, events = sessions.purchase_rate(rows), np.asarray(rows.weight).sum(-1).mean(-1)
    return params, float32(rate), float32(events)


def behaving_otherwise(
    own: Traffic, nominal: traffic.TrafficParams, **changes: Any
) -> tuple[traffic.SessionParams, jax.Array]:
    """Sessions as `own` has them, but with another mimicry or perturbation; seen by the same detector.

    Where orders are held (`hold_orders`), each class goes on to buy as often as it does nominally.

    Returns:
        (the sessions, their purchase rates [Y]).

    Raises:
        ConfigError: where orders are held and the changed sessions of a class never buy.
    """
    before = nominal.sessions
    assert before is not None
    changed = Traffic.model_validate(own.model_dump() | changes)
    other, rate, _ = _sessions(changed.model_dump_json(), before.kernels.shape[0])
    sessions_now = before.replace(kernels=other.kernels, bank=other.bank, interest=other.interest)
    if before.units is None and nominal.session_weight is None:
        return sessions_now, rate
    if not bool((rate > 0).all()):
        raise ConfigError(f"traffic.hold_orders: accepted is none with {changes}, where a class never buys")
    return sessions_now.replace(units=nominal.purchase_rate / rate), nominal.purchase_rate


def _purchase_slots(params: traffic.SessionParams) -> int:
    """One where a purchase is the last event; otherwise a few places, shared beyond that."""
    kernels, purchase = np.asarray(params.kernels), np.asarray(params.purchase)
    last = bool((kernels[..., -1] * purchase).sum(-1).min() == 1.0)
    return 1 if last or not purchase.any() else 4


def session_shape(own: Traffic, purchase_slots: int = 1) -> traffic.TrafficShape:
    """The static half, without what the market's own intensity adds."""
    return traffic.TrafficShape(
        model=own.model,
        sessions=own.sessions_per_epoch,
        random_orders=own.random_orders,
        order_law=own.order_law,
        max_events=own.max_events,
        slots=min(own.bank.slots, own.max_events),
        purchase_slots=purchase_slots,
        refresh=own.bank.refresh,
        markup=own.markup.strength > 0 or own.model == "scripted",
        quotes=own.quotes.differ,
        detector=own.detector,
        comparison=own.comparison > 0,
        counts_refused=own.count_refused,
        price_visits=own.browsing.moves,
        process=own.process.kind,
    )


def build_traffic(own: Traffic, num_classes: int, num_offers: int, highest_intensity: float) -> Visitors:
    """The visitors that the settings mean.

    Args:
        highest_intensity: of one wave, as a factor on the sessions of an epoch.

    Raises:
        ConfigError: for files that cannot be used, and combinations that cannot be.
    """
    shape = session_shape(own)
    params = traffic.TrafficParams(
        agent_share=float32(own.agent_share), purchase_rate=float32(np.ones(num_classes)), event_scale=float32(1.0)
    )
    if own.process.kind != "static" and num_classes == 1:
        raise refuse("traffic.process.kind", own.process.kind, "'static' without agents (market.agent=null)")
    if own.comparison > 0 and num_classes == 1:
        raise refuse("traffic.comparison", own.comparison, "0 without agents (market.agent=null)")
    changes: dict[str, Any] = {}
    if own.model != "analytic" or own.order_law == "multinomial":
        changes["capacity"] = max(1, int(np.ceil(own.sessions_per_epoch * highest_intensity - 1e-6)))
    if own.model in ("chain", "bank"):
        session_params, rate, events = _sessions(own.model_dump_json(), num_classes)
        weight = (np.asarray(session_params.weights) * np.asarray(session_params.purchase)).sum()
        purchases = np.asarray(rate) * weight
        params = params.replace(
            sessions=session_params,
            purchase_rate=rate,
            event_scale=float32(np.asarray(events)[0] + purchases[0]),
            session_events=events,
            session_purchases=float32(purchases),
        )
        if not np.asarray(session_params.purchase).any():
            raise ConfigError("traffic: the kernels have no purchase event, so that nobody ever buys")
        changes["purchase_slots"] = _purchase_slots(session_params)
    if own.model == "scripted":
        if num_offers < 3:
            raise refuse("traffic.model", "scripted", "another model with fewer than 3 offers: people view up to 3")
        script = own.script.model_dump()
        defence = script.pop("defence")
        params = params.replace(
            script=traffic.ScriptParams(
                **{name: float32(value) for name, value in script.items()}, exclude_detected=float32(float(defence))
            ),
            event_scale=float32(2.0 * own.script.weights[0]),
        )
    if shape.markup:
        markup = own.markup.model_dump()
        highest = markup.pop("highest_price")
        params = params.replace(
            markup=traffic.MarkupParams(
                **{name: float32(value) for name, value in markup.items()},
                highest_price=float32(np.inf if highest is None else highest),
            )
        )
    if shape.quotes:
        if own.quotes.identities > 1 and num_classes == 1:
            raise refuse("traffic.quotes.identities", own.quotes.identities, "1 without agents (market.agent=null)")
        factors = float32(sorted(own.quotes.factors))
        params = params.replace(quotes=traffic.QuoteParams(factors=factors, identities=float32(own.quotes.identities)))
    if shape.price_visits:
        elasticity = [own.browsing.elasticity, own.browsing.agent_elasticity][:num_classes]
        if own.browsing.agent_elasticity > 0 and num_classes == 1:
            raise refuse(
                "traffic.browsing.agent_elasticity",
                own.browsing.agent_elasticity,
                "0 without agents (market.agent=null)",
            )
        nowhere = float32(np.ones(num_offers))
        params = params.replace(browsing=traffic.BrowsingParams(elasticity=float32(elasticity), reference=nowhere))
    if own.process.kind != "static":
        process = own.process.model_dump()
        process.pop("kind")
        params = params.replace(process=traffic.ProcessParams(**{name: float32(v) for name, v in process.items()}))
    return Visitors(traffic.TrafficShape(**{**vars(shape), **changes}), params)

"""Traffic settings, as people write them, and the visitors that they mean."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from marl_pricing import traffic
from marl_pricing.config.errors import ConfigError, Settings, parse_yaml, refuse
from marl_pricing.traffic import bank, detection, kernels, sessions
from marl_pricing.traffic.events import ACTIONS, PURCHASE
from marl_pricing.traffic.kernels import Kernel

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
HoldOrders = Literal["none", "sessions", "purchases"]


class Process(Settings):
    """How the share of agents moves: not at all, as a bounded random walk, or in bursts."""

    kind: Literal["static", "drift", "burst"] = "static"
    low: Share = 0.0
    high: Share = 0.6
    step: NonNegative = 0.02
    start_probability: Share = 0.05
    stop_probability: Annotated[float, Field(gt=0, le=1)] = 0.2


class Human(Settings):
    """People's sessions; `match` is a file of session funnels whose length and conversion they take."""

    match: str | None = None


class Bank(Settings):
    """Sessions drawn beforehand: from the kernels, or those of the log."""

    size: Annotated[int, Field(ge=16, le=1_048_576)] = 16_384
    slots: Annotated[int, Field(ge=1)] = 16
    refresh: bool = False
    source: Literal["kernels", "log"] = "kernels"
    seed: Annotated[int, Field(ge=0)] = 0


class Perturbation(Settings):
    """Transition probabilities times e^(strength · normal draws), rows normalised again: behaviour nobody has seen."""

    strength: NonNegative = 0.0
    seed: Annotated[int, Field(ge=0)] = 0


class Markup(Settings):
    """A session pays 1 + strength · σ((interest − threshold) / temperature) times the posted price."""

    strength: NonNegative = 0.0
    threshold: float = 4.0
    temperature: Positive = 1.25
    clean_signal: NonNegative = 1.0
    highest_price: Positive | None = None


class Script(Settings):
    """Sessions of the prototype; see spec/phantom_environment_prototype."""

    cart_probability: Share = 0.35
    recon_mean: NonNegative = 8.0
    recon_multiplier: NonNegative = 6.0
    recon_floor: NonNegative = 5.0
    clean_probability: Share = 0.20
    weights: Annotated[list[NonNegative], Field(min_length=3, max_length=3)] = [0.15, 0.75, 2.5]  # noqa: RUF012
    defence: bool = False


class Traffic(Settings):
    """Who visits. `agent_share` is α; it needs a class of agents (`market.agent`).

    `mimicry`: probability that an agent's next event is drawn as a person's would be. Detectors know the kernels
    without it and without the perturbation.

    `hold_orders`: expected orders at `hold_prices` are the same under every share of agents (see `config.holding`);
    null holds purchases in a calibrated market and nothing in others.
    """

    model: Literal["analytic", "scripted", "chain", "bank"] = "analytic"
    sessions_per_epoch: Annotated[int, Field(ge=1)] = 10
    random_orders: bool = True
    order_law: Literal["poisson", "multinomial"] = "poisson"
    agent_share: Share = 0.0
    hold_orders: HoldOrders | None = None
    hold_prices: Positive | Annotated[list[Positive], Field(min_length=1)] | None = None
    process: Process = Process()
    kernels: str | None = None
    log: str | None = None
    log_mapping: str | None = None
    smoothing: NonNegative = 1.0
    kinds: Annotated[int, Field(ge=1, le=16)] = 1
    human: Human = Human()
    mimicry: Share = 0.0
    perturbation: Perturbation = Perturbation()
    max_events: Annotated[int, Field(ge=1)] = 40
    bank: Bank = Bank()
    temperature: Positive = 0.2
    comparison: Share = 0.0
    markup: Markup = Markup()
    script: Script = Script()

    @model_validator(mode="after")
    def _fits(self) -> Traffic:
        walks = self.model in ("chain", "bank")
        only = f"with traffic.model={self.model}"
        if self.model != "analytic" and not self.random_orders:
            raise ConfigError(f"traffic.random_orders=False: accepted is true {only}, whose sessions are drawn")
        if self.order_law != "poisson" and (self.model != "analytic" or not self.random_orders):
            without = only if self.model != "analytic" else "with traffic.random_orders=false"
            raise ConfigError(f"traffic.order_law={self.order_law!r}: accepted is 'poisson' {without}")
        for name, given in (("kernels", self.kernels), ("log", self.log), ("human.match", self.human.match)):
            if given is not None and not walks:
                raise ConfigError(f"traffic.{name}={given!r}: accepted is null {only}, which walks no kernels")
        if self.kernels is not None and self.log is not None:
            raise ConfigError(f"traffic.kernels={self.kernels!r}: accepted is null where traffic.log gives the kernels")
        if self.log_mapping is not None and self.log is None:
            raise ConfigError(f"traffic.log_mapping={self.log_mapping!r}: accepted is null without traffic.log")
        if self.bank.source == "log" and (self.log is None or self.model != "bank"):
            raise ConfigError("traffic.bank.source='log': accepted is 'kernels' without traffic.log and model=bank")
        if self.bank.source == "log" and self.bank.refresh:
            raise ConfigError("traffic.bank.refresh=True: accepted is false with traffic.bank.source=log")
        if self.bank.refresh and self.model != "bank":
            raise ConfigError(f"traffic.bank.refresh=True: accepted is false {only}")
        if self.kinds > 1 and self.log is None:
            raise ConfigError(f"traffic.kinds={self.kinds}: accepted is 1 without traffic.log to find kinds in")
        changed = [("mimicry", self.mimicry), ("perturbation.strength", self.perturbation.strength)]
        for name, value in changed:
            if value > 0 and not walks:
                raise ConfigError(f"traffic.{name}={value!r}: accepted is 0 {only}, which walks no kernels")
            if value > 0 and self.bank.source == "log":
                raise ConfigError(f"traffic.{name}={value!r}: accepted is 0 with traffic.bank.source=log")
        if self.comparison > 0 and not walks:
            raise ConfigError(f"traffic.comparison={self.comparison!r}: accepted is 0 {only}")
        if self.hold_orders in ("sessions", "purchases"):
            held = f"traffic.hold_orders={self.hold_orders!r}: accepted is none"
            if self.model == "scripted":
                raise ConfigError(f"{held} {only}, whose expected orders have no closed form")
            if self.comparison > 0:
                raise ConfigError(f"{held} with traffic.comparison above 0, which lets prices move the units bought")
            if self.hold_orders == "purchases" and self.order_law == "multinomial":
                raise ConfigError(f"{held} or sessions with traffic.order_law=multinomial: a session takes one unit")
        if self.markup.strength > 0 and self.model == "analytic":
            raise ConfigError(f"traffic.markup.strength={self.markup.strength!r}: accepted is 0 {only}")
        if self.process.kind == "drift" and not self.process.low <= self.agent_share <= self.process.high:
            raise refuse(
                "traffic.agent_share", self.agent_share, f"between low={self.process.low} and high={self.process.high}"
            )
        if self.process.low > self.process.high:
            raise refuse("traffic.process.low", self.process.low, f"at most high={self.process.high}")
        if self.process.kind == "burst" and self.process.high <= self.agent_share:
            raise refuse("traffic.process.high", self.process.high, f"above traffic.agent_share={self.agent_share}")
        return self


class Visitors(NamedTuple):
    """Traffic ready to run."""

    shape: traffic.TrafficShape
    params: traffic.TrafficParams


def _f32(value: Any) -> jax.Array:
    return jnp.asarray(value, jnp.float32)


def read_kernels(path: str) -> tuple[Kernel, Kernel]:
    """People's and agents' kernels from YAML: {human: {event: {next event: probability}}, agent: {…}}.

    Raises:
        ConfigError: naming the file, the row and what is accepted.
    """
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"traffic.kernels={path!r}: cannot be read: {error}") from None
    data = parse_yaml(text, f"traffic.kernels={path!r}")
    if not isinstance(data, dict) or set(data) != {"human", "agent"}:
        raise ConfigError(f"traffic.kernels={path!r}: accepted are two groups, human and agent")
    found = []
    for name in ("human", "agent"):
        if not isinstance(data[name], dict) or not all(isinstance(row, dict) for row in data[name].values()):
            raise ConfigError(f"traffic.kernels={path!r}, {name}: accepted is {{event: {{next event: probability}}}}")
        try:
            found.append(kernels.from_rows(data[name], source=path))
        except kernels.KernelError as error:
            raise ConfigError(f"traffic.kernels={path!r}, {name}: {error}") from None
    return found[0], found[1]


class _Behaviour(NamedTuple):
    """Kernels of both classes over one set of states, and the sessions that they come from."""

    global_kernels: list[Kernel]
    kinds: list[list[Kernel]]
    shares: list[np.ndarray]
    logged: list[list[np.ndarray]] | None


def _from_log(own: Traffic) -> _Behaviour:
    from marl_pricing.traffic import logs  # pandas takes half a second, and few runs read a log

    assert own.log is not None
    try:
        log = logs.read_log(own.log, mapping=own.log_mapping)
        named = [logs.sessions_of(log, actor) for actor in ("human", "agent")]
    except logs.LogError as error:
        raise ConfigError(f"traffic.log: {error}") from None
    for actor, found in zip(("human", "agent"), named, strict=True):
        if not found:
            raise ConfigError(f"traffic.log={own.log!r}: there are no sessions labelled {actor!r}")
    states = kernels.states_of([session for found in named for session in found])
    encoded = [[kernels.encode(session, states) for session in found] for found in named]
    try:
        whole = [kernels.estimate(found, states, own.smoothing) for found in encoded]
        if own.kinds == 1:
            return _Behaviour(whole, [[kernel] for kernel in whole], [np.ones(1), np.ones(1)], encoded)
        kinds = [kernels.cluster(found, states, own.kinds, own.smoothing) for found in encoded]
    except kernels.KernelError as error:
        raise ConfigError(f"traffic.log={own.log!r}: {error}") from None
    return _Behaviour(whole, [list(k.kernels) for k in kinds], [k.shares for k in kinds], encoded)


def _behaviour(own: Traffic) -> _Behaviour:
    if own.log is not None:
        found = _from_log(own)
    else:
        pair = kernels.default_kernels() if own.kernels is None else read_kernels(own.kernels)
        both = kernels.align(pair)
        found = _Behaviour(both, [[kernel] for kernel in both], [np.ones(1), np.ones(1)], None)
    if own.human.match is None:
        return found
    from marl_pricing.traffic import funnels

    try:
        funnel = funnels.read_funnel(own.human.match)
        matched = [funnels.match(kernel, funnel) for kernel in found.kinds[0]]
    except (funnels.FunnelError, kernels.KernelError) as error:
        raise ConfigError(f"traffic.human.match: {error}") from None
    longest = max(funnels.longest(kernel) for kernel in matched)
    if longest > own.max_events:
        raise refuse("traffic.max_events", own.max_events, f"at least {longest} for sessions as long as the file's")
    whole = [matched[0] if len(matched) == 1 else found.global_kernels[0], found.global_kernels[1]]
    return found._replace(kinds=[matched, found.kinds[1]], global_kernels=whole)


def _behaving(own: Traffic, found: _Behaviour) -> list[list[np.ndarray]]:
    """Matrices of each class and kind as sessions follow them: agents that mimic people, rows that are off."""
    human = found.global_kernels[0].matrix
    random = np.random.default_rng(own.perturbation.seed)

    def off(matrix: np.ndarray) -> np.ndarray:
        tilted = matrix * np.exp(own.perturbation.strength * random.standard_normal(matrix.shape))
        return tilted / tilted.sum(1, keepdims=True)

    people, agents = ([kernel.matrix for kernel in kinds] for kinds in found.kinds)
    if own.mimicry > 0:
        agents = [(1.0 - own.mimicry) * matrix + own.mimicry * human for matrix in agents]
    if own.perturbation.strength > 0:
        return [[off(matrix) for matrix in people], [off(matrix) for matrix in agents]]
    return [people, agents]


def _kinds_told_apart(own: Traffic, found: _Behaviour) -> dict[str, jax.Array]:
    """The mixture that the detector knows, where a log has several kinds of behaviour and telling them apart helps.

    It helps where on the quarter of the log's sessions that neither kernels nor kinds were estimated from here, the
    mixture's area under the ROC curve is at least the single kernels'.
    """
    if own.kinds == 1 or found.logged is None:
        return {}
    logs, weights = detection.kind_logs([[k.matrix for k in kinds] for kinds in found.kinds], found.shares)
    states = found.global_kernels[0].states
    if logs.shape[1] == 1 or not detection.kinds_help(
        found.logged, states, [len(kinds) for kinds in found.kinds], own.smoothing
    ):
        return {}
    return {"kind_logs": _f32(logs), "kind_weights": _f32(weights)}


@lru_cache(maxsize=16)
def _sessions(dumped: str, num_classes: int) -> tuple[traffic.SessionParams, jax.Array, jax.Array]:
    """(parameters, purchases of a session [Y], weighted events of one [Y]); cached: a bank takes a second."""
    own = Traffic.model_validate_json(dumped)
    found = _behaviour(own)
    human, agent = found.global_kernels
    states = human.states
    width = max(len(kinds) for kinds in found.kinds)
    matrices = np.zeros((num_classes, width, len(states), len(states)), np.float32)
    behaving = _behaving(own, found)
    shares = np.zeros((num_classes, width), np.float32)
    for number in range(num_classes):
        for kind in range(width):
            # Padding repeats the first kind with share 0.
            matrices[number, kind] = behaving[number][kind if kind < len(behaving[number]) else 0]
        shares[number, : len(found.shares[number])] = found.shares[number]
    params = traffic.SessionParams(
        kernels=_f32(matrices),
        kind_shares=_f32(shares),
        weights=_f32(human.weights),
        purchase=_f32([state == PURCHASE for state in states]),
        view=_f32([ACTIONS.get(state) == "nav" for state in states]),
        log_ratio=_f32(detection.log_ratio(human.matrix, agent.matrix)),
        temperature=_f32(own.temperature),
        mean_scores=jnp.zeros((2,)),
        comparison=_f32(own.comparison),
        bank=None,
        **_kinds_told_apart(own, found),
    )
    shape = session_shape(own, _purchase_slots(params))
    key = jax.random.key(own.bank.seed)
    if found.logged is not None and own.bank.source == "log":
        try:
            rows = bank.from_sessions(found.logged[:num_classes], shape, params, own.bank.size, own.bank.seed)
        except ValueError as error:
            raise ConfigError(f"traffic.log={own.log!r}: {error}; see traffic.max_events") from None
    else:
        rows = bank.fill(key, shape, params, own.bank.size)
    score = detection.suspicion(rows.gap, params.temperature).mean(-1)
    params = params.replace(mean_scores=jnp.resize(score, (2,)))
    if own.markup.strength > 0:
        most = sessions.most_interest(params, shape.max_events)
        fixed = own.model == "bank" and not own.bank.refresh
        law = sessions.interest_of_rows(rows, most) if fixed else sessions.interest_of_kernels(params, shape.max_events)
        params = params.replace(interest=_f32(law))
    totals = sessions.session_totals(params, shape.max_events)
    rate, events = (_f32(total) for total in totals)
    if own.model == "bank":
        params = params.replace(bank=rows)
        if not own.bank.refresh:
            rate, events = sessions.purchase_rate(rows), rows.weight.sum(-1).mean(-1)
    return params, rate, _f32(events)


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
    last = bool((params.kernels[..., -1] * params.purchase).sum(-1).min() == 1.0)
    return 1 if last or not params.purchase.any() else 4


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
        comparison=own.comparison > 0,
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
        agent_share=_f32(own.agent_share), purchase_rate=jnp.ones((num_classes,)), event_scale=_f32(1.0)
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
        params = params.replace(
            sessions=session_params, purchase_rate=rate, event_scale=events[0], session_events=events
        )
        if not session_params.purchase.any():
            raise ConfigError("traffic: the kernels have no purchase event, so that nobody ever buys")
        changes["purchase_slots"] = _purchase_slots(session_params)
    if own.model == "scripted":
        if num_offers < 3:
            raise refuse("traffic.model", "scripted", "another model with fewer than 3 offers: people view up to 3")
        script = own.script.model_dump()
        defence = script.pop("defence")
        params = params.replace(
            script=traffic.ScriptParams(
                **{name: _f32(value) for name, value in script.items()}, exclude_detected=_f32(float(defence))
            ),
            event_scale=_f32(2.0 * own.script.weights[0]),
        )
    if shape.markup:
        markup = own.markup.model_dump()
        highest = markup.pop("highest_price")
        params = params.replace(
            markup=traffic.MarkupParams(
                **{name: _f32(value) for name, value in markup.items()},
                highest_price=_f32(np.inf if highest is None else highest),
            )
        )
    if own.process.kind != "static":
        process = own.process.model_dump()
        process.pop("kind")
        params = params.replace(process=traffic.ProcessParams(**{name: _f32(v) for name, v in process.items()}))
    return Visitors(traffic.TrafficShape(**{**vars(shape), **changes}), params)

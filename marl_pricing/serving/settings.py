"""What a service can be told, checked once. Nothing here needs JAX."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from marl_pricing.config.errors import ConfigError, Settings, refuse
from marl_pricing.serving.guardrails import ENDINGS
from marl_pricing.serving.pricers import PRICERS


def _no_pricer_of_its_own(value: Any) -> Any:
    if value == "qtable":
        raise PydanticCustomError("qtable", "policy, with the table's file as policy=FILE")
    return value


def _ending(value: float | None) -> float | None:
    if value is not None and round(value * 100) not in ENDINGS:
        raise PydanticCustomError("ending", "null or the last cents of a price, 0.00 to 0.99")
    return value


class ServeSettings(Settings):
    """A service. Money is the catalogue's, times are seconds."""

    out: Annotated[str, Field(min_length=1, description="folder of the log, the prices and the audit")] = "runs/shop"
    catalogue: Annotated[
        str,
        Field(description="CSV: id, mode, name, base_price, cost, floor, cap, stock (empty: endless)"),
    ] = "examples/shop/catalogue.csv"
    host: Annotated[
        str, Field(min_length=1, description="address to listen at; others than 127.0.0.1 ask for keys")
    ] = "127.0.0.1"
    event_port: Annotated[int, Field(ge=0, le=65535, description="of the event API; 0: any that is free")] = 5000
    price_port: Annotated[int, Field(ge=0, le=65535, description="of the price provider; 0: any that is free")] = 5001
    board_port: Annotated[
        int | None, Field(ge=0, le=65535, description="of the dashboard; 0: any that is free; null: none")
    ] = 5002
    log: Annotated[
        Literal["sqlite", "kafka"],
        Field(description="where events are kept: sqlite, or kafka (topics of a broker; a copy in SQLite is read)"),
    ] = "sqlite"
    kafka: Annotated[
        str | None,
        Field(
            pattern=r"^[^\s:,/]+:\d{1,5}(,[^\s:,/]+:\d{1,5})*$", max_length=1000,
            description="host:port of brokers, with commas, for log=kafka",
        ),
    ] = None  # fmt: skip
    kafka_prefix: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9._-]*$", max_length=100, description="before the names of topics")
    ] = ""
    kafka_partitions: Annotated[int, Field(ge=1, le=1000, description="of topics that are not there yet")] = 4
    kafka_replicas: Annotated[
        int,
        Field(ge=1, le=100, description="of topics that are not there yet: an acknowledged event is on all of them"),
    ] = 1
    kafka_idempotent: Annotated[
        bool, Field(description="false for a broker that hands out no producer ids; records count once all the same")
    ] = True
    prices: Annotated[
        Literal["process", "redis"],
        Field(description="where prices are kept for look-ups: process, or redis too, for others who tell them"),
    ] = "process"
    redis: Annotated[
        str | None,
        Field(pattern=r"^rediss?://[^\s]+$", max_length=1000, description="redis://host:port/db, for prices=redis"),
    ] = None
    redis_prefix: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9._:-]*$", max_length=100, description="before the names of keys; one a shop")
    ] = "shop:"
    survives: Annotated[
        Literal["power_cut", "kill"],
        Field(description="an acknowledged event survives: power_cut (synchronous=FULL) or kill (NORMAL)"),
    ] = "power_cut"
    window: Annotated[float, Field(ge=0.1, le=86_400, description="T, of the pipeline")] = 300.0
    lateness: Annotated[float, Field(ge=0, le=3600, description="how long a window waits for late events")] = 10.0
    clock: Annotated[
        Literal["wall", "events"],
        Field(description="what ends a window: wall (the clock, and events), or events alone (simulated time)"),
    ] = "wall"
    pricer: Annotated[
        Literal["static", "surge", "elasticity", "session", "policy"],
        BeforeValidator(_no_pricer_of_its_own),
        Field(description="static (base prices), surge, elasticity, session or policy"),
    ] = "surge"
    policy: Annotated[
        str | None,
        Field(description="a policy file of `export format=flax`, or promoted (see promote), for pricer=policy"),
    ] = None
    policy_seller: Annotated[int, Field(ge=0, description="number of the seller in whose seat the shop is")] = 0
    policy_products: Annotated[
        list[str], Field(description="ids for the policy's products, in order; other products cost their base price")
    ] = []  # noqa: RUF012
    experiment: Annotated[
        str | None, Field(min_length=1, max_length=128, description="its name; another name assigns sessions anew")
    ] = None
    arms: Annotated[
        dict[str, Annotated[float, Field(gt=0, lt=1)]],
        Field(description="{static: 0.5, surge: 0.5}: pricers that share the sessions, the first is the control"),
    ] = {}  # noqa: RUF012
    surge_high: Annotated[float, Field(gt=0, description="proxy of a window from which on it is base x 1.2")] = 30.0
    surge_low: Annotated[float, Field(ge=0, description="proxy of a window down to which it is base x 0.9")] = 3.0
    markup_strength: Annotated[
        float,
        Field(ge=0, le=10, description="session: x (1 + strength * sigma((interest - threshold) / temperature))"),
    ] = 0.25
    markup_threshold: Annotated[
        float, Field(ge=-1e6, le=1e6, description="interest: 1 a view, 2 a unit into the cart")
    ] = 4.0
    markup_temperature: Annotated[float, Field(gt=0, le=1e6, description="of the mark-up")] = 1.25
    withhold_above: Annotated[
        float | None,
        Field(ge=0, le=1, description="no mark-up above this chance of an agent (needs kernels); null: always"),
    ] = None
    kernels: Annotated[
        str | None,
        Field(
            description="fallback (knows page_view), storefront, or a YAML of kernels; null: sessions are not judged"
        ),
    ] = None
    prior: Annotated[float, Field(gt=0, lt=1, description="share of agents before a session is seen")] = 0.2
    max_change: Annotated[float, Field(gt=0, le=100, description="largest relative change in a window")] = 0.25
    max_change_day: Annotated[float, Field(gt=0, le=100, description="largest relative change to a day ago")] = 0.5
    ending: Annotated[
        float | None, AfterValidator(_ending), Field(description="last cents of every price (0.99); null: any")
    ] = None
    frozen: Annotated[list[str], Field(description="ids of products that keep their price")] = []  # noqa: RUF012
    kill: Annotated[bool, Field(description="base prices for everybody, at once")] = False
    shadow: Annotated[bool, Field(description="compute and log the pricer's prices, serve base prices")] = False
    quote_lifetime: Annotated[int, Field(ge=0, le=86_400, description="how long a session's price stays")] = 1800
    ingest_key_file: Annotated[
        str | None, Field(description="file with the bearer key of the event API; null: none is asked")
    ] = None
    price_key_file: Annotated[
        str | None, Field(description="file with the bearer key of the price provider; null: none")
    ] = None
    admin_key_file: Annotated[
        str | None,
        Field(description="file with the bearer key of switches and audit; null: they are off"),
    ] = None
    cors: Annotated[list[str], Field(description="origins whose pages may ask, as https://shop.example")] = []  # noqa: RUF012
    rate_limit: Annotated[
        float | None,
        Field(gt=0, le=1e6, description="requests a second of an address or a key to each API; null: any number"),
    ] = None
    most_body: Annotated[int, Field(ge=256, le=1 << 26, description="bytes of a request's body")] = 65_536


TEXTS = (
    "out",
    "catalogue",
    "host",
    "log",
    "kafka",
    "kafka_prefix",
    "prices",
    "redis",
    "redis_prefix",
    "pricer",
    "kernels",
    "policy",
    "ingest_key_file",
    "price_key_file",
    "admin_key_file",
)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SHORTEST_KEY = 16


def _check_arms(own: ServeSettings) -> None:
    if not own.arms and own.experiment is None:
        return
    if own.experiment is None:
        raise ConfigError("experiment: has to be given with arms")
    if len(own.arms) < 2:
        raise refuse("arms", own.arms, "two pricers at least, with experiment")
    if unknown := [name for name in own.arms if name not in PRICERS]:
        raise refuse("arms", unknown[0], f"names of pricers: {', '.join(PRICERS)}")
    if own.pricer not in own.arms:
        raise refuse(
            "pricer", own.pricer, f"one of the arms, for those who ask without a session: {', '.join(own.arms)}"
        )
    if abs(sum(own.arms.values()) - 1.0) > 1e-9:
        raise refuse("arms", own.arms, "shares that add up to 1")


# What goes with one kind of log or of prices alone: the setting, its kind, the module, fields (the first is needed).
_WITH = (
    ("log", "kafka", "aiokafka", ("kafka", "kafka_prefix", "kafka_partitions", "kafka_replicas", "kafka_idempotent")),
    ("prices", "redis", "redis", ("redis", "redis_prefix")),
)


def _check_servers(own: ServeSettings) -> None:
    for field, kind, module, names in _WITH:
        given = getattr(own, field)
        if given == kind:
            if getattr(own, names[0]) is None:
                raise ConfigError(f"{names[0]}: has to be given for {field}={kind}")
            if find_spec(module) is None:
                raise refuse(field, kind, f"{ServeSettings.model_fields[field].default}: the extra {kind} is missing")
            continue
        for name in names:
            default = ServeSettings.model_fields[name].default
            if (value := getattr(own, name)) != default:
                raise refuse(name, value, f"{json.dumps(default)} for {field}={given}")


def check_together(own: ServeSettings, products: set[str]) -> None:
    """Refuse what several settings say together.

    Raises:
        ConfigError: naming a setting.
    """
    if own.surge_low >= own.surge_high:
        raise refuse("surge_low", own.surge_low, f"a number below surge_high={own.surge_high:g}")
    if own.withhold_above is not None and own.kernels is None:
        raise refuse("withhold_above", own.withhold_above, "null without kernels, which sessions are judged by")
    _check_arms(own)
    _check_servers(own)
    wanted = "policy" in (own.pricer, *own.arms)
    if wanted and own.policy is None:
        raise ConfigError("policy: has to be given for pricer=policy")
    if not wanted and own.policy is not None:
        raise refuse("policy", own.policy, f"null for pricer={own.pricer}, which has none")
    if unknown := [name for name in own.policy_products if name not in products]:
        raise refuse("policy_products", unknown[0], "the id of a product of the catalogue")
    if unknown := [name for name in own.frozen if name not in products]:
        raise refuse("frozen", unknown[0], "the id of a product of the catalogue")
    taken: dict[int | None, str] = {}
    for name in ("event_port", "price_port", "board_port"):
        port = getattr(own, name)
        if port in taken and port != 0:
            raise refuse(name, port, f"another port than {taken[port]}'s")
        taken[port] = name
    keys = {"ingest_key_file": own.ingest_key_file, "price_key_file": own.price_key_file}
    if own.host not in LOOPBACK and (open_to := [name for name, path in keys.items() if path is None]):
        raise refuse("host", own.host, f"127.0.0.1 while {open_to[0]} is not given: others could post or ask")
    for origin in own.cors:
        if origin != "*" and not origin.startswith(("http://", "https://")):
            raise refuse("cors", origin, "an origin as https://shop.example")


def read_key(path: str | None, field: str) -> bytes | None:
    """The bearer key that a file holds; None for none.

    Raises:
        ConfigError: for a file that is not there or a key that is too short.
    """
    if path is None:
        return None
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{field}={path!r}: cannot be read, {error.strerror}") from None
    if len(key) < _SHORTEST_KEY or not key.isascii() or any(sign <= 32 or sign == 127 for sign in key):
        raise ConfigError(f"{field}={path!r}: accepted is a key of at least {_SHORTEST_KEY} signs of ASCII, no spaces")
    return key

"""The verb refit: from a range of a shop's log to a candidate, one command after the other."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field

from marl_pricing.config.errors import ConfigError, Settings, refuse
from marl_pricing.presentation.files import write_atomically

if TYPE_CHECKING:
    from marl_pricing.serving.refit.reading import History

_FEATURES = "[own_price,demand,time]"


class RefitSettings(Settings):
    """What is read, and how it is learned from."""

    out: Annotated[str, Field(min_length=1, description="the shop's folder")] = "runs/shop"
    into: Annotated[str | None, Field(description="folder that is left; null: <out>/refits/<last offset>")] = None
    first: Annotated[int, Field(ge=1, description="first offset of the log that is read")] = 1
    last: Annotated[int | None, Field(ge=1, description="last offset; null: the log's end")] = None
    period: Annotated[
        float | None, Field(gt=0, le=31e6, description="seconds, an epoch of the market; null: the shop's window")
    ] = None
    products: Annotated[
        list[str], Field(max_length=50, description="ids that the policy prices; empty: those whose price has moved")
    ] = []  # noqa: RUF012
    kernels: Annotated[str, Field(description="that behaviour is estimated from: fallback, storefront or a YAML")] = (
        "fallback"
    )
    strength: Annotated[float, Field(gt=0, description="of those kernels, in transitions of each row")] = 100.0
    robust: Annotated[
        Literal["none", "interval"],
        Field(description="interval: for the worst share of agents near the estimate"),
    ] = "none"
    radius: Annotated[float, Field(gt=0, le=1, description="of that interval")] = 0.2
    updates: Annotated[int, Field(ge=1, description="of the training")] = 150
    seeds: Annotated[int, Field(ge=1, le=64, description="that are trained")] = 1
    episodes: Annotated[int, Field(ge=2, description="held out, that candidate and rules are played")] = 64
    train: Annotated[list[str], Field(description="further settings of the training, as [learner.num_envs=16]")] = []  # noqa: RUF012


def _run(verb: str, arguments: Sequence[str], log: Path) -> None:
    """One of the commands, in a process of its own; what it says goes to a file.

    Raises:
        ConfigError: with its last line, where it fails.
    """
    print(f"marl-pricing {verb} {' '.join(arguments)}", file=sys.stderr, flush=True)
    with log.open("ab") as told:
        done = subprocess.run([sys.executable, "-m", "marl_pricing", verb, *arguments], stdout=told, stderr=told)
    if done.returncode:
        lines = log.read_text("utf-8", "replace").strip().splitlines() or [""]
        errors = [line for line in lines if line.startswith("error: ")] or lines[-1:]
        raise ConfigError(f"{verb}: {errors[-1].removeprefix('error: ')} ({log})")


def _products(own: RefitSettings, moved: dict[str, int]) -> list[str]:
    if own.products:
        if unknown := [name for name in own.products if name not in moved]:
            raise refuse("products", unknown[0], "ids of the catalogue")
        if still := [name for name in own.products if moved[name] < 2]:
            raise refuse("products", still[0], "products whose price has moved: of others nobody learns what it does")
        return list(own.products)
    found = [name for name, prices in moved.items() if prices > 1]
    if not found:
        raise ConfigError("products: no price has moved in this range, so that nobody can tell what one does")
    return found


def _visitors(history: History, products: Sequence[str]) -> int:
    """Sessions of the busiest period: so many could have bought. Each takes one unit at most, by the market."""
    units: dict[int, int] = {}
    for sale in history.sales:
        if sale.product in products:
            units[sale.period] = units.get(sale.period, 0) + sale.units
    return max(history.most, max(units.values()) + 1)


def refit(own: RefitSettings) -> dict[str, Any]:
    """Read, estimate, train, evaluate, export, and register; what came of it is left as refit.json and returned.

    Raises:
        ConfigError: naming the step, for what cannot be done.
    """
    from marl_pricing.serving.judging import kernels_of
    from marl_pricing.serving.refit.behaviour import estimate
    from marl_pricing.serving.refit.reading import moved, read_history, write_sales

    shop = Path(own.out)
    history = read_history(shop, own.first, own.last, own.period)
    products = _products(own, moved(history))
    into = Path(own.into) if own.into is not None else shop / "refits" / str(history.last)
    if into.exists() and any(into.iterdir()):
        raise refuse("into", str(into), "a folder that is not there or empty")
    into.mkdir(parents=True, exist_ok=True)
    data, mapping = write_sales(history, products, into)
    behaviour = estimate(history.paths, kernels_of(own.kernels), 0.2, own.strength)
    write_atomically(into / "kernels.yaml", yaml.safe_dump(behaviour.rows(), sort_keys=False))
    log, size = into / "commands.log", _visitors(history, products)
    _run(
        "calibrate",
        [f"data={data}", f"mapping={mapping}", f"out={into / 'market'}", "cost=column", f"market_size={size}",
         f"products_per_seller={len(products)}", "harmonics=0"], log,
    )  # fmt: skip
    robust = [f"robust={own.robust}"] + ([f"robust.radius={own.radius}"] if own.robust != "none" else [])
    market = into / "market" / "market.yaml"
    _run(
        "train",
        ["market=calibrated", f"market.path={market}", "traffic=analytic", f"traffic.sessions_per_epoch={size}",
         f"traffic.agent_share={behaviour.share:.4f}", "market/inventory=unlimited", f"market.features={_FEATURES}",
         "market.level={persistence: 0.0, volatility: 0.0, noise: 0.0}", f"run.folder={into / 'run'}", "name=refit",
         f"learner.num_updates={own.updates}", f"learner.num_seeds={own.seeds}", *robust, *own.train], log,
    )  # fmt: skip
    _run("export", [f"run={into / 'run'}", "format=flax", f"out={into / 'policy.npz'}"], log)
    rules = "[observed,surge]" if history.pricing.pricer == "surge" else "[observed]"
    _run(
        "evaluate",
        [f"run={into / 'run'}", f"out={into / 'evaluation'}", f"rules={rules}", f"episodes={own.episodes}",
         "behaviour=false", "guests=false", "best_response=0"], log,
    )  # fmt: skip
    return _told(own, into, history, behaviour, market)


def _told(own: RefitSettings, into: Path, history: Any, behaviour: Any, market: Path) -> dict[str, Any]:
    """Replay the candidate, register it, leave the report."""
    from marl_pricing.export.reading import load_policy
    from marl_pricing.serving.refit.candidate import replay
    from marl_pricing.serving.registry import register
    from marl_pricing.studies.loading import load_run

    products = [str(name) for name in yaml.safe_load(market.read_text("utf-8"))["market"]["calibration"]["products"]]
    made = load_run(into / "run", "latest").experiment.market
    replayed = replay(history, made, load_policy(into / "policy.npz"), products)
    simulated = json.loads((into / "evaluation" / "summary.json").read_text("utf-8"))
    entry = register(Path(own.out), str(into / "policy.npz"), str(into))
    told = {
        "made": time.time_ns() // 1_000_000, "first": own.first, "last": history.last, "products": products,
        "periods": len({sale.period for sale in history.sales}), "sessions": behaviour.sessions,
        "agents": behaviour.share, "unknown_events": behaviour.unknown, "pricer": history.pricing.pricer,
        "replay": replayed._asdict(), "simulation": simulated.get("in_short"), "policy": entry["policy"],
    }  # fmt: skip
    write_atomically(into / "refit.json", json.dumps(told, indent=1))
    return told


def tell(told: dict[str, Any], into: str) -> list[str]:
    """What a person reads of it."""
    own = told["replay"]
    return [
        f"read: offsets {told['first']} to {told['last']}, {told['periods']} periods, {told['sessions']} sessions",
        f"agents: {told['agents']:.1%} of sessions, by a mixture of kernels",
        f"by replay: {own['candidate']:.4g} a period by the new market's demand, where the prices that held make "
        f"{own['expected']:.4g} ({own['uplift']:+.4g} ± {1.96 * own['error']:.2g}); {own['price']:.3f} times the price",
        f"candidate: {told['policy'][:12]}, for policy_products=[{','.join(told['products'])}]; "
        f"python -m marl_pricing.serving promote policy={into}/policy.npz evaluation={into}/evaluation",
    ]

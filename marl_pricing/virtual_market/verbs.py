"""What `python -m marl_pricing.virtual_market` can do: a verb has settings and prints what it found."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from marl_pricing.config.errors import ConfigError, Settings
from marl_pricing.presentation import pulse
from marl_pricing.virtual_market import settings as given
from marl_pricing.virtual_market.verb import Verb, part_of


def _simulation() -> type[Settings]:
    from marl_pricing.virtual_market.simulate import SimulationSettings

    return SimulationSettings


def _fitting() -> type[Settings]:
    from marl_pricing.virtual_market.fit import FitSettings

    class FittingSettings(given.FittingSettings, FitSettings):
        """A log, how its customers are learned, and where the model goes."""

    return FittingSettings


def _training() -> type[Settings]:
    from marl_pricing.virtual_market.fair.plan import PlanSettings
    from marl_pricing.virtual_market.fair.policy import PolicySettings

    class TrainingSettings(given.TrainingSettings, PolicySettings, PlanSettings):
        """Learned customers, how a policy is learned or made among them, and where it goes."""

    return TrainingSettings


def _simulate(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.log import summary
    from marl_pricing.virtual_market.simulate import leave, simulate

    found = simulate(own)
    yield from summary(found.log)
    for kind, path in zip(("log", "customers", "truth"), leave(own, found), strict=True):
        yield f"{kind}: {path}"


def _log(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.log import read_log, read_mapping, summary

    yield from summary(read_log(own.log, read_mapping(own.mapping)))


def _graph(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.graph import describe, read_data, read_graph

    graph = read_graph(own.graph)
    yield from describe(graph)
    if own.data is not None:
        found, ends = read_data(own.data, graph)
        yield f"data: {ends[-1]:,} rows in {len(ends):,} trajectories, of {', '.join(found)}"


def _fit(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.fit import FitSettings, fit
    from marl_pricing.virtual_market.log import read_log, read_mapping
    from marl_pricing.virtual_market.matching import summary
    from marl_pricing.virtual_market.model import MODEL, VirtualMarket

    MODEL.refuse(own.out)  # before learning
    log = read_log(own.log, read_mapping(own.mapping))
    how = part_of(own, FitSettings)
    model = VirtualMarket(how, fit(log, how))
    yield f"learned: {len(log.customers):,} customers, {len(log.dates) - own.holdout} days, {own.members} members"
    yield f"- log likelihood a customer-day: {', '.join(f'{loss:.4f}' for loss in model.fitted.losses)}"
    if model.fitted.matched is not None:
        yield from summary(how, model.fitted.matched)
    yield f"model: {model.save(own.out)}"


def _judge(own: Any) -> Iterable[str]:
    from pathlib import Path

    from marl_pricing.presentation.files import write_atomically
    from marl_pricing.virtual_market.curves import as_json, judge, read_truth, rollout_distances
    from marl_pricing.virtual_market.log import read_log, read_mapping
    from marl_pricing.virtual_market.model import load_model

    model = load_model(own.model)
    log = read_log(own.log, read_mapping(own.mapping))
    table, lines = judge(model, log, None if own.truth is None else read_truth(own.truth, log))
    shown = [name for name in table if not str(name).startswith(("lowest_", "highest_"))]  # the page draws those
    yield table[shown].round(3).to_string(index=False)
    days = model.settings.holdout
    if days:
        for name, (learned, real) in rollout_distances(model, log, days, own.seed).items():
            lines.append(
                f"{days} days held out, Wasserstein distance of daily {name}: learned {learned:.4f}, halves of the log "
                f"{real:.4f}"
            )
    yield from lines
    if own.out is not None:
        yield f"written: {write_atomically(Path(own.out), as_json(table, lines))}"


def _kinds() -> dict[str, type[Settings]]:
    """The settings of each kind of policy."""
    from marl_pricing.virtual_market.fair.plan import PlanSettings
    from marl_pricing.virtual_market.fair.policy import PolicySettings

    return {"learned": PolicySettings, "plan": PlanSettings}


def _train(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.fair.start import POLICY
    from marl_pricing.virtual_market.log import read_log, read_mapping
    from marl_pricing.virtual_market.model import load_model

    check_training(own)
    POLICY.refuse(own.out)  # before learning
    how = part_of(own, _kinds()[own.kind])
    model, log = load_model(own.model), read_log(own.log, read_mapping(own.mapping))
    policy = yield from (_planned if own.kind == "plan" else _learned)(model, log, how)
    yield f"policy: {policy.save(own.out)}"


def check_training(own: Any) -> None:
    """Raise ConfigError for settings that were given and say nothing of this kind of policy."""
    kinds = _kinds()
    elsewhere = {name for kind in kinds.values() for name in kind.model_fields} - set(kinds[own.kind].model_fields)
    others = [name for name in type(own).model_fields if name in own.model_fields_set & elsewhere]
    if others:
        given = ", ".join(f"{name}={getattr(own, name)!r}" for name in others)
        accepted = ", ".join(kinds[own.kind].model_fields)
        raise ConfigError(f"{given}: says nothing with kind={own.kind}; accepted beside it are {accepted}")
    if own.kind == "learned" and own.start == "nothing" and "temperature" in own.model_fields_set:
        raise ConfigError(f"temperature={own.temperature!r}: says nothing with start=nothing; accepted is start=plan")


def _planned(model: Any, log: Any, how: Any) -> Generator[str, None, Any]:
    from marl_pricing.virtual_market.fair.compare import in_words
    from marl_pricing.virtual_market.fair.plan import make_plan
    from marl_pricing.virtual_market.levels import OFFERS

    policy = make_plan(model, log, how)
    expected = policy.where_tables_are_right()
    roi = f"ROI {expected.roi:.2f}" if expected.cost > 0 else "nothing spent"
    yield f"made: a plan of {how.days} days for ROI {how.goal:g}, by day and by what is left above it"
    yield f"where the learned customers' tables are right: {roi}, {in_words(OFFERS[expected.offers])}"
    return policy


def _learned(model: Any, log: Any, how: Any) -> Generator[str, None, Any]:
    from queue import SimpleQueue

    from marl_pricing.virtual_market.fair.training import train_policy

    told: SimpleQueue[str] = SimpleQueue()

    def say(update: int, roi: float, score: float) -> None:
        pulse.doing(f"update {update} of {how.updates}: in its worlds ROI {roi:.2f}, score {score:.3f}")
        told.put(f"update {update}: in its worlds ROI {roi:.2f}, score {score:.3f}")

    policy = train_policy(model, log, how, say=say)
    while not told.empty():
        yield told.get()
    assert policy.verdict is not None
    yield policy.verdict.said()
    return policy


def _compared(own: Any) -> tuple[Any, Any, Any, Any, list[Any]]:
    from marl_pricing.virtual_market.fair.compare import in_model, in_truth
    from marl_pricing.virtual_market.fair.kept import load_policy
    from marl_pricing.virtual_market.fair.worlds import learned_worlds, true_world
    from marl_pricing.virtual_market.log import read_log, read_mapping
    from marl_pricing.virtual_market.model import load_model

    policy, model = load_policy(own.policy), load_model(own.model)
    log = read_log(own.log, read_mapping(own.mapping))
    worlds = learned_worlds(model)
    if own.truth is None:
        return policy, model, log, None, in_model(policy, worlds, own.episodes, own.seed)
    world = true_world(own.truth, log)
    return policy, model, log, world, in_truth(policy, world, worlds, own.episodes, own.seed)


def _compare(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.fair.compare import said

    policy, *_, found = _compared(own)
    yield f"{own.episodes} episodes of {policy.settings.days} days {'in the truth' if own.truth else 'in the model'}"
    yield from said(found, policy.settings.goal)
    if policy.verdict is not None:
        yield f"when it was trained: {policy.verdict.said()}"


def _page(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.fair.compare import said
    from marl_pricing.virtual_market.fair.page import write_page
    from marl_pricing.virtual_market.model import load_model

    held_out = None if own.held_out is None else load_model(own.held_out)
    if held_out is not None and not held_out.settings.holdout:
        raise ConfigError(f"held_out={own.held_out!r}: accepted is a model that was fitted with holdout of at least 1")
    policy, model, log, _, found = _compared(own)
    yield from said(found, policy.settings.goal)
    yield f"page: {write_page(own.out, policy, model, log, found, own.truth, own.episodes, own.seed, held_out)}"


def _export(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.fair.kept import load_policy
    from marl_pricing.virtual_market.fair.submission import export_policy

    for path in export_policy(load_policy(own.policy), own.out):
        yield f"written: {path}"


VERBS = {
    "simulate": Verb(
        "a log of promotions with known truth", _simulation, {"out": "FOLDER"}, ("out", "start"), _simulate
    ),
    "log": Verb(
        "read a log and say what is in it", lambda: given.LogSettings, {"log": "FILE"}, ("log", "mapping"), _log
    ),
    "graph": Verb(
        "read a decision graph, and data of it, and say what is in them", lambda: given.GraphSettings,
        {"graph": "FILE"}, ("graph", "data"), _graph,
    ),
    "fit": Verb(
        "learn the customers of a log", _fitting, {"log": "FILE", "out": "FOLDER"}, ("log", "mapping", "out"), _fit
    ),
    "judge": Verb(
        "what learned customers answer, beside the log and the truth", lambda: given.JudgeSettings,
        {"model": "FOLDER", "log": "FILE"}, ("model", "log", "mapping", "truth", "out"), _judge,
    ),
    "train": Verb(
        "learn or plan one fair policy for learned customers", _training,
        {"log": "FILE", "model": "FOLDER", "out": "FOLDER"}, ("log", "mapping", "model", "out"), _train,
    ),
    "compare": Verb(
        "a fair policy beside rules, in the truth or in the model", lambda: given.CompareSettings,
        {"policy": "FOLDER", "model": "FOLDER", "log": "FILE"}, ("policy", "model", "log", "mapping", "truth"),
        _compare,
    ),
    "page": Verb(
        "the same as a page", lambda: given.PageSettings,
        {"policy": "FOLDER", "model": "FOLDER", "log": "FILE", "out": "FOLDER"},
        ("policy", "model", "log", "mapping", "truth", "out", "held_out"), _page,
    ),
    "export": Verb(
        "a fair policy as the challenge takes it", lambda: given.ExportSettings,
        {"policy": "FOLDER", "out": "FOLDER"}, ("policy", "out"), _export,
    ),
}  # fmt: skip

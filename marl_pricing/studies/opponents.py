"""Opponents of a run: rules, frozen runs and past selves take their seats.

A run folder keeps what its opponents were: a run that is trained on, moved or gone changes nothing for those who met
it. Rules are made anew from the market; the numbers of one that was fitted by search are kept too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.config import ConfigError, Experiment
from marl_pricing.config.errors import refuse, validate
from marl_pricing.config.opponents import Opponent, RunOpponent, Table, seating_of
from marl_pricing.equilibrium.static import NoEquilibriumError
from marl_pricing.intake import IntakeError, plain
from marl_pricing.learning.learners import make_learner, settings_class
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.runs import OPPONENTS, RunError
from marl_pricing.learning.seats import Holder, Past, SelfPlay, seat_game, seat_params
from marl_pricing.learning.settings import CommonSettings
from marl_pricing.market import Policy
from marl_pricing.policies import RULES, RuleError, StockPriceParameters, drawn, stock_and_price
from marl_pricing.studies.starting import market_facts


class FrozenRun(NamedTuple):
    """A run as an opponent: its experiment, the actors [R, ...] of all its seeds, where they come from."""

    experiment: Experiment
    actors: Any
    told: Mapping[str, Any]


Load = Callable[[Path], FrozenRun]


class _Frozen(NamedTuple):
    """An opponent as it plays.

    Attributes:
        policies: of a rule one, of a run one a seed.
        kept: numbers by name, for the run folder; empty for what is made anew.
        about: of them.
    """

    policies: list[Policy]
    told: str
    kept: dict[str, np.ndarray]
    about: dict[str, Any]


def take_seats(experiment: Experiment, folder: Path | None, load: Load) -> Experiment:
    """The same experiment with its opponents in their seats; as it is where it has none.

    Args:
        folder: of the run, which keeps its opponents; None for a run that is still to be made.
        load: reads a frozen run.

    Raises:
        ConfigError, RunError: for opponents that cannot be had.
    """
    own = experiment.settings.opponents
    (shape, params), learner = experiment.market, experiment.learner
    calibration = experiment.settings.market.calibration
    seating = seating_of(own, shape.num_sellers, calibration.sellers if calibration else ())
    if not seating.held and not seating.selves:
        return experiment
    frozen: dict[Opponent, _Frozen] = {}
    for opponent in (one for opponents, _ in seating.held for one in opponents):
        if opponent not in frozen:
            name = f"{len(frozen)}.npz"
            kept = None if folder is None else folder / OPPONENTS / name
            seats = [seat for opponents, held in seating.held for seat in held if opponent in opponents]
            frozen[opponent] = _freeze(experiment, opponent, seats, kept, load)
    guests: list[Policy] = []
    holders: list[Holder] = []
    told: dict[int, str] = {}
    for opponents, taken in seating.held:
        each = [frozen[opponent] for opponent in opponents]
        shares = [1.0 / len(one.policies) for one in each for _ in one.policies]
        text = " or ".join(one.told for one in each)
        guests.append(drawn(text, [policy for one in each for policy in one.policies], shares))
        holders.append(Holder(guests[-1].parameters, jnp.asarray(np.isin(np.arange(shape.num_sellers), taken))))
        told |= dict.fromkeys(taken, text)
    past, play = None, None
    if seating.selves:
        selves = np.isin(np.arange(shape.num_sellers), seating.selves)
        past = Past(jnp.asarray(selves), jnp.float32(own.newest))
        itself = learned_policy(learner, None, greedy=False)
        play = SelfPlay(itself.start, itself.act, own.pool, own.refresh)
    table = Table(
        params=seat_params(params, holders, past),
        guests=tuple(guests),
        seats=tuple(np.asarray(holder.seats) for holder in holders),
        told=told,
        selves=seating.selves,
        files={
            f"{OPPONENTS}/{number}.npz": _packed(one) for number, one in enumerate(frozen.values()) if one.kept
        },
        provenance=[
            {name: value for name, value in one.about.items() if name != "learner"} for one in frozen.values()
        ],
    )  # fmt: skip
    return experiment._replace(learner=replace(learner, game=replace(seat_game(guests), past=play)), table=table)


def say_seats(table: Table) -> list[str]:
    """Who does not learn, or not always, a line each."""
    lines = [f"seller {seat} is held by {text}" for seat, text in sorted(table.told.items())]
    if table.selves:
        who = ", ".join(map(str, table.selves))
        lines.append(f"sellers {who} take turns with their past selves")
    return lines


def _freeze(experiment: Experiment, opponent: Opponent, seats: list[int], kept: Path | None, load: Load) -> _Frozen:
    if isinstance(opponent, str) and opponent in RULES:
        return _rule(experiment, opponent, kept)
    run = RunOpponent(run=opponent) if isinstance(opponent, str) else opponent
    if kept is None:
        return _run(experiment, run, seats, load)
    return _thawed(experiment, run, *_unpacked(kept))


def _rule(experiment: Experiment, name: str, kept: Path | None) -> _Frozen:
    shape, params = experiment.market
    fitted = name == "fitted_stock_price"
    if fitted and kept is not None:
        numbers, about = _unpacked(kept)
        wanted = [own.name for own in fields(StockPriceParameters)]
        if sorted(numbers) != sorted(wanted):
            raise RunError(f"{kept}: keeps other numbers than {name} has, which are {', '.join(wanted)}")
        policy = stock_and_price(shape, StockPriceParameters(**{k: jnp.asarray(v) for k, v in numbers.items()}), name)
        return _Frozen([policy], name, numbers, about)
    try:
        policy = RULES[name](shape, params)
    except (RuleError, NoEquilibriumError) as error:
        raise ConfigError(f"opponents.seats={name!r}: cannot be played in this market ({error})") from None
    numbers = _leaves(policy.parameters) if fitted else {}
    return _Frozen([policy], name, numbers, {"rule": name})


def _run(experiment: Experiment, own: RunOpponent, seats: list[int], load: Load) -> _Frozen:
    if not Path(own.run).is_dir():
        accepted = f"self, a rule ({', '.join(RULES)}) or the folder of a run; there is no such folder"
        raise refuse("opponents.seats", own.run, accepted)
    there, actors, told = load(Path(own.run))
    _check(own, there, experiment, seats)
    count = there.settings.learner.num_seeds
    if isinstance(own.seed, int) and own.seed >= count:
        raise refuse("opponents.seats.seed", own.seed, f"all, or 0 to {count - 1}: the seeds of {own.run}")
    seeds = [own.seed] if isinstance(own.seed, int) else list(range(count))
    actors = jax.tree.map(lambda leaf: np.asarray(leaf)[np.array(seeds)], actors)
    about = {**told, "seeds": seeds, "learner": there.settings.learner.model_dump()}
    return _thawed(experiment, own, _leaves(actors), about)


def _check(own: RunOpponent, there: Experiment, here: Experiment, seats: list[int]) -> None:
    """Refuse a run that cannot play here as it played there."""
    ours = market_facts(here)
    for name, value in market_facts(there).items():
        if value != ours[name]:
            accepted = f"a run of the same {name}, which is {value!r} there and {ours[name]!r} here"
            raise refuse("opponents.seats", own.run, accepted)
    same = jax.tree.map(np.array_equal, there.market.params.prices, here.market.params.prices)
    if not jax.tree.all(same):
        raise refuse(
            "opponents.seats", own.run, "a run of the same prices (market.prices): a level is another price there"
        )
    held = {} if there.table is None else there.table.told
    for seat in seats:
        if seat in held:
            text = f"a run in which seller {seat} learned; it was held by {held[seat]} there"
            raise refuse("opponents.seats", own.run, text)


def _thawed(experiment: Experiment, own: RunOpponent, numbers: dict[str, np.ndarray], about: dict[str, Any]) -> _Frozen:
    """A run's policies out of their numbers."""
    settings = _learner_of(own, about)
    learner = make_learner(settings, *experiment.market)
    shapes = jax.eval_shape(learner.actor.init, jax.random.key(0))
    paths, structure = jax.tree_util.tree_flatten_with_path(shapes)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    wanted = {name: (len(about["seeds"]), *leaf.shape) for name, (_, leaf) in zip(names, paths, strict=True)}
    there = {name: array.shape for name, array in numbers.items()}
    if there != wanted or not all(array.dtype == np.float32 for array in numbers.values()):
        raise RunError(f"{OPPONENTS}: the networks of {own.run} have other shapes than the market here asks for")
    how = experiment.settings.opponents.play
    policies = [
        learned_policy(
            learner,
            jax.tree.unflatten(structure, [jnp.asarray(numbers[name][seed]) for name in names]),
            greedy=how == "greedy",
        )
        for seed in range(len(about["seeds"]))
    ]
    seeds = about["seeds"]
    which = f"seed {seeds[0]}" if len(seeds) == 1 else f"one of {len(seeds)} seeds an episode"
    return _Frozen(policies, f"{own.run} (update {about['update']}, {which}, {how})", numbers, about)


def _learner_of(own: RunOpponent, about: dict[str, Any]) -> CommonSettings:
    """Its learner, on the devices that there are here.

    Raises:
        RunError: where what is kept of it does not tell it, or from which update and seeds it is.
    """
    seeds, update, learner = (about.get(name) for name in ("seeds", "update", "learner"))
    whole = isinstance(seeds, list) and seeds and all(isinstance(seed, int) for seed in seeds)
    if not whole or not isinstance(update, int) or not isinstance(learner, dict):
        raise RunError(f"{OPPONENTS}: what is kept of {own.run} does not tell its learner, update and seeds")
    try:
        return validate(settings_class(learner.get("algorithm", "mappo")), {**learner, "devices": "auto"}, "learner")
    except ConfigError as error:
        raise RunError(f"{OPPONENTS}: what is kept of {own.run}: {str(error).splitlines()[0]}") from None


def _leaves(tree: Any) -> dict[str, np.ndarray]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _packed(one: _Frozen) -> bytes:
    file = io.BytesIO()
    arrays: dict[str, Any] = {f"numbers.{name}": array for name, array in one.kept.items()}
    np.savez(file, about=np.array(json.dumps(one.about)), **arrays)
    return file.getvalue()


def _unpacked(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(numbers, about) of what a run folder keeps.

    Raises:
        RunError: for a file that is missing or broken.
    """
    try:
        arrays = plain.read_arrays(path)
        about = plain.parse_json(str(arrays.pop("about", "")), f"{path}, about")
    except IntakeError as error:
        raise RunError(f"{error}; it is what the run keeps of its opponents") from None
    if not isinstance(about, dict):
        raise RunError(f"{path}: does not tell what it keeps of the run's opponents")
    return {name.removeprefix("numbers."): array for name, array in arrays.items()}, about

"""The planner: which runs a study consists of, which of them share a program, and in what groups they are computed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import jax
import numpy as np

from marl_pricing.config import ConfigError, Market, read_settings
from marl_pricing.config.errors import refuse
from marl_pricing.config.factorial import Factorial
from marl_pricing.config.market import build_market
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.learners import make_learner
from marl_pricing.studies.factorial.game import DefenceGame, DefenceParams, basket_shape, with_radius


class Cell(NamedTuple):
    """A combination of values, one of each factor, in the order of tables."""

    algorithm: str
    alpha: float
    epsilon_alpha: float
    lambda_coi: float
    action_levels: int


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        number: among all of the study.  seed: of networks, market and exploration.
    """

    number: int
    cell: Cell
    seed: int


@dataclass(frozen=True)
class Program:
    """What is compiled once: a learner in a market whose numbers alone differ from run to run.

    Attributes:
        markets: the numbers of each of its cells.
    """

    learner: Learner
    markets: Mapping[Cell, DefenceParams]

    @property
    def name(self) -> str:
        """For people: `ppo, 5 levels, robust`."""
        cell = next(iter(self.markets))
        return f"{cell.algorithm}, {cell.action_levels} levels, {'robust' if cell.epsilon_alpha > 0 else 'plain'}"


@dataclass(frozen=True)
class Group:
    """Runs that are computed, and written, together."""

    number: int
    program: Program
    runs: tuple[Run, ...]


def cells_of(study: Factorial) -> list[Cell]:
    """All combinations; the last factor changes first."""
    own = study.factors
    return [Cell(*values) for values in product(*(getattr(own, name) for name in Cell._fields))]


def runs_of(study: Factorial) -> list[Run]:
    """Every cell with every seed; the seeds of a cell are the same for all cells."""
    seeds = range(study.first_seed, study.first_seed + study.seeds)
    return [Run(number, cell, seed) for number, (cell, seed) in enumerate(product(cells_of(study), seeds))]


def factors_of(study: Factorial, levels: int) -> list[float]:
    """What prices may be multiplied by: an even grid from the smallest to 1, and one from there to the largest."""
    half = levels // 2
    down = np.linspace(study.smallest_factor, 1.0, half + 1)
    up = np.linspace(1.0, study.largest_factor, half + 1)
    return [round(float(value), 9) for value in (*down, *up[1:])]


def market_of(data: Mapping[str, Any], study: Factorial, cell: Cell) -> Market:
    """The market of a cell.

    Args:
        data: settings of the experiment, without the study.

    Raises:
        ConfigError: for settings of a market that is none, or that the loop does not play in.
    """
    changed = dict(data)
    given = dict(data["market"])
    prices = given["prices"] if isinstance(given.get("prices"), Mapping) else {}
    if prices.get("map") != "scale":
        raise refuse("market.prices.map", prices.get("map"), "scale with study.evaluation=factorial")
    given["prices"] = {**prices, "factors": factors_of(study, cell.action_levels)}
    given["reward"] = {**given["reward"], "coi_leakage": cell.lambda_coi}
    changed["market"] = given
    changed["traffic"] = {**data["traffic"], "agent_share": cell.alpha}
    settings = read_settings(changed)
    built = build_market(settings.market, settings.traffic)
    if built.shape.num_sellers != 1:
        raise refuse("market.num_sellers", built.shape.num_sellers, "1 with study.evaluation=factorial: one platform")
    if built.shape.chooses_orders:
        rule = "one that orders by itself with study.evaluation=factorial"
        raise refuse("market.inventory.rule", settings.market.inventory.rule, rule)
    if not built.shape.traffic.walks_sessions:
        models = "chain, bank or scripted with study.evaluation=factorial, which looks at sessions"
        raise refuse("traffic.model", settings.traffic.model, models)
    if built.shape.traffic.process != "static":
        raise refuse("traffic.process.kind", built.shape.traffic.process, "static with study.evaluation=factorial")
    return built


def programs_of(data: Mapping[str, Any], study: Factorial) -> list[Program]:
    """The programs of a study, in the order of its cells.

    Cells share one where algorithm, action levels and the market's shape are the same, and where both have a radius or
    neither: without one there are no candidates to look at.

    Raises:
        ConfigError: for a market that cannot be, or a learner that cannot play it, by its name.
    """
    found: dict[Hashable, tuple[Learner, dict[Cell, DefenceParams]]] = {}
    markets: dict[Cell, Market] = {}
    for cell in cells_of(study):
        alike = cell._replace(algorithm="", epsilon_alpha=0.0)
        if alike not in markets:
            markets[alike] = market_of(data, study, cell)
        shape, numbers = markets[alike]
        params = with_radius(numbers, cell.epsilon_alpha)
        fits = tuple(
            (np.shape(leaf), str(np.asarray(leaf).dtype)) for leaf in jax.tree.leaves(params.replace(traffic=None))
        )
        key = (cell.algorithm, shape, cell.epsilon_alpha > 0, fits)
        if key not in found:
            candidates = study.candidates if cell.epsilon_alpha > 0 else 1
            game = DefenceGame(shape, candidates, brief=cell.algorithm == "qtable")
            try:
                learner = make_learner(study.learner(cell.algorithm), basket_shape(shape), params, game=game)
            except ValueError as error:
                line = str(error).replace("learner.", f"study.factorial.learners.{cell.algorithm}.", 1)
                raise ConfigError(f"study.factorial.factors.algorithm={cell.algorithm}: {line}") from None
            found[key] = learner, {}
        found[key][1][cell] = params
    return [Program(learner, markets) for learner, markets in found.values()]


def groups_of(study: Factorial, programs: Sequence[Program]) -> list[Group]:
    """The runs of a study in groups of one program each, as even as whole batches allow.

    They follow from the settings alone: a study that goes on computes what is missing as it would have at first.
    """
    groups: list[Group] = []
    runs = runs_of(study)
    for program in programs:
        own = [run for run in runs if run.cell in program.markets]
        size = max(study.side_by_side, study.runs_per_group - study.runs_per_group % study.side_by_side)
        for start in range(0, len(own), size):
            groups.append(Group(len(groups), program, tuple(own[start : start + size])))
    return groups

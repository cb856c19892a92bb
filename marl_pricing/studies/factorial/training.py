"""A group of runs as one program: trained from the first update to the last, then played greedily."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from marl_pricing.config.factorial import Factorial
from marl_pricing.learning import actions
from marl_pricing.learning.learner import Learner, init
from marl_pricing.learning.measures import all_finite
from marl_pricing.learning.memory import program_memory
from marl_pricing.learning.networks import Parameters
from marl_pricing.learning.parallel import compiler_options
from marl_pricing.learning.runs import RunError
from marl_pricing.learning.state import TrainState
from marl_pricing.machine import say_bytes
from marl_pricing.market import MarketState, Observation
from marl_pricing.studies.factorial.cells import Group, Program
from marl_pricing.studies.factorial.game import DefenceGame, DefenceParams
from marl_pricing.studies.factorial.play import LINK, play_episodes

Array = jax.Array
GIB = 2.0**30
WORLDS = ("nominal", "fewer", "more")  # shares of agents that policies are played at


def train(learner: Learner, params: DefenceParams, state: TrainState) -> tuple[Parameters, dict[str, Array]]:
    """One run, from its first state to the last update.

    Returns:
        (the network or table that acts, {"first", "last": mean reward of an epoch over a tenth of the updates,
        "finite": [] 1.0 where all numbers were}).
    """
    own = learner.settings
    environments = jnp.arange(own.num_envs)

    def update(state: Any, _: Array) -> tuple[Any, tuple[Array, Array]]:
        state, measures = learner.update(state, params, environments, lambda x: x)
        return state, (measures["return_raw"][0] / learner.shape.episode_length, all_finite(state.learnable))

    state, (reward, finite) = jax.lax.scan(update, state, jnp.arange(own.num_updates))
    part = max(own.num_updates // 10, 1)
    told = {"first": reward[:part].mean(), "last": reward[-part:].mean(), "finite": finite.min()}
    return state.learnable.actor, told


def play(learner: Learner, parameters: Parameters, params: DefenceParams, study: Factorial) -> dict[str, Array]:
    """Greedy play at the nominal share of agents, and at fewer and at more of them.

    Returns:
        {measure: [3], means over the epochs of all episodes in each of `WORLDS`}, and `LINK` of the nominal world [].
    """
    assert isinstance(learner.game, DefenceGame)
    game = learner.game
    alpha = params.traffic.agent_share
    shares = jnp.clip(alpha + study.play.shift * jnp.array([0.0, -1.0, 1.0]), 0.0, 1.0)

    def greedy(memory: Any, seen: Observation, _: MarketState) -> tuple[Array, Any]:
        logits, memory = learner.actor.step(parameters, seen.local, memory)
        return actions.greedy(learner.heads(learner.shape, logits, None))[0][:, 0, 0], memory

    def in_world(share: Array) -> dict[str, Array]:
        own = params.replace(traffic=params.traffic.replace(agent_share=share))
        return play_episodes(game, own, study, greedy, learner.actor.start(study.play.episodes), study.play.seed)

    found = jax.lax.map(in_world, shares)
    return {name: value[0] if name in LINK else value for name, value in found.items()}


class Trainer:
    """A program's compiled training of groups, each split over the devices that there are.

    Attributes:
        width: runs of a batch.  memory: bytes that a group takes, as the compiler says.
    """

    def __init__(self, program: Program, study: Factorial) -> None:
        self.program, self.study = program, study
        markets = list(program.markets.values())
        leaves, self._tree = jax.tree.flatten(markets[0])
        each = [jax.tree.leaves(own) for own in markets]
        # Most numbers are those of all cells; a bank of sessions is never copied.
        self._differ = [any(not np.array_equal(own[k], leaf) for own in each) for k, leaf in enumerate(leaves)]
        self._shared = [leaf for leaf, differs in zip(leaves, self._differ, strict=True) if not differs]
        self._own = {
            cell: [leaf for leaf, differs in zip(own, self._differ, strict=True) if differs]
            for cell, own in zip(program.markets, each, strict=True)
        }
        self._compiled: Callable | None = None
        self._size = 0
        self.width, self.memory = 0, 0.0

    def _params(self, shared: Sequence[Array], own: Sequence[Array]) -> DefenceParams:
        rest, mine = iter(shared), iter(own)
        return jax.tree.unflatten(self._tree, [next(mine) if differs else next(rest) for differs in self._differ])

    def _first(self, shared: Sequence[Array], own: Sequence[Array], seed: Array) -> TrainState:
        learner = self.program.learner
        return init(learner, seed, self._params(shared, own), jnp.arange(learner.settings.num_envs))

    def _run(self, shared: Sequence[Array], own: Sequence[Array], state: TrainState) -> dict[str, Array]:
        params = self._params(shared, own)
        actor, told = train(self.program.learner, params, state)
        return {f"train_{name}": value for name, value in told.items()} | play(
            self.program.learner, actor, params, self.study
        )

    def compile(self, num_runs: int) -> None:
        """Compile for groups of so many runs, or a few more: whole batches, as wide as the study says or memory allows.

        Raises:
            RunError: where even batches of one run do not fit into the memory that the study may take.
        """
        first, most = self.study.side_by_side, self.study.memory * GIB
        size = -(-num_runs // first) * first
        for width in (own for own in range(first, 0, -1) if size % own == 0):
            compiled = self._compiled_for(size, width)
            taken = program_memory(compiled)
            if taken <= most:
                self._compiled, self._size, self.width, self.memory = compiled, size, width, taken
                return
        raise RunError(
            f"{self.program.name}: a group takes {say_bytes(taken)} even run by run, and study.factorial.memory is "
            f"{self.study.memory:g} GiB: accepted is more of it, or smaller sizes of learners and market"
        )

    def _compiled_for(self, size: int, width: int) -> Any:
        count = max(n for n in range(1, jax.local_device_count() + 1) if (size // width) % n == 0)
        mesh = jax.make_mesh((count,), ("run",), devices=jax.local_devices()[:count], axis_types=(AxisType.Auto,))

        def batch(shared: Sequence[Array], own: Sequence[Array], seeds: Array) -> dict[str, Array]:
            def one(part: tuple) -> dict[str, Array]:
                # Networks begin one after the other: many orthogonal matrices at once may wait for each other for ever.
                states = jax.lax.map(lambda each: self._first(shared, *each), part)
                return jax.vmap(partial(self._run, shared))(part[0], states)

            cut = jax.tree.map(lambda x: x.reshape(-1, width, *x.shape[1:]), (own, seeds))
            found = jax.lax.map(one, cut)
            return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)

        split = jax.shard_map(batch, mesh=mesh, in_specs=(P(), P("run"), P("run")), out_specs=P("run"), check_vma=False)
        arguments = (self._shared, *self._stack([next(iter(self._own))] * size, [0] * size))
        return jax.jit(split, compiler_options=compiler_options()).lower(*arguments).compile()

    def _stack(self, cells: Sequence, seeds: Sequence[int]) -> tuple[list[Array], Array]:
        own = [
            jnp.stack([jnp.asarray(leaf) for leaf in leaves]) for leaves in zip(*map(self._own.get, cells), strict=True)
        ]
        return own, jnp.asarray(seeds, jnp.int32)

    def compute(self, group: Group) -> list[dict[str, float]]:
        """Train and play the runs of a group; {measure: value} of each."""
        asked = len(group.runs)
        if self._size < asked:
            self.compile(asked)
        size = self._size
        # A short group is filled up with its first run: no other program.
        filled = [*group.runs, *[group.runs[0]] * (size - asked)]
        own, seeds = self._stack([run.cell for run in filled], [run.seed for run in filled])
        assert self._compiled is not None
        found = jax.device_get(self._compiled(self._shared, own, seeds))
        return [_row(found, place) for place in range(asked)]


def _row(found: Mapping[str, np.ndarray], place: int) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, value in found.items():
        if np.ndim(value) == 1:
            row[name] = float(value[place])
            continue
        row |= {
            name if world == "nominal" else f"{name}_{world}": float(value[place, k]) for k, world in enumerate(WORLDS)
        }
    return row

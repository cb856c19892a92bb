"""Where a learner runs: environments split over a mesh of devices, seeds and runs in one program.

The same program runs on one CPU, several virtual CPU devices, a GPU, or a TPU slice: parameters are replicated,
environments are split along the mesh axis `env`, gradients are summed across it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from marl_pricing.compiler import LEVEL, for_one_run
from marl_pricing.learning import kept_traces, program_cache
from marl_pricing.learning.devices import auto_devices
from marl_pricing.learning.learner import Learner, init
from marl_pricing.learning.measures import PARAMETERS_FINITE, all_finite
from marl_pricing.learning.memory import refuse_large
from marl_pricing.learning.state import Networks, TrainState, networks_of
from marl_pricing.market import MarketParams
from marl_pricing.widths import int32

Array = jax.Array


def num_devices(learner: Learner) -> int:
    """Devices to use: as set, else the most that share the environments in whole minibatches.

    Raises:
        ValueError: if more devices are asked for than there are.
    """
    own = learner.settings
    there, parts = jax.device_count(), own.gradient_steps[1]
    if isinstance(own.devices, int):
        if own.devices > there:
            raise ValueError(f"learner.devices={own.devices!r}: accepted is a number of at most {there} (devices here)")
        if jax.process_count() > 1 and own.devices < there:  # every process has to take part
            raise ValueError(
                f"learner.devices={own.devices!r}: accepted is auto, or {there}, all devices of all processes"
            )
        return own.devices
    if jax.process_count() > 1:
        if own.num_envs % (there * parts):
            raise ValueError(
                f"learner.num_envs={own.num_envs!r}: accepted is a multiple of all processes' devices × "
                f"learner.num_minibatches = {there} × {parts}"
            )
        return there
    return max(n for n in range(1, auto_devices() + 1) if own.num_envs % (n * parts) == 0)


def make_mesh(count: int) -> Mesh:
    """A line of devices, the axis `env`."""
    return jax.make_mesh((count,), ("env",), devices=jax.devices()[:count], axis_types=(AxisType.Auto,))


def state_specs(learner: Learner, environments: P | None = None) -> TrainState:
    """Which parts of a state [seeds, ...] are split: the environments, along their axis.

    Args:
        environments: how those are split; None: along the second axis.
    """
    own: dict[str, Any] = {name: P() for name in ("learnable", "statistics", "seed", "update")}
    own["rollout"] = P(None, "env") if environments is None else environments
    kind, more = learner.kind_of_state()
    own |= {name: own["rollout"] if field.by_environment else P() for name, field in more.items()}
    return kind(**own)


def each_seed(function: Callable, num_seeds: int) -> Callable:
    """Map over the leading axis of seeds: one after the other on a CPU, where that is as fast, together elsewhere."""
    if num_seeds == 1:

        def single(*trees: Any) -> Any:
            out = function(*jax.tree.map(lambda x: x[0], trees))
            return jax.tree.map(lambda x: x[None], out)

        return single
    if jax.default_backend() == "cpu":
        return lambda *trees: jax.lax.map(lambda own: function(*own), trees)
    return jax.vmap(function)


def compiler_options() -> dict[str, int] | None:
    """On a CPU the time goes into matrix products that are compiled already: LLVM's O1 runs as fast as its O3.

    It saves a fifth of the compile time (hidden 64 and 128, 64 and 256 environments). A level in XLA_FLAGS stands.
    """
    if jax.default_backend() != "cpu" or LEVEL in os.environ.get("XLA_FLAGS", ""):
        return None
    return {LEVEL: 1}


def train_block(
    learner: Learner, state: TrainState, params: MarketParams, index: Array, count: Array, block: int
) -> tuple[TrainState, dict[str, Array]]:
    """Updates of one seed on its device of the mesh.

    Args:
        index: [E] numbers of the device's environments.
        count: [] how many, at most `block`: a shorter block is no other program, its last rows of measures stay empty.

    Returns:
        (state, measures [block, ...], with `PARAMETERS_FINITE`).
    """
    total = partial(jax.lax.psum, axis_name="env")

    @partial(jax.jit, inline=True)  # which keeps what is traced for the table's shapes: the loop does not trace again
    def step(state: TrainState, params: MarketParams, index: Array):
        state, measures = learner.update(state, params, index, total)
        return state, measures | {PARAMETERS_FINITE: all_finite((state.learnable, state.statistics))}

    def go_on(number: Array, carry: tuple[TrainState, dict[str, Array]]):
        state, table = carry
        state, row = step(state, params, index)
        put = partial(jax.lax.dynamic_update_index_in_dim, index=number, axis=0)
        return state, jax.tree.map(put, table, row)

    row = jax.eval_shape(step, state, params, index)[1]
    table = jax.tree.map(lambda x: jnp.zeros((block, *x.shape), x.dtype), row)
    return jax.lax.fori_loop(0, count, go_on, (state, table))


class Program:
    """The compiled training of one learner on its mesh: all seeds of one run, or of several.

    Runs in one program have the same learner and markets of the same shape; only the markets' numbers differ. States
    and parameters have one leading axis, the seeds of the first run, then those of the second, and so on.

    Attributes:
        learner: what is trained.  mesh: where.  num_runs: R.  width: W = R × seeds.
        memory: bytes of the training program that was compiled last, on all devices of this process; 0 before.
    """

    def __init__(self, learner: Learner, num_runs: int = 1) -> None:
        self.learner = learner
        # Seeds are numbers that programs are given: what is traced does not depend on the settings' one.
        self._seedless = replace(learner, settings=learner.settings.model_copy(update={"seed": 0}))
        self.mesh = make_mesh(num_devices(learner))
        self.num_runs, self.memory = num_runs, 0.0
        self._per_device = learner.settings.num_envs // self.mesh.size
        self._num_seeds = learner.settings.num_seeds
        self.width = num_runs * self._num_seeds
        sharded = partial(jax.shard_map, mesh=self.mesh, check_vma=False)
        states = state_specs(learner)
        # By itself too: a program that is traced into another one may not have options of the compiler.
        self._start = sharded(self._local_init, in_specs=(P(), P()), out_specs=states)
        options = compiler_options()
        self._once = options and for_one_run(options[LEVEL])
        self._init = jax.jit(self._start, compiler_options=self._once)
        self._init_from = jax.jit(
            sharded(self._local_init, in_specs=(P(), P(), P()), out_specs=states), compiler_options=self._once
        )

        def train(state: TrainState, params: MarketParams, count: Array, block: int):
            local = partial(self._local_train, block)
            specs = (states, P(), P())
            return sharded(local, in_specs=specs, out_specs=(states, P()))(state, params, count)

        self._traced = train
        self._train = jax.jit(train, static_argnums=3, donate_argnums=0, compiler_options=compiler_options())

    def _env_index(self) -> Array:
        return jax.lax.axis_index("env") * self._per_device + jnp.arange(self._per_device)

    def _local_init(self, seeds: Array, params: MarketParams, *networks: Networks) -> TrainState:
        index = self._env_index()
        start = each_seed(lambda seed, own, *given: init(self._seedless, seed, own, index, *given), self.width)
        return start(seeds, params, *networks)

    def _local_train(self, block: int, state: TrainState, params: MarketParams, count: Array):
        index = self._env_index()
        return each_seed(lambda own, market: train_block(self._seedless, own, market, index, count, block), self.width)(
            state, params
        )

    def stack(self, *markets: MarketParams) -> MarketParams:
        """Parameters for every seed of every run [R × seeds, ...]; or bring your own stack, a market a seed.

        Args:
            markets: each run's.
        """
        assert len(markets) == self.num_runs

        def every_seed(*leaves: Array) -> Array:
            return jax.device_put(np.concatenate([np.broadcast_to(x, (self._num_seeds, *np.shape(x))) for x in leaves]))

        return jax.tree.map(every_seed, *markets)

    def init(self, params: MarketParams, networks: Networks | None = None) -> TrainState:
        """States before the first update [R × seeds, ...]; in each run seeds count up from the settings' seed.

        Args:
            params: [R × seeds, ...], see `stack`.
            networks: [R × seeds, ...] to start from, with fresh optimisers; None draws new ones.

        Raises:
            ValueError: for networks of another shape, naming the first part that differs.
        """
        seeds = int32(np.tile(self.learner.settings.seed + np.arange(self._num_seeds), self.num_runs))
        if networks is None:
            return self._first(seeds, params)
        self._check(networks, params)
        return self._init_from(seeds, params, networks)

    def _first(self, seeds: Array, params: MarketParams) -> TrainState:
        """New states, by a trace that is kept between starts where these are kept."""
        if program_cache.traces_folder() is not None:
            states = self.abstract_state(params)
            traced = kept_traces.lowered(
                "init",
                (self._seedless, self.num_runs, self.mesh.size),
                lambda *own: jax.tree.leaves(self._start(*own)),
                (seeds, params),
                [leaf.sharding for leaf in jax.tree.leaves(states)],
                options=self._once,
            )
            if traced is not None:
                first = traced.compile()(seeds, *jax.tree.leaves(params))
                return jax.tree.unflatten(jax.tree.structure(states), first)
        return self._init(seeds, params)

    def _check(self, networks: Networks, params: MarketParams) -> None:
        wanted = networks_of(self.abstract_state(params))
        there, here = (
            {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves}
            for leaves in map(jax.tree_util.tree_leaves_with_path, (networks, wanted))
        )
        for name in sorted(there.keys() | here.keys()):
            if there.get(name) != here.get(name):
                raise ValueError(f"networks: {name} of shape {there.get(name)}: accepted is {here.get(name)}")

    def part(self, tree: Any, run: int) -> Any:
        """What belongs to one run [seeds, ...] of a state or of measures."""
        if self.num_runs == 1:
            return tree
        return jax.tree.map(lambda x: x[run * self._num_seeds : (run + 1) * self._num_seeds], tree)

    def join(self, states: Sequence[TrainState]) -> TrainState:
        """One state of all runs out of each run's; the inverse of `part`."""
        if self.num_runs == 1:
            return states[0]
        shardings = jax.tree.map(lambda leaf: leaf.sharding, states[0])
        together = jax.jit(lambda *own: jax.tree.map(lambda *x: jnp.concatenate(x), *own), out_shardings=shardings)
        return together(*states)

    def train(self, state: TrainState, params: MarketParams, num_updates: int) -> tuple[TrainState, dict[str, Array]]:
        """Several updates in one call; the state is donated.

        Returns:
            (state, measures [R × seeds, updates, ...]).
        """
        return self._train(state, params, jnp.int32(num_updates), num_updates)

    def compiled(
        self, state: TrainState, params: MarketParams, block: int, lowered: Callable[[], None] = lambda: None
    ) -> Callable:
        """The compiled program of a block of updates.

        Args:
            lowered: called between Python's part of the work, the tracing, and the compiler's.

        Returns:
            (state, params, count = block) → (state, measures [R × seeds, block, ...]), the state donated. Rows of
            measures after the first `count` are empty.

        Raises:
            RunError: for a program that does not fit into the devices' memory.
        """
        kept = self._kept_train(state, params, block)
        traced = self._train.lower(state, params, jnp.int32(block), block) if kept is None else kept
        lowered()
        program = traced.compile()
        self.memory = refuse_large(program, f"training {self.width} seed(s) at once")
        if kept is None:
            return lambda state, params, count=block: program(state, params, jnp.int32(count))

        def step(state: TrainState, params: MarketParams, count: int = block) -> tuple[TrainState, dict[str, Array]]:
            leaves, tree = jax.tree.flatten(state)
            after, measures = program(*leaves, *jax.tree.leaves(params), jnp.int32(count))
            return jax.tree.unflatten(tree, after), measures

        return step

    def _kept_train(self, state: TrainState, params: MarketParams, block: int) -> jax.stages.Lowered | None:
        """The program of a block, (leaves of state, of params, count) → (leaves of state, measures), out of traces that
        are kept between starts; None where they are not."""

        def train(state: TrainState, params: MarketParams, count: Array) -> tuple[list[Array], dict[str, Array]]:
            after, measures = self._traced(state, params, count, block)
            return jax.tree.leaves(after), measures

        own = jax.tree.leaves(state)
        return kept_traces.lowered(
            "train",
            (self._seedless, self.num_runs, self.mesh.size, block),
            train,
            (state, params, jax.ShapeDtypeStruct((), jnp.int32)),
            ([leaf.sharding for leaf in own], NamedSharding(self.mesh, P())),
            donated=len(own),
            options=compiler_options(),
        )

    def abstract_state(self, params: MarketParams) -> TrainState:
        """Shapes, types and shardings of the state of all runs.

        Args:
            params: [R × seeds, ...], see `stack`.
        """
        shapes = jax.eval_shape(self._init, jax.ShapeDtypeStruct((self.width,), jnp.int32), params)
        shardings = jax.tree.map(
            lambda spec, part: jax.tree.map(lambda _: NamedSharding(self.mesh, spec), part),
            state_specs(self.learner),
            shapes,
            is_leaf=lambda x: isinstance(x, P),
        )
        return jax.tree.map(lambda s, at: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=at), shapes, shardings)

    def abstract_part(self, params: MarketParams) -> TrainState:
        """The same of one run, for reading a checkpoint into."""
        whole = self.abstract_state(params)
        return jax.tree.map(
            lambda s: jax.ShapeDtypeStruct((self._num_seeds, *s.shape[1:]), s.dtype, sharding=s.sharding), whole
        )

"""The training of the torch learner: segments and targets in one jitted JAX program, gradient steps in torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from marl_pricing.learning import mappo
from marl_pricing.learning.mappo import Batch, Mappo
from marl_pricing.learning.measures import PARAMETERS_FINITE
from marl_pricing.learning.networks import head_sizes
from marl_pricing.learning.parallel import Program, state_specs
from marl_pricing.learning.state import Learnable, TrainState
from marl_pricing.learning.torch_mappo import convert
from marl_pricing.learning.torch_mappo.learner import TorchLearner
from marl_pricing.market import MarketParams

Array = jax.Array
Measures = dict[str, Any]


class TorchProgram(Program):
    """Takes the place of `parallel.Program`: environments are played on its mesh, torch learns on the first device.

    States, and so checkpoints, are the same. Seeds and runs are trained one after the other.
    """

    learner: Mappo

    def __init__(self, learner: Mappo, num_runs: int = 1) -> None:
        super().__init__(learner, num_runs)
        own, shape = self.learner.settings, self.learner.shape
        law = None if shape.discrete_prices else own.price_law
        self._torch = TorchLearner(own, learner.actor, learner.critic, shape.num_products, head_sizes(shape), law)
        # Of one seed: which parts of a state and of a batch are split over the mesh.
        states = state_specs(learner, P("env"))
        steps = dict.fromkeys(("segment", "value", "target", "advantage", "live"), P(None, "env"))
        batches = Batch(**steps, actor_memory=P("env"), critic_memory=P("env"))  # type: ignore[arg-type]
        sharded = partial(jax.shard_map, mesh=self.mesh, check_vma=False)

        @partial(sharded, in_specs=(states, P()), out_specs=(batches, states, P(), P(None, None, "env")))
        def prepare(state: TrainState, params: MarketParams):
            index = self._env_index()
            total = partial(jax.lax.psum, axis_name="env")
            batch, after, measures = mappo.prepare(self.learner, state, params, index, total)
            seen = batch.segment.replace(following=None, outcome=None, done=None, candidates=None, restarted=None)
            batch = batch.replace(segment=seen)  # the losses ask for no more
            epochs = jax.vmap(lambda epoch: mappo.epoch_index(self.learner, state, index, epoch))
            # Each device's own numbers become those of all environments, side by side.
            numbers = epochs(jnp.arange(own.num_epochs)) + index[0]
            return batch, after.replace(update=after.update + 1), measures, numbers

        self._prepare = jax.jit(prepare)
        self._everywhere = NamedSharding(self.mesh, P())
        self._one_state, self._all_states = (
            jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), own_specs, is_leaf=lambda x: isinstance(x, P))
            for own_specs in (states, state_specs(learner))
        )
        # One program each: as single operations, every shape of leaf would be compiled by itself.
        self._split = jax.jit(
            lambda tree: [jax.tree.map(itemgetter(seed), tree) for seed in range(self.width)],
            out_shardings=[(self._one_state, self._everywhere)] * self.width,
        )
        self._stack = jax.jit(
            lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees), out_shardings=self._all_states
        )

    def train(self, state: TrainState, params: MarketParams, num_updates: int) -> tuple[TrainState, Measures]:
        """Several updates of every seed; see `Program.train`."""
        return self._train_with(self._prepare, state, params, num_updates)

    def compiled(
        self, state: TrainState, params: MarketParams, block: int, lowered: Callable[[], None] = lambda: None
    ) -> Callable:
        """The same, with the program of the segment compiled beforehand; see `Program.compiled`."""
        lowered()  # its parts are lowered and compiled in turn
        split = jax.eval_shape(self._split, (state, params))[0]
        shardings = (self._one_state, self._everywhere)
        one_state, one_params = (
            jax.tree.map(
                lambda at, part: jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), part),
                sharding,
                tree,
            )
            for sharding, tree in zip(shardings, split, strict=True)
        )
        prepare = self._prepare.lower(_without_optimisers(one_state), one_params).compile()
        return lambda state, params, count=block: self._train_with(prepare, state, params, count)

    def _train_with(self, prepare: Callable, state: TrainState, params: MarketParams, num_updates: int):
        trained = [self._train_seed(prepare, own, market, num_updates) for own, market in self._split((state, params))]
        states, measures = zip(*trained, strict=True)
        together = {name: np.stack([own[name] for own in measures]) for name in measures[0]}
        return self._stack(list(states)), together

    def _train_seed(
        self, prepare: Callable, state: TrainState, params: MarketParams, num_updates: int
    ) -> tuple[TrainState, Measures]:
        own, learner = self.learner.settings, self._torch
        learner.load(state.learnable)
        state, table = _without_optimisers(state), []
        for _ in range(num_updates):
            batch, state, measures, epochs = prepare(state, params)
            if own.value_normalisation == "popart":  # has rescaled the critic's last layer
                convert.load(learner.critic, state.learnable.critic)
            host: dict[str, Any] = jax.device_get(measures)
            host |= learner.learn(
                convert.to_torch_batch(batch, self.learner.critic.central),
                convert.to_torch(epochs),
                float(host["entropy_coefficient"]),
                float(host["learning_rate"]),
            )
            networks = Learnable(convert.dump(learner.actor), convert.dump(learner.critic), None, None)
            kept = jax.tree.leaves((networks, jax.device_get(state.statistics)))
            host[PARAMETERS_FINITE] = all(np.isfinite(leaf).all() for leaf in kept)
            table.append({name: np.asarray(value, np.float32) for name, value in host.items()})
            state = state.replace(learnable=jax.device_put(networks, self._everywhere))
        state = state.replace(learnable=jax.device_put(learner.dump(), self._everywhere))
        return state, {name: np.stack([row[name] for row in table]) for name in table[0]}


def _without_optimisers(state: TrainState) -> TrainState:
    """A segment needs the networks only; torch keeps the rest."""
    return state.replace(learnable=state.learnable.replace(actor_optimiser=None, critic_optimiser=None))

"""Recurrent MAPPO: one update is rollout, values, advantages, epochs of minibatches. This file composes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from marl_pricing import market, traffic
from marl_pricing.learning import actions, expected_values, losses, normalisation, rollout
from marl_pricing.learning.advantage import generalised_advantage, one_step_target
from marl_pricing.learning.expected_values import WorldFit
from marl_pricing.learning.measures import segment_measures
from marl_pricing.learning.networks import NetworkSpec, Parameters, actor_spec, critic_spec, head_sizes
from marl_pricing.learning.normalisation import ValueStatistics
from marl_pricing.learning.robust_critic import nothing_feared, robust_one_step
from marl_pricing.learning.rollout import Game, RolloutState, Segment
from marl_pricing.learning.seats import SeatGame, SelfPlay, parts_of
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.market import MarketParams, MarketShape, layout
from marl_pricing.robust import Ambiguity

Array = jax.Array
Sum = Callable[[Any], Any]


class Learnable(struct.PyTreeNode):
    """What gradient steps change."""

    actor: Parameters
    critic: Parameters
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState


class Networks(struct.PyTreeNode):
    """What a training has learned, without its optimisers: enough to start another one from."""

    actor: Parameters
    critic: Parameters
    statistics: ValueStatistics  # the units that the critic speaks in


class TrainState(struct.PyTreeNode):
    """Everything that the next update depends on."""

    learnable: Learnable
    statistics: ValueStatistics
    rollout: RolloutState  # [E, ...]
    seed: Array  # [] int32
    update: Array  # [] int32, updates done


class RobustState(TrainState):
    """The same of a learner whose critic expects something of its candidate worlds."""

    worlds: WorldFit  # what it has learned of them


class SelfPlayState(TrainState):
    """The same of a learner that plays against its past selves."""

    pool: Parameters  # [K, ...] actors


class Batch(struct.PyTreeNode):
    """A segment as the losses see it; [T, E, ...]."""

    segment: Segment
    actor_memory: Array  # [E, S, M] before the segment
    critic_memory: Array  # [E, S or 1, M]
    value: Array  # [T, E, S] what the critic says before its first gradient step, in its own units
    target: Array  # [T, E, S] normalised
    advantage: Array  # [T, E, S]
    live: Array  # [T, E, S] 1.0 where the seller was in the market


@dataclass(frozen=True)
class Learner:
    """The static half of a learner: settings, market shape, networks, what is played."""

    settings: LearnerSettings
    shape: MarketShape
    actor: NetworkSpec
    critic: NetworkSpec
    ambiguity: Ambiguity | None = None
    game: Game = market


def make_learner(
    settings: LearnerSettings,
    shape: MarketShape,
    params: MarketParams,
    ambiguity: Ambiguity | None = None,
    game: Game = market,
) -> Learner:
    """Size the networks for a market.

    Args:
        ambiguity: what a robust critic is unsure of; None for the plain one.
        game: what is played.

    Raises:
        ValueError: for a robust critic of another game than the market.
    """
    if ambiguity is not None and game is not market:
        raise ValueError("ambiguity: its candidate worlds are the market's; accepted with another game is None")
    seen = jax.eval_shape(lambda p: game.reset(jax.random.key(0), shape, p)[1], params)
    local_size, state_size = seen.local.shape[-1], seen.state.shape[-1]
    if game is market or isinstance(game, SeatGame):  # another game says itself what its sellers see
        assert local_size == len(layout(shape))
    return Learner(
        settings,
        shape,
        actor_spec(settings, shape.num_sellers, local_size, shape.num_products * sum(head_sizes(shape))),
        critic_spec(settings, shape.num_sellers, local_size, state_size),
        ambiguity,
        game,
    )


def _optimiser(learner: Learner) -> optax.GradientTransformation:
    """Clipping by global norm, then Adam without its step size: that one follows the schedule over updates."""
    own = learner.settings
    return optax.chain(optax.clip_by_global_norm(own.max_grad_norm), optax.scale_by_adam(eps=own.adam_epsilon))


def _network_wise(spec: NetworkSpec, function: Callable) -> Callable:
    """Apply an optimiser to each network of a stack by itself, as if its seller trained alone."""
    return jax.vmap(function) if spec.stacked else function


def init_learnable(learner: Learner, actor_key: Array, critic_key: Array) -> Learnable:
    """Networks before the first update, with their optimisers' states."""
    return with_optimisers(learner, learner.actor.init(actor_key), learner.critic.init(critic_key))


def with_optimisers(learner: Learner, actor: Parameters, critic: Parameters) -> Learnable:
    """Networks with optimisers that have seen nothing."""
    optimiser = _optimiser(learner)
    return Learnable(
        actor,
        critic,
        _network_wise(learner.actor, optimiser.init)(actor),
        _network_wise(learner.critic, optimiser.init)(critic),
    )


def init(
    learner: Learner, seed: Array, params: MarketParams, env_index: Array, networks: Networks | None = None
) -> TrainState:
    """The state before the first update.

    Args:
        seed: [] int32.  env_index: [E] numbers of the environments to start.
        networks: to start from; None draws new ones. The environments are the same either way.
    """
    actor_key, critic_key, env_key = jax.random.split(jax.random.key(seed), 3)
    keys = jax.vmap(partial(jax.random.fold_in, env_key))(env_index)
    if networks is None:
        learnable = init_learnable(learner, actor_key, critic_key)
        statistics = normalisation.start(num_value_heads(learner))
    else:
        learnable, statistics = with_optimisers(learner, networks.actor, networks.critic), networks.statistics
    past = self_play(learner)
    if past is not None:
        params = past.meet(params, _first_pool(learner, learnable), jnp.zeros((), jnp.int32))
    state = TrainState(
        learnable=learnable,
        statistics=statistics,
        rollout=rollout.start(keys, learner.shape, params, learner.actor, learner.critic, learner.game),
        seed=jnp.asarray(seed, jnp.int32),
        update=jnp.zeros((), jnp.int32),
    )
    # What only some learners have is no part of the others' states: their checkpoints keep their form.
    kind, more = kind_of_state(learner)
    return kind(**parts_of(state), **{name: start(learner, learnable) for name, start in more.items()})


def _first_pool(learner: Learner, learnable: Learnable) -> Parameters:
    past = self_play(learner)
    assert past is not None
    return past.first(learnable.actor)


def _first_worlds(learner: Learner, _: Learnable) -> WorldFit:
    assert learner.ambiguity is not None
    return expected_values.start(learner.ambiguity.num_candidates, learner.shape.num_sellers)


def kind_of_state(learner: Learner) -> tuple[type[TrainState], dict[str, Callable]]:
    """A learner's class of state, and how each field that only some learners have begins: (learner, learnable)."""
    if self_play(learner) is not None:
        return SelfPlayState, {"pool": _first_pool}
    if learner.ambiguity is not None and learner.ambiguity.expects:
        return RobustState, {"worlds": _first_worlds}
    return TrainState, {}


def self_play(learner: Learner) -> SelfPlay | None:
    """How past selves play along; None where they do not."""
    return learner.game.past if isinstance(learner.game, SeatGame) else None


def networks_of(state: TrainState) -> Networks:
    """What a state has learned."""
    return Networks(state.learnable.actor, state.learnable.critic, state.statistics)


def num_value_heads(learner: Learner) -> int:
    """Value heads that are normalised apart: one a seller, or one where a local critic serves all."""
    shared_local = learner.settings.critic == "local" and not learner.critic.stacked
    return 1 if shared_local else learner.critic.num_sellers


def _seen(learner: Learner, observation: Any) -> Array:
    return observation.state if learner.critic.central else observation.local


def critic_values(learner: Learner, parameters: Parameters, segment: Segment, memory: Array):
    """The critic over a segment.

    Returns:
        (values [T, E, S], values of the real next states [T, E, S], memories after each step [T, E, …]), values
        normalised. The next states are one wide step from every memory of the segment: no second walk through time.
    """
    values, memories = learner.critic.sequence(parameters, _seen(learner, segment.observation), memory, segment.first)
    num_steps, num_envs = segment.first.shape

    def flat(x: Array) -> Array:
        return x.reshape(num_steps * num_envs, *x.shape[2:])

    following, _ = learner.critic.step(parameters, flat(_seen(learner, segment.following)), flat(memories))
    return values[..., 0], following[..., 0].reshape(values.shape[:-1]), memories


def make_batch(learner: Learner, state: TrainState, segment: Segment, total: Sum) -> tuple[Batch, TrainState, dict]:
    """Values, robust targets, advantages and their normalisation.

    Args:
        state: as it was before the segment.

    Returns:
        (batch, state with what the critic remembers and the new statistics, measures).
    """
    own = learner.settings
    said, next_value, memories = critic_values(learner, state.learnable.critic, segment, state.rollout.critic_memory)
    critic_memory = memories[-1]
    value = said
    live = segment.live.astype(jnp.float32)
    statistics, learnable = state.statistics, state.learnable
    if own.value_normalisation != "none":
        value = normalisation.denormalise(statistics, value)
        next_value = normalisation.denormalise(statistics, next_value)
    one_step = one_step_target(segment.outcome.learning, next_value, segment.outcome.terminated, own.gamma)
    robust_measures: dict[str, Array] = {}
    worlds = None
    if segment.candidates is not None:
        one_step, worlds, robust_measures = robust_one_step(learner, state, segment, memories, one_step, total)
    elif learner.ambiguity is not None and not learner.ambiguity.frightens:
        robust_measures = nothing_feared(learner.ambiguity, state.update)
    advantage, target = generalised_advantage(one_step, value, segment.done, own.gamma, own.gae_lambda)
    measures = {"explained_variance": losses.explained_variance(value, target, live, total)} | robust_measures
    if own.value_normalisation != "none":
        statistics = normalisation.update(state.statistics, target, live, total)
        target = normalisation.normalise(statistics, target)
    if own.value_normalisation == "popart":
        said = normalisation.normalise(statistics, value)  # the same money, as the rescaled layer says it
        out = normalisation.preserve_outputs(
            learnable.critic["out"], state.statistics, statistics, learner.critic.stacked
        )
        learnable = learnable.replace(critic={**learnable.critic, "out": out})
    if own.normalise_advantage:
        advantage = _standardise(advantage, live, total, by_seller=learner.actor.stacked)
    segment = segment.replace(candidates=None)  # the gradient steps need them no more
    batch = Batch(segment, state.rollout.actor_memory, state.rollout.critic_memory, said, target, advantage, live)
    after = state.replace(
        learnable=learnable,
        statistics=statistics,
        rollout=state.rollout.replace(critic_memory=critic_memory),
    )
    return batch, after if worlds is None else after.replace(worlds=worlds), measures


def _standardise(advantage: Array, live: Array, total: Sum, *, by_seller: bool) -> Array:
    """Mean 0 and spread 1 over live steps, by seller where each learns alone."""
    axes = (0, 1) if by_seller else (0, 1, 2)
    count = jnp.maximum(total(live.sum(axes)), 1.0)
    mean = total((advantage * live).sum(axes)) / count
    variance = total((((advantage - mean) ** 2) * live).sum(axes)) / count
    return (advantage - mean) / (jnp.sqrt(variance) + 1e-8)


def _take(tree: Any, index: Array, axis: int) -> Any:
    return jax.tree.map(lambda x: jnp.take(x, index, axis=axis), tree)


def _select(batch: Batch, index: Array) -> Batch:
    """The environments `index` [B] of a batch, whole segments of them."""
    memories = batch.actor_memory, batch.critic_memory
    actor_memory, critic_memory = _take(memories, index, 0)
    rest = batch.replace(actor_memory=None, critic_memory=None)
    return _take(rest, index, 1).replace(actor_memory=actor_memory, critic_memory=critic_memory)


def actor_loss(learner: Learner, parameters: Parameters, batch: Batch, entropy_coefficient: Array):
    """Sum over live steps of the clipped surrogate less the entropy bonus, and sums of diagnostics."""
    observation = batch.segment.observation
    logits, _ = learner.actor.sequence(parameters, observation.local, batch.actor_memory, batch.segment.first)
    heads = actions.split_heads(learner.shape, logits, observation.order_mask)
    log_prob = actions.log_prob(heads, batch.segment.indices)
    loss, sums = losses.policy_loss(
        log_prob, batch.segment.log_prob, batch.advantage, batch.live, learner.settings.clip_ratio
    )
    entropy = (actions.entropy(heads) * batch.live).sum()
    return loss - entropy_coefficient * entropy, {**sums, "entropy": entropy}


def critic_loss(learner: Learner, parameters: Parameters, batch: Batch):
    """Sum over live steps of the value loss."""
    seen = _seen(learner, batch.segment.observation)
    value, _ = learner.critic.sequence(parameters, seen, batch.critic_memory, batch.segment.first)
    loss = losses.value_loss(value[..., 0], batch.value, batch.target, batch.live, learner.settings.clipped_value)
    return losses.VALUE_WEIGHT * loss, {"value_loss": loss}


def num_blocks(num_envs: int, rows_per_env: int, rows: int | None) -> int:
    """Fewest parts of a minibatch that keep a part's matrices within `rows` rows, an environment at least."""
    return 1 if rows is None else -(-num_envs // max(1, rows // rows_per_env))


def _gradient(loss: Callable, parameters: Parameters, batch: Batch, index: Array, num_blocks: int):
    """Gradient and sums over the environments `index` [B], block by block.

    The loss is a sum over live steps, so the parts add up exactly, and where they are not equal the last one repeats an
    environment of which no step is live. A part small enough for the cache makes the backward pass through time up to
    twice as fast on a CPU.
    """

    def one(index: Array, counts: Array | None = None):
        part = _select(batch, index)
        if counts is not None:
            part = part.replace(live=part.live * counts[:, None])
        return jax.grad(loss, has_aux=True)(parameters, part)

    if num_blocks == 1:
        return one(index)

    def add(carry, part: tuple[Array, ...]):
        return jax.tree.map(jnp.add, carry, one(*part)), None

    missing = -index.size % num_blocks
    parts = [index]
    if missing:
        counts = jnp.arange(index.size + missing) < index.size
        parts = [jnp.pad(index, (0, missing), mode="edge"), counts.astype(batch.live.dtype)]
    blocks = tuple(part.reshape(num_blocks, -1) for part in parts)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, *(own[0] for own in blocks)))
    return jax.lax.scan(add, zeros, blocks)[0]


def _apply(
    spec: NetworkSpec, optimiser, parameters: Parameters, state: optax.OptState, gradient: Parameters, rate: Array
):
    updates, state = _network_wise(spec, optimiser.update)(gradient, state)
    return jax.tree.map(lambda p, u: p - rate * u, parameters, updates), state


def _minibatch(
    learner: Learner,
    batch: Batch,
    total: Sum,
    entropy_coefficient: Array,
    rate: Array,
    learnable: Learnable,
    index: Array,
) -> tuple[Learnable, dict[str, Array]]:
    """One gradient step on the environments `index` [B]; returns sums of diagnostics over their live steps."""
    rows = rows_per_block(learner.settings)
    optimiser = _optimiser(learner)
    num_envs, num_sellers = index.size, learner.shape.num_sellers
    actor_blocks = num_blocks(num_envs, 1 if learner.actor.stacked else num_sellers, rows)
    critic_blocks = num_blocks(num_envs, 1 if learner.critic.stacked else learner.critic.memory_sellers, rows)
    actor_gradient, sums = _gradient(
        lambda p, b: actor_loss(learner, p, b, entropy_coefficient), learnable.actor, batch, index, actor_blocks
    )
    critic_gradient, critic_sums = _gradient(
        lambda p, b: critic_loss(learner, p, b), learnable.critic, batch, index, critic_blocks
    )
    live = batch.live[:, index].sum((0, 1))
    sums |= critic_sums | {"live": live.sum()}
    actor_gradient, critic_gradient, sums, live = total((actor_gradient, critic_gradient, sums, live))
    count = jnp.maximum(sums["live"], 1.0)

    def mean(spec: NetworkSpec, gradient: Parameters) -> Parameters:
        """Over live steps: each seller's own where it has its own network, as if it trained alone."""
        own = jnp.maximum(live, 1.0)
        share = (lambda g: g / own.reshape(-1, *(1,) * (g.ndim - 1))) if spec.stacked else (lambda g: g / count)
        return jax.tree.map(share, gradient)

    actor_gradient, critic_gradient = mean(learner.actor, actor_gradient), mean(learner.critic, critic_gradient)
    actor, actor_optimiser = _apply(
        learner.actor, optimiser, learnable.actor, learnable.actor_optimiser, actor_gradient, rate
    )
    critic, critic_optimiser = _apply(
        learner.critic, optimiser, learnable.critic, learnable.critic_optimiser, critic_gradient, rate
    )
    sums |= {
        "actor_gradient_norm": optax.tree.norm(actor_gradient) * count,
        "critic_gradient_norm": optax.tree.norm(critic_gradient) * count,
    }
    return Learnable(actor, critic, actor_optimiser, critic_optimiser), sums


def rows_per_block(settings: LearnerSettings) -> int | None:
    """Rows of a gradient block: as set, else 16 on a CPU (`python -m benchmarks blocks`), all at once elsewhere."""
    if settings.rows_per_block is not None:
        return settings.rows_per_block
    return 16 if jax.default_backend() == "cpu" else None


def minibatch_index(key: Array, env_index: Array, num_minibatches: int) -> Array:
    """Which environments learn together: [M, E / M] local numbers.

    Every run of M neighbouring environments sends one to each minibatch, in random order. The order of a run depends on
    its first environment's number only, so that minibatches are the same however many devices share the environments.
    """
    runs = env_index.reshape(-1, num_minibatches)
    keys = jax.vmap(partial(jax.random.fold_in, key))(runs[:, 0])
    order = jax.vmap(lambda k: jax.random.permutation(k, num_minibatches))(keys)
    return (order + num_minibatches * jnp.arange(len(runs))[:, None]).T


def learning_rate(settings: LearnerSettings, update: Array) -> Array:
    """Step size at an update: constant, or from its start to its end over the scheduled updates."""
    first, last = settings.learning_rate, settings.learning_rate_end
    if settings.schedule == "constant":
        return jnp.asarray(first)
    if settings.schedule == "linear":
        return optax.linear_schedule(first, last, settings.scheduled_updates)(update)
    return optax.cosine_decay_schedule(first, settings.scheduled_updates, alpha=last / first)(update)


def entropy_coefficient(settings: LearnerSettings, update: Array) -> Array:
    """Weight of the entropy bonus at an update: linear from its start to its end over the scheduled updates."""
    return optax.linear_schedule(settings.entropy_start, settings.entropy_end, settings.scheduled_updates)(update)


def _keys(state: TrainState) -> Array:
    """The random keys [3] of an update: for the rollout, the minibatches, the bank of sessions."""
    # 3: `init` splits the same key in three, and a split key i is that key with i folded in.
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(state.seed), 3), state.update)
    return jax.random.split(key, 3)


def epoch_index(learner: Learner, state: TrainState, env_index: Array, epoch: Array | int) -> Array:
    """Which environments learn together in an epoch of an update: [M, E / M] local numbers."""
    key = jax.random.fold_in(_keys(state)[1], epoch)
    return minibatch_index(key, env_index, learner.settings.num_minibatches)


def prepare(
    learner: Learner, state: TrainState, params: MarketParams, env_index: Array, total: Sum = lambda x: x
) -> tuple[Batch, TrainState, dict[str, Array]]:
    """An update up to its gradient steps: a segment is rolled out, targets and advantages are computed.

    Args:
        env_index: [E] numbers of these environments among all.
        total: sums a tree over devices; the identity on one.

    Returns:
        (batch, state with what the segment changed, measures of the segment: scalars and [S]-arrays).
    """
    own = learner.settings
    roll_key, _, bank_key = _keys(state)
    if learner.shape.traffic.refresh:
        params = params.replace(traffic=traffic.refresh(bank_key, learner.shape.traffic, params.traffic))
    past = self_play(learner)
    if past is not None:
        assert isinstance(state, SelfPlayState)
        state = state.replace(pool=past.refreshed(state.pool, state.learnable.actor, state.update))
        params = past.meet(params, state.pool, state.update)
    actor_memory = state.rollout.actor_memory
    rolled, segment = rollout.rollout(
        roll_key,
        learner.shape,
        params,
        learner.actor,
        state.learnable.actor,
        state.rollout,
        env_index,
        own.num_steps,
        learner.ambiguity if learner.ambiguity is not None and learner.ambiguity.frightens else None,
        state.update,
        learner.critic.central,
        learner.game,
    )
    before = state.replace(rollout=rolled.replace(actor_memory=actor_memory))
    batch, state, measures = make_batch(learner, before, segment, total)
    state = state.replace(rollout=state.rollout.replace(actor_memory=rolled.actor_memory))
    measures |= segment_measures(learner.shape, params, segment, total)
    measures |= {
        "learning_rate": learning_rate(own, state.update),
        "entropy_coefficient": entropy_coefficient(own, state.update),
    }
    return batch, state, measures


def update(
    learner: Learner, state: TrainState, params: MarketParams, env_index: Array, total: Sum = lambda x: x
) -> tuple[TrainState, dict[str, Array]]:
    """One update: what `prepare` does, then several epochs of gradient steps.

    Args:
        env_index: [E] numbers of these environments among all.
        total: sums a tree over devices; the identity on one.

    Returns:
        (state, measures): scalars and [S]-arrays of this update.
    """
    own = learner.settings
    batch, state, measures = prepare(learner, state, params, env_index, total)
    step = partial(_minibatch, learner, batch, total, measures["entropy_coefficient"], measures["learning_rate"])

    def minibatch(carry: tuple[Learnable, Array], index: Array):
        learnable, stopped = carry
        if own.target_kl is None:
            learnable, sums = step(learnable, index)
            return (learnable, stopped), sums
        shapes = jax.eval_shape(step, learnable, index)[1]
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        learnable, sums = jax.lax.cond(stopped, lambda: (learnable, nothing), lambda: step(learnable, index))
        far = sums["kl"] > 1.5 * own.target_kl * jnp.maximum(sums["live"], 1.0)
        return (learnable, stopped | far), sums

    def epoch(carry: tuple[Learnable, Array], number: Array):
        return jax.lax.scan(minibatch, carry, epoch_index(learner, state, env_index, number))

    (learnable, _), sums = jax.lax.scan(epoch, (state.learnable, jnp.zeros((), bool)), jnp.arange(own.num_epochs))
    count = jnp.maximum(sums.pop("live").sum(), 1.0)
    measures |= {name: value.sum() / count for name, value in sums.items()}
    return state.replace(learnable=learnable, update=state.update + 1), measures

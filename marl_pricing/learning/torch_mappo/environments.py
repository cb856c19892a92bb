"""The torch learner on somebody else's market: any PettingZoo parallel environment with our spaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import torch
from pettingzoo import ParallelEnv
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from marl_pricing.learning import mappo, normalisation
from marl_pricing.learning.mappo import Learnable, Learner, TrainState
from marl_pricing.learning.networks import actor_spec, critic_spec
from marl_pricing.learning.rollout import RolloutState, Segment
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.torch_mappo import convert, losses
from marl_pricing.learning.torch_mappo.copies import Copies, Spaces
from marl_pricing.learning.torch_mappo.learner import TorchLearner
from marl_pricing.learning.torch_mappo.networks import Networks
from marl_pricing.market import MarketShape, Observation, Outcome


def _choose(
    actor: Networks, spaces: Spaces, local: Any, masks: list[Any], memory: Tensor, generator: torch.Generator | None
) -> tuple[list[Tensor], Tensor, Tensor]:
    """(chosen index of each head [E, S, 1], log probability [E, S], memory [E, S, M]); drawn, or the most probable."""
    where = memory.device
    with torch.no_grad():
        logits, memory = actor.step(torch.as_tensor(local, device=where), memory)
        own = [torch.as_tensor(mask, device=where) for mask in masks]
        heads = losses.split_heads(logits, 1, spaces.head_sizes, own)
        if generator is None:
            indices = [head.argmax(-1) for head in heads]
        else:
            indices = [
                torch.multinomial(head.exp().flatten(0, -2).cpu(), 1, generator=generator).view(head.shape[:-1])
                for head in heads
            ]
        indices = [index.to(where) for index in indices]
        return indices, losses.log_prob(heads, indices), memory


@dataclass(frozen=True)
class EnvPolicy:
    """What was learned, for the agents of one environment."""

    spaces: Spaces
    actor: Networks

    def start(self) -> Tensor:
        """Memories [1, S, M] at the start of an episode."""
        return torch.zeros(1, len(self.spaces.agents), self.actor.spec.memory, device=convert.device())

    def act(
        self, observations: Mapping[str, Any], memory: Tensor, infos: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], Tensor]:
        """The most probable action of every agent that observes something, and the memories after it.

        Args:
            infos: those that came with the observations, where the environment forbids choices (`action_mask`).
        """
        local = self.spaces.observations(observations)[None]
        masks = [mask[None] for mask in self.spaces.masks(infos or {})]
        indices, _, memory = _choose(self.actor, self.spaces, local, masks, memory, None)
        chosen = torch.cat(indices, -1)[0].cpu().numpy()
        actions = {
            agent: self.spaces.action(chosen[number])
            for number, agent in enumerate(self.spaces.agents)
            if agent in observations
        }
        return actions, memory


@dataclass(frozen=True)
class EnvTraining:
    """A training on an environment: its policy, its networks and optimisers, and measures of every update."""

    policy: EnvPolicy
    learnable: Learnable
    history: list[dict[str, float]]


class _Segments:
    """Plays segments; keeps the memories and the returns of running episodes between them."""

    def __init__(self, copies: Copies, actor: Networks, critic_memory: jax.Array, seed: int) -> None:
        self._copies, self._actor = copies, actor
        self._memory = torch.zeros(*copies.acting.shape, actor.spec.memory, device=convert.device())
        self._generator = torch.Generator().manual_seed(seed)
        self._running = np.zeros(copies.acting.shape)
        self.critic_memory = critic_memory

    def state(self) -> RolloutState:
        """What a batch needs to know of the time before its segment."""
        memory = convert.to_jax(self._memory)
        return RolloutState(None, None, None, memory, self.critic_memory)  # type: ignore[arg-type]

    def play(self, num_steps: int) -> tuple[Segment, list[Tensor], list[float]]:
        """(a segment of T steps, masks [T, E, S, 1, n] of each head, mean returns of the episodes that ended)."""
        copies, table = self._copies, defaultdict[str, list[Any]](list)
        ended: list[float] = []
        for _ in range(num_steps):
            self._memory[torch.as_tensor(copies.first)] = 0.0
            for name in ("local", "state", "masks", "first", "acting"):
                table[name].append(getattr(copies, name))
            indices, log_prob, self._memory = _choose(
                self._actor, copies.spaces, copies.local, copies.masks, self._memory, self._generator
            )
            chosen = [index.cpu().numpy() for index in indices]
            step = copies.step(np.concatenate(chosen, -1))
            for name, value in (("chosen", chosen), ("log_prob", log_prob.cpu().numpy()), *vars(step).items()):
                table[name].append(value)
            self._running += step.reward
            ended += self._running[step.over].mean(-1).tolist()
            self._running[step.over] = 0.0
        masks = [torch.as_tensor(np.stack(own)) for own in zip(*table.pop("masks"), strict=True)]
        indices_of = [jnp.asarray(np.stack(own)) for own in zip(*table.pop("chosen"), strict=True)]
        by_name = {name: jnp.asarray(np.stack(column)) for name, column in table.items()}
        happened: dict[str, Any] = dict.fromkeys(Outcome.__dataclass_fields__)  # learning asks for three of them
        happened |= {"acted": by_name["acting"], "learning": by_name["reward"], "terminated": by_name["terminated"]}
        segment = Segment(
            observation=Observation(by_name["local"], by_name["state"], None),
            following=Observation(by_name["next_local"], by_name["next_state"], None),
            first=by_name["first"],
            indices=indices_of,
            log_prob=by_name["log_prob"],
            outcome=Outcome(**happened),
            done=by_name["done"],
            candidates=None,
            restarted=by_name["over"],
        )
        return segment, masks, ended


def train_on_env(make_env: Callable[[], ParallelEnv], settings: LearnerSettings, *, quiet: bool = False) -> EnvTraining:
    """Train on copies of an environment, which are stepped in Python, one after the other.

    Targets, advantages, losses and schedules are those of the market's learner. The critic sees the environment's
    `state()`, or all observations side by side where it has none; choices that `infos[agent]["action_mask"]` forbids
    are not made. An agent that is cut off without a last observation is taken to have seen zeros.

    Args:
        make_env: makes one of `settings.num_envs` copies; all agents with the same Box and the same Discrete or
            MultiDiscrete space.
        settings: of the learner, with `algorithm="torch_mappo"` and one seed.
        quiet: no progress bar.

    Raises:
        ValueError: for spaces or settings that cannot be had, naming them and what is accepted.
    """
    for name, value, accepted in (
        ("algorithm", settings.algorithm, "torch_mappo"),
        ("num_seeds", settings.num_seeds, 1),
    ):
        if value != accepted:
            raise ValueError(f"learner.{name}={value!r}: accepted is {accepted!r} in train_on_env")
    copies = Copies(make_env, settings.num_envs, settings.seed)
    spaces, number = copies.spaces, len(copies.spaces.agents)
    learner = Learner(
        settings,
        cast(MarketShape, None),  # targets and losses ask nothing of a market
        actor_spec(settings, number, spaces.local_size, sum(spaces.head_sizes)),
        critic_spec(settings, number, spaces.local_size, spaces.state_size),
    )
    twin = TorchLearner(settings, learner.actor, learner.critic, 1, spaces.head_sizes)
    segments = _Segments(copies, twin.actor, learner.critic.start(settings.num_envs), settings.seed)
    state = TrainState(
        learnable=mappo.init_learnable(learner, *jax.random.split(jax.random.key(settings.seed))),
        statistics=normalisation.start(mappo.num_value_heads(learner)),
        rollout=segments.state(),
        seed=jnp.asarray(settings.seed, jnp.int32),
        update=jnp.zeros((), jnp.int32),
    )
    twin.load(state.learnable)
    index = jnp.arange(settings.num_envs)

    @jax.jit
    def prepare(state: TrainState, segment: Segment):
        batch, after, measures = mappo.make_batch(learner, state, segment, lambda x: x)
        epochs = jax.vmap(lambda epoch: mappo.epoch_index(learner, state, index, epoch))
        rates = mappo.entropy_coefficient(settings, state.update), mappo.learning_rate(settings, state.update)
        return batch, after.replace(update=after.update + 1), measures, epochs(jnp.arange(settings.num_epochs)), rates

    history: list[dict[str, float]] = []
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), disable=quiet) as bar:
        task = bar.add_task("", total=settings.num_updates)
        for update in range(1, settings.num_updates + 1):
            networks = Learnable(convert.dump(twin.actor), convert.dump(twin.critic), None, None)
            state = state.replace(learnable=networks, rollout=segments.state())
            segment, masks, returns = segments.play(settings.num_steps)
            batch, state, measures, epochs, (bonus, rate) = prepare(state, segment)
            segments.critic_memory = state.rollout.critic_memory
            if settings.value_normalisation == "popart":  # has rescaled the critic's last layer
                convert.load(twin.critic, state.learnable.critic)
            handed = convert.to_torch_batch(batch, learner.critic.central, masks)
            learnt = twin.learn(handed, convert.to_torch(epochs), float(bonus), float(rate))
            measures = {name: float(value) for name, value in measures.items()} | learnt
            mean = float(np.mean(returns)) if returns else float("nan")
            history.append({"update": update, "episodes": len(returns), "return": mean} | measures)
            bar.update(task, completed=update, description=f"return {mean:,.1f} an agent")
    copies.close()
    return EnvTraining(EnvPolicy(spaces, twin.actor), twin.dump(), history)

"""The torch learner on somebody else's market: any PettingZoo parallel environment with our spaces."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import torch
from pettingzoo import ParallelEnv
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from marl_pricing.learning import mappo
from marl_pricing.learning.event_file import EventFile
from marl_pricing.learning.mappo import Mappo
from marl_pricing.learning.networks import actor_spec, critic_spec
from marl_pricing.learning.runs import METRICS, TENSORBOARD, Table
from marl_pricing.learning.schedule import entropy_coefficient, learning_rate
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.state import Learnable, TrainState
from marl_pricing.learning.torch_mappo import convert
from marl_pricing.learning.torch_mappo.copies import Copies
from marl_pricing.learning.torch_mappo.env_policy import EnvPolicy, choose
from marl_pricing.learning.torch_mappo.learner import TorchLearner
from marl_pricing.learning.torch_mappo.scale import RunningScale
from marl_pricing.learning.training import finish_first
from marl_pricing.learning.trajectory import RolloutState, Segment
from marl_pricing.market import MarketShape, Observation, Outcome


@dataclass(frozen=True)
class EnvTraining:
    """A training on an environment.

    Attributes:
        policy: what was learned.  learnable: its networks and optimisers, as the flax learner has them.
        history: measures of every update.
        complete: it came to the end of its updates and was not interrupted.
    """

    policy: EnvPolicy
    learnable: Learnable
    history: list[dict[str, float]]
    complete: bool


class _Seen:
    """What players and critic are shown of the copies: raw, or in units of what has been seen so far."""

    def __init__(self, copies: Copies, normalise: bool) -> None:
        self._copies = copies
        self.local, self._state = (
            RunningScale(size) if normalise else None for size in (copies.spaces.local_size, copies.spaces.state_size)
        )

    def take(self) -> None:
        """Take in what the copies show now, to those who are still in them."""
        if self.local is not None and self._state is not None:
            self.local.take(self._copies.local[self._copies.acting])
            self._state.take(self._copies.state)

    def shown(self, local: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Observations [E, S, O] and states [E, G] as networks are shown them."""
        if self.local is None or self._state is None:
            return local, state
        return self.local.now().shown(local), self._state.now().shown(state)


class _Segments:
    """Plays segments; keeps the memories and the returns of running episodes between them."""

    def __init__(self, copies: Copies, seen: _Seen, twin: TorchLearner, critic_memory: jax.Array, seed: int) -> None:
        self._seen = seen
        self._copies, self._actor, self._law = copies, twin.actor, twin.law
        actor = twin.actor
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
            self._seen.take()
            local, state = self._seen.shown(copies.local, copies.state)
            for name, value in (("local", local), ("state", state)):
                table[name].append(value)
            for name in ("masks", "first", "acting"):
                table[name].append(getattr(copies, name))
            indices, log_prob, self._memory = choose(
                self._actor, copies.spaces, local, copies.masks, self._memory, self._generator, self._law
            )
            chosen = [index.cpu().numpy() for index in indices]
            step = copies.step(np.concatenate(chosen, -1))
            local, state = self._seen.shown(step.next_local, step.next_state)
            step = replace(step, next_local=local, next_state=state)
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


class _Journal:
    """metrics.csv and TensorBoard of a training, an entry an update. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        if (folder / METRICS).exists():
            raise ValueError(f"folder={str(folder)!r}: holds a training already; accepted is a new or empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._table, self._writer = Table(folder / METRICS), EventFile(folder / TENSORBOARD)

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, row: dict[str, float], rate: float) -> None:
        """Write the measures of an update; the speed, which is not the same twice, to TensorBoard only."""
        self._table.append([row])
        for name, value in row.items():
            if name != "update":
                group = "return/raw" if name == "return" else f"learning/{name}"
                self._writer.scalar(group, value, int(row["update"]))
        self._writer.scalar("speed/environment_steps_per_second", rate, int(row["update"]))
        self._writer.flush()


def train_on_env(
    make_env: Callable[[], ParallelEnv],
    settings: LearnerSettings,
    *,
    normalise: bool = True,
    folder: Path | str | None = None,
    quiet: bool = False,
) -> EnvTraining:
    """Train on copies of an environment, which are stepped in Python, one after the other.

    Targets, advantages, losses and schedules are those of the market's learner. The critic sees the environment's
    `state()`, or all observations side by side where it has none; choices that `infos[agent]["action_mask"]` forbids
    are not made. An agent that is cut off without a last observation is taken to have seen zeros.

    Args:
        make_env: makes one of `settings.num_envs` copies; all agents observe the same Box and act in the same Discrete,
            MultiDiscrete or Box, whose entries follow `settings.price_law` between their ends.
        settings: of the learner, with `algorithm="torch_mappo"` and one seed.
        normalise: observations are shown in units of their running mean and spread, which the policy keeps as they are
            at the end; false: as they come.
        folder: new; gets metrics.csv and TensorBoard files.
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
    learner = Mappo(
        settings,
        cast(MarketShape, None),  # targets and losses ask nothing of a market
        actor_spec(settings, number, spaces.local_size, spaces.parts * sum(spaces.head_sizes)),
        critic=critic_spec(settings, number, spaces.local_size, spaces.state_size),
    )
    law = settings.price_law if spaces.continuous else None
    twin = TorchLearner(settings, learner.actor, learner.critic, spaces.parts, spaces.head_sizes, law)
    seen = _Seen(copies, normalise)
    segments = _Segments(copies, seen, twin, learner.critic.start(settings.num_envs), settings.seed)
    state = TrainState(
        learnable=learner.first_learnable(*jax.random.split(jax.random.key(settings.seed))),
        statistics=learner.first_statistics(),
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
        rates = entropy_coefficient(settings, state.update), learning_rate(settings, state.update)
        return batch, after.replace(update=after.update + 1), measures, epochs(jnp.arange(settings.num_epochs)), rates

    history: list[dict[str, float]] = []
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with ExitStack() as stack:
        stack.callback(copies.close)
        journal = None if folder is None else stack.enter_context(_Journal(Path(folder)))
        # Signals are the main thread's business: elsewhere nothing is caught.
        main = threading.current_thread() is threading.main_thread()
        interrupted: Any = stack.enter_context(finish_first()) if main else False
        bar = stack.enter_context(Progress(*columns, TextColumn("ETA"), TimeRemainingColumn(), disable=quiet))
        task = bar.add_task("compiling", total=settings.num_updates)
        for update in range(1, settings.num_updates + 1):
            began = time.perf_counter()
            networks = Learnable(convert.dump(twin.actor), convert.dump(twin.critic), None, None)
            state = state.replace(learnable=networks, rollout=segments.state())
            segment, masks, returns = segments.play(settings.num_steps)
            batch, state, measures, epochs, (bonus, step_size) = prepare(state, segment)
            segments.critic_memory = state.rollout.critic_memory
            if settings.value_normalisation == "popart":  # has rescaled the critic's last layer
                convert.load(twin.critic, state.learnable.critic)
            handed = convert.to_torch_batch(batch, learner.critic.central, masks)
            learnt = twin.learn(handed, convert.to_torch(epochs), float(bonus), float(step_size))
            mean = float(np.mean(returns)) if returns else float("nan")
            row = {"update": update, "episodes": len(returns), "return": mean}
            history.append(row | {name: float(value) for name, value in measures.items()} | learnt)
            rate = settings.steps_per_update / (time.perf_counter() - began)
            if journal is not None:
                journal.add(history[-1], rate)
            bar.update(task, completed=update, description=f"return {mean:,.1f} an agent, {rate:,.0f} steps/s")
            if interrupted:
                break
    policy = EnvPolicy(spaces, twin.actor, None if seen.local is None else seen.local.now(), law)
    return EnvTraining(policy, twin.dump(), history, len(history) == settings.num_updates)

"""The gradient steps of recurrent MAPPO in PyTorch; the twin of `mappo.update` from the batch on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from marl_pricing.learning.batch import num_blocks
from marl_pricing.learning.devices import usable_cores
from marl_pricing.learning.losses import VALUE_WEIGHT
from marl_pricing.learning.networks import NetworkSpec
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.state import Learnable
from marl_pricing.learning.torch_mappo import convert, losses
from marl_pricing.learning.torch_mappo.batch import TorchBatch
from marl_pricing.learning.torch_mappo.networks import Networks
from marl_pricing.learning.torch_mappo.recurrent import Part, sequences

Sums = dict[str, Tensor]


def make_optimiser(settings: LearnerSettings, weights: Iterable[Tensor]) -> torch.optim.Optimizer:
    """Adam, whose step size is set anew in every update."""
    return torch.optim.Adam(weights, lr=settings.learning_rate, eps=settings.adam_epsilon, fused=True)


def _compiler(device: torch.device) -> Callable:
    """`torch.compile`, refused before anything is trained where it could not work.

    Raises:
        ValueError: on a CPU without a C++ compiler.
    """
    if device.type == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
        raise ValueError("learner.compile=True: accepted is false where there is no C++ compiler (g++, or CXX)")
    return torch.compile


def limit_threads() -> None:
    """As many threads as cores that this process may use, as JAX has devices; fewer where fewer were set.

    torch counts the cores that it may run on and knows of no container's quota: its threads would wait for each other.
    """
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))


class TorchLearner:
    """Networks and optimisers of one seed.

    Attributes:
        settings: of the learner.  actor, critic: the networks.
        num_products, head_sizes, law: the actor's heads, see `losses.split_heads`.

    Raises:
        ValueError: for `compile` without a compiler.
    """

    def __init__(
        self,
        settings: LearnerSettings,
        actor: NetworkSpec,
        critic: NetworkSpec,
        num_products: int,
        head_sizes: Sequence[int],
        law: str | None = None,
    ) -> None:
        limit_threads()
        self.law = law
        self.settings, self.num_products, self.head_sizes = settings, num_products, tuple(head_sizes)
        self.actor, self.critic = (Networks(spec).to(convert.device()) for spec in (actor, critic))
        compiled = _compiler(convert.device()) if settings.compile else lambda function: function
        self._parts, self._terms = compiled(self.parts), compiled(self.terms)
        # One for all networks: Adam asks nothing of one weight about another, and a call costs as much as its work.
        self._optimiser = make_optimiser(settings, [*self.actor.parameters(), *self.critic.parameters()])

    def load(self, learnable: Learnable) -> None:
        """Take over parameters and optimiser states of the flax learner."""
        convert.load(self.actor, learnable.actor)
        convert.load(self.critic, learnable.critic)
        convert.load_adam(self._optimiser, self.actor, learnable.actor_optimiser)
        convert.load_adam(self._optimiser, self.critic, learnable.critic_optimiser)

    def dump(self) -> Learnable:
        """Parameters and optimiser states as the flax learner has them."""
        return Learnable(
            convert.dump(self.actor),
            convert.dump(self.critic),
            convert.dump_adam(self._optimiser, self.actor),
            convert.dump_adam(self._optimiser, self.critic),
        )

    def gradients(self, batch: TorchBatch, entropy_coefficient: float) -> Sums:
        """Leave the losses' gradients in the weights' `grad`; returns sums of diagnostics.

        The losses are sums, so a batch in blocks (`rows_per_block`) has the gradient of the whole.
        """
        sums: Sums = {}
        bonus = torch.tensor(entropy_coefficient)  # as a number, each new one would be compiled anew
        both = (self.actor, self.critic)
        for networks in both:
            networks.zero_grad()
        for block in self._blocks(batch):
            loss, own = self.losses(block, bonus)
            loss.backward()
            sums |= {name: sums[name] + value if name in sums else value for name, value in own.items()}
        for networks in both:
            for weight in networks.parameters():
                if weight.grad is None:  # an LSTM's bias_hh
                    weight.grad = torch.zeros_like(weight)
        return sums

    def losses(self, batch: TorchBatch, entropy_coefficient: Tensor) -> tuple[Tensor, Sums]:
        """Sum of both networks' losses over live steps, and sums of diagnostics.

        They have no weight in common, so the sum's gradient is that of each; and they go through time together.
        """
        parts = self._parts(batch)
        memories = sequences(parts)
        return self._terms(memories, batch, entropy_coefficient)

    def parts(self, batch: TorchBatch) -> list[Part]:
        """What goes through time: of the actor's networks, then of the critic's."""
        actor = self.actor.parts(batch.local, batch.actor_memory, batch.first)
        return actor + self.critic.parts(batch.seen, batch.critic_memory, batch.first)

    def terms(self, memories: Sequence[Tensor], batch: TorchBatch, entropy_coefficient: Tensor) -> tuple[Tensor, Sums]:
        """`losses` from the memories [T, B, M] of the actor's networks, then of the critic's."""
        own, count = self.settings, len(self.actor.networks)
        logits, value = self.actor.read(memories[:count]), self.critic.read(memories[count:])
        heads = losses.split_heads(logits, self.num_products, self.head_sizes, batch.masks, self.law)
        new = losses.log_prob(heads, batch.indices)
        policy, sums = losses.policy_loss(new, batch.log_prob, batch.advantage, batch.live, own.clip_ratio)
        entropy = (losses.entropy(heads) * batch.live).sum()
        error = losses.value_loss(value[..., 0], batch.value, batch.target, batch.live, own.clipped_value)
        total = policy - entropy_coefficient * entropy + VALUE_WEIGHT * error
        return total, {**sums, "entropy": entropy.detach(), "value_loss": error.detach()}

    def _blocks(self, batch: TorchBatch) -> Iterator[TorchBatch]:
        num_envs, specs = batch.first.shape[1], (self.actor.spec, self.critic.spec)
        rows_per_env = max(1 if spec.stacked or spec.central else spec.num_sellers for spec in specs)
        count = num_blocks(num_envs, rows_per_env, self.settings.rows_per_block)
        if count == 1:
            yield batch
            return
        for index in torch.arange(num_envs, device=batch.first.device).chunk(count):
            yield batch.select(index)

    def minibatch(self, batch: TorchBatch, entropy_coefficient: float, rate: float) -> Sums:
        """One gradient step on a minibatch; returns sums of diagnostics over its live steps."""
        sums = self.gradients(batch, entropy_coefficient)
        live = batch.live.sum((0, 1))
        sums["live"] = live.sum()
        count = sums["live"].clamp_min(1.0)
        for name, networks in (("actor", self.actor), ("critic", self.critic)):
            # A mean over live steps: each seller's own where it has its own network, as if it trained alone.
            counts = live.clamp_min(1.0) if networks.spec.stacked else count[None]
            squares = [
                _clip(list(network.parameters()), own, self.settings.max_grad_norm)
                for network, own in zip(networks, counts, strict=True)
            ]
            sums[f"{name}_gradient_norm"] = torch.stack(squares).sum().sqrt() * count
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        return sums

    def learn(self, batch: TorchBatch, epochs: Tensor, entropy_coefficient: float, rate: float) -> dict[str, float]:
        """The gradient steps of an update.

        Args:
            epochs: [epochs, minibatches, B] numbers of the environments that learn together.

        Returns:
            Means of diagnostics over live steps.
        """
        own, taken = self.settings, []
        for index in epochs.flatten(0, 1):
            sums = self.minibatch(batch.select(index), entropy_coefficient, rate)
            taken.append(sums)
            if own.target_kl is not None and sums["kl"] > 1.5 * own.target_kl * sums["live"].clamp_min(1.0):
                break
        total = {name: torch.stack([sums[name] for sums in taken]).sum() for name in taken[0]}
        count = total.pop("live").clamp_min(1.0)
        return {name: float(value / count) for name, value in total.items()}


def _clip(weights: list[Tensor], count: Tensor, largest: float) -> Tensor:
    """Divide gradients by `count`, then clip them by their global norm as optax does; returns its square, unclipped."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    torch._foreach_div_(gradients, count)
    square = torch.stack(torch._foreach_norm(gradients)).square().sum()
    norm = square.sqrt()
    torch._foreach_mul_(gradients, torch.where(norm < largest, 1.0, largest / norm))
    return square

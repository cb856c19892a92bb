"""Actor and critic in PyTorch; the twin of `learning/networks.py`, with the same shapes outside."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marl_pricing.learning.networks import NetworkSpec
from marl_pricing.learning.torch_mappo.recurrent import Cell


class RecurrentNetwork(nn.Module):
    """Dense → cell → dense → output."""

    def __init__(self, cell: str, in_size: int, hidden_size: int, out_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.embed = nn.Linear(in_size, hidden_size)
        self.cell = Cell(cell, hidden_size, hidden_size)
        self.head = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, out_size)

    def read(self, memory: Tensor) -> Tensor:
        """Output [..., A] from memories [..., M]."""
        return self.out(F.relu(self.head(memory[..., : self.hidden_size])))

    def step(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One epoch. inputs [B, D], memory [B, M] → (output [B, A], memory [B, M])."""
        memory = self.cell.step(F.relu(self.embed(inputs)), memory)
        return self.read(memory), memory

    def sequence(self, inputs: Tensor, memory: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """A segment. inputs [T, B, D], memory [B, M], first [T, B] → (outputs [T, B, A], memories [T, B, M])."""
        memories = self.cell.sequence(F.relu(self.embed(inputs)), memory, first)
        return self.read(memories), memories


class Networks(nn.Module):
    """One network of the learner, actor or critic, for all sellers: `networks` holds one, or one a seller.

    It starts with no weights of its own; `convert.load` brings them.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.networks = nn.ModuleList(
            RecurrentNetwork(spec.cell, spec.in_size, spec.hidden_size, spec.out_size)
            for _ in range(spec.num_sellers if spec.stacked else 1)
        )

    def __iter__(self) -> Iterator[RecurrentNetwork]:
        """The networks, one after the other."""
        return (network for network in self.networks if isinstance(network, RecurrentNetwork))

    def step(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One epoch: inputs [E, S, O], or [E, G] for a central critic; memory [E, S or 1, M] → (outputs, memory)."""
        outputs, memories = self.sequence(inputs[None], memory, None)
        return outputs[0], memories[0]

    def sequence(self, inputs: Tensor, memory: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
        """A segment.

        Args:
            inputs: [T, E, S, O], or [T, E, G] for a central critic.  memory: [E, S or 1, M] before the segment.
            first: [T, E] bool, step t begins an episode; None for a single step whose memory is already right.

        Returns:
            (outputs [T, E, S, A], memories [T, E, S or 1, M] after each step).
        """
        spec, (num_steps, num_envs) = self.spec, inputs.shape[:2]
        if spec.stacked:
            parts = [
                _run(network, inputs if spec.central else inputs[:, :, seller], memory[:, seller], first)
                for seller, network in enumerate(self)
            ]
            return torch.stack([output for output, _ in parts], 2), torch.stack([after for _, after in parts], 2)
        (network,) = self
        if spec.central:
            outputs, memories = _run(network, inputs, memory[:, 0], first)
            return outputs[..., None], memories[:, :, None]
        if spec.num_sellers > 1:  # one network serves several sellers: it is told whose turn it is
            number = torch.eye(spec.num_sellers, dtype=inputs.dtype, device=inputs.device)
            inputs = torch.cat([inputs, number.expand(*inputs.shape[:-1], -1)], -1)
        rows = num_envs * spec.num_sellers
        begins = None if first is None else first.repeat_interleave(spec.num_sellers, 1)
        wide, memory = inputs.reshape(num_steps, rows, -1), memory.reshape(rows, -1)
        outputs, memories = _run(network, wide, memory, begins)
        shape = (num_steps, num_envs, spec.num_sellers, -1)
        return outputs.view(shape), memories.view(shape)


def _run(network: RecurrentNetwork, inputs: Tensor, memory: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
    if first is not None:
        return network.sequence(inputs, memory, first)
    outputs, memory = network.step(inputs[0], memory)
    return outputs[None], memory[None]

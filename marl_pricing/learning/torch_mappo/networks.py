"""Actor and critic in PyTorch; the twin of `learning/networks.py`, with the same shapes outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from marl_pricing.learning.networks import NetworkSpec, cell_names
from marl_pricing.learning.recurrent import memory_size
from marl_pricing.learning.torch_mappo.linear import linear
from marl_pricing.learning.torch_mappo.recurrent import Cell, Part, layers_step


class RecurrentNetwork(nn.Module):
    """Dense → cells → dense → output."""

    def __init__(self, cell: str, in_size: int, hidden_size: int, out_size: int, num_layers: int = 1) -> None:
        super().__init__()
        self.hidden_size, self._cell_names = hidden_size, cell_names(num_layers)
        self._hidden_at = memory_size(cell, hidden_size, num_layers - 1)
        self.embed = nn.Linear(in_size, hidden_size)
        for name in self._cell_names:
            self.add_module(name, Cell(cell, hidden_size, hidden_size))
        self.head = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, out_size)

    @property
    def cells(self) -> list[Cell]:
        """The cells, from the lowest."""
        return [own for own in map(self.get_submodule, self._cell_names) if isinstance(own, Cell)]

    def read(self, memory: Tensor) -> Tensor:
        """Output [..., A] from memories [..., M]."""
        hidden = memory[..., self._hidden_at : self._hidden_at + self.hidden_size]
        hidden = linear(hidden, self.head.weight, self.head.bias, relu=True)
        return linear(hidden, self.out.weight, self.out.bias)

    def begin(self, inputs: Tensor) -> Tensor:
        """What goes into the cell [..., H], from inputs [..., D]."""
        return linear(inputs, self.embed.weight, self.embed.bias, relu=True)

    def step(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One epoch. inputs [B, D], memory [B, M] → (output [B, A], memory [B, M])."""
        memory = layers_step(self.cells, self.begin(inputs), memory)
        return self.read(memory), memory


class Networks(nn.Module):
    """One network of the learner, actor or critic, for all sellers: `networks` holds one, or one a seller.

    It starts with no weights of its own; `convert.load` brings them.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.networks = nn.ModuleList(
            RecurrentNetwork(spec.cell, spec.in_size, spec.hidden_size, spec.out_size, spec.num_layers)
            for _ in range(spec.num_sellers if spec.stacked else 1)
        )

    def __iter__(self) -> Iterator[RecurrentNetwork]:
        """The networks, one after the other."""
        return (network for network in self.networks if isinstance(network, RecurrentNetwork))

    def step(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One epoch: inputs [E, S, O], or [E, G] for a central critic; memory [E, S or 1, M] → (outputs, memory)."""
        rows = self._rows(inputs[None], memory)
        after = [network.step(own[0], before) for network, (own, before) in zip(self, rows, strict=True)]
        return self._join([own[None] for own, _ in after])[0], self.memories([own[None] for _, own in after])[0]

    def parts(self, inputs: Tensor, memory: Tensor, first: Tensor) -> list[Part]:
        """What goes through time: of each network its cells, inputs [T, B, H], memory [B, M], first [T, B].

        Args:
            inputs: [T, E, S, O], or [T, E, G] for a central critic.  memory: [E, S or 1, M] before the segment.
            first: [T, E] bool, step t begins an episode.
        """
        if not self.spec.stacked and not self.spec.central:
            first = first.repeat_interleave(self.spec.num_sellers, 1)
        rows = self._rows(inputs, memory)
        return [
            (network.cells, network.begin(own), before, first)
            for network, (own, before) in zip(self, rows, strict=True)
        ]

    def read(self, memories: Sequence[Tensor]) -> Tensor:
        """Outputs [T, E, S, A] from each network's memories [T, B, M]."""
        return self._join([network.read(own) for network, own in zip(self, memories, strict=True)])

    def memories(self, memories: Sequence[Tensor]) -> Tensor:
        """Each network's memories [T, B, M] as one [T, E, S or 1, M]."""
        if self.spec.stacked:
            return torch.stack(list(memories), 2)
        (own,) = memories
        return own.unflatten(1, (-1, 1 if self.spec.central else self.spec.num_sellers))

    def _rows(self, inputs: Tensor, memory: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(inputs [T, B, D], memory [B, M]) of each network."""
        spec = self.spec
        if spec.stacked:
            return [
                (inputs if spec.central else inputs[:, :, seller], memory[:, seller])
                for seller in range(spec.num_sellers)
            ]
        if spec.central:
            return [(inputs, memory[:, 0])]
        if spec.num_sellers > 1:  # one network serves several sellers: it is told whose turn it is
            number = torch.eye(spec.num_sellers, dtype=inputs.dtype, device=inputs.device)
            inputs = torch.cat([inputs, number.expand(*inputs.shape[:-1], -1)], -1)
        return [(inputs.flatten(1, 2), memory.flatten(0, 1))]

    def _join(self, outputs: Sequence[Tensor]) -> Tensor:
        """Outputs [T, B, A] of each network as one [T, E, S, A]."""
        if self.spec.stacked:
            return torch.stack(list(outputs), 2)
        (own,) = outputs
        return own[..., None] if self.spec.central else own.unflatten(1, (-1, self.spec.num_sellers))

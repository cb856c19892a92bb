"""Recurrent cells over whole sequences in PyTorch; the twin of `learning/recurrent.py`, gate for gate.

The GRU's loop and its gradient, which is written by hand, are in `gru`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marl_pricing.learning.recurrent import GATES, reads_memory
from marl_pricing.learning.torch_mappo.gru import GruSequences
from marl_pricing.learning.torch_mappo.linear import linear
from marl_pricing.learning.torch_mappo.min_gru import min_gru_sequence, min_gru_step


class Cell(nn.Module):
    """Weights of a GRU or an LSTM, laid out as `torch.nn.GRUCell` and `LSTMCell` do (gates r, z, n and i, f, g, o).

    A cell of torch has two biases for every gate, of which only their sum matters, except for a GRU's gate n. Here each
    gate has one, `bias_ih`; `bias_hh` [H] is gate n's second one, inside the reset gate's product (an LSTM has no use
    for it and leaves it as it is). A minGRU (gates z, h̃) has `weight_ih` and `bias_ih` only; so has the cell `none`,
    one layer that remembers nothing.
    """

    def __init__(self, cell: str, in_size: int, hidden_size: int) -> None:
        super().__init__()
        width = GATES[cell] * hidden_size
        self.cell, self.hidden_size = cell, hidden_size
        self.weight_ih = nn.Parameter(torch.zeros(width, in_size))
        self.bias_ih = nn.Parameter(torch.zeros(width))
        if reads_memory(cell):
            self.weight_hh = nn.Parameter(torch.zeros(width, hidden_size))
            self.bias_hh = nn.Parameter(torch.zeros(hidden_size))

    def step(self, inputs: Tensor, memory: Tensor) -> Tensor:
        """One epoch. inputs [B, D], memory [B, M] → memory [B, M]."""
        gates_in = F.linear(inputs, self.weight_ih, self.bias_ih)
        if self.cell == "none":
            return torch.tanh(gates_in)
        if self.cell == "mingru":
            return min_gru_step(gates_in, memory)
        gates_hidden = F.linear(memory[:, : self.hidden_size], self.weight_hh)
        return cell_step(self.cell, gates_in, gates_hidden, self.bias_hh, memory)


# Of one network: its cells from the lowest, inputs [T, B, D], memory [B, M] before the segment, first [T, B] bool.
Part = tuple[Sequence[Cell], Tensor, Tensor, Tensor]
_Layer = tuple[Cell, Tensor, Tensor, Tensor]


def layers_step(cells: Sequence[Cell], inputs: Tensor, memory: Tensor) -> Tensor:
    """One epoch of cells on top of each other: inputs [B, D], memory [B, M] → memory [B, M], layer after layer."""
    kept = []
    for cell, held in zip(cells, memory.chunk(len(cells), -1), strict=True):
        kept.append(cell.step(inputs, held))
        inputs = kept[-1][..., : cell.hidden_size]
    return kept[0] if len(kept) == 1 else torch.cat(kept, -1)


def sequences(parts: Sequence[Part]) -> list[Tensor]:
    """Several networks' cells of one kind, width and number of layers, over segments of one length.

    Args:
        parts: of each (cells from the lowest, inputs [T, B, D], memory [B, M] before the segment, first [T, B] bool).
            Where `first` is set, step t begins an episode: the memory is zero there.

    Returns:
        Memories [T, B, M] after each step, of each.
    """
    inputs = [own for _, own, _, _ in parts]
    layers = []
    for number in range(len(parts[0][0])):
        layer = [
            (cells[number], below, memory.chunk(len(cells), -1)[number].contiguous(), first)
            for (cells, _, memory, first), below in zip(parts, inputs, strict=True)
        ]
        layers.append(_layer_sequences(layer))
        inputs = [own[..., : cell.hidden_size] for own, (cell, *_) in zip(layers[-1], layer, strict=True)]
    return layers[0] if len(layers) == 1 else [torch.cat(own, -1) for own in zip(*layers, strict=True)]


def _layer_sequences(parts: Sequence[_Layer]) -> list[Tensor]:
    kind = parts[0][0].cell
    if kind == "gru":
        return gru_sequences(parts)
    if kind == "mingru":
        return [
            min_gru_sequence(linear(inputs, cell.weight_ih, cell.bias_ih), memory, first)
            for cell, inputs, memory, first in parts
        ]
    if kind == "none":
        return [torch.tanh(F.linear(inputs, cell.weight_ih, cell.bias_ih)) for cell, inputs, _, _ in parts]
    return [
        lstm_sequence(F.linear(inputs, cell.weight_ih, cell.bias_ih), cell.weight_hh, memory, first)
        for cell, inputs, memory, first in parts
    ]


def gru_step(gates_in: Tensor, gates_hidden: Tensor, bias_hh: Tensor, hidden: Tensor) -> Tensor:
    """h' = (1 − z) n + z h (Cho et al. 2014); see `marl_pricing.learning.recurrent.gru_step`.

    Args:
        gates_in: [B, 3H] the inputs' part of the gates, with their bias.  gates_hidden: [B, 3H] the hidden state's.
        bias_hh: [H], or [B, H].  hidden: [B, H].
    """
    size = hidden.shape[-1]
    gates = torch.sigmoid(gates_in[:, : 2 * size] + gates_hidden[:, : 2 * size])
    reset, update = gates[:, :size], gates[:, size:]
    new = torch.tanh(gates_in[:, 2 * size :] + reset * (gates_hidden[:, 2 * size :] + bias_hh))
    return (1.0 - update) * new + update * hidden


def lstm_step(gates_in: Tensor, gates_hidden: Tensor, cell: Tensor) -> Tensor:
    """Hochreiter and Schmidhuber (1997) with a forget gate; both gates [B, 4H], cell state [B, H] → memory [B, 2H]."""
    enter, forget, new, out = (gates_in + gates_hidden).chunk(4, -1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
    return torch.cat([torch.sigmoid(out) * torch.tanh(cell), cell], -1)


def cell_step(cell: str, gates_in: Tensor, gates_hidden: Tensor, bias_hh: Tensor, memory: Tensor) -> Tensor:
    """One step of the named cell, whose gates read the memory: memory [B, M] → memory [B, M]."""
    if cell == "gru":
        return gru_step(gates_in, gates_hidden, bias_hh, memory)
    return lstm_step(gates_in, gates_hidden, memory[:, memory.shape[-1] // 2 :])


@torch.compiler.disable  # it would compile the loop step by step
def lstm_sequence(gates_in: Tensor, weight_hh: Tensor, memory: Tensor, first: Tensor) -> Tensor:
    """An LSTM over a segment: gates_in [T, B, 4H], memory [B, 2H], first [T, B] → memories [T, B, 2H]."""
    kept = []
    for gate_in, begins in zip(gates_in.unbind(0), first.unbind(0), strict=True):
        hidden, cell = memory.masked_fill(begins[:, None], 0.0).chunk(2, -1)
        memory = lstm_step(gate_in, F.linear(hidden, weight_hh), cell)
        kept.append(memory)
    return torch.stack(kept)


@torch.compiler.disable
def gru_sequences(parts: Sequence[_Layer]) -> list[Tensor]:
    """Several GRUs of one width, over segments of one length, in one loop through time: see `sequences`."""
    given = [
        (inputs, cell.weight_ih, cell.bias_ih, cell.weight_hh, cell.bias_hh, hidden)
        for cell, inputs, hidden, _ in parts
    ]
    hiddens = GruSequences.apply(tuple(first for *_, first in parts), *(tensor for own in given for tensor in own))
    assert isinstance(hiddens, tuple)
    return list(hiddens)

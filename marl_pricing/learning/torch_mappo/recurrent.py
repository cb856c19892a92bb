"""Recurrent cells over whole sequences in PyTorch; the twin of `learning/recurrent.py`, gate for gate.

Autograd would record every operation of every step, and sum the weight gradients step by step. As in the twin, the
GRU's gradient is written by hand: what does not depend on the state's gradient is computed for all steps at once, the
backward loop carries the state gradient only, and each weight gradient is one matrix product over the whole sequence.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Cell(nn.Module):
    """Weights of a GRU or an LSTM, laid out as `torch.nn.GRUCell` and `LSTMCell` do (gates r, z, n and i, f, g, o).

    A cell of torch has two biases for every gate, of which only their sum matters, except for a GRU's gate n. Here each
    gate has one, `bias_ih`; `bias_hh` [H] is gate n's second one, inside the reset gate's product (an LSTM has no use
    for it and leaves it as it is).
    """

    def __init__(self, cell: str, in_size: int, hidden_size: int) -> None:
        super().__init__()
        width = (3 if cell == "gru" else 4) * hidden_size
        self.cell = cell
        self.weight_ih = nn.Parameter(torch.zeros(width, in_size))
        self.weight_hh = nn.Parameter(torch.zeros(width, hidden_size))
        self.bias_ih = nn.Parameter(torch.zeros(width))
        self.bias_hh = nn.Parameter(torch.zeros(hidden_size))

    def step(self, inputs: Tensor, memory: Tensor) -> Tensor:
        """One epoch. inputs [B, D], memory [B, M] → memory [B, M]."""
        gates_in = F.linear(inputs, self.weight_ih, self.bias_ih)
        gates_hidden = F.linear(memory[:, : self.bias_hh.shape[0]], self.weight_hh)
        return cell_step(self.cell, gates_in, gates_hidden, self.bias_hh, memory)

    def sequence(self, inputs: Tensor, memory: Tensor, first: Tensor) -> Tensor:
        """A segment. inputs [T, B, D], memory [B, M] before it, first [T, B] bool → memories [T, B, M] after each step.

        Where `first` is set, step t begins an episode: the memory is zero there.
        """
        gates_in = F.linear(inputs, self.weight_ih, self.bias_ih)
        if self.cell == "gru":
            return gru_sequence(gates_in, self.weight_hh, self.bias_hh, memory, first)
        return lstm_sequence(gates_in, self.weight_hh, memory, first)


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
    """One step of the named cell: memory [B, M] → memory [B, M]."""
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
def gru_sequence(gates_in: Tensor, weight_hh: Tensor, bias_hh: Tensor, hidden: Tensor, first: Tensor) -> Tensor:
    """A GRU over a segment: gates_in [T, B, 3H], hidden [B, H], first [T, B] → hidden states [T, B, H]."""
    hiddens = GruSequence.apply(gates_in, weight_hh, bias_hh, hidden, first)
    assert isinstance(hiddens, Tensor)
    return hiddens


class GruSequence(torch.autograd.Function):
    """`gru_sequence` with its gradient by hand."""

    @staticmethod
    def forward(
        ctx: Any, gates_in: Tensor, weight_hh: Tensor, bias_hh: Tensor, hidden: Tensor, first: Tensor
    ) -> Tensor:
        num_steps, num_rows, size = *gates_in.shape[:2], hidden.shape[-1]
        kernel, bias = weight_hh.t(), F.pad(bias_hh, (2 * size, 0))
        gates_hidden = torch.empty_like(gates_in)
        gates = gates_in.new_empty(num_steps, num_rows, 2 * size)  # r, z
        news, hiddens = (gates_in.new_empty(num_steps, num_rows, size) for _ in range(2))
        before = []
        # Views of every step are made beforehand: on a CPU slicing costs as much as the arithmetic.
        in_gates, in_new = gates_in[..., : 2 * size].unbind(0), gates_in[..., 2 * size :].unbind(0)
        to_gates, inner = gates_hidden[..., : 2 * size].unbind(0), gates_hidden[..., 2 * size :].unbind(0)
        reset, update = gates[..., :size].unbind(0), gates[..., size:].unbind(0)
        wholes = (gates_hidden.unbind(0), gates.unbind(0), news.unbind(0), hiddens.unbind(0))
        begins = first.any(1).tolist()
        for t, (of_hidden, own, new, after) in enumerate(zip(*wholes, strict=True)):
            if begins[t]:
                hidden = hidden.masked_fill(first[t, :, None], 0.0)
            before.append(hidden)
            torch.addmm(bias, hidden, kernel, out=of_hidden)
            torch.add(in_gates[t], to_gates[t], out=own).sigmoid_()
            torch.addcmul(in_new[t], reset[t], inner[t], out=new).tanh_()
            hidden = torch.lerp(new, hidden, update[t], out=after)
        ctx.save_for_backward(weight_hh, gates, news, gates_hidden, torch.stack(before), first)
        return hiddens

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad_hiddens,) = grads
        weight_hh, gates, new, gates_hidden, before, first = ctx.saved_tensors
        num_steps, num_rows, size = new.shape
        # [T, B, 4, H]: what the state's gradient is multiplied with to give the gates' (r, z, n within, n).
        grad = new.new_empty(num_steps, num_rows, 4, size)
        reset, inner = gates[..., :size], gates_hidden[..., 2 * size :]
        less = 1.0 - gates
        of_new = torch.addcmul(less[..., size:], less[..., size:] * new, new, value=-1.0, out=grad[:, :, 3])
        torch.mul(of_new, reset, out=grad[:, :, 2])
        less.mul_(gates)  # the sigmoids' own gradients
        torch.mul(before - new, less[..., size:], out=grad[:, :, 1])
        torch.mul(of_new, inner, out=grad[:, :, 0]).mul_(less[..., :size])
        flat = grad.view(num_steps, num_rows, 4 * size)
        state = torch.zeros_like(before[0])
        parts = (grad_hiddens.unbind(0), grad.unbind(0), flat[..., : 3 * size].unbind(0), gates[..., size:].unbind(0))
        begins = first.any(1).tolist()
        for t, (grad_out, of_gates, to_hidden, keep) in reversed(list(enumerate(zip(*parts, strict=True)))):
            state.add_(grad_out)
            of_gates.mul_(state.unsqueeze(1))
            state = torch.addmm(state.mul_(keep), to_hidden, weight_hh)
            if begins[t]:
                state.masked_fill_(first[t, :, None], 0.0)
        rows = num_steps * num_rows
        to_hidden = flat[..., : 3 * size].reshape(rows, 3 * size)
        return (
            torch.cat([flat[..., : 2 * size], flat[..., 3 * size :]], -1),
            to_hidden.t() @ before.view(rows, size),
            to_hidden[:, 2 * size :].sum(0),
            state,
            None,
        )

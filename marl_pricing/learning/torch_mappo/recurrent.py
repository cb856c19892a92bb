"""Recurrent cells over whole sequences in PyTorch; the twin of `learning/recurrent.py`, gate for gate.

Autograd would record every operation of every step, and sum the weight gradients step by step. As in the twin, the
GRU's gradient is written by hand: what does not depend on the state's gradient is computed for all steps at once, the
backward loop carries the state gradient only, and each weight gradient is one matrix product over the whole sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Steps of a segment that are worked on together; measured for 16 to 192 rows of 64 and 128.
_BLOCK = 16


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


Part = tuple[Cell, Tensor, Tensor, Tensor]


def sequences(parts: Sequence[Part]) -> list[Tensor]:
    """Several cells of one kind and width, over segments of one length.

    Args:
        parts: of each (cell, inputs [T, B, D], memory [B, M] before the segment, first [T, B] bool). Where `first` is
            set, step t begins an episode: the memory is zero there.

    Returns:
        Memories [T, B, M] after each step, of each.
    """
    if parts[0][0].cell == "gru":
        return gru_sequences(parts)
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
def gru_sequences(parts: Sequence[Part]) -> list[Tensor]:
    """Several GRUs of one width, over segments of one length, in one loop through time: see `sequences`."""
    given = [
        (inputs, cell.weight_ih, cell.bias_ih, cell.weight_hh, cell.bias_hh, hidden)
        for cell, inputs, hidden, _ in parts
    ]
    hiddens = GruSequences.apply(tuple(first for *_, first in parts), *(tensor for own in given for tensor in own))
    assert isinstance(hiddens, tuple)
    return list(hiddens)


class GruSequences(torch.autograd.Function):
    """`gru_sequences` with its gradient by hand.

    On a CPU a step costs as much in calls as in arithmetic, so there are as few as can be: the rows of all networks
    share every operation but the matrix product, what a step adds to is laid out beforehand and changed in place, and
    views of every step are made at once. Passes over a segment go by blocks of steps that the cache holds.
    """

    @staticmethod
    def forward(ctx: Any, firsts: tuple[Tensor, ...], *given: Tensor) -> tuple[Tensor, ...]:
        """`given`: inputs, weight_ih, bias_ih, weight_hh, bias_hh, hidden of one network after another."""
        networks = [given[place : place + 6] for place in range(0, len(given), 6)]
        sizes = [first.shape[1] for first in firsts]
        hidden, first = torch.cat([own[5] for own in networks]), torch.cat(firsts, 1)
        num_steps, (num_rows, size) = first.shape[0], hidden.shape
        # [T, R, 3H]: r, z and what the reset gate is multiplied with, U_n h + b, which starts with its bias.
        gates = hidden.new_empty(num_steps, num_rows, 3 * size)
        news, hiddens = (hidden.new_empty(num_steps, num_rows, size) for _ in range(2))
        kernels, before = [own[3].t() for own in networks], []
        begins = first.any(1).tolist()
        for steps in _blocks(num_steps):
            block, places = gates[steps], (gates[steps].split(sizes, 1), news[steps].split(sizes, 1))
            for (inputs, weight, bias, _, inner_bias, _), own, new in zip(networks, *places, strict=True):
                gates_in = torch.addmm(bias, inputs[steps].flatten(0, 1), weight.t()).view_as(own)
                own[..., : 2 * size] = gates_in[..., : 2 * size]
                own[..., 2 * size :] = inner_bias
                new.copy_(gates_in[..., 2 * size :])
            products = list(zip(*(part.unbind(0) for part in places[0]), strict=True))
            sigmoids, inner = block[..., : 2 * size].unbind(0), block[..., 2 * size :].unbind(0)
            reset, update = block[..., :size].unbind(0), block[..., size : 2 * size].unbind(0)
            for t, (new, after) in enumerate(zip(news[steps].unbind(0), hiddens[steps].unbind(0), strict=True)):
                if begins[steps.start + t]:
                    hidden = hidden.masked_fill(first[steps.start + t, :, None], 0.0)
                before.append(hidden)
                for product, part, kernel in zip(products[t], hidden.split(sizes), kernels, strict=True):
                    product.addmm_(part, kernel)
                sigmoids[t].sigmoid_()
                new.addcmul_(reset[t], inner[t]).tanh_()
                hidden = torch.lerp(new, hidden, update[t], out=after)
        kept = (tensor for own in networks for tensor in (own[0], own[1], own[3]))
        ctx.save_for_backward(first, gates, news, torch.stack(before), *kept)
        ctx.sizes = sizes
        return tuple(own.contiguous() for own in hiddens.split(sizes, 1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first, gates, news, before, *kept = ctx.saved_tensors
        networks = [kept[place : place + 3] for place in range(0, len(kept), 3)]
        (num_steps, num_rows, size), sizes = news.shape, ctx.sizes
        grad_hiddens, begins = torch.cat(grads, 1).unbind(0), first.any(1).tolist()
        # Weights in the order of `grad` below.
        kernels = [torch.cat([weight[2 * size :], weight[: 2 * size]]) for _, _, weight in networks]
        grad_inputs = [inputs.new_empty(inputs.shape) for inputs, _, _ in networks]
        of_in, of_hidden = ([torch.zeros_like(own[place]) for own in networks] for place in (1, 2))
        sums = [weight.new_zeros(4 * size) for _, _, weight in networks]
        state = torch.zeros_like(before[0])
        states = state.split(sizes)
        for steps in reversed(_blocks(num_steps)):
            own, new = gates[steps], news[steps]
            # [T, R, 4, H]: what the state's gradient is multiplied with to give that of U_n h + b, r, z, n. The first
            # three go to the hidden state, the last three to the inputs.
            grad = new.new_empty(len(new), num_rows, 4, size)
            update, less = own[..., size : 2 * size], 1.0 - own[..., : 2 * size]
            of_new = torch.addcmul(less[..., size:], less[..., size:] * new, new, value=-1.0, out=grad[:, :, 3])
            torch.mul(of_new, own[..., :size], out=grad[:, :, 0])
            less.mul_(own[..., : 2 * size])  # the sigmoids' own gradients
            torch.mul(of_new, own[..., 2 * size :], out=grad[:, :, 1]).mul_(less[..., :size])
            torch.mul(before[steps] - new, less[..., size:], out=grad[:, :, 2])
            flat = grad.flatten(2)
            products = list(zip(*(part.unbind(0) for part in flat[..., : 3 * size].split(sizes, 1)), strict=True))
            parts = list(zip(grad.unbind(0), update.unbind(0), products, strict=True))
            for t, (of_gates, keep, product) in reversed(list(enumerate(parts, steps.start))):
                state.add_(grad_hiddens[t])
                of_gates.mul_(state.unsqueeze(1))
                state.mul_(keep)
                for own_state, gradient, kernel in zip(states, product, kernels, strict=True):
                    own_state.addmm_(gradient, kernel)
                if begins[t]:
                    state.masked_fill_(first[t, :, None], 0.0)
            for number, (rows, hidden) in enumerate(
                zip(flat.split(sizes, 1), before[steps].split(sizes, 1), strict=True)
            ):
                inputs, weight, _ = networks[number]
                rows = rows.flatten(0, 1)
                torch.mm(rows[:, size:], weight, out=grad_inputs[number][steps].flatten(0, 1))
                of_in[number].addmm_(rows[:, size:].t(), inputs[steps].flatten(0, 1))
                of_hidden[number].addmm_(rows[:, : 3 * size].t(), hidden.flatten(0, 1))
                sums[number] += rows.sum(0)
        given: list[Tensor | None] = [None]
        for number, own_state in enumerate(states):
            weight = torch.cat([of_hidden[number][size:], of_hidden[number][:size]])
            given += [grad_inputs[number], of_in[number], sums[number][size:], weight, sums[number][:size], own_state]
        return tuple(given)


def _blocks(num_steps: int) -> list[slice]:
    """Steps that are worked on together, one block after the other."""
    return [slice(start, min(start + _BLOCK, num_steps)) for start in range(0, num_steps, _BLOCK)]

"""Recurrent cells over whole sequences in PyTorch; the twin of `learning/recurrent.py`, gate for gate.

Autograd would record every operation of every step, and sum the weight gradients step by step. As in the twin, the
GRU's gradient is written by hand: what does not depend on the state's gradient is computed for all steps at once, the
backward loop carries the state gradient only, and each weight gradient is one matrix product over the whole sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from math import gcd
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marl_pricing.learning.torch_mappo.linear import times

aten = torch.ops.aten

# Numbers of one kind [steps, R, H] that a pass over a segment works on together, and least steps for them: more than a
# cache holds is slow, and so are products of few rows. Measured for 64 to 256 rows of 64 and 128.
_BLOCK, _LEAST = 2**19, 16


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


class _Step(NamedTuple):
    """Views of one step's rows; [N, B, …] are the rows of one network after the other, B at a time."""

    before: Tensor  # [R, H] the hidden state before the step
    before_parts: Tensor  # [N, B, H]
    products: Tensor  # [N, B, 3H] where the product with the hidden state is added to
    sigmoids: Tensor  # [R, 2H] r, z
    reset: Tensor  # [R, H]
    inner: Tensor  # [R, H] U_n h + b
    update: Tensor  # [R, H]
    new: Tensor  # [R, H]
    after: Tensor  # [R, H] the hidden state after the step
    gradients: Tensor  # [R, 4, H]
    gradients_parts: Tensor  # [N, B, 3H] what of them goes to the hidden state


class _Room:
    """Where `GruSequences` works, with views of every step, for segments of T steps of networks with `sizes` rows.

    Attributes:
        gates: [T, R, 3H] r, z, U_n h + b.  news: [T, R, H] n.
        hiddens: [T + 1, R, H] before each step, and after the last.
        blocks: the steps that are worked on together, one block after the other.
        grads: [steps of a block, R, 4, H] see `GruSequences.backward`.
        repeats: how many parts of B rows, of which N have all, a network has.
        minus: [R, H] of −1.
    """

    def __init__(self, num_steps: int, sizes: tuple[int, ...], like: Tensor) -> None:
        (num_rows, size), self.sizes = like.shape, sizes
        part = gcd(*sizes)
        self.repeats = torch.tensor([own // part for own in sizes], device=like.device)
        self.gates = like.new_empty(num_steps, num_rows, 3 * size)
        self.news = like.new_empty(num_steps, num_rows, size)
        self.hiddens = like.new_empty(num_steps + 1, num_rows, size)
        block = min(max(_BLOCK // like.numel(), _LEAST), num_steps)
        self.blocks = [slice(start, min(start + block, num_steps)) for start in range(0, num_steps, block)]
        self.grads = like.new_empty(block, num_rows, 4, size)
        self.minus = -torch.ones_like(like)

        def parts(rows: Tensor) -> Tensor:
            return rows.unflatten(1, (-1, part))

        before, after = self.hiddens[:-1], self.hiddens[1:]
        columns = (
            *(before, parts(before), parts(self.gates), self.gates[..., : 2 * size]),
            *(self.gates[..., :size], self.gates[..., 2 * size :], self.gates[..., size : 2 * size], self.news, after),
        )
        grads = (self.grads, parts(self.grads.flatten(2)[..., : 3 * size]))
        again = (cycle(column.unbind(0)) for column in grads)  # each block has the same room
        self.steps = list(map(_Step, *(column.unbind(0) for column in columns), *again))


_idle: dict[tuple, list[_Room]] = {}


class _Loan:
    """A room for one segment; it is free again when autograd has let go of the segment, whether it went back or not."""

    def __init__(self, num_steps: int, sizes: tuple[int, ...], like: Tensor) -> None:
        self._idle = _idle.setdefault((num_steps, sizes, like.shape, like.dtype, like.device), [])
        self.room = self._idle.pop() if self._idle else _Room(num_steps, sizes, like)

    def __del__(self) -> None:
        self._idle.append(self.room)


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
    views of every step are made once and kept.
    """

    @staticmethod
    def forward(ctx: Any, firsts: tuple[Tensor, ...], *given: Tensor) -> tuple[Tensor, ...]:
        """`given`: inputs, weight_ih, bias_ih, weight_hh, bias_hh, hidden of one network after another."""
        networks = [given[place : place + 6] for place in range(0, len(given), 6)]
        hidden, first = torch.cat([own[5] for own in networks]), torch.cat(firsts, 1)
        loan = _Loan(first.shape[0], tuple(own.shape[1] for own in firsts), hidden)
        room, size = loan.room, hidden.shape[-1]
        kernels = torch.stack([own[3].t() for own in networks]).repeat_interleave(room.repeats, 0)
        begins = first.any(1).tolist()
        room.hiddens[0] = hidden
        masked = []
        for steps in room.blocks:
            places = (room.gates[steps].split(room.sizes, 1), room.news[steps].split(room.sizes, 1))
            for (inputs, weight, bias, _, inner_bias, _), own, new in zip(networks, *places, strict=True):
                gates_in = times(inputs[steps].flatten(0, 1), weight, bias).view_as(own)
                own[..., : 2 * size] = gates_in[..., : 2 * size]
                own[..., 2 * size :] = inner_bias
                torch.mul(gates_in[..., 2 * size :], 2.0, out=new)
            for t in range(steps.start, steps.stop):
                step = room.steps[t]
                before, parts, new = step.before, step.before_parts, step.new
                if begins[t]:
                    before = before.masked_fill(first[t, :, None], 0.0)
                    masked.append((t, before))
                    parts = before.view_as(parts)
                step.products.baddbmm_(parts, kernels)
                step.sigmoids.sigmoid_()
                # tanh x = 2 σ(2x) − 1 takes half the time of tanh.
                new.addcmul_(step.reset, step.inner, value=2.0).sigmoid_()
                torch.add(room.minus, new, alpha=2.0, out=new)
                torch.lerp(new, before, step.update, out=step.after)
        hiddens = tuple(own.clone() for own in room.hiddens[1:].split(room.sizes, 1))
        for t, before in masked:  # now that it has been said, what came before a step is what the step began from
            room.hiddens[t] = before
        ctx.save_for_backward(first, *(tensor for own in networks for tensor in (own[0], own[1], own[3])))
        ctx.loan = loan
        return hiddens

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first, *kept = ctx.saved_tensors
        networks = [kept[place : place + 3] for place in range(0, len(kept), 3)]
        room, size = ctx.loan.room, ctx.loan.room.news.shape[-1]
        begins, grad_hiddens = first.any(1).tolist(), torch.cat(grads, 1).unbind(0)
        earlier = (torch.zeros_like(grad_hiddens[0]), *grad_hiddens)  # by step: the gradient of what came before it
        # Weights in the order of `grad` below.
        kernels = torch.stack([weight.roll(size, 0) for _, _, weight in networks]).repeat_interleave(room.repeats, 0)
        state = grad_hiddens[-1].clone()
        rows, parts = state.unsqueeze(1), state.view_as(room.steps[0].before_parts)
        of_inputs: list[list[Tensor]] = [[] for _ in networks]
        of_weights = [[torch.zeros_like(own[place]) for own in networks] for place in (1, 2)]
        of_biases = [weight.new_zeros(4 * size) for _, _, weight in networks]
        for steps in reversed(room.blocks):
            new, before = room.news[steps], room.hiddens[steps]
            reset, update, inner = room.gates[steps].split(size, -1)
            # What the state's gradient is multiplied with to give that of U_n h + b, r, z, n. The first three go to the
            # hidden state, the last three to the inputs.
            grad = room.grads[: len(new)]
            of_new = aten.tanh_backward.grad_input(1.0 - update, new, grad_input=grad[:, :, 3])
            torch.mul(of_new, reset, out=grad[:, :, 0])
            aten.sigmoid_backward.grad_input(of_new * inner, reset, grad_input=grad[:, :, 1])
            aten.sigmoid_backward.grad_input(before - new, update, grad_input=grad[:, :, 2])
            for t in range(steps.stop - 1, steps.start - 1, -1):
                step = room.steps[t]
                step.gradients.mul_(rows)
                if begins[t]:  # what goes to the step before is added after the mask
                    state.mul_(step.update)
                else:
                    torch.addcmul(earlier[t], state, step.update, out=state)
                parts.baddbmm_(step.gradients_parts, kernels)
                if begins[t]:
                    state.masked_fill_(first[t, :, None], 0.0).add_(earlier[t])
            places = (grad.flatten(2).split(room.sizes, 1), before.split(room.sizes, 1))
            for number, ((inputs, weight, _), own, hidden) in enumerate(zip(networks, *places, strict=True)):
                own = own.flatten(0, 1)
                of_inputs[number].append(times(own[:, size:], weight.t()).view_as(inputs[steps]))
                of_weights[0][number].addmm_(own[:, size:].t(), inputs[steps].flatten(0, 1))
                of_weights[1][number].addmm_(own[:, : 3 * size].t(), hidden.flatten(0, 1))
                of_biases[number] += own.sum(0)
        given: list[Tensor | None] = [None]
        for own, of_in, of_hidden, bias, of_state in zip(
            of_inputs, *of_weights, of_biases, state.split(room.sizes), strict=True
        ):
            inputs = own[0] if len(own) == 1 else torch.cat(own[::-1])
            given += [inputs, of_in, bias[size:], of_hidden.roll(-size, 0), bias[:size], of_state]
        return tuple(given)

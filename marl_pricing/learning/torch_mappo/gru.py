"""Several GRUs over whole segments in one loop through time, with their gradient by hand.

Autograd would record every operation of every step, and sum the weight gradients step by step. As in the twin
(`learning/recurrent.py`), what does not depend on the state's gradient is computed for many steps at once, the backward
loop carries the state's gradient only, and weight gradients are products over many steps.

On a CPU a step costs as much in calls as in arithmetic, so there are as few as can be: the rows of all networks share
every operation, what a step adds to is laid out beforehand and changed in place, and views of every step are made once
and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from math import gcd
from typing import Any, NamedTuple

import torch
from torch import Tensor

from marl_pricing.learning.torch_mappo.linear import times

aten = torch.ops.aten

# Numbers of one kind [steps, R, H] that a pass over a segment works on together, and least steps for them: more than a
# cache holds is slow, and so are products of few rows. Measured for 64 to 256 rows of 64 and 128.
_BLOCK, _LEAST = 2**19, 16


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


# Inference mode spares these calls a part of what autograd costs them, though it records neither loop anyway.


@torch.inference_mode()
def _forth(
    room: _Room, steps: slice, kernels: Tensor, first: Tensor, begins: Sequence[bool]
) -> list[tuple[int, Tensor]]:
    """The steps of a block, into the room; kernels [N, H, 3H].

    Returns:
        (step, hidden states [R, H] it began from) where episodes began.
    """
    masked = []
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
    return masked


@torch.inference_mode()
def _back(
    room: _Room,
    steps: slice,
    kernels: Tensor,
    first: Tensor,
    begins: Sequence[bool],
    earlier: Sequence[Tensor],
    state: Tensor,
) -> None:
    """The steps of a block from the last to the first: multiplies the room's `grads` with the state's gradient.

    Args:
        kernels: [N, 3H, H].  earlier: of each step, the gradient [R, H] of what the step before it returned.
        state: [R, H], gradient of the hidden state after the block; then, before the block.
    """
    rows, parts = state.unsqueeze(1), state.view_as(room.steps[0].before_parts)
    for t in range(steps.stop - 1, steps.start - 1, -1):
        step = room.steps[t]
        step.gradients.mul_(rows)
        if begins[t]:  # nothing goes to the state before, and what that one returned comes after the mask
            state.mul_(step.update)
            parts.baddbmm_(step.gradients_parts, kernels)
            state.masked_fill_(first[t, :, None], 0.0).add_(earlier[t])
        else:
            torch.addcmul(earlier[t], state, step.update, out=state)
            parts.baddbmm_(step.gradients_parts, kernels)


class GruSequences(torch.autograd.Function):
    """h' = (1 − z) n + z h over segments of one length, of several networks of one width.

    Takes (first [T, B] bool of each network, then inputs [T, B, D], weight_ih [3H, D], bias_ih [3H], weight_hh [3H, H],
    bias_hh [H], hidden [B, H] of one network after another); gives hidden states [T, B, H] after each step, of each.
    """

    @staticmethod
    def forward(ctx: Any, firsts: tuple[Tensor, ...], *given: Tensor) -> tuple[Tensor, ...]:
        networks = [given[place : place + 6] for place in range(0, len(given), 6)]
        hidden, first = torch.cat([own[5] for own in networks]), torch.cat(firsts, 1)
        loan = _Loan(first.shape[0], tuple(own.shape[1] for own in firsts), hidden)
        room, size = loan.room, hidden.shape[-1]
        kernels = torch.stack([own[3].t() for own in networks]).repeat_interleave(room.repeats, 0)
        begins = first.any(1).tolist()
        room.hiddens[0] = hidden
        masked: list[tuple[int, Tensor]] = []
        for steps in room.blocks:
            places = (room.gates[steps].split(room.sizes, 1), room.news[steps].split(room.sizes, 1))
            for (inputs, weight, bias, _, inner_bias, _), own, new in zip(networks, *places, strict=True):
                gates_in = times(inputs[steps].flatten(0, 1), weight, bias).view_as(own)
                own[..., : 2 * size] = gates_in[..., : 2 * size]
                own[..., 2 * size :] = inner_bias
                torch.mul(gates_in[..., 2 * size :], 2.0, out=new)
            masked += _forth(room, steps, kernels, first, begins)
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
        earlier = (torch.zeros_like(grad_hiddens[0]), *grad_hiddens)
        # Weights in the order of `grad` below.
        kernels = torch.stack([weight.roll(size, 0) for _, _, weight in networks]).repeat_interleave(room.repeats, 0)
        state = grad_hiddens[-1].clone()
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
            _back(room, steps, kernels, first, begins, earlier, state)
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

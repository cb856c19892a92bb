"""The minGRU over whole segments in PyTorch; the twin of `learning/min_gru.py`, its gradient by hand too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class LinearRecurrence(torch.autograd.Function):
    """h_t = a_t h_{t−1} + b_t: takes a and b [T, B, H] and h_0 [B, H], gives h_1 … h_T [T, B, H]."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, enter: Tensor, start: Tensor) -> Tensor:
        hiddens = _through(decay, enter, start)
        ctx.save_for_backward(decay, start, hiddens)
        return hiddens

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, start, hiddens = ctx.saved_tensors
        later = torch.cat([decay[1:], torch.zeros_like(decay[:1])])
        whole = _through(later.flip(0), grads[0].flip(0), torch.zeros_like(start)).flip(0)
        return whole * torch.cat([start[None], hiddens[:-1]]), whole, whole[0] * decay[0]


def _through(decay: Tensor, enter: Tensor, start: Tensor) -> Tensor:
    hiddens = torch.empty_like(enter)
    with torch.inference_mode():
        for a, b, after in zip(decay.unbind(0), enter.unbind(0), hiddens.unbind(0), strict=True):
            start = torch.addcmul(b, a, start, out=after)
    return hiddens


def min_gru_step(gates_in: Tensor, hidden: Tensor) -> Tensor:
    """h' = (1 − z) h + z g(W_h x + b_h); gates_in [B, 2H] (z, then h̃), hidden [B, H] → [B, H]."""
    update, new = _gates(gates_in)
    return (1.0 - update) * hidden + update * new


@torch.compiler.disable  # it would compile the loop step by step
def min_gru_sequence(gates_in: Tensor, hidden: Tensor, first: Tensor) -> Tensor:
    """A minGRU over a segment: gates_in [T, B, 2H], hidden [B, H], first [T, B] → hidden states [T, B, H]."""
    update, new = _gates(gates_in)
    kept = (1.0 - update).masked_fill(first[..., None], 0.0)
    hiddens = LinearRecurrence.apply(kept, update * new, hidden)
    assert isinstance(hiddens, Tensor)
    return hiddens


def _gates(gates_in: Tensor) -> tuple[Tensor, Tensor]:
    update, new = gates_in.chunk(2, -1)
    # g without a comparison, of operators that a policy file may hold: x + σ(0) above 0, σ(x) below.
    return torch.sigmoid(update), torch.relu(new) + torch.sigmoid(-torch.relu(-new))

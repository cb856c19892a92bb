"""Dense layers of many rows, by the quickest product that torch has for them.

On a CPU torch gives float32 products to MKL, which on AMD's processors reaches half of what they can do, and less where
a matrix is narrow. oneDNN, which torch carries for compiled inference, has no such gap; docs/torch.md says what it
brings. Neither changes a result by more than rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def _has_onednn() -> bool:
    """Whether oneDNN takes products. Its operator belongs to torch's compiler and may change: then MKL has to do."""
    one = torch.ones(1, 1)
    try:
        return bool(torch.ops.mkldnn._linear_pointwise(one, one, None, "none", [], "") == 1.0)
    except (AttributeError, RuntimeError, TypeError):
        return False


_ONEDNN = _has_onednn()


def times(rows: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """rows [B, D], weight [A, D], bias [A] → [B, A]; without a gradient."""
    if _ONEDNN and rows.device.type == "cpu" and rows.dtype == torch.float32:
        return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "relu" if relu else "none", [], "")
    return _plain(rows, weight, bias, relu)


def _plain(inputs: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    out = F.linear(inputs, weight, bias)
    return F.relu(out) if relu else out


def linear(inputs: Tensor, weight: Tensor, bias: Tensor, *, relu: bool = False) -> Tensor:
    """`F.linear`, inputs [..., D] → [..., A], and `F.relu` of it where it is asked for."""
    if inputs.device.type == "cpu" and not torch.compiler.is_compiling():
        out = _Linear.apply(inputs.reshape(-1, inputs.shape[-1]), weight, bias, relu)
        assert isinstance(out, Tensor)
        return out.view(*inputs.shape[:-1], -1)
    return _plain(inputs, weight, bias, relu)


class _Linear(torch.autograd.Function):
    """`linear` of rows [B, D] on a CPU."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        out = times(rows, weight, bias, relu=relu)
        ctx.save_for_backward(rows, weight, *([out] if relu else []))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, *out = ctx.saved_tensors
        if out:
            grad = torch.ops.aten.threshold_backward(grad, out[0], 0.0)
        of_rows = times(grad, weight.t()) if ctx.needs_input_grad[0] else None
        # MKL is three times as fast with the narrow matrix first.
        of_weight = grad.t() @ rows if weight.shape[0] < weight.shape[1] else (rows.t() @ grad).t()
        return of_rows, of_weight, grad.sum(0), None

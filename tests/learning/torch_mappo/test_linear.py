"""The torch learner's dense layers beside torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from marl_pricing.learning.torch_mappo import linear as dense


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize(("shape", "out"), [((20, 6, 9), 64), ((20, 6, 64), 15), ((7, 5), 3), ((4, 8), 1)])
@pytest.mark.parametrize("relu", [True, False])
def test_a_layer_and_its_gradients_are_torchs(monkeypatch, onednn: bool, shape, out: int, relu: bool) -> None:
    if onednn and not dense._ONEDNN:
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(dense, "_ONEDNN", onednn)
    torch.manual_seed(1)
    given = [torch.randn(size, requires_grad=True) for size in (shape, (out, shape[-1]), (out,))]
    ours = dense.linear(*given, relu=relu)
    theirs = F.relu(F.linear(*given)) if relu else F.linear(*given)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(ours)
    mine, other = (torch.autograd.grad((outputs * weights).sum(), given) for outputs in (ours, theirs))
    for gradient, expected in zip(mine, other, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-4)


def test_double_precision_keeps_it() -> None:
    given = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in ((3, 2, 4), (5, 4), (5,))]
    assert dense.linear(*given).dtype == torch.float64
    assert torch.autograd.gradcheck(dense.linear, given)

"""Laws of a continuous price in PyTorch; the twins of `learning/price_laws.py`, which says what they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from marl_pricing.learning.price_laws import LOG_CONCENTRATION, LOG_SPREAD, NODES, WEIGHTS


def _bounded(output: Tensor, ends: tuple[float, float, float]) -> Tensor:
    low, start, high = ends
    shift = math.log((start - low) / (high - start))
    return low + (high - low) * torch.sigmoid(output + shift)


@dataclass(frozen=True)
class Gaussian:
    """The squashed normal law; all [..., S, P]."""

    mean: Tensor
    log_spread: Tensor

    @classmethod
    def of(cls, outputs: Tensor) -> Gaussian:
        """From outputs [..., S, P, 2]."""
        return cls(outputs[..., 0], _bounded(outputs[..., 1], LOG_SPREAD))

    def numbers(self) -> Tensor:
        """Mean and standard deviation of z [..., S, P, 2]."""
        return torch.cat([self.mean[..., None], self.log_spread.exp()[..., None]], -1)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A draw z by the CPU's generator."""
        mean, spread = self.mean.cpu(), self.log_spread.exp().cpu()
        return mean + spread * torch.randn(mean.shape, generator=generator)

    def centre(self) -> Tensor:
        """The median place."""
        return self.mean

    def log_prob(self, place: Tensor) -> Tensor:
        """Log density of x at a place z."""
        score = (place - self.mean) * torch.exp(-self.log_spread)
        sides = logsigmoid(place) + logsigmoid(-place)
        return -0.5 * score**2 - self.log_spread - 0.5 * math.log(2 * math.pi) - sides

    def entropy(self) -> Tensor:
        """Entropy of x."""
        nodes, weights = (
            torch.as_tensor(own, dtype=torch.float32, device=self.mean.device) for own in (NODES, WEIGHTS)
        )
        places = self.mean[..., None] + self.log_spread.exp()[..., None] * nodes
        squashed = ((logsigmoid(places) + logsigmoid(-places)) * weights).sum(-1)
        return self.log_spread + 0.5 * math.log(2 * math.pi * math.e) + squashed


@dataclass(frozen=True)
class Beta:
    """The Beta law by its mode and concentration; all [..., S, P]."""

    mode: Tensor
    log_concentration: Tensor

    @classmethod
    def of(cls, outputs: Tensor) -> Beta:
        """From outputs [..., S, P, 2]."""
        return cls(outputs[..., 0], _bounded(outputs[..., 1], LOG_CONCENTRATION))

    def counts(self) -> tuple[Tensor, Tensor]:
        """(α, β)."""
        concentration = self.log_concentration.exp()
        return 1.0 + concentration * torch.sigmoid(self.mode), 1.0 + concentration * torch.sigmoid(-self.mode)

    def numbers(self) -> Tensor:
        """α and β [..., S, P, 2]."""
        return torch.cat([own[..., None] for own in self.counts()], -1)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A draw z by the CPU's generator: the logarithm of a ratio of two gamma variables of counts above 1."""
        below, above = (torch._standard_gamma(own.cpu(), generator=generator).log() for own in self.counts())
        return below - above

    def centre(self) -> Tensor:
        """The most probable place."""
        return self.mode

    def log_prob(self, place: Tensor) -> Tensor:
        """Log density of x at a place z."""
        a, b = self.counts()
        return (a - 1.0) * logsigmoid(place) + (b - 1.0) * logsigmoid(-place) - _log_beta(a, b)

    def entropy(self) -> Tensor:
        """Entropy of x."""
        a, b = self.counts()
        own = _log_beta(a, b) - (a - 1.0) * torch.digamma(a) - (b - 1.0) * torch.digamma(b)
        return own + (a + b - 2.0) * torch.digamma(a + b)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


Law = Gaussian | Beta
LAWS: dict[str, type[Gaussian] | type[Beta]] = {"beta": Beta, "gaussian": Gaussian}

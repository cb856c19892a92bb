"""Laws of a continuous price: what a network's two outputs a product mean where there is no grid.

A price is low + (high − low)·x with x in (0, 1). What is drawn, kept and learned from is the place
z = log(x / (1 − x)): in 32 bits log x and log(1 − x) are exact from z however near an end x lies, and from x they are
not. Densities and entropies are those of x, by which prices of all products are measured alike: the uniform law has the
entropy 0, the highest that there is. (Of money they differ by log(high − low), which no gradient sees.)
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.scipy.special import betaln, digamma

Array = jax.Array
LawName = Literal["beta", "gaussian"]

NUM_OUTPUTS = 2  # of a network, a product: where the law lies, and how wide it is
# Natural logarithms of how wide: (lowest, at the output 0, highest). A law that is as narrow as a point has an infinite
# density, and its ratios explode; one that is too wide lies on both ends.
LOG_SPREAD = (-5.0, 0.0, 1.0)  # of a Gaussian's standard deviation, in z
LOG_CONCENTRATION = (-3.0, 1.0, 7.0)  # of α + β − 2
NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()  # of a normal law's expectation


def bounded(output: Array, ends: tuple[float, float, float]) -> Array:
    """An output as a number between two ends, which it never reaches: at 0 it is the middle one of `ends`."""
    low, start, high = ends
    shift = math.log((start - low) / (high - start))
    return low + (high - low) * jax.nn.sigmoid(output + shift)


def log_sides(place: Array) -> tuple[Array, Array]:
    """(log x, log(1 − x)) of a place z."""
    return jax.nn.log_sigmoid(place), jax.nn.log_sigmoid(-place)


class Gaussian(struct.PyTreeNode):
    """z is normal, so x is squashed: the logit-normal law (Atchison and Shen 1980)."""

    mean: Array  # [..., S, P]
    log_spread: Array  # [..., S, P]

    @classmethod
    def of(cls, outputs: Array) -> Gaussian:
        """From outputs [..., S, P, 2]."""
        return cls(outputs[..., 0], bounded(outputs[..., 1], LOG_SPREAD))

    def numbers(self) -> Array:
        """Mean and standard deviation of z [..., S, P, 2]."""
        return jnp.stack([self.mean, jnp.exp(self.log_spread)], -1)

    def sample(self, key: Array) -> Array:
        """A draw z [..., S, P]."""
        return self.mean + jnp.exp(self.log_spread) * jax.random.normal(key, self.mean.shape)

    def centre(self) -> Array:
        """The median z: half of all prices are below it."""
        return self.mean

    def log_prob(self, place: Array) -> Array:
        """Log density of x: that of z less log dx/dz = log x + log(1 − x)."""
        score = (place - self.mean) * jnp.exp(-self.log_spread)
        below, above = log_sides(place)
        return -0.5 * score**2 - self.log_spread - 0.5 * math.log(2 * math.pi) - below - above

    def entropy(self) -> Array:
        """Entropy of x: that of z plus E[log dx/dz], by Gauss–Hermite quadrature; a closed form there is none."""
        nodes = self.mean[..., None] + jnp.exp(self.log_spread)[..., None] * jnp.asarray(NODES, jnp.float32)
        below, above = log_sides(nodes)
        squashed = ((below + above) * jnp.asarray(WEIGHTS, jnp.float32)).sum(-1)
        return self.log_spread + 0.5 * math.log(2 * math.pi * math.e) + squashed


class Beta(struct.PyTreeNode):
    """x is Beta with one mode, and reaches both ends (Chou, Maturana and Scherer 2017).

    α = 1 + κ m and β = 1 + κ (1 − m), with the mode m and the concentration κ.
    """

    mode: Array  # [..., S, P] as a place z
    log_concentration: Array  # [..., S, P]

    @classmethod
    def of(cls, outputs: Array) -> Beta:
        """From outputs [..., S, P, 2]."""
        return cls(outputs[..., 0], bounded(outputs[..., 1], LOG_CONCENTRATION))

    def counts(self) -> tuple[Array, Array]:
        """(α, β)."""
        concentration = jnp.exp(self.log_concentration)
        return 1.0 + concentration * jax.nn.sigmoid(self.mode), 1.0 + concentration * jax.nn.sigmoid(-self.mode)

    def numbers(self) -> Array:
        """α and β [..., S, P, 2]."""
        return jnp.stack(self.counts(), -1)

    def sample(self, key: Array) -> Array:
        """A draw z [..., S, P]: the logarithm of a ratio of two gamma variables."""
        key_below, key_above = jax.random.split(key)
        a, b = self.counts()
        return jax.random.loggamma(key_below, a) - jax.random.loggamma(key_above, b)

    def centre(self) -> Array:
        """The most probable place."""
        return self.mode

    def log_prob(self, place: Array) -> Array:
        """Log density of x."""
        a, b = self.counts()
        below, above = log_sides(place)
        return (a - 1.0) * below + (b - 1.0) * above - betaln(a, b)

    def entropy(self) -> Array:
        """Entropy of x, in closed form."""
        a, b = self.counts()
        return betaln(a, b) - (a - 1.0) * digamma(a) - (b - 1.0) * digamma(b) + (a + b - 2.0) * digamma(a + b)


Law = Gaussian | Beta
LAWS: dict[str, type[Gaussian] | type[Beta]] = {"beta": Beta, "gaussian": Gaussian}

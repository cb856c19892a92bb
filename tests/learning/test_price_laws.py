"""Laws of continuous prices, against SciPy's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from marl_pricing.learning import actions
from marl_pricing.learning.price_laws import LAWS, LOG_CONCENTRATION, LOG_SPREAD, Beta, Gaussian
from marl_pricing.market import reset, step
from tests.markets import make, within

CENTRES, WIDTHS = np.array([-6.0, -1.0, 0.0, 0.3, 4.0]), np.array([-3.0, -0.5, 0.0, 1.0, 9.0])
OUTPUTS = np.stack(np.meshgrid(CENTRES, WIDTHS), -1).reshape(-1, 2)


def between(output: np.ndarray, ends: tuple[float, float, float]) -> np.ndarray:
    low, start, high = ends
    return low + (high - low) * special.expit(output + special.logit((start - low) / (high - low)))


class Squashed:
    """x = 1 / (1 + exp(−z)) of a normal z, as SciPy would have it."""

    def __init__(self, mean: float, spread: float) -> None:
        self.normal = stats.norm(mean, spread)

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        return self.normal.logpdf(special.logit(x)) - np.log(x * (1 - x))

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return self.normal.cdf(special.logit(x))

    def entropy(self) -> float:
        def term(z: float) -> float:
            return -self.normal.pdf(z) * (self.normal.logpdf(z) - special.log_expit(z) - special.log_expit(-z))

        mean, spread = self.normal.mean(), self.normal.std()
        return integrate.quad(term, mean - 12 * spread, mean + 12 * spread, points=[mean, 0.0], limit=400)[0]


def oracle(name: str, output: np.ndarray):
    if name == "gaussian":
        return Squashed(output[0], np.exp(between(output[1], LOG_SPREAD)))
    many, mode = np.exp(between(output[1], LOG_CONCENTRATION)), special.expit(output[0])
    return stats.beta(1 + many * mode, 1 + many * (1 - mode))


@pytest.mark.parametrize("name", LAWS)
def test_densities_and_entropies_are_scipys(name: str) -> None:
    law = LAWS[name].of(jnp.asarray(OUTPUTS, jnp.float32))
    x = np.array([1e-4, 0.02, 0.4, 0.97])
    got = np.stack([law.log_prob(jnp.full(len(OUTPUTS), z, jnp.float32)) for z in special.logit(x)], -1)
    entropy = np.asarray(law.entropy())
    for number, output in enumerate(OUTPUTS):
        own = oracle(name, output)
        want = own.logpdf(x)
        np.testing.assert_allclose(got[number], want, atol=2e-3 + 2e-5 * np.abs(want).max(), err_msg=str(output))
        np.testing.assert_allclose(entropy[number], own.entropy(), atol=4e-3, err_msg=str(output))
        assert entropy[number] <= 1e-3  # the uniform law has the most


@pytest.mark.parametrize("name", LAWS)
def test_draws_follow_the_law(name: str) -> None:
    law = LAWS[name].of(jnp.asarray(OUTPUTS, jnp.float32))
    num = 4000
    places = np.asarray(jax.vmap(law.sample)(jax.random.split(jax.random.key(1), num)), np.float64)
    assert np.isfinite(places).all()
    for number, output in enumerate(OUTPUTS):
        found = stats.kstest(special.expit(places[:, number]), oracle(name, output).cdf)
        assert found.pvalue > 1e-5, output
    # −E[log density] is the entropy, with the density and the draws of the code itself.
    surprise = -np.asarray(jax.vmap(law.log_prob)(jnp.asarray(places, jnp.float32)))
    assert within(surprise.mean(0), np.asarray(law.entropy()), surprise.std(0) / num**0.5 + 1e-3, errors=5.0)


@pytest.mark.parametrize("name", LAWS)
def test_gradients_are_finite_at_the_ends(name: str) -> None:
    wild = jnp.asarray([[-60.0, -60.0], [60.0, 60.0], [0.0, 60.0], [-60.0, 60.0]])

    def total(outputs):
        law = LAWS[name].of(outputs)
        return (law.log_prob(law.sample(jax.random.key(0))) + law.entropy()).sum()

    assert np.isfinite(jax.grad(total)(wild)).all()
    narrow = LAWS[name].of(wild)
    spread = np.asarray(narrow.log_spread if isinstance(narrow, Gaussian) else narrow.log_concentration)
    low, _, high = LOG_SPREAD if name == "gaussian" else LOG_CONCENTRATION
    np.testing.assert_allclose(spread, [low, high, high, high], atol=1e-5)


def test_a_head_is_a_law_a_product_and_its_centre_a_price_between_the_ends() -> None:
    prices = {"map": "range", "low": [1.0, 2.0, 3.0, 4.0], "high": [2.0, 4.0, 4.0, 4.5]}
    own = make(num_products=2, prices=prices)
    outputs = np.random.default_rng(0).normal(size=(2, 4))
    for name, split in actions.HEADS.items():
        heads = split(own.shape, jnp.asarray(outputs, jnp.float32), None)
        assert isinstance(heads[0], Beta if name == "beta" else Gaussian)
        chosen = actions.greedy(heads)
        action = actions.to_action(own.shape, own.params, heads, chosen)
        by_product = outputs.reshape(2, 2, 2)[..., 0]
        low, high = (np.reshape(prices[end], (2, 2)) for end in ("low", "high"))
        np.testing.assert_allclose(action.price, low + (high - low) * special.expit(by_product), rtol=1e-6)
        want = np.asarray(heads[0].log_prob(chosen[0])).sum(-1)
        np.testing.assert_allclose(actions.log_prob(heads, chosen), want, rtol=1e-6)
        np.testing.assert_allclose(actions.entropy(heads), np.asarray(heads[0].entropy()).sum(-1), rtol=1e-6)


@pytest.mark.parametrize("price_map", ["range", "adjust"])
def test_what_is_drawn_is_posted(price_map: str) -> None:
    own = make(prices={"map": price_map, "low": 1.0, "high": 2.0, "start": 1.5})
    state, _ = reset(jax.random.key(0), own.shape, own.params)
    heads = actions.split_heads(own.shape, jnp.zeros((2, 2)), None)
    for place, share in ((-40.0, 0.0), (0.0, 0.5), (float(special.logit(0.8)), 0.8), (40.0, 1.0)):
        action = actions.to_action(own.shape, own.params, heads, [jnp.full((2, 1), place)])
        _, _, outcome = step(jax.random.key(1), own.shape, state, action, own.params)
        want = 1.0 + share if price_map == "range" else 1.5 * (1 + 0.3 * (2 * share - 1))
        np.testing.assert_allclose(outcome.prices, want, rtol=1e-6)


def test_constant_prices_are_spread_evenly_over_the_range() -> None:
    places = actions.constant_prices(make(prices={"map": "range", "low": 1.0, "high": 2.0}).shape, 5)
    np.testing.assert_allclose(special.expit(places), [0.1, 0.3, 0.5, 0.7, 0.9], rtol=1e-6)
    assert actions.constant_prices(make().shape, 5).tolist() == list(range(8))

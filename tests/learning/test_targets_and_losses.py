"""Advantages, losses, normalisation, actions: against plain code and hand-made numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from marl_pricing.learning import actions, losses, normalisation
from marl_pricing.learning.advantage import generalised_advantage, one_step_target
from marl_pricing.learning.batch import minibatch_index
from marl_pricing.learning.mappo.losses import policy_loss
from marl_pricing.learning.schedule import entropy_coefficient, learning_rate
from marl_pricing.learning.settings import LearnerSettings
from tests.learning.helpers import CHOSEN
from tests.markets import make, within


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.floats(0, 0.99), st.floats(0, 1))
def test_gae_is_the_plain_loop_with_terminations_and_truncations(seed: int, gamma: float, lam: float) -> None:
    rng = np.random.default_rng(seed)
    reward, value, following = rng.normal(size=(3, 12, 5))
    terminated, truncated = rng.random((2, 12, 5)) < 0.2
    advantage = np.zeros((12, 5))
    for env in range(5):
        later = 0.0
        for t in reversed(range(12)):
            bootstrap = 0.0 if terminated[t, env] else following[t, env]
            delta = reward[t, env] + gamma * bootstrap - value[t, env]
            over = terminated[t, env] or truncated[t, env]
            later = delta + (0.0 if over else gamma * lam * later)
            advantage[t, env] = later
    reward, value, following = (jnp.asarray(x, jnp.float32) for x in (reward, value, following))
    one_step = one_step_target(reward, following, jnp.asarray(terminated), gamma)
    got, target = generalised_advantage(one_step, value, jnp.asarray(terminated | truncated), gamma, lam)
    np.testing.assert_allclose(got, advantage, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(target, advantage + value, rtol=1e-5, atol=1e-5)


def test_the_surrogate_is_clipped_on_the_side_that_pays() -> None:
    ratio = np.array([1.5, 1.5, 0.5, 0.5, 1.1, 9.0])
    advantage = np.array([1.0, -1.0, 1.0, -1.0, 2.0, 1.0])
    live = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    loss, sums = policy_loss(jnp.log(ratio), jnp.zeros(6), jnp.asarray(advantage), jnp.asarray(live), 0.2)
    assert float(loss) == pytest.approx(-(1.2 - 1.5 + 0.5 - 0.8 + 2.2), rel=1e-5)
    assert float(sums["clipped"]) == 4
    assert float(sums["kl"]) == pytest.approx((ratio - 1 - np.log(ratio))[:5].sum(), rel=1e-5)


def test_the_value_loss_takes_the_worse_of_plain_and_clipped() -> None:
    value, old, target = np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.9, 0.0]), np.array([1.0, 2.0, 5.0])
    live = np.array([1.0, 1.0, 0.0])
    assert float(losses.value_loss(value, old, target, live, 0.2)) == pytest.approx(0.5 * (0.8**2 + 1.0))
    assert float(losses.value_loss(value, old, target, live, None)) == pytest.approx(0.5 * 1.0)


def test_explained_variance() -> None:
    target = np.array([1.0, 2.0, 3.0, 99.0])
    live = np.array([1.0, 1.0, 1.0, 0.0])
    assert float(losses.explained_variance(target, target, live)) == pytest.approx(1.0)
    assert float(losses.explained_variance(np.zeros(4), target, live)) == pytest.approx(0.0, abs=1e-6)
    half = np.array([1.5, 2.0, 2.5, 0.0])
    assert float(losses.explained_variance(half, target, live)) == pytest.approx(0.75)
    assert float(losses.explained_variance(half, np.ones(4), live)) == 0.0


def test_running_statistics_are_debiased_moments() -> None:
    rng = np.random.default_rng(0)
    own = normalisation.start(2)
    np.testing.assert_allclose(normalisation.moments(own), [[0, 0], [1, 1]])
    batches = rng.normal([3.0, -50.0], [2.0, 10.0], (4, 6, 5, 2))
    weights = np.array([0.99**3, 0.99**2, 0.99, 1.0])
    for batch in batches:
        own = normalisation.update(own, jnp.asarray(batch, jnp.float32), jnp.ones((6, 5, 2)))
    mean = (weights[:, None] * batches.mean((1, 2))).sum(0) / weights.sum()
    square = (weights[:, None] * (batches**2).mean((1, 2))).sum(0) / weights.sum()
    got_mean, got_spread = normalisation.moments(own)
    np.testing.assert_allclose(got_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(got_spread, np.sqrt(square - mean**2), rtol=1e-3)
    x = jnp.asarray(batches[0], jnp.float32)
    np.testing.assert_allclose(normalisation.denormalise(own, normalisation.normalise(own, x)), x, rtol=1e-3, atol=1e-3)


def test_a_seller_without_live_steps_keeps_its_statistics() -> None:
    own = normalisation.update(normalisation.start(2), jnp.full((3, 2, 2), 5.0), jnp.ones((3, 2, 2)))
    live = jnp.ones((3, 2, 2)).at[..., 1].set(0.0)
    after = normalisation.update(own, jnp.full((3, 2, 2), 9.0), live)
    before_mean, after_mean = normalisation.moments(own)[0], normalisation.moments(after)[0]
    assert float(after_mean[1]) == pytest.approx(float(before_mean[1]), rel=1e-5)
    assert float(after_mean[0]) > float(before_mean[0]) + 1


@pytest.mark.parametrize("stacked", [False, True])
def test_popart_keeps_what_the_critic_says_in_money(stacked: bool) -> None:
    rng = np.random.default_rng(0)
    ones = jnp.ones((3, 2, 2))
    old = normalisation.update(normalisation.start(2), jnp.asarray(rng.normal(3, 2, (3, 2, 2)), jnp.float32), ones)
    new = normalisation.update(old, jnp.asarray(rng.normal(40, 9, (3, 2, 2)), jnp.float32), ones)
    shapes = ((2, 4, 1), (2, 1)) if stacked else ((4, 2), (2,))
    layer = {n: jnp.asarray(rng.normal(size=s), jnp.float32) for n, s in zip(("kernel", "bias"), shapes, strict=True)}
    hidden = jnp.asarray(rng.normal(size=(7, 4)), jnp.float32)

    def says(layer, statistics):
        if stacked:
            out = jnp.stack([(hidden @ layer["kernel"][s] + layer["bias"][s])[:, 0] for s in range(2)], -1)
        else:
            out = hidden @ layer["kernel"] + layer["bias"]
        return normalisation.denormalise(statistics, out)

    changed = normalisation.preserve_outputs(layer, old, new, stacked)
    np.testing.assert_allclose(says(changed, new), says(layer, old), rtol=1e-4, atol=1e-4)
    assert abs(says(layer, new) - says(layer, old)).max() > 1.0


@pytest.fixture(scope="module")
def heads_and_mask():
    shape = make(num_products=2, inventory=CHOSEN).shape
    rng = np.random.default_rng(0)
    mask = rng.random((2, 2, 3)) < 0.6
    mask[..., 0] = True
    return actions.split_heads(shape, jnp.asarray(rng.normal(size=(2, 22)), jnp.float32), jnp.asarray(mask)), mask


def test_log_probability_and_entropy_are_scipys(heads_and_mask) -> None:
    heads, _ = heads_and_mask
    indices = [jnp.array([[1, 7], [0, 3]]), jnp.array([[0, 0], [0, 0]])]
    want_log = [
        sum(float(head[s, p, index[s, p]]) for head, index in zip(heads, indices, strict=True) for p in range(2))
        for s in range(2)
    ]
    want_entropy = [
        sum(stats.entropy(np.exp(np.float64(head[s, p]))) for head in heads for p in range(2)) for s in range(2)
    ]
    np.testing.assert_allclose(actions.log_prob(heads, indices), want_log, rtol=1e-5)
    np.testing.assert_allclose(actions.entropy(heads), want_entropy, rtol=1e-5)


def test_samples_follow_the_probabilities_and_never_the_mask(heads_and_mask) -> None:
    heads, mask = heads_and_mask
    num = 20_000
    price, order = jax.vmap(lambda key: actions.sample(key, heads))(jax.random.split(jax.random.key(0), num))
    for index, head in ((price, heads[0]), (order, heads[1])):
        share = (np.asarray(index)[..., None] == np.arange(head.shape[-1])).mean(0)
        probability = np.exp(np.asarray(head))
        assert within(share, probability, np.sqrt(probability * (1 - probability) / num))
    chosen = np.asarray(order)
    assert all(mask[s, p, chosen[:, s, p]].all() for s in range(2) for p in range(2))
    assert (actions.greedy(heads)[0] == np.asarray(heads[0]).argmax(-1)).all()


def test_minibatches_are_a_partition_and_do_not_depend_on_the_devices() -> None:
    key = jax.random.key(3)
    whole = np.asarray(minibatch_index(key, jnp.arange(24), 4))
    assert sorted(whole.reshape(-1)) == list(range(24))
    assert all(sorted(whole[:, run] // 4) == [run] * 4 for run in range(6))
    halves = [np.asarray(minibatch_index(key, jnp.arange(12) + 12 * d, 4)) + 12 * d for d in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves, axis=1), whole)
    assert (np.asarray(minibatch_index(jax.random.key(4), jnp.arange(24), 4)) != whole).any()


def test_schedules() -> None:
    def rates(schedule: str) -> list[float]:
        own = LearnerSettings(schedule=schedule, learning_rate=1.0, learning_rate_end=0.2, num_updates=100)
        return [float(learning_rate(own, jnp.int32(u))) for u in (0, 50, 100)]

    assert rates("constant") == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(rates("linear"), [1.0, 0.6, 0.2], rtol=1e-5)
    np.testing.assert_allclose(rates("cosine"), [1.0, 0.6, 0.2], rtol=1e-5)
    own = LearnerSettings(entropy_start=0.1, entropy_end=0.0, num_updates=10)
    np.testing.assert_allclose([float(entropy_coefficient(own, jnp.int32(u))) for u in (0, 5, 10)], [0.1, 0.05, 0.0])

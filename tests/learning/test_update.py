"""A whole update: its options, its program, seeds and devices."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.learning import mappo
from marl_pricing.learning.parallel import Program, num_devices
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.state import TrainState
from tests.learning.helpers import INDEX, QUICK, TINY, learner_of, market_of, started, update_of
from tests.markets import programs
from tests.sizes import at_once


def one_update(own, **settings: Any):
    learner = learner_of(own, **settings)
    return update_of(learner, own)(started(learner, own))


@pytest.fixture(scope="module")
def default():
    return one_update(market_of("stock"))


def learned_otherwise(one: Any, default: Any) -> bool:
    """Whether a state's networks are finite and not those of the default settings."""
    state, measures = one
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((state.learnable, measures)))
    before = jax.tree.leaves((default[0].learnable.actor, default[0].learnable.critic))
    after = jax.tree.leaves((state.learnable.actor, state.learnable.critic))
    same = [a.shape == b.shape and np.allclose(a, b, rtol=0, atol=1e-7) for a, b in zip(before, after, strict=False)]
    return len(before) != len(after) or not all(same)


OPTIONS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm"},
    "mingru": {"cell": "mingru"},
    "two layers": {"num_layers": 2},
    "no memory": {"cell": "none"},
    "local critic": {"critic": "local"},
    "a network a seller": {"sharing": "per_seller"},
    "a network a seller, local critics": {"sharing": "per_seller", "critic": "local"},
    "no value normalisation": {"value_normalisation": "none"},
    "popart": {"value_normalisation": "popart"},
    "raw advantages": {"normalise_advantage": False},
    "plain value loss": {"value_clip": None, "num_epochs": 8},
    "three epochs": {"num_epochs": 3},
    "blocks": {"rows_per_block": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_changes_what_is_learned_and_stays_finite(name: str, default) -> None:
    # Blocks change how gradients are computed, and nothing else.
    assert learned_otherwise(one_update(market_of("stock"), **OPTIONS[name]), default) == (name != "blocks")


NUMBERS = {
    "learning_rate": 1e-3, "entropy_start": 0.0, "clip_ratio": 1e-3, "value_clip": 1e-3, "max_grad_norm": 1e-4,
    "gamma": 0.0, "gae_lambda": 0.0, "adam_epsilon": 1e-2,
}  # fmt: skip


@pytest.fixture(scope="module")
def with_numbers():
    """An update whose numbers are arguments of one compiled program."""
    own = market_of("stock")
    learner = learner_of(own)
    state = started(learner, own)

    def update(numbers: dict[str, Any]):
        told = replace(learner, settings=learner.settings.model_copy(update=numbers))
        return mappo.update(told, state, own.params, INDEX)

    start = learner.settings.model_dump() | {"value_clip": learner.settings.clipped_value}
    given = {name: jnp.float32(start[name]) for name in NUMBERS}
    program = jax.jit(update, compiler_options=QUICK)
    return lambda **numbers: program(given | {name: jnp.float32(x) for name, x in numbers.items()})


@pytest.mark.slow
def test_numbers_may_be_arguments_of_the_program(with_numbers, default) -> None:
    assert not learned_otherwise(with_numbers(), default)


@pytest.mark.slow
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_changes_what_is_learned_and_stays_finite(name: str, with_numbers) -> None:
    assert learned_otherwise(with_numbers(**{name: NUMBERS[name]}), with_numbers())


@pytest.mark.parametrize("name", at_once(["own orders, two products", "bankruptcy"]))
def test_every_kind_of_market_is_learned_in(name: str) -> None:
    state, measures = one_update(market_of(name))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((state, measures)))


def test_kl_stops_an_updates_epochs() -> None:
    own = market_of("stock")
    learner = learner_of(own, target_kl=1.0, learning_rate=0.05, num_epochs=4)
    state = started(learner, own)

    def update(target: Any):
        told = replace(learner, settings=learner.settings.model_copy(update={"target_kl": target}))
        return mappo.update(told, state, own.params, INDEX)[0].learnable.actor_optimiser[1].count

    steps = jax.jit(update, compiler_options=QUICK)
    assert int(steps(1e9)) == 8
    # The ratio is one in the first minibatch; from the second on the policy has moved.
    assert int(steps(1e-9)) == 2


@pytest.mark.slow
def test_without_a_target_every_minibatch_is_a_step(default) -> None:
    assert int(default[0].learnable.actor_optimiser[1].count) == 4


def equations(jaxpr: Any):
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def test_the_program_calls_no_host_and_holds_no_float64() -> None:
    own = market_of("own orders, two products")
    learner = learner_of(own)
    state = started(learner, own)
    program = jax.make_jaxpr(lambda s: mappo.update(learner, s, own.params, INDEX))(state)
    all_of_them = list(equations(program.jaxpr))
    assert len(all_of_them) > 300
    assert not [e.primitive.name for e in all_of_them if "callback" in e.primitive.name]
    kinds = {str(v.aval.dtype) for e in all_of_them for v in e.outvars if hasattr(v.aval, "dtype")}
    assert not {"float64", "int64", "complex64"} & kinds


@pytest.fixture(scope="module")
def program() -> Program:
    return Program(learner_of(market_of("stock")))


@pytest.mark.slow
def test_new_numbers_do_not_compile_again_and_the_state_is_donated(program: Program) -> None:
    params = program.stack(market_of("stock").params)
    state = program.init(params)
    old = jax.tree.leaves(state.learnable.actor)[0]
    state, _ = program.train(state, params, 2)
    assert old.is_deleted()
    compiled = program._train._cache_size()
    other = params.replace(reward=params.reward.replace(omega=params.reward.omega * 0.3))
    state, _ = program.train(state, other, 2)
    assert program._train._cache_size() == compiled


@pytest.mark.slow
def test_seeds_of_one_program_are_the_seeds_alone_and_may_have_markets_of_their_own(program: Program) -> None:
    own = market_of("stock")
    together = Program(learner_of(own, num_seeds=2, seed=3))
    params = together.stack(own.params)
    omega = jnp.array([[1.0, 1.0], [0.2, 0.2]])
    params = params.replace(reward=params.reward.replace(omega=omega))
    state, measures = together.train(together.init(params), params, 2)
    for number in range(2):
        mine = jax.tree.map(lambda x, number=number: x[number : number + 1], params)
        alone = program._init(jnp.array([3 + number], jnp.int32), mine)
        single, single_measures = program.train(alone, mine, 2)
        for one, other in zip(jax.tree.leaves(single.learnable), jax.tree.leaves(state.learnable), strict=True):
            np.testing.assert_allclose(one[0], other[number], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(single_measures["return_shaped"][0], measures["return_shaped"][number], rtol=1e-4)


def python(code: str, timeout: int = 240, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout,
        env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_two_seeds_of_stacked_networks_start_without_hanging() -> None:
    code = """
        import jax
        from tests.learning.helpers import learner_of, market_of
        from marl_pricing.learning.parallel import Program
        own = market_of("stock")
        program = Program(learner_of(own, num_seeds=2, sharing="per_seller", hidden_size=64))
        state = jax.block_until_ready(program.init(program.stack(own.params)))
        print(state.learnable.actor["cell"]["kernel_hidden"].shape)
    """
    assert "(2, 2, 64, 192)" in python(code, timeout=120)


@pytest.mark.slow
def test_eight_devices_learn_what_one_does() -> None:
    code = """
        import jax, numpy as np
        from tests.learning.helpers import learner_of, market_of
        from marl_pricing.learning.parallel import Program
        assert jax.device_count() == 8
        own = market_of("stock")
        curves = []
        for devices in (1, 8):
            program = Program(learner_of(own, devices=devices, num_envs=16, num_minibatches=2, learning_rate=1e-3))
            assert program.mesh.size == devices
            params = program.stack(own.params)
            state = program.init(params)
            state, measures = program.train(state, params, 8)
            curves.append({name: np.asarray(x) for name, x in measures.items()})
        one, eight = curves
        for name in ("return_raw", "return_shaped", "price_mean", "entropy", "value_loss", "fill_rate"):
            np.testing.assert_allclose(one[name], eight[name], rtol=2e-3, atol=2e-3, err_msg=name)
        assert abs(one["return_raw"][0, 0] - one["return_raw"][0, -1]).max() > 0.1
        print("same")
    """
    flags = os.environ.get("XLA_FLAGS", "")
    assert "same" in python(code, XLA_FLAGS=f"{flags} --xla_force_host_platform_device_count=8")


def test_devices_that_are_not_there_are_refused_and_auto_takes_what_fits() -> None:
    own = market_of("stock")
    with pytest.raises(ValueError, match=r"learner.devices=4: accepted is a number of at most"):
        num_devices(learner_of(own, devices=4, num_envs=8))
    assert num_devices(learner_of(own, devices="auto")) == 1


BAD = [
    ({"num_envs": 5}, r"learner.num_envs=5: accepted is a multiple of learner.num_minibatches=2"),
    (
        {"devices": 4},
        r"learner.num_envs=4: accepted is a multiple of learner.devices × learner.num_minibatches = 4 × 2",
    ),
]


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_environments_that_cannot_be_shared_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearnerSettings(**(TINY | settings))


def test_a_critic_of_money_is_not_clipped_unless_it_is_told_to() -> None:
    for normalisation, clip in (("running", 0.2), ("popart", 0.2), ("none", None)):
        assert LearnerSettings(value_normalisation=normalisation).clipped_value == clip
        assert LearnerSettings(value_normalisation=normalisation, value_clip=3.0).clipped_value == 3.0
        assert LearnerSettings(value_normalisation=normalisation, value_clip=None).clipped_value is None
    with pytest.raises(ValueError, match="value_clip"):
        LearnerSettings(value_clip="some")


@pytest.mark.slow
def test_a_critic_of_money_learns() -> None:
    own = market_of("stock")

    def explained(clip: Any) -> float:
        settings = {"value_normalisation": "none", "value_clip": clip, "learning_rate": 3e-3, "num_updates": 60}
        program = Program(learner_of(own, num_envs=16, num_epochs=4, **settings))
        params = program.stack(own.params)
        _, measures = program.train(program.init(params), params, 60)
        return float(np.mean(measures["explained_variance"][0, -5:]))

    free, clipped = explained("auto"), explained(0.02)
    assert free > 0.3, (free, clipped)  # 0.45 when this was written
    assert clipped < free - 0.2, (free, clipped)


def test_measures_are_plain_averages() -> None:
    own = market_of("bankruptcy")
    learner = learner_of(own)
    state = started(learner, own)
    from marl_pricing.learning.measures import segment_measures
    from tests.learning.helpers import rolled

    _, segment = rolled(learner, own, state)
    got = segment_measures(own.shape, own.params, segment, lambda x: x)
    outcome = jax.tree.map(np.asarray, segment.outcome)
    acted = outcome.acted
    assert not acted.all()
    np.testing.assert_allclose(got["return_raw"], 7 * outcome.reward.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(got["return_shaped"], 7 * outcome.shaped.mean((0, 1)), rtol=1e-5)
    for seller in range(2):
        mine = acted[..., seller]
        prices = outcome.prices[..., seller][mine]
        assert float(got["price_mean"][seller]) == pytest.approx(prices.mean(), rel=1e-5)
        fill = outcome.sales[..., seller].sum() / outcome.demand[..., seller].sum()
        assert float(got["fill_rate"][seller]) == pytest.approx(fill, rel=1e-5)
        counts = np.asarray(got["price_counts"])[seller]
        assert counts.sum() == mine.sum()
        grid = np.asarray(own.params.prices.levels[seller])
        bins = np.round((prices - grid[0]) / (grid[-1] - grid[0]) * 31).astype(int)
        assert np.abs(np.bincount(bins, minlength=32) - counts).sum() <= 0.02 * mine.sum() + 8
    assert float(got["price_spread"]) == pytest.approx(outcome.prices[acted].std(), rel=1e-3)
    assert float(got["active"]) == pytest.approx(acted.mean(), rel=1e-5)


def test_a_learned_policy_is_the_actor() -> None:

    own = market_of("stock")
    learner = learner_of(own)
    actor = jax.tree.map(lambda x: 3.0 * x, started(learner, own).learnable.actor)
    greedy, sampled = (learned_policy(learner, actor, greedy=g) for g in (True, False))
    assert learned_policy(learner, actor, greedy=True).act is greedy.act
    state, seen = programs.reset(jax.random.key(0), *own)
    action, memory = greedy.act(actor, jax.random.key(0), greedy.start(), seen, state, own.params)
    logits, expected = learner.actor.step(actor, seen.local[None], learner.actor.start(1))
    np.testing.assert_array_equal(action.price[:, 0], np.asarray(logits)[0].argmax(-1))
    np.testing.assert_allclose(memory, expected[0], rtol=1e-6)
    draws = [int(sampled.act(actor, jax.random.key(k), sampled.start(), seen, state, own.params)[0].price[0, 0])
             for k in range(20)]  # fmt: skip
    assert len(set(draws)) > 1


def test_a_plain_state_has_nothing_of_other_learners() -> None:
    """Checkpoints of plain runs keep their form, whatever robust learners and self-play add to theirs."""
    own = market_of("stock")
    state = started(learner_of(own), own)
    names = {jax.tree_util.keystr(path[:1]) for path, _ in jax.tree_util.tree_leaves_with_path(state)}
    assert type(state) is TrainState
    assert names == {".learnable", ".statistics", ".rollout", ".seed", ".update"}
